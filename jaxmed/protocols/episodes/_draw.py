"""Few-shot learning episodes: small tasks drawn from a labelled set."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Episode(NamedTuple):
    """One small task; made by `episode`.

    Attributes:
        classes: (ways,) classes of the data, in the order of the episode's labels 0, 1, ...
        support: (ways * shots,) positions of the labelled examples, class by class.
        query: (ways * queries,) positions of the examples to classify, class by class.
        support_label: (ways * shots,) labels within the episode.
        query_label: (ways * queries,) likewise.
    """

    classes: NDArray[np.int64]
    support: NDArray[np.int64]
    query: NDArray[np.int64]
    support_label: NDArray[np.int32]
    query_label: NDArray[np.int32]


def episode(
    labels: ArrayLike, *, ways: int, shots: int, queries: int, seed: int = 0, index: int = 0
) -> Episode:
    """Draw one episode: classes, then examples of each, without replacement.

    A pure function of its arguments: episode 7 of a seed is the same whether or not others were
    drawn before it, so that methods are compared on the same episodes and runs can be resumed.

    Args:
        labels: (cases,) classes of the data.
        ways: number of classes.
        shots: labelled examples per class.
        queries: examples to classify per class.
        seed: seed of all episodes.
        index: number of the episode.

    Returns:
        The episode.

    Raises:
        ValueError: if a number is not positive, or fewer than ``ways`` classes have
            ``shots + queries`` examples; the message lists the counts.

    References:
        Vinyals et al. (2016), Matching networks for one shot learning, NeurIPS.

    Examples:
        >>> labels = np.repeat([0, 1, 2], 4)
        >>> one = episode(labels, ways=2, shots=1, queries=3, seed=1)
        >>> one.support.shape, one.query_label.tolist()
        ((2,), [0, 0, 0, 1, 1, 1])
        >>> bool((labels[one.query] == one.classes[one.query_label]).all())
        True
    """
    y = np.asarray(labels)
    if y.ndim != 1:
        raise ValueError(f"labels are (cases,), got the shape {y.shape}")
    if min(ways, shots, queries) < 1 or index < 0:
        raise ValueError(
            "ways, shots and queries are at least 1 and index at least 0, got "
            f"{ways}, {shots}, {queries} and {index}"
        )
    present, counts = np.unique(y, return_counts=True)
    enough = present[counts >= shots + queries]
    if len(enough) < ways:
        held = dict(zip(present.tolist(), counts.tolist(), strict=True))
        raise ValueError(
            f"{ways} classes with {shots} + {queries} examples are needed; the examples of each "
            f"class are {held}"
        )
    rng = np.random.default_rng([seed, index])
    classes = rng.permutation(enough)[:ways]
    drawn = np.stack([
        rng.permutation(np.flatnonzero(y == c))[: shots + queries] for c in classes
    ])  # fmt: skip
    own = np.arange(ways, dtype=np.int32)
    return Episode(
        classes.astype(np.int64),
        drawn[:, :shots].ravel().astype(np.int64),
        drawn[:, shots:].ravel().astype(np.int64),
        np.repeat(own, shots),
        np.repeat(own, queries),
    )
