"""Scans, their slices or blocks as what is asked for: scores from voxels, and what each costs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from jaxmed.stats import checks

Floats = NDArray[np.float64]
Kind = Literal["entropy", "margin", "least_confident", "bald"]


# No NamedTuple: those count their own fields by `len`, which here is that of the parts.
@dataclass(frozen=True, eq=False)
class Regions:
    """Parts of scans that may be asked for; made by :func:`regions`.

    Attributes:
        names: (parts,), unique: what :func:`active_rounds` takes as ``cases``.
        scan: (parts,) the scan that each is of.
        start: (parts, axes) its first voxel.
        stop: (parts, axes) one beyond its last.
        costs: (parts,) what drawing it costs.
        shapes: (scans,) spatial shape of each scan.
    """

    names: tuple[str, ...]
    scan: NDArray[np.intp]
    start: NDArray[np.intp]
    stop: NDArray[np.intp]
    costs: Floats
    shapes: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.names)

    def box(self, part: int) -> tuple[slice, ...]:
        """Where a part lies in its scan, to index an array of the scan's shape with."""
        pairs = zip(self.start[part].tolist(), self.stop[part].tolist(), strict=True)
        return tuple(slice(a, b) for a, b in pairs)

    def known(self, rows: ArrayLike, scan: int) -> NDArray[np.bool_]:
        """Which voxels (*shape,) of a scan lie in these parts, as losses take them (``known``)."""
        found = np.zeros(self.shapes[scan], bool)
        for part in np.asarray(rows, np.intp).tolist():
            if self.scan[part] == scan:
                found[self.box(part)] = True
        return found


def regions(
    shapes: Sequence[Sequence[int]],
    *,
    by: Literal["scan", "slice", "region"] = "slice",
    axis: int = -1,
    size: int | Sequence[int] | None = None,
    cost: Literal["voxels", "slices"] = "voxels",
    names: Sequence[str] | None = None,
) -> Regions:
    """Divide scans into what is asked for: whole scans, their slices, or blocks.

    Args:
        shapes: (scans,) spatial shape of each scan; scans may differ, but not in their rank.
        by: what a part is.
        axis: across which slices are cut, the last by default.
        size: edges of a block in voxels, one number or one an axis; for ``by="region"``. The last
            blocks along an axis may be smaller.
        cost: what a part costs: its voxels, or slices, where a part of a slice is that part of 1.
        names: (scans,) of the scans, by default their numbers.

    Returns:
        The parts, scan by scan, which do not overlap and cover everything.

    Raises:
        ValueError: for no scan, shapes of different rank, an axis that is not there, no size or one
            that does not fit, or names that repeat.

    >>> parts = regions([(4, 4, 3), (4, 4, 2)], by="slice", cost="slices", names=["a", "b"])
    >>> parts.names
    ('a, slice 1', 'a, slice 2', 'a, slice 3', 'b, slice 1', 'b, slice 2')
    >>> regions([(4, 4, 3)], by="region", size=(2, 4, 3)).costs.tolist()
    [24.0, 24.0]
    """
    known = [tuple(int(n) for n in shape) for shape in shapes]
    if not known or len({len(s) for s in known}) > 1 or not all(n > 0 for s in known for n in s):
        raise ValueError(f"shapes are of one rank and without an empty axis, got {known}")
    rank = len(known[0])
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} is none of {rank}")
    if by not in ("scan", "slice", "region") or cost not in ("voxels", "slices"):
        raise ValueError(f"by is scan, slice or region, cost voxels or slices: got {by}, {cost}")
    if (by == "region") != (size is not None):
        raise ValueError("size is of by='region', which needs one")
    called = [f"scan {i + 1}" for i in range(len(known))] if names is None else [*map(str, names)]
    if len(called) != len(known) or len(set(called)) < len(called):
        raise ValueError(f"names are one for each of {len(known)} scans, each once")
    edges = _edges(by, axis % rank, rank, size)
    parts: list[tuple[str, int, list[int], list[int], float]] = []
    for scan, (shape, name) in enumerate(zip(known, called, strict=True)):
        steps = [n if e is None else e for n, e in zip(shape, edges, strict=True)]
        corners = itertools.product(*(range(0, n, e) for n, e in zip(shape, steps, strict=True)))
        a_slice = np.prod(shape) / shape[axis]
        for number, corner in enumerate(corners, start=1):
            stop = [min(c + e, n) for c, e, n in zip(corner, steps, shape, strict=True)]
            voxels = float(np.prod(np.subtract(stop, corner)))
            own = {"scan": name, "slice": f"{name}, slice {number}",
                   "region": f"{name}, region {number}"}[by]  # fmt: skip
            price = voxels if cost == "voxels" else voxels / a_slice
            parts.append((own, scan, [*corner], stop, price))
    labels, scans, starts, stops, costs = zip(*parts, strict=True)
    return Regions(
        labels, np.array(scans, np.intp), np.array(starts, np.intp), np.array(stops, np.intp),
        np.array(costs), tuple(known),
    )  # fmt: skip


def voxel_scores(samples: ArrayLike, kind: Kind = "entropy") -> Floats:
    """How unsure a model is of each voxel.

    Args:
        samples: (samples, *spatial, classes) probabilities: of a posterior, of an ensemble's
            members, of one network alone as a single sample.
        kind: ``entropy`` of the mean in nats, ``margin`` (the second probability less the first),
            ``least_confident`` (1 less the first), or ``bald``, the mutual information of class
            and parameters in nats, which needs several samples.

    Returns:
        (*spatial,), more is less sure.

    Raises:
        ValueError: for values that are no probabilities, or one sample for ``bald``.

    >>> voxel_scores([[[0.5, 0.5], [1.0, 0.0]]]).round(3).tolist()
    [0.693, 0.0]
    """
    p = checks.finite(samples, "samples", ndim=None)
    if p.ndim < 3 or p.shape[-1] < 2 or p.min() < 0 or not np.allclose(p.sum(-1), 1, atol=1e-3):
        raise ValueError(
            "samples must be probabilities (samples, *spatial, classes) that add up to 1, got the "
            f"shape {p.shape}"
        )
    mean = p.mean(0)
    if kind == "entropy":
        return special.entr(mean).sum(-1)
    if kind == "least_confident":
        return 1 - mean.max(-1)
    if kind == "margin":
        top = np.partition(mean, mean.shape[-1] - 2, axis=-1)
        return top[..., -2] - top[..., -1]
    if kind == "bald":
        if len(p) < 2:
            raise ValueError("bald needs several samples, got one: an ensemble's or a posterior's")
        return special.entr(mean).sum(-1) - special.entr(p).sum(-1).mean(0)
    raise ValueError(f"kind is entropy, margin, least_confident or bald, got {kind!r}")


def region_scores(
    voxels: Callable[[int], ArrayLike] | Sequence[Any],
    parts: Regions,
    rows: ArrayLike | None = None,
    *,
    reduce: Literal["mean", "sum", "top"] = "mean",
    share: float = 0.1,
) -> Floats:
    """One score for each part of a scan, from those of its voxels.

    Args:
        voxels: scores (*shape,) of each scan (:func:`voxel_scores`): a list, or a function from a
            scan's number, which is called once for each scan that is needed.
        parts: made by :func:`regions`.
        rows: positions of the parts that are scored, by default all.
        reduce: the mean, the sum, or the mean of the highest ``share`` of a part's voxels: in most
            of a large part the background is certain, and hides a doubtful border in the mean.
        share: above 0, at most 1.

    Returns:
        (rows,), for ``scores`` of what a model sees (:func:`active_rounds`). With the sum,
        :func:`ask_score_per_cost` asks for the parts with the highest mean.

    Raises:
        ValueError: for a share that is none, or scores of another shape than their scan.
    """
    if reduce not in ("mean", "sum", "top") or not 0 < share <= 1:
        raise ValueError(f"reduce is mean, sum or top, share in (0, 1]: got {reduce!r}, {share}")
    wanted = np.arange(len(parts)) if rows is None else np.asarray(rows, np.intp)
    of = voxels if callable(voxels) else voxels.__getitem__
    scores = np.empty(len(wanted))
    for scan in np.unique(parts.scan[wanted]).tolist():
        array = checks.finite(of(scan), f"scores of scan {scan}", ndim=None)
        if array.shape != parts.shapes[scan]:
            raise ValueError(
                f"scan {scan} is {parts.shapes[scan]}, and the scores of its voxels {array.shape}"
            )
        for place in np.flatnonzero(parts.scan[wanted] == scan).tolist():
            inside = array[parts.box(int(wanted[place]))].ravel()
            if reduce == "top":
                n = max(1, round(share * len(inside)))
                inside = np.partition(inside, len(inside) - n)[len(inside) - n :]
            scores[place] = inside.sum() if reduce == "sum" else inside.mean()
    return scores


def _edges(by: str, axis: int, rank: int, size: int | Sequence[int] | None) -> list[int | None]:
    """The edges of a part, None for a scan's own."""
    if by == "scan":
        return [None] * rank
    if by == "slice":
        return [1 if i == axis else None for i in range(rank)]
    given = [size] * rank if isinstance(size, int) else [*(size or ())]
    if len(given) != rank or not all(isinstance(n, int) and n > 0 for n in given):
        raise ValueError(f"size is one number of voxels, or {rank}, each above 0: got {size}")
    return [*given]
