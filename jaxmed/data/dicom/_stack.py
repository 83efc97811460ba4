"""From frames to a volume: which belong together, in which order, and on which grid."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from jaxmed.data._error import Fault
from jaxmed.data.dicom._frames import RANKED, Frame, Mark

# Share of a voxel by which a header's rounded numbers may move a slice.
_APART = 0.1
# Two directions are one if they part by less than this over the width of an image: in radians.
_TURNED = 2e-4
# Two images lie at one place if they are less than this apart along the normal: in millimetres.
_ONE_PLACE = 0.01
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_BESIDE = "the slices do not lie one behind another: one is {:.3g} mm beside the line of the others"

_LIFTED: Mapping[str, str] = {
    "orientation-mixed": "take the direction with the most slices",
    "slice-missing": "fill gaps linearly from the slices around, and take what all places have,",
    "slice-twice": "take the first of each",
    "spacing-uneven": "bring the slices to one line and distance linearly",
}
ALLOWED = tuple(_LIFTED)
"""The rules that ``allow`` can lift."""


def lifted(rule: str) -> str:
    """What to do about a broken rule: mend the series, or lift the rule."""
    return f'{_LIFTED[rule]} with allow="{rule}" (behind the path: #allow={rule})'


class Stack(NamedTuple):
    """Frames in order, and their grid.

    Attributes:
        slices: the frames by slice and by what repeats at one place: ``slices[k][c]``.
        repeats: what tells the repeats of a place from each other, name to a value each.
        affine: (4, 4) from (column, row, slice) to mm towards right, front and head; of images
            without a place (3, 3) from (row, column), or (4, 4) of several frames.
        at: where each slice lies, in slices of the even grid; whole numbers where none was allowed
            to be uneven.
        depth: slices of the even grid.
        aside: how far each slice lies beside the line of the others, (slices, 2) in columns and
            rows.
    """

    slices: tuple[tuple[Frame, ...], ...]
    repeats: Mapping[str, tuple[Mark, ...]]
    affine: np.ndarray
    at: np.ndarray
    depth: int
    aside: np.ndarray

    @property
    def placed(self) -> bool:
        """Whether the frames lie in the patient."""
        return self.slices[0][0].position is not None

    @property
    def size(self) -> tuple[int, ...]:
        """The spatial shape: (columns, rows, slices), or of pictures (rows, columns[, frames])."""
        rows, columns = self.slices[0][0].size
        if self.placed:
            return columns, rows, self.depth
        return (rows, columns, self.depth) if self.depth > 1 else (rows, columns)


def group(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Divide frames into those that can be one volume: by series, size, spacing and direction.

    Images without a place stay with the frames of their own file.
    """
    groups: dict[tuple, list[list[Frame]]] = defaultdict(list)
    for frame in frames:
        spacing = None if frame.spacing is None else tuple(np.round(frame.spacing, 4))
        key = (frame.series, frame.origin, frame.modality, frame.size, frame.channels, spacing)
        key += (str(frame.file) if frame.position is None else "",)
        for alike in groups[key]:
            if one_direction(alike[0], frame):
                alike.append(frame)
                break
        else:
            groups[key].append([frame])
    return [alike for several in groups.values() for alike in several]


def one_direction(a: Frame, b: Frame) -> bool:
    """Whether two frames have one direction, to a tenth of a voxel over a wide image."""
    if a.axes is None or b.axes is None:
        return a.axes is b.axes
    return bool(np.abs(a.axes - b.axes).max() < _TURNED)


def stack(
    name: str, frames: Sequence[Frame], allow: Collection[str]
) -> tuple[Stack, tuple[Fault, ...]]:
    """Put the frames of one group in order along their normal.

    Args:
        name: what the faults are of.
        frames: of one group.
        allow: rules that may be broken.

    Returns:
        The stack as well as it can be made, and the broken rules that are not allowed.
    """
    if frames[0].position is None:
        return _pages(frames), ()
    places, mending = _places(frames)
    affine, at, depth, uneven = _grid(places)
    aside = _aside(places, affine, at)
    if np.any(np.abs(aside) > _APART):
        far = float(np.abs(aside * np.linalg.norm(affine[:3, :2], axis=0)).max())
        uneven.append(("spacing-uneven", _BESIDE.format(far)))
    else:
        aside = np.zeros_like(aside)
    broken = [
        *([("slice-twice", mending.twice)] if mending.twice else []),
        *([("slice-missing", mending.absent)] if mending.absent else []),
        *uneven,
    ]
    faults = [Fault(name, rule, f"{detail}; {lifted(rule)}") for rule, detail in broken]
    made = Stack(tuple(map(tuple, places)), mending.repeats, _TO_RAS @ affine, at, depth, aside)
    return made, tuple(fault for fault in faults if fault.rule not in allow)


def _pages(frames: Sequence[Frame]) -> Stack:
    """Images without a place: each a picture, several of one file its frames."""
    spacing = frames[0].spacing or (1.0, 1.0)
    several = len(frames) > 1
    ordered = sorted(frames, key=lambda frame: frame.index)
    affine = np.diag([*spacing, *([1.0] if several else []), 1.0])
    count = len(frames)
    slices = tuple((frame,) for frame in ordered)
    return Stack(slices, {}, affine, np.arange(count), count, np.zeros((count, 2)))


class _Repeats(NamedTuple):
    repeats: Mapping[str, tuple[Mark, ...]] = MappingProxyType({})
    twice: str = ""
    absent: str = ""


def _places(frames: Sequence[Frame]) -> tuple[list[list[Frame]], _Repeats]:
    """The frames by place along the normal, each place's in the order of what repeats."""
    axes = frames[0].axes
    assert axes is not None
    along = np.array([frame.position for frame in frames]) @ np.cross(*axes)
    order = np.argsort(along, kind="stable")
    gaps = np.diff(along[order])
    clear = gaps[gaps > _ONE_PLACE]
    new = gaps > max(_ONE_PLACE, 0.02 * float(np.median(clear))) if len(clear) else gaps > np.inf
    places: list[list[Frame]] = [[frames[order[0]]]]
    for position, begins in zip(order[1:], new, strict=True):
        if begins:
            places.append([])
        places[-1].append(frames[position])
    if len(places) == len(frames):
        return places, _Repeats()
    usual = Counter(map(len, places)).most_common(1)[0][0]
    return _single(places) if usual == 1 else _repeated(places, usual)


def _single(places: list[list[Frame]]) -> tuple[list[list[Frame]], _Repeats]:
    """One image a place, where some were scanned again or copied: the first of each."""
    kept = [sorted(place, key=_by_number)[:1] for place in places]
    return kept, _Repeats(twice=_twice([place for place in places if len(place) > 1]))


def _repeated(places: list[list[Frame]], usual: int) -> tuple[list[list[Frame]], _Repeats]:
    """Order the images of each place by their marks, and tell what is missing or there twice."""
    names = [*dict.fromkeys(name for place in places for frame in place for name in frame.marks)]
    ranks = _ranks(places)
    varying = [n for n in names if any(len({f.marks.get(n) for f in p}) > 1 for p in places)]
    # Only the order at a place tells of marks that are of another value at each place.
    exact = [name for name in varying if name not in RANKED and _shared(name, places)]
    by = exact
    if any(len({_key(frame, by, ranks) for frame in place}) < len(place) for place in places):
        by = [*exact, *(name for name in varying if name not in exact)]
    found: list[dict[tuple, Frame]] = []
    for place in places:
        kept: dict[tuple, Frame] = {}
        for frame in sorted(place, key=_by_number):
            kept.setdefault(_key(frame, by, ranks), frame)
        found.append({key: kept[key] for key in sorted(kept)})
    copied = [p for p, kept in zip(places, found, strict=True) if len(kept) < len(p)]
    absent, least = "", min(map(len, found))
    if by == exact:
        common = set.intersection(*map(set, found))
        lacking = [kept for kept in found if len(kept) < max(map(len, found))]
        if lacking or any(len(kept) > len(common) for kept in found):
            absent = f"{len(lacking)} of {len(found)} places lack images that others have"
            absent += f" ({', '.join(by)})"
            found = [{k: f for k, f in kept.items() if k in common} or kept for kept in found]
            least = max(len(common), 1)
    else:
        # What is scanned again differs in its time: more images than elsewhere are copies as well.
        copied += [p for p, kept in zip(places, found, strict=True) if len(kept) > usual]
        if least < usual:
            lacking = [kept for kept in found if len(kept) < usual]
            absent = f"{len(lacking)} of {len(found)} places have less than {usual} images"
    ordered = [[*kept.values()][:least] for kept in found]
    repeats = _values(ordered, varying) if least > 1 else {}
    return ordered, _Repeats(repeats, _twice(copied), absent)


def _shared(name: str, places: list[list[Frame]]) -> bool:
    """Whether a mark takes the same values at most places."""
    values = Counter(frozenset(frame.marks.get(name) for frame in place) for place in places)
    return 2 * values.most_common(1)[0][1] > len(places)


def _twice(places: list[list[Frame]]) -> str:
    if not places:
        return ""
    files = " and ".join(sorted({frame.file.name for frame in places[0]})[:3])
    where = "1 place has" if len(places) == 1 else f"{len(places)} places have"
    return f"{where} the same image more than once, such as {files}"


def _by_number(frame: Frame) -> tuple:
    return frame.number, str(frame.file), frame.index


def _ranks(places: list[list[Frame]]) -> dict[Mark, int]:
    """Words in the order in which the images came that first have them."""
    frames = sorted((frame for place in places for frame in place), key=_by_number)
    words = [v for frame in frames for v in frame.marks.values() if isinstance(v, str)]
    return {word: rank for rank, word in enumerate(dict.fromkeys(words))}


def _key(frame: Frame, names: Sequence[str], ranks: Mapping[Mark, int]) -> tuple[float, ...]:
    """The marks of a frame as numbers to sort by; what is missing comes first."""
    values = [frame.marks.get(name, -np.inf) for name in names]
    return tuple(ranks[v] if isinstance(v, str) else v for v in values)


def _values(places: list[list[Frame]], names: Sequence[str]) -> dict[str, tuple[Mark, ...]]:
    """The marks that tell the repeats apart, a value each; a rank where slices differ in it."""
    found: dict[str, tuple[Mark, ...]] = {}
    for name in names:
        rows = [tuple(frame.marks.get(name, "") for frame in place) for place in places]
        if len(set(rows[0])) == 1:
            continue
        alike = name not in RANKED and all(row == rows[0] for row in rows)
        found[name] = rows[0] if alike else tuple(range(len(rows[0])))
    return found


def _grid(
    places: Sequence[Sequence[Frame]],
) -> tuple[np.ndarray, np.ndarray, int, list[tuple[str, str]]]:
    """The affine to mm (left, back, head), where the slices lie on it, and what is uneven."""
    first = places[0][0]
    axes, spacing = first.axes, first.spacing or (1.0, 1.0)
    assert axes is not None
    positions = np.array([place[0].position for place in places])
    normal = np.cross(*axes)
    count = len(places)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = axes[0] * spacing[1], axes[1] * spacing[0]
    affine[:3, 3] = positions[0]
    if count == 1:
        affine[:3, 2] = normal * (first.thickness or 1.0)
        return affine, np.zeros(1), 1, []
    step = (positions[-1] - positions[0]) / (count - 1)
    off = positions - (positions[0] + np.arange(count)[:, None] * step)
    distance = float(step @ normal)
    if np.abs(off @ normal).max() <= _APART * distance:
        affine[:3, 2] = step
        return affine, np.arange(count), count, []
    gaps = np.diff(positions @ normal)
    at, depth, found = _uneven(gaps)
    affine[:3, 2] = (positions[-1] - positions[0]) / (depth - 1)
    return affine, at, depth, found


def _aside(places: Sequence[Sequence[Frame]], affine: np.ndarray, at: np.ndarray) -> np.ndarray:
    """How far each slice lies from its place on a grid, in columns and rows."""
    positions = np.array([place[0].position for place in places])
    off = positions - (affine[:3, 3] + np.asarray(at)[:, None] * affine[:3, 2])
    edges = affine[:3, :2]
    return off @ edges / np.sum(edges**2, axis=0)


def _uneven(gaps: np.ndarray) -> tuple[np.ndarray, int, list[tuple[str, str]]]:
    """Where slices at uneven distances lie on an even grid, its depth, and what is wrong."""
    count, total = len(gaps) + 1, float(gaps.sum())
    shown = ", ".join(f"{gap:.3g}" for gap in gaps[:8]) + (", ..." if len(gaps) > 8 else "")
    usual = float(np.median(gaps))
    for distance in (usual, float(gaps.min())):
        multiples = np.maximum(np.round(gaps / distance), 1)
        at = np.concatenate([[0], np.cumsum(multiples)])
        distance = total / at[-1]
        if np.abs(np.concatenate([[0], np.cumsum(gaps)]) - at * distance).max() > _APART * distance:
            continue
        lost = int(at[-1]) + 1 - count
        where = ", ".join(f"{k + 1} and {k + 2}" for k in np.flatnonzero(multiples > 1)[:5])
        detail = f"{_number_of(lost)} missing, between {where} of {count} (distances {shown} mm)"
        return at, int(at[-1]) + 1, [("slice-missing", detail)]
    found = [("spacing-uneven", f"the slices are {shown} mm apart")]
    for k, gap in enumerate(gaps):
        for beside in gaps[max(k - 1, 0) : k + 2]:
            times = round(gap / beside)
            if times > 1 and abs(gap / beside - times) <= _APART:
                detail = (
                    f"{_number_of(times - 1)} missing, between {k + 1} and {k + 2} of {count}: "
                    f"{gap:.3g} mm beside {beside:.3g} mm"
                )
                found.append(("slice-missing", detail))
                break
    depth = max(round(total / usual) + 1, 2)
    at = np.concatenate([[0], np.cumsum(gaps)]) * ((depth - 1) / total)
    return at, depth, found


def _number_of(slices: int) -> str:
    return f"{slices} slice{'s are' if slices > 1 else ' is'}"
