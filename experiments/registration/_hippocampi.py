"""Scans of hippocampi in one shape, and the pairs of them that are measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxmed.data import DecathlonSource

from ._pairs import Pair, Side, side

SHAPE = (48, 64, 48)


def pairs_of(source: DecathlonSource, n: int, pairs: int) -> Iterator[Pair]:
    """The last scans of a folder's first n, paired from both ends inwards, as Learn2Reg does."""
    order = np.argsort(source.case_ids)
    for i in range(pairs):
        fixed, moving = (int(order[j]) for j in (n - 2 * pairs + i, n - 1 - i))
        name = f"{source.case_ids[moving]} onto {source.case_ids[fixed]}"
        yield Pair(name, side_of(source, fixed), side_of(source, moving))


def side_of(source: DecathlonSource, i: int) -> Side:
    """A scan and its mask; the origin of millimetres is the middle of its grid."""
    image = source.image(i)
    mask = source.mask(i, like=image).array
    affine = np.diag([*image.spacing, 1.0])
    affine[:3, 3] = -(np.array(mask.shape) // 2) * np.array(image.spacing)
    return side(image.array, mask, affine, SHAPE)
