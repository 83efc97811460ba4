"""Boosting: models trained one after the other, each on what those before it did not get right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from jaxmed.stats import checks

Floats = NDArray[np.float64]
Predict = Callable[[Any], ArrayLike]
Train = Callable[[Any, NDArray[Any], Floats, int], Predict]
"""``(inputs, targets, weights, number) -> (inputs -> predictions)``."""


class Boosted(NamedTuple):
    """Models that vote, or add up; made by :func:`boosting`.

    Attributes:
        stages: the models' predictors, in their order.
        weights: (stages,) of each.
        errors: (stages,) weighted error of each on what it was trained on; of ``"gradient"`` and
            ``"logit"`` the loss after it.
        start: what is added to before the first.
        classes: number of classes; 0 for numbers.
        kind: how they were made.
    """

    stages: tuple[Predict, ...]
    weights: Floats
    errors: Floats
    start: Floats
    classes: int
    kind: str

    def scores(self, inputs: Any, *, stages: int | None = None) -> Floats:
        """What the first stages, or all, add up to: (cases, classes), or numbers (cases,)."""
        total: Any = self.start
        for predict, weight in zip(self.stages[:stages], self.weights, strict=False):
            found = predict(inputs)
            if self.kind == "samme":
                votes = _labels(found, self.classes)
                spread = np.where(np.eye(self.classes)[votes] > 0, 1.0, -1 / (self.classes - 1))
                total = total + weight * spread
            else:
                total = total + weight * np.asarray(found, np.float64)
        return np.asarray(total)

    def predict(self, inputs: Any, *, stages: int | None = None) -> Floats:
        """Probabilities (cases, classes), or numbers (cases,)."""
        scores = self.scores(inputs, stages=stages)
        if self.kind == "gradient":
            return scores
        if self.kind == "logit":
            return special.softmax(scores, axis=-1)
        # The expected exponential loss has its minimum at these.
        return special.softmax(scores * (self.classes - 1) / self.classes, axis=-1)


def boosting(
    train: Train,
    inputs: Any,
    targets: ArrayLike,
    *,
    rounds: int,
    kind: Literal["samme", "gradient", "logit"] = "samme",
    shrinkage: float = 1.0,
    classes: int | None = None,
) -> Boosted:
    r"""Train models one after the other, each on what those before it did not get right.

    * *samme* (AdaBoost for several classes): examples weigh more where they were wrong; a model
      counts by :math:`\ln\frac{1 - e}{e} + \ln(K - 1)` with its weighted error e. It ends before
      ``rounds`` at a model that is right everywhere, or no better than chance.
    * *gradient*: each model predicts what is left, :math:`y - F(x)`; numbers.
    * *logit*: each model predicts :math:`y_k - p_k` for each class, the slope of the log loss.

    Boosting follows labels that are wrong: look at the test error by stages
    (``predict(inputs, stages=m)``).

    Args:
        train: ``(inputs, targets, weights, number) -> predict``: a model of one round. Weights have
            a mean of 1. Targets are classes (cases,) for ``"samme"``, whose ``predict`` gives
            classes or (cases, classes) scores; numbers (cases,) for ``"gradient"``, and
            (cases, classes) for ``"logit"``, as ``predict`` gives them. It owns the learner, the
            steps and the seed, and with :func:`jaxmed.fit` and a folder a round it resumes.
        inputs: what ``train`` takes, an array or a source.
        targets: (cases,) classes from 0, or numbers.
        rounds: most models.
        kind: which of the three.
        shrinkage: by what each model's weight is multiplied, in (0, 1].
        classes: number of classes; by default the largest target plus one.

    Returns:
        The models and their weights.

    Raises:
        ValueError: for targets that are no classes or not finite, no round, a shrinkage outside
            (0, 1], or predictions of another shape; if the first model of ``"samme"`` is no better
            than chance.

    References:
        Zhu et al. (2009), Multi-class AdaBoost, Statistics and Its Interface 2. Friedman (2001),
        Greedy function approximation: a gradient boosting machine, Annals of Statistics 29.

    Examples:
        >>> x, y = np.arange(4.0), np.array([0.0, 1.0, 2.0, 5.0])
        >>> mean = lambda x, y, w, i: (lambda new: np.full(len(new), np.average(y, weights=w)))
        >>> boosting(mean, x, y, rounds=3, kind="gradient").predict(x).tolist()
        [2.0, 2.0, 2.0, 2.0]
    """
    if kind not in ("samme", "gradient", "logit"):
        raise checks.unknown("kind", kind, ("samme", "gradient", "logit"))
    if not 0 < shrinkage <= 1:
        raise ValueError(f"shrinkage is in (0, 1], got {shrinkage}")
    rounds = checks.check_whole(rounds, "rounds", 1)
    if kind == "samme":
        return _samme(train, inputs, *_classes(targets, classes), rounds, shrinkage)
    return _gradient(train, inputs, targets, rounds, kind, shrinkage, classes)


def _samme(
    train: Train, inputs: Any, y: NDArray[np.int64], count: int, rounds: int, shrinkage: float
) -> Boosted:
    n = len(y)
    weights = np.full(n, 1 / n)
    stages, alphas, errors = [], [], []
    for number in range(rounds):
        predict = train(inputs, y, weights * n, number)
        wrong = _labels(predict(inputs), count, n) != y
        error = float(weights[wrong].sum())
        if error >= 1 - 1 / count:
            if not stages:
                raise ValueError(
                    f"the first model is wrong on {error:.3f} of the weight, no better than "
                    f"chance among {count} classes"
                )
            break
        # A model without an error would count without bound: it ends the sequence.
        alpha = shrinkage * (np.log((1 - error) / max(error, 1e-12)) + np.log(count - 1))
        stages.append(predict)
        alphas.append(alpha if error > 0 else shrinkage)
        errors.append(error)
        if error == 0:
            break
        weights = weights * np.exp(alpha * wrong)
        weights /= weights.sum()
    return Boosted(
        tuple(stages), np.array(alphas), np.array(errors), np.zeros(count), count, "samme"
    )


def _gradient(
    train: Train,
    inputs: Any,
    targets: ArrayLike,
    rounds: int,
    kind: str,
    shrinkage: float,
    classes: int | None,
) -> Boosted:
    if kind == "logit":
        y, count = _classes(targets, classes)
        goal: Floats = np.eye(count)[y]
    else:
        goal, count = checks.finite(targets, "targets"), 0
    start = np.zeros(count) if count else np.zeros(())
    total = np.zeros_like(goal)
    ones = np.ones(len(goal))
    stages, errors = [], []
    for number in range(rounds):
        left = goal - (special.softmax(total, axis=1) if count else total)
        predict = train(inputs, left, ones, number)
        found = np.asarray(predict(inputs), np.float64)
        if found.shape != goal.shape:
            raise ValueError(f"a model must predict {goal.shape} numbers, got {found.shape}")
        total = total + shrinkage * found
        stages.append(predict)
        if count:
            log_p = special.log_softmax(total, axis=1)
            errors.append(-float((goal * log_p).sum(1).mean()))
        else:
            errors.append(float(np.square(goal - total).mean()))
    weights = np.full(len(stages), shrinkage)
    return Boosted(tuple(stages), weights, np.array(errors), start, count, kind)


def _classes(targets: ArrayLike, classes: int | None) -> tuple[NDArray[np.int64], int]:
    y = np.asarray(targets)
    if y.ndim != 1 or not len(y) or y.dtype.kind not in "iub" or y.min() < 0:
        raise ValueError("targets must be (cases,) classes, whole numbers from 0")
    count = int(y.max()) + 1 if classes is None else classes
    if count < 2 or y.max() >= count:
        raise ValueError(f"targets up to {y.max()} need two classes or more, got {count}")
    return y.astype(np.int64), count


def _labels(found: ArrayLike, classes: int, n: int | None = None) -> NDArray[np.int64]:
    values = np.asarray(found)
    labels = values.argmax(1) if values.ndim == 2 else values
    if labels.ndim != 1 or (n is not None and len(labels) != n):
        raise ValueError(f"a model must predict (cases,) classes or scores, got {values.shape}")
    if (labels != np.round(labels)).any() or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"a model must predict classes, whole numbers in 0..{classes - 1}")
    return labels.astype(np.int64)
