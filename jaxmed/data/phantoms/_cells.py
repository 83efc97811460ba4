"""Images of cells that touch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxmed.data._source import ArraySource, Example
from jaxmed.data.phantoms._shapes import Shape, degrade
from jaxmed.data.phantoms._tasks import _build

# Of a cell's voxels, those that others may have already.
_COVERED = 0.15


def cells(
    n: int,
    shape: Sequence[int] = (64, 64),
    *,
    objects: int = 12,
    radius: tuple[float, float] = (4.0, 7.0),
    noise: float = 0.05,
    bias: float = 0.0,
    seed: int = 0,
) -> ArraySource:
    """Draw images of bright ellipsoids, most of which touch another, and a number for each.

    Args:
        n: number of images.
        shape: spatial shape, two or three numbers.
        objects: maximum number of cells per image; there are fewer where no room is left. Some are
            cut by the border.
        radius: smallest and largest half-axis, in voxels.
        noise: as in `classification`.
        bias: as in `classification`.
        seed: as in `classification`.

    Returns:
        ``image`` (*shape, 1); ``mask`` (*shape) int32, 0 the background, else the cell's number.

    Examples:
        >>> example = cells(1, objects=5)[0]
        >>> example["mask"].shape, int(example["mask"].max())
        ((64, 64), 5)
    """
    spatial = tuple(shape)

    def draw(rng: np.random.Generator) -> Example:
        mask, image = np.zeros(spatial, np.int32), np.zeros(spatial)
        drawn: list[Shape] = []
        for _ in range(20 * objects):
            if len(drawn) == objects:
                break
            size = rng.uniform(*radius, len(spatial))
            centre = rng.uniform(0, spatial)
            if drawn and rng.random() < 0.7:  # beside another
                other = drawn[rng.integers(len(drawn))]
                way = rng.normal(size=len(spatial))
                way /= np.linalg.norm(way)
                centre = other.centre + way * (other.size + size).mean()
            new = Shape("ellipsoid", centre, size)
            inside = new.inside(spatial)
            whole = inside.sum()
            if whole < new.volume() / 3 or (inside & (mask > 0)).sum() > _COVERED * whole:
                continue
            free = inside & (mask == 0)
            drawn.append(new)
            mask[free] = len(drawn)
            image[free] = rng.uniform(0.5, 1.0)
        return {"image": degrade(rng, image, noise=noise, bias=bias)[..., None], "mask": mask}

    return _build("cells", n, seed, draw)
