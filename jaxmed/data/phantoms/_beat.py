"""A ring of muscle that contracts, whose every point's way is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from jaxmed.data._source import ArraySource, Example
from jaxmed.data.phantoms._tasks import _build


def beat(
    n: int,
    shape: Sequence[int] = (64, 64),
    *,
    frames: int = 8,
    radius: float = 0.28,
    wall: float = 0.16,
    squeeze: float = 0.3,
    noise: float = 0.01,
    seed: int = 0,
) -> ArraySource:
    r"""Draw cines of a short axis: blood in a ring of muscle that contracts and relaxes.

    Muscle is incompressible: with :math:`a = r_0^2 - r_t^2` of the cavity's radii at rest and in a
    frame, a point at distance r of the middle goes to :math:`\sqrt{r^2 - a}`, so it is stretched
    by :math:`\sqrt{r^2 - a} / r` around the middle and by the inverse of that away from it. Blood
    shrinks evenly. Slices of a volume (along the last axis) move alike, within their planes.

    Args:
        n: number of cines.
        shape: voxels, two numbers or three.
        frames: of one beat; the first is at rest.
        radius: of the cavity at rest, as a share of the shorter side; it differs a little from cine
            to cine.
        wall: thickness of the muscle at rest, likewise.
        squeeze: the share by which the cavity's radius is shortened at most, in the middle of the
            beat.
        noise: standard deviation of Gaussian noise; the range of brightness is 1.
        seed: the same seed gives the same cines.

    Returns:
        ``image`` (frames, *shape, 1) float32; ``mask`` (frames, *shape) int32, 1 muscle and 2
        blood; ``motion`` (frames, *shape, rank) float32, how many voxels what is at a voxel at rest
        has moved in each frame; ``shortened`` (frames,) float32, the cavity's radius as a share of
        that at rest.

    Raises:
        ValueError: if the shape has neither two nor three axes, or the ring does not fit.

    Examples:
        >>> cine = beat(1, (32, 32), frames=4)[0]
        >>> cine["image"].shape, cine["motion"].shape
        ((4, 32, 32, 1), (4, 32, 32, 2))
        >>> cine["shortened"].astype(float).round(2).tolist()
        [1.0, 0.85, 0.7, 0.85]
    """
    spatial = tuple(shape)
    if len(spatial) not in (2, 3):
        raise ValueError(f"a cine has two axes or three besides time, got shape={spatial}")
    if radius + wall > 0.49 or min(radius, wall) <= 0 or not 0 <= squeeze < 1:
        raise ValueError(
            f"radius={radius}, wall={wall}, squeeze={squeeze}: the ring does not fit, or cannot "
            "contract"
        )
    side = min(spatial[:2])
    course = 1 - squeeze * np.sin(np.pi * np.arange(frames) / frames) ** 2

    def draw(rng: np.random.Generator) -> Example:
        inner = radius * side * rng.uniform(0.93, 1.0)
        outer = inner + wall * side
        middle = (np.array(spatial[:2]) - 1) / 2 + rng.uniform(-1, 1, 2)
        at = np.moveaxis(np.indices(spatial), 0, -1).astype(float)
        away = at[..., :2] - middle
        apart = np.linalg.norm(away, axis=-1)
        # Brightness of tissue, which goes with it.
        grain = ndimage.gaussian_filter(rng.normal(size=spatial), 1.5)
        grain *= 0.12 / grain.std()
        blood = ndimage.gaussian_filter(rng.normal(size=spatial), 3)
        blood *= 0.03 / blood.std()
        images, masks, motions = [], [], []
        for share in course:
            held = inner**2 * (1 - share**2)
            back = np.where(
                apart < inner * share, apart / share, np.sqrt(np.maximum(apart**2 + held, 0))
            )
            rest = at.copy()
            rest[..., :2] = middle + away * (back / np.maximum(apart, 1e-9))[..., None]
            places = np.moveaxis(rest, -1, 0)
            tissue = ndimage.map_coordinates(grain, places, order=3, mode="nearest")
            fluid = ndimage.map_coordinates(blood, places, order=3, mode="nearest")
            # Edges are a voxel wide, as of a scanner.
            cavity = np.clip(inner * share + 0.5 - apart, 0, 1)
            muscle = np.clip(np.sqrt(outer**2 - held) + 0.5 - apart, 0, 1) - cavity
            around = 1 - cavity - muscle
            image = cavity * (0.9 + fluid) + muscle * (0.35 + tissue) + around * (0.6 + tissue)
            images.append(image + noise * rng.normal(size=spatial))
            masks.append(np.where(back < inner, 2, np.where(back < outer, 1, 0)))
            ahead = np.where(apart < inner, apart * share, np.sqrt(np.maximum(apart**2 - held, 0)))
            moved = np.zeros_like(at)
            moved[..., :2] = away * (ahead / np.maximum(apart, 1e-9) - 1)[..., None]
            motions.append(moved)
        return {
            "image": np.stack(images)[..., None].astype(np.float32),
            "mask": np.stack(masks).astype(np.int32),
            "motion": np.stack(motions).astype(np.float32),
            "shortened": course.astype(np.float32),
        }

    return _build("beat", n, seed, draw)
