"""Batches of replicates, each from rows of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxmed.data import ArraySource, MemberBatches, member_batches


def draws(
    source: ArraySource,
    labelled: Sequence[np.ndarray],
    sizes: tuple[int, int],
    steps: int,
    seed: int,
) -> MemberBatches:
    """Batches of all seeds, (seeds, rows, ...): labelled images first, then any training images."""
    everyone = np.arange(len(source))
    return member_batches(
        source, [(kept, everyone) for kept in labelled], sizes, steps=steps, seed=seed
    )
