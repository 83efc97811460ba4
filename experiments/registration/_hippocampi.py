"""Scans of hippocampi in one shape, and the pairs of them that are measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxmed.data import ArraySource, DecathlonSource, crop_or_pad

from ._pairs import Pair, Side, side

SHAPE = (48, 64, 48)


def pairs_of(source: DecathlonSource, n: int, pairs: int) -> Iterator[Pair]:
    """The last scans of a folder's first n, paired from both ends inwards, as Learn2Reg does."""
    order = np.argsort(source.case_ids)
    for i in range(pairs):
        fixed, moving = (int(order[j]) for j in (n - 2 * pairs + i, n - 1 - i))
        name = f"{source.case_ids[moving]} onto {source.case_ids[fixed]}"
        yield Pair(name, side_of(source, fixed), side_of(source, moving))


def scans_of(source: DecathlonSource, n: int) -> ArraySource:
    """The first scans in the order of the folder, in the shape of the pairs that are measured."""
    order = np.argsort(source.case_ids)[:n]
    sides = [side_of(source, int(i)) for i in order]
    arrays = {
        "image": np.stack([side.image.array for side in sides]),
        "inside": np.stack([side.inside for side in sides]).astype(np.float32),
        "mask": np.stack([crop_or_pad(side.mask.array, SHAPE) for side in sides]),
    }
    return ArraySource(arrays, case_ids=[source.case_ids[i] for i in order])


def side_of(source: DecathlonSource, i: int) -> Side:
    """A scan and its mask; the origin of millimetres is the middle of its grid."""
    image = source.image(i)
    mask = source.mask(i, like=image).array
    affine = np.diag([*image.spacing, 1.0])
    affine[:3, 3] = -(np.array(mask.shape) // 2) * np.array(image.spacing)
    return side(image.array, mask, affine, SHAPE)
