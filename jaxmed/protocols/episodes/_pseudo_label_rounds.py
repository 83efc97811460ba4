"""Pseudo-labelling in rounds: train, label the most confident examples, retrain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Predict = Callable[[NDArray[Any]], ArrayLike]
"""From images to probabilities ``(n, classes)``."""


class Round(NamedTuple):
    """One round of :func:`pseudo_label_rounds`.

    Attributes:
        predict: the trained predictor.
        rows: positions in ``unlabelled`` of the pseudo-labelled images of the next round, the most
            confident first; empty in the last round.
        labels: the pseudo-labels.
        confidence: probabilities of the pseudo-labels.
    """

    predict: Predict
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    confidence: NDArray[np.float64]


def pseudo_label_rounds(
    train: Callable[[dict[str, NDArray[Any]]], Predict],
    labelled: Mapping[str, ArrayLike],
    unlabelled: ArrayLike,
    *,
    shares: Sequence[float] = (0.25, 0.5, 0.75, 1.0),
    threshold: float = 0.0,
    balanced: bool = False,
    weight: float = 1.0,
    image: str = "image",
    target: str = "label",
) -> list[Round]:
    """Train on labelled images, then in rounds also on the most confident predictions.

    Each round trains from scratch, predicts all unlabelled images, and passes the most confident
    share of them with their predicted classes to the next. Nothing else is kept between rounds: an
    image may change its class, or be dropped. The last round uses the last share.

    Args:
        train: function from arrays by name, ``image``, ``target`` and ``weight`` (1 for given
            labels), to a function from images to probabilities ``(n, classes)``. It owns the
            learner, the number of steps and the seed.
        labelled: arrays by name, with ``image`` and ``target``; others are ignored.
        unlabelled: ``(n, *spatial, channels)`` images.
        shares: shares of the unlabelled images used after each round, each in (0, 1].
        threshold: minimum probability of a pseudo-label, in [0, 1].
        balanced: whether to take the share within each predicted class instead of overall, where
            the most confident predictions are mostly of one class.
        weight: weight of a pseudo-label relative to a given label, positive.
        image: name of the labelled images.
        target: name of their integer classes, ``(m,)``.

    Returns:
        ``len(shares) + 1`` rounds; ``predict`` of the last one is the final model.

    Raises:
        KeyError: if ``labelled`` lacks a name.
        ValueError: if a number is out of its range, or probabilities are not ``(n, classes)``.

    References:
        Lee (2013), Pseudo-label, ICML workshop. Cascante-Bonilla et al. (2021), Curriculum
        labeling, AAAI. Zou et al. (2018), Unsupervised domain adaptation via class-balanced
        self-training, ECCV.

    >>> def train(data):  # the nearer of two class means
    ...     means = [data["image"][data["label"] == c].mean(0) for c in (0, 1)]
    ...     near = lambda x: np.exp(-np.stack([((x - m) ** 2).sum(1) for m in means], 1))
    ...     return lambda x: near(x) / near(x).sum(1, keepdims=True)
    >>> labelled = {"image": np.array([[0.0], [4.0]]), "label": np.array([0, 1])}
    >>> rounds = pseudo_label_rounds(train, labelled, np.array([[0.5], [3.0], [2.1]]), shares=[0.7])
    >>> rounds[0].rows.tolist(), rounds[0].labels.tolist()
    ([0, 1], [0, 1])
    """
    if not shares or not all(0 < share <= 1 for share in shares):
        raise ValueError(f"shares are in (0, 1], at least one, got {list(shares)}")
    if not 0 <= threshold <= 1 or weight <= 0:
        raise ValueError(f"threshold is in [0, 1] and weight positive: {threshold}, {weight}")
    if missing := [name for name in (image, target) if name not in labelled]:
        raise KeyError(f"the labelled arrays have no {missing}; they have {sorted(labelled)}")
    images, classes = np.asarray(labelled[image]), np.asarray(labelled[target])
    others = np.asarray(unlabelled)
    rounds: list[Round] = []
    rows = np.zeros(0, np.int64)
    guessed = np.zeros(0, classes.dtype)
    for share in (*shares, None):
        given = np.concatenate([np.ones(len(images)), np.full(len(rows), weight)])
        predict = train(
            {
                image: np.concatenate([images, others[rows]]),
                target: np.concatenate([classes, guessed.astype(classes.dtype)]),
                "weight": given.astype(np.float32),
            }
        )
        if share is None:
            rows, guessed, sure = rows[:0], guessed[:0], np.zeros(0)
        else:
            rows, guessed, sure = _surest(predict(others), len(others), share, threshold, balanced)
        rounds.append(Round(predict, rows, guessed, sure))
    return rounds


def _surest(probabilities: ArrayLike, n: int, share: float, threshold: float, balanced: bool):
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or len(p) != n:
        raise ValueError(f"predictions on {n} images must be ({n}, classes), got {p.shape}")
    label, sure = p.argmax(1), p.max(1)
    order = np.argsort(-sure, kind="stable")
    parts = [order[label[order] == c] for c in range(p.shape[1])] if balanced else [order]
    taken = np.concatenate([part[: round(share * len(part))] for part in parts])
    taken = taken[np.argsort(-sure[taken], kind="stable")]
    taken = taken[sure[taken] >= threshold]
    return taken, label[taken], sure[taken]
