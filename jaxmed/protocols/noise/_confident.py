"""Confident learning: which labels contradict what is predicted of their cases."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import stats
from jaxmed.protocols._classes import class_probabilities, labels_of_all

Floats = NDArray[np.float64]


class Suspects(NamedTuple):
    """Labels that may be wrong; made by :func:`suspect_labels`.

    Attributes:
        rows: positions of the suspect cases, the least probable label first.
        suggested: the class that each is confidently predicted to be.
        confidence: the probability of the label that is written down.
        joint: (classes, classes) estimated shares of cases by the class written down (rows) and the
            true one; they add up to 1.
        wrong: the estimated share of wrong labels, with an interval over cases.
    """

    rows: NDArray[np.intp]
    suggested: NDArray[np.int64]
    confidence: Floats
    joint: Floats
    wrong: stats.Estimate

    @property
    def transition(self) -> Floats:
        """(classes, classes): the probability that a true class (rows) is written down as another.

        As :func:`jaxmed.losses.forward_corrected` takes it. A class that is never true stays.
        """
        true = self.joint.T
        total = true.sum(1, keepdims=True)
        return np.where(total > 0, true / np.where(total > 0, total, 1), np.eye(len(true)))

    def __repr__(self) -> str:
        return f"Suspects: {len(self.rows)} labels; {self.wrong}"


def suspect_labels(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Suspects:
    r"""Find labels that contradict confident predictions, and estimate how many are wrong.

    A case is *confidently* of class j where :math:`p_j` is at least the mean :math:`p_j` of the
    cases that are labelled j; of several such classes the most probable counts. Cases that are
    confidently of another class than their label are suspect, and their counts, brought to the
    number of labels of each class, estimate the joint distribution of written and true classes.

    Args:
        probabilities: (cases, classes), of a model that was not trained on the case: out-of-fold.
        labels: (cases,) the classes written down, from 0.
        groups: (cases,) patient of each case: whole patients are drawn for the interval.
        level: confidence level.
        n_resamples: bootstrap resamples, for the share of wrong labels.
        seed: same seed, same interval.

    Returns:
        The suspects, and the estimates. What is suspect is to be looked at, not to be changed: a
        model's blind spot looks the same.

    Raises:
        ValueError: for rows that are no probabilities, labels that are no classes, or a class
            without a label.

    References:
        Northcutt, Jiang and Chuang (2021), Confident learning: estimating uncertainty in dataset
        labels, Journal of Artificial Intelligence Research 70.

    Examples:
        >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.95, 0.05], [0.1, 0.9], [0.2, 0.8]])
        >>> found = suspect_labels(p, [0, 0, 1, 1, 1])
        >>> found.rows.tolist(), found.suggested.tolist(), found.joint.round(2).tolist()
        ([2], [0], [[0.4, 0.0], [0.2, 0.4]])
    """
    p = class_probabilities(probabilities)
    y = labels_of_all(labels, *p.shape)

    def counts(p: Floats, y: NDArray) -> tuple[Floats, NDArray[np.int64]]:
        classes = p.shape[1]
        hot = np.eye(classes)[y]
        size = hot.sum(0)
        if (size == 0).any():
            raise ValueError("a class has no label")
        threshold = (p * hot).sum(0) / size
        sure = p >= threshold - 1e-12
        true = np.where(sure.any(1), np.where(sure, p, -1.0).argmax(1), -1)
        joint = np.zeros((classes, classes))
        np.add.at(joint, (y[true >= 0], true[true >= 0]), 1.0)
        rows = joint.sum(1, keepdims=True)
        shared = np.where(rows > 0, joint / np.where(rows > 0, rows, 1), np.eye(classes))
        return shared * (size / len(y))[:, None], true

    joint, true = counts(p, y)
    suspect = np.flatnonzero((true >= 0) & (true != y))
    written = p[suspect, y[suspect]]
    order = np.argsort(written, kind="stable")
    wrong = stats.bootstrap(
        lambda p, y: 1 - float(np.trace(counts(p, y)[0])), p, y, groups=groups, level=level,
        n_resamples=n_resamples, method="percentile", seed=seed, name="share of wrong labels",
    )  # fmt: skip
    rows = suspect[order]
    return Suspects(rows, true[rows], written[order], joint, wrong)


def transition_matrix(probabilities: ArrayLike, *, quantile: float = 0.97) -> Floats:
    r"""Estimate as what each class is written down, from cases that are certainly of one class.

    :math:`T_{ij}` is the probability of the label j where that of i is highest, among cases whose
    true class is then taken for i: at the given quantile of :math:`p_i`, as the very highest is
    often an outlier.

    Args:
        probabilities: (cases, classes) of the labels *as written down*, by a model that was trained
            on these with plain cross-entropy, for cases that it was not trained on.
        quantile: in (0, 1].

    Returns:
        (classes, classes), rows of the true class, each with a sum of 1, for
        :func:`jaxmed.losses.forward_corrected`.

    Raises:
        ValueError: for rows that are no probabilities, or a quantile outside (0, 1].

    References:
        Patrini et al. (2017), Making deep neural networks robust to label noise: a loss correction
        approach, CVPR.

    Examples:
        >>> p = np.array([[0.8, 0.2], [0.7, 0.3], [0.1, 0.9], [0.4, 0.6]])
        >>> transition_matrix(p, quantile=1.0).tolist()
        [[0.8, 0.2], [0.1, 0.9]]
    """
    p = class_probabilities(probabilities)
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile is in (0, 1], got {quantile}")
    places = [
        int(np.argsort(column, kind="stable")[int(np.ceil(quantile * len(p))) - 1])
        for column in p.T
    ]
    found = p[places]
    return found / found.sum(1, keepdims=True)
