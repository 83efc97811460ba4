"""Images made of other images, beside the true ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxmed.report.figures._style import INK, new_figure, style
from jaxmed.report.results._translation import TranslatedCase

_EACH = 1.6  # Inches.
_GAP = 0.25  # Difference of brightness at which the colours end.


def translation_figure(cases: Sequence[TranslatedCase]) -> Figure:
    """Draw cases in rows: what was given, the true image, the made one, made less true.

    Args:
        cases: all of the same given images.

    Returns:
        A figure; of the last column red is too bright, blue too dark, white right.

    Raises:
        ValueError: without a case, or for images of several shapes in one.

    Examples:
        >>> image = np.zeros((4, 4))
        >>> case = TranslatedCase("p1", "best", {"t1": image}, image, image, "t2")
        >>> len(translation_figure([case]).axes)
        4
    """
    if not cases:
        raise ValueError("there are no cases to draw")
    for case in cases:
        shapes = {np.shape(x) for x in (*case.given.values(), case.truth, case.made)}
        if len(shapes) > 1 or len(next(iter(shapes))) != 2:
            raise ValueError(
                f"the images of {case.case!r} are of one (height, width), got {shapes}"
            )
    columns = len(cases[0].given) + 3
    with style():
        figure, axes = new_figure(
            _EACH * columns, (_EACH + 0.25) * len(cases), rows=len(cases), columns=columns
        )
        for row, case in enumerate(cases):
            shown = {
                **case.given, f"{case.target}, true": case.truth, f"{case.target}, made": case.made,
            }  # fmt: skip
            for k, (name, image) in enumerate(shown.items()):
                axes[row * columns + k].imshow(image, cmap="gray", vmin=0, vmax=1)
                axes[row * columns + k].set_title(name, fontsize=8, color=INK, fontweight="normal")
            last = axes[(row + 1) * columns - 1]
            last.imshow(case.made - case.truth, cmap="RdBu_r", vmin=-_GAP, vmax=_GAP)
            last.set_title("made less true", fontsize=8, color=INK, fontweight="normal")
            axes[row * columns].set_ylabel(case.rank, fontsize=8)
        for ax in axes:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.grid(visible=False)
    return figure
