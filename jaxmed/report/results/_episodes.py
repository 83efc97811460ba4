"""An agent's ways through images, as a report is given them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxmed.stats import checks


class Episode(NamedTuple):
    """One way of an agent through an image: of a point, a box or a plane.

    What moved follows from the length of a position: in an image of ``rank`` axes ``rank`` numbers
    are a point in voxels, ``2 rank`` a box, lows, then highs, in voxels, where voxel i covers i to
    i + 1, and in a volume 4 a plane, three angles in degrees and a distance in mm, as
    :func:`jaxmed.reinforcement.view` has them.

    Attributes:
        image: ``(*spatial)``, two or three axes.
        path: positions, the first that of the start, ``(steps + 1, numbers)``.
        target: what is looked for, ``(numbers,)``, or several boxes, ``(boxes, numbers)``; None
            where nobody knows.
        answer: what the agent points to, ``(numbers,)``; by default the last position.
        values: of each action at each position but the last, ``(steps, actions)``; None for none.
        scale: number of the scale at each position, ``(steps + 1,)``; None for one.
        spacing: mm between voxels along each axis.
        name: of the case.
        failed: whether it came to no end.
    """

    image: Any
    path: Any
    target: Any = None
    answer: Any = None
    values: Any = None
    scale: Any = None
    spacing: Any = None
    name: str = ""
    failed: bool = False

    @property
    def moved(self) -> Literal["point", "box", "plane"]:
        """What moved."""
        rank, numbers = np.ndim(self.image), np.shape(self.path)[-1]
        return "point" if numbers == rank else "box" if numbers == 2 * rank else "plane"


class Episodes(NamedTuple):
    """The walks that a report shows.

    Attributes:
        walks: one or more, of cases that the agent has not learned from.
        unit: of distances between points.
        actions: their names; by default back and forth along each axis of a point.
        chosen: which walks of all these are, a sentence of the caption.
    """

    walks: Sequence[Episode]
    unit: str = "mm"
    actions: Sequence[str] | None = None
    chosen: str = ""


def checked_episode(episode: Episode) -> Episode:
    """The episode as arrays, whose shapes belong together.

    Raises:
        ValueError: names what does not belong, and the shape that does.
    """
    image = checks.finite(episode.image, "image", ndim=None)
    if image.ndim not in (2, 3):
        raise ValueError(f"an image is (*spatial) of two or three axes, got {image.shape}")
    path = checks.finite(episode.path, "path", ndim=None)
    rank = image.ndim
    known = {rank: "points", 2 * rank: "boxes"} | ({4: "planes"} if rank == 3 else {})
    if path.ndim != 2 or path.shape[1] not in known or not len(path):
        told = " or ".join(f"(steps + 1, {n}) of {kind}" for n, kind in known.items())
        raise ValueError(f"a path in an image of {rank} axes is {told}, got {path.shape}")
    numbers = path.shape[1]

    def position(value: Any, name: str, what: str, n: int, *, several: bool = False) -> Any:
        if value is None:
            return None
        found = checks.finite(value, name, ndim=None)
        if found.shape[-1:] != (n,) or found.ndim > 1 + several or not found.size:
            more = f", or several, (boxes, {n})" if several else ""
            raise ValueError(f"{name} is a {what}, ({n},){more}; got the shape {found.shape}")
        return found

    values = None if episode.values is None else np.asarray(episode.values, float)
    if values is not None and (values.ndim != 2 or len(values) != len(path) - 1):
        raise ValueError(
            f"values are (steps, actions), one row for each of {len(path) - 1} steps, got "
            f"{values.shape}"
        )
    scale = None if episode.scale is None else np.asarray(episode.scale)
    if scale is not None and scale.shape != (len(path),):
        raise ValueError(f"scale is one number for each of {len(path)} positions, {scale.shape}")
    moved = episode.moved
    answer = position(episode.answer, "answer", moved, numbers)
    spacing = position(episode.spacing, "spacing", "length along each axis", rank)
    if spacing is not None and (spacing <= 0).any():
        raise ValueError(f"spacing is of mm above 0, got {spacing.tolist()}")
    return episode._replace(
        image=image, path=path, values=values, scale=scale,
        target=position(episode.target, "target", moved, numbers, several=moved == "box"),
        answer=path[-1] if answer is None else answer,
        spacing=np.ones(rank) if spacing is None else spacing,
    )  # fmt: skip


def from_target(e: Episode, positions: Any) -> Any:
    """How far positions ``(..., numbers)`` of a checked episode are from its target.

    A point's distance in mm; a plane's in degrees and mm alike, the root of the sum of the squared
    differences of its four numbers; of a box its overlap with whichever box it overlaps most,
    intersection over union: there more is nearer.
    """
    positions = np.asarray(positions, float)
    if e.moved == "box":
        rank = e.image.ndim
        low, high = positions[..., None, :rank], positions[..., None, rank:]
        boxes = np.atleast_2d(e.target)
        shared = np.minimum(high, boxes[:, rank:]) - np.maximum(low, boxes[:, :rank])
        shared = np.clip(shared, 0, None).prod(-1)
        volumes = (high - low).prod(-1) + (boxes[:, rank:] - boxes[:, :rank]).prod(-1)
        return (shared / (volumes - shared)).max(-1)
    unit = e.spacing if e.moved == "point" else 1.0
    return np.linalg.norm((positions - e.target) * unit, axis=-1)


def away(e: Episode) -> float:
    """How far the answer of a checked episode is from its target, larger for worse; 0 for none."""
    if e.target is None:
        return 0.0
    found = float(from_target(e, e.answer))
    return -found if e.moved == "box" else found


def told_distance(e: Episode, unit: str) -> str:
    """How far the answer of a checked episode is from its target, in words; empty for none."""
    if e.target is None:
        return ""
    found = float(from_target(e, e.answer))
    if e.moved == "box":
        return f"overlap {found:.2f}"
    return f"{found:.1f} {unit if e.moved == 'point' else 'degrees and mm'}"
