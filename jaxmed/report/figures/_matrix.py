"""A square matrix drawn as shaded cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from jaxmed.report.figures._style import INK

# Not from the palette, so that cells keep their colour on a dark page and white stays legible.
_CELL, _LIGHT = "#1f6fb4", "#ffffff"


def draw_matrix(
    axes: Any,
    shade: NDArray[np.floating],
    text: Callable[[int, int], str],
    names: Sequence[str],
    *,
    fontsize: float,
    slant: bool | None = None,
) -> None:
    """Draw a matrix (k, k), each cell as dark as its shade in [0, 1], with a text in it.

    Rows and columns bear the same names, cut where they are long; those of the columns are slanted
    where they would meet, unless ``slant`` says otherwise.
    """
    k = len(names)
    short = [name if len(name) <= 22 else name[:20] + "…" for name in names]
    slant = max(map(len, short)) * k > 36 if slant is None else slant
    for i, j in np.ndindex(k, k):
        axes.add_patch(
            Rectangle((j, i), 1, 1, facecolor=_CELL, alpha=float(shade[i, j]), linewidth=0)
        )
        axes.text(
            j + 0.5, i + 0.5, text(i, j), ha="center", va="center",
            color=_LIGHT if shade[i, j] > 0.55 else INK, fontsize=fontsize,
        )  # fmt: skip
    ticks = np.arange(k) + 0.5
    axes.set(xlim=(0, k), ylim=(k, 0), aspect="equal", xticks=ticks, yticks=ticks)
    axes.set_xticklabels(short, rotation=35 * slant, ha="right" if slant else "center")
    axes.set_yticklabels(short)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
