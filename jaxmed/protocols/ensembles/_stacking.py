"""Stacking: a small model of what several models predict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.data import folds as split_folds
from jaxmed.protocols.ensembles._models import Floats, Models, models_of, truth_of
from jaxmed.protocols.ensembles._weights import best_weights
from jaxmed.protocols.episodes._probe import linear_probe
from jaxmed.protocols.studies._tidy import Runs
from jaxmed.stats import checks

Meta = str | Callable[[Floats, NDArray[np.int64]], Callable[[Floats], ArrayLike]]
"""``"simplex"``, ``"nonnegative"``, ``"logistic"``, or ``(inputs, labels) -> (inputs -> p)``."""
_METAS = ("simplex", "nonnegative", "logistic")
_PENALTY = 0.1  # Of the logistic regression, on standardised log probabilities.


class Stacked(NamedTuple):
    """A model of models; made by :func:`stacking`.

    Attributes:
        predict: from predictions of the same models to the stack's probabilities.
        out_of_fold: what the stack predicts of the cases that made it, each by a stack that was
            made without it and without its patient: for a fair comparison with the models.
        weights: model to its weight, where the stack is a weighted average.
    """

    predict: Callable[[Mapping[str, ArrayLike]], Floats]
    out_of_fold: Floats
    weights: dict[str, float] | None


def stacking(
    predictions: Mapping[str, ArrayLike],
    labels: ArrayLike,
    *,
    meta: Meta = "simplex",
    folds: int = 5,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> Stacked:
    """Make one model of several, by what they predict of cases they were not trained on.

    Args:
        predictions: model to out-of-fold probabilities (cases, classes), or (cases,) of the second
            of two classes. Those of cases that a model was trained on favour the one that knows
            them by heart.
        labels: (cases,) classes from 0.
        meta: ``"simplex"``, the weighted average of lowest log loss; ``"nonnegative"``, of lowest
            Brier score with weights that need not add up to 1, brought to probabilities;
            ``"logistic"``, multinomial logistic regression of the log probabilities, with a
            penalty; or a function ``(inputs, labels) -> (inputs -> probabilities)`` whose inputs
            are (cases, models x classes) probabilities.
        folds: of the cross-validation that makes ``out_of_fold``, stratified.
        groups: (cases,) patient of each case, never on both sides of a fold.
        seed: of the folds.

    Returns:
        The stack, made of all cases.

    Raises:
        ValueError: for predictions or labels as :func:`weighted_average` refuses them, an unknown
            meta, or what a function of one's own gives in another shape.

    References:
        Wolpert (1992), Stacked generalization, Neural Networks 5. van der Laan, Polley and Hubbard
        (2007), Super learner, Statistical Applications in Genetics and Molecular Biology 6.

    Examples:
        >>> y = np.arange(40) % 2
        >>> good, coin = 0.2 + 0.6 * y, np.full(40, 0.5)
        >>> made = stacking({"good": good, "coin": coin}, y)
        >>> made.predict({"good": [0.9], "coin": [0.5]}).round(3).tolist()
        [0.9]
    """
    if not callable(meta) and meta not in _METAS:
        raise checks.unknown("meta", meta, _METAS)
    models = models_of(predictions)
    truth = truth_of(labels, models, "log")
    y = truth.argmax(1)
    whole, weights = _fitted(models, y, meta)
    held = np.zeros_like(truth)
    parts = split_folds(
        len(y),
        folds,
        stratify=y,
        seed=seed,
        groups=None if groups is None else np.asarray(groups).tolist(),
    )
    for part in parts:
        made, _ = _fitted(models._replace(values=models.values[:, part.train]), y[part.train], meta)
        held[part.test] = made(models.values[:, part.test])

    def predict(predictions: Mapping[str, ArrayLike]) -> Floats:
        if set(predictions) != set(models.names):
            raise ValueError(
                f"the stack is of {sorted(models.names)}, predictions are of {sorted(predictions)}"
            )
        new = models_of({name: predictions[name] for name in models.names})
        if new.values.shape[2] != truth.shape[1]:
            raise ValueError(f"the stack has {truth.shape[1]} classes, not {new.values.shape[2]}")
        return new.given(whole(new.values))

    return Stacked(predict, models.given(held), weights)


def stacked_runs(runs: Runs, *, meta: Meta = "simplex", folds: int = 5, seed: int = 0) -> Runs:
    """Add the arms' stack and mean to the predictions of a finished study, without training.

    Args:
        runs: of :func:`~jaxmed.protocols.runs_of`: out-of-fold predictions of every arm.
        meta: as :func:`stacking` takes it.
        folds: of the cross-validation by which the stack predicts, by patient where they are known.
        seed: of the folds.

    Returns:
        The runs with two more arms, ``mean`` and ``stack``, to be compared as any other.

    Raises:
        ValueError: fewer than two arms, arms of these names, or what :func:`stacking` refuses.
    """
    if len(runs.outputs) < 2 or {"mean", "stack"} & set(runs.outputs):
        raise ValueError(
            f"two arms or more, none of them called mean or stack, got {sorted(runs.outputs)}"
        )
    mean = np.mean(list(runs.outputs.values()), axis=0)
    stack = [
        stacking(
            {arm: found[i] for arm, found in runs.outputs.items()}, runs.labels, meta=meta,
            folds=folds, groups=runs.groups, seed=seed,
        ).out_of_fold
        for i in range(len(runs.runs))
    ]  # fmt: skip
    return runs._replace(outputs={**runs.outputs, "mean": mean, "stack": np.stack(stack)})


def _fitted(models: Models, y: Any, meta: Meta) -> tuple[Callable, dict[str, float] | None]:
    """A function from (models, cases, classes) to (cases, classes), and the weights if any."""
    classes = models.values.shape[2]
    if callable(meta):
        own = meta(_inputs(models.values), y)

        def by_own(values: Floats) -> Floats:
            found = checks.finite(own(_inputs(values)), "the meta-model's output", ndim=2)
            if found.shape != values.shape[1:]:
                raise ValueError(
                    f"the meta-model gives the shape {found.shape}, not (cases, classes) "
                    f"{values.shape[1:]}"
                )
            return found

        return by_own, None
    if meta == "logistic":
        probe = linear_probe(_logs(models.values), y, classes=classes, l2=_PENALTY)
        return lambda values: probe.predict(_logs(values)), None
    options: Any = (
        {"loss": "log"} if meta == "simplex" else {"loss": "brier", "constraint": "nonnegative"}
    )
    share = best_weights(models.values, np.eye(classes)[y], **options)
    weights = dict(zip(models.names, share.tolist(), strict=True))

    def average(values: Floats) -> Floats:
        found = np.tensordot(share, values, 1)
        total = found.sum(1, keepdims=True)
        return np.where(total > 0, found / np.where(total > 0, total, 1), 1 / classes)

    return average, weights


def _inputs(values: Floats) -> Floats:
    return np.moveaxis(values, 0, 1).reshape(values.shape[1], -1)


def _logs(values: Floats) -> Floats:
    return np.log(np.maximum(_inputs(values), 1e-6))
