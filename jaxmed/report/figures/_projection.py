"""Maps of features beside each other, with what each is worth."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from numpy.typing import ArrayLike, NDArray

from jaxmed import stats
from jaxmed.report.figures._gallery import to_display
from jaxmed.report.figures._style import INK, MUTED, colour_of, new_figure, style
from jaxmed.stats import checks

NOT_MEANT = (
    "Read a t-SNE map with care: how far apart its clusters lie, how large and how dense they are "
    "means nothing, and noise may look like clusters."
)
"""The line that goes with every t-SNE map."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LARGEST = 28.0  # Area of a mark; in the legend all are as large.
_THUMBNAILS = 24  # Of a map: more would lie on each other.
_COMPONENTS = 50  # Of which t-SNE is made: more are noise to it.


class Projection(NamedTuple):
    """A map of rows, as :func:`projection_figure` draws it.

    Attributes:
        name: title.
        places: (n, 2).
        trust: its trustworthiness, if it was measured.
        axes: names of the two axes, with the share of variance where there is one.
        note: what must be known to read it.
    """

    name: str
    places: NDArray[Any]
    trust: stats.Estimate | None = None
    axes: tuple[str, str] = ("", "")
    note: str = ""


def projections(
    x: ArrayLike,
    *,
    k: int = 10,
    perplexity: float = 30,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> tuple[Projection, ...]:
    """Map rows by principal components, by a random projection and by t-SNE.

    Args:
        x: (n, ...) rows. Beyond 5,000 t-SNE needs ``pip install 'jaxmed[embed]'``.
        k: neighbours by which trustworthiness is measured.
        perplexity: of t-SNE; a third of the rows where they are few.
        level: confidence level.
        groups: (n,) patient of each row.
        seed: of the random projection.

    Returns:
        The three maps, each with its trustworthiness.

    Raises:
        ValueError: for NaN, rows that vary in fewer than two directions, or fewer than
            ``2 k + 1`` rows.
    """
    import jax

    from jaxmed import unsupervised as un

    rows = np.asarray(x)
    rows = rows.reshape(len(rows), -1).astype(np.float32)
    key = jax.random.key(seed)
    components = un.pca(rows, 2)
    shares = [f"component {i + 1} ({share:.0%})" for i, share in enumerate(components.explained)]
    centred = rows - components.mean
    network = un.random_projection(2)
    drawn = network.apply({}, network.init(key, centred[:1])[1], centred)[0]["features"]
    near = centred
    if min(rows.shape) > _COMPONENTS:
        with contextlib.suppress(ValueError):  # they vary in fewer directions: as good as whole
            near = un.pca(rows, _COMPONENTS).project(rows)
    mapped = un.tsne(key, near, perplexity=min(perplexity, (len(rows) - 1) / 3.01))
    found = [
        ("Principal components", components.project(rows), (shares[0], shares[1]), ""),
        ("Random projection", np.asarray(drawn), ("direction 1", "direction 2"), ""),
        ("t-SNE", mapped.map, ("", ""), NOT_MEANT),
    ]
    return tuple(
        Projection(
            name, places,
            un.trustworthiness(rows, places, k=k, level=level, groups=groups), axes, note,
        )
        for name, places, axes, note in found
    )  # fmt: skip


def projection_figure(
    x: ArrayLike | None,
    labels: ArrayLike | None = None,
    *,
    maps: Sequence[Projection] | None = None,
    classes: Sequence[str] = (),
    images: Any = None,
    k: int = 10,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> Figure:
    """Draw maps of features side by side: classes by colour and marker, and their images.

    Each map's title has its trustworthiness with the interval, principal components the share of
    variance on their axes, and t-SNE the line on what its distances do not mean.

    Args:
        x: (n, ...) features, or the images themselves; None where maps are given.
        labels: (n,) class of each row: a number that ``classes`` names, or any name.
        maps: what is drawn; by default those of :func:`projections`.
        classes: names of the classes.
        images: ``images[i]`` is the image of row i, (height, width), (height, width, channels) or
            a volume, whose middle plane is shown: a second row of panels shows some at their
            places.
        k: neighbours by which trustworthiness is measured.
        level: confidence level.
        groups: (n,) patient of each row.
        seed: of the random projection.

    Returns:
        The figure.

    Raises:
        ValueError: for lengths that differ, or as :func:`projections`.
    """
    if maps is None:
        if x is None:
            raise ValueError("there is nothing to draw: give x, or maps")
        maps = projections(x, k=k, level=level, groups=groups, seed=seed)
    n = len(maps[0].places)
    names, codes = _named(labels, classes, n)
    checks.same_length(**{f"map {m.name!r}": m.places for m in maps}, labels=codes, images=images)
    rows = 1 + (images is not None)
    with style():
        figure, axes = new_figure(3.5 * len(maps), 3.9 * rows + 0.5, rows=rows, columns=len(maps))
        for column, drawn in enumerate(maps):
            _points(axes[column], drawn, codes, names)
            if images is not None:
                _images(axes[len(maps) + column], drawn, images)
        if len(names) > 1:
            marks, found = axes[0].get_legend_handles_labels()
            figure.legend(
                marks, found, loc="outside upper center", ncols=min(len(names), 5),
                markerscale=(_LARGEST / _size(n)) ** 0.5,
            )  # fmt: skip
        notes = [drawn.note for drawn in maps if drawn.note]
        if notes:
            figure.supxlabel("\n".join(dict.fromkeys(notes)), fontsize=8, color=INK)
    return figure


def _named(labels: Any, classes: Sequence[str], n: int) -> tuple[list[str], NDArray[np.intp]]:
    """Names of the classes that occur, and each row's."""
    if labels is None:
        return [""], np.zeros(n, np.intp)
    found, codes = np.unique(np.asarray(labels), return_inverse=True)
    if not classes:
        return [str(name) for name in found], codes
    if not np.issubdtype(found.dtype, np.integer) or found[0] < 0 or found[-1] >= len(classes):
        raise ValueError(
            f"labels must be 0 to {len(classes) - 1}, as {len(classes)} classes are named, but "
            f"hold {found[-1]!r}"
        )
    return [str(classes[int(i)]) for i in found], codes


def _size(n: int) -> float:
    """The area of a mark where there are n."""
    return float(np.clip(4000 / n, 3, _LARGEST))


def _points(axes: Any, drawn: Projection, codes: NDArray[Any], names: Sequence[str]) -> None:
    size = _size(len(codes))
    for i, name in enumerate(names):
        x, y = drawn.places[codes == i].T
        # Of equal colour, further on, the marker is another.
        marker = _MARKERS[(i + i // len(_MARKERS)) % len(_MARKERS)]
        axes.scatter(
            x, y, s=size, marker=marker, color=colour_of(i), alpha=0.75, linewidths=0,
            label=name, rasterized=len(codes) > 3000,
        )  # fmt: skip
    title = drawn.name
    if drawn.trust is not None:
        t = drawn.trust
        title += f"\ntrustworthiness {t.value:.3f} ({t.lower:.3f} to {t.upper:.3f})"
    _finish(axes, drawn, title)


def _images(axes: Any, drawn: Projection, images: Any) -> None:
    places = drawn.places
    spread = np.maximum(np.ptp(places, axis=0), 1e-12)
    low = places.min(axis=0)
    axes.set_xlim(low[0] - 0.08 * spread[0], low[0] + 1.08 * spread[0])
    axes.set_ylim(low[1] - 0.08 * spread[1], low[1] + 1.08 * spread[1])
    for i in _apart((places - low) / spread, _THUMBNAILS):
        picture = plane(images[int(i)])
        shown = OffsetImage(to_display(picture), zoom=26 / max(picture.shape[:2]), cmap="gray")
        axes.add_artist(AnnotationBbox(shown, tuple(places[i]), pad=0.1, bboxprops={"ec": MUTED}))
    _finish(axes, drawn, "")


def _finish(axes: Any, drawn: Projection, title: str) -> None:
    axes.set(title=title, xlabel=drawn.axes[0], ylabel=drawn.axes[1])
    axes.set_xticks([])
    axes.set_yticks([])


def _apart(places: NDArray[Any], n: int) -> list[int]:
    """Rows far from each other, begun at the middle."""
    chosen = [int(((places - np.median(places, axis=0)) ** 2).sum(axis=1).argmin())]
    least = ((places - places[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(n, len(places)) and least.max() > 0.01:
        chosen.append(int(least.argmax()))
        least = np.minimum(least, ((places - places[chosen[-1]]) ** 2).sum(axis=1))
    return chosen


def plane(image: Any) -> NDArray[Any]:
    """A picture (height, width) or (height, width, 3): of a volume its middle plane."""
    x = np.asarray(image)
    if x.ndim == 4:
        x = x[x.shape[0] // 2]
    return x if x.ndim == 2 or x.shape[-1] == 3 else x[..., 0]
