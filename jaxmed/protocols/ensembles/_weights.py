"""Weights of models that are chosen by a loss."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from jaxmed import stats
from jaxmed.protocols.ensembles._models import (
    Floats,
    Loss,
    Models,
    loss_of,
    models_of,
    truth_of,
)
from jaxmed.stats import checks

Constraint = Literal["simplex", "nonnegative", "none"]


class EnsembleWeights(NamedTuple):
    """How much each model counts; made by :func:`weighted_average` and :func:`greedy_selection`.

    Attributes:
        weights: model to its weight.
        estimates: model to its weight with an interval over cases, the models being given.
        loss: of the weighted average on the cases that chose the weights, so too good; of an AUC 1
            less it.
        by: which loss that is.
    """

    weights: dict[str, float]
    estimates: dict[str, stats.Estimate]
    loss: float
    by: Loss

    def combine(self, predictions: Mapping[str, ArrayLike]) -> Floats:
        """Average predictions of the same models by the weights, in the shape they have.

        Raises:
            ValueError: for other models or shapes.
        """
        if set(predictions) != set(self.weights):
            raise ValueError(
                f"weights are of {sorted(self.weights)}, predictions of {sorted(predictions)}"
            )
        models = models_of(predictions, numbers=self.by == "squared")
        share = np.array([self.weights[name] for name in models.names])
        return models.given(np.tensordot(share, models.values, 1))


def weighted_average(
    predictions: Mapping[str, ArrayLike],
    labels: ArrayLike,
    *,
    loss: Loss = "log",
    constraint: Constraint = "simplex",
    groups: ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 200,
    seed: int = 0,
) -> EnsembleWeights:
    r"""Find the weights by which the mean of several models predicts best.

    .. math:: \min_w \; \overline{\ell\Big(y, \sum_m w_m p_m\Big)}

    Give predictions of cases that the models were not trained on: out-of-fold ones, or a
    validation part.

    Args:
        predictions: model to probabilities (cases, classes), (cases,) of the second of two
            classes, or numbers (cases,) for ``"squared"``.
        labels: (cases,) classes from 0, or numbers.
        loss: ``"log"``, ``"brier"``, ``"squared"`` (of numbers), or ``"auc"``, of several classes
            the mean over classes; it is raised from the best of the models and their mean by
            search along the models, which finds a local optimum.
        constraint: ``"simplex"``: not negative, with a sum of 1; of ``"brier"`` and ``"squared"``
            also ``"nonnegative"``, or ``"none"``, plain least squares.
        groups: (cases,) patient of each case: whole patients are drawn for the intervals.
        level: confidence level.
        n_resamples: bootstrap resamples; weights are found anew on each.
        seed: same seed, same intervals.

    Returns:
        The weights, percentile intervals, the loss reached, and how to combine predictions.

    Raises:
        ValueError: for predictions of other shapes, what is no probability, labels that are no
            classes, a loss or constraint that does not exist or does not go with the loss.

    References:
        Breiman (1996), Stacked regressions, Machine Learning 24 (why weights are not negative). Yao
        et al. (2018), Using stacking to average Bayesian predictive distributions, Bayesian
        Analysis 13 (by the log loss).

    Examples:
        >>> y = [0, 1, 1, 0, 1]
        >>> good, coin = [0.1, 0.9, 0.8, 0.2, 0.9], [0.5] * 5
        >>> found = weighted_average({"good": good, "coin": coin}, y)
        >>> {name: round(weight, 3) for name, weight in found.weights.items()}
        {'good': 1.0, 'coin': 0.0}
    """
    models = models_of(predictions, numbers=loss == "squared")
    truth = truth_of(labels, models, loss)
    if constraint not in ("simplex", "nonnegative", "none"):
        raise checks.unknown("constraint", constraint, ("simplex", "nonnegative", "none"))
    if constraint != "simplex" and loss not in ("brier", "squared"):
        raise ValueError(
            f"constraint={constraint!r} is of squared losses: a mixture for the loss {loss!r} has "
            "weights on the simplex"
        )

    solve = functools.partial(best_weights, loss=loss, constraint=constraint)
    return _estimated(models, truth, solve, loss, groups, level, n_resamples, seed)


def greedy_selection(
    predictions: Mapping[str, ArrayLike],
    labels: ArrayLike,
    *,
    loss: Loss = "log",
    rounds: int = 50,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 200,
    seed: int = 0,
) -> EnsembleWeights:
    """Build an average by adding, round by round, the model that helps it most.

    A model may be added again, so that its weight is how often it was. Of many models few are
    taken, and of few rounds none is weighed finely, which keeps a small validation part from being
    fitted too well.

    Args:
        predictions: as :func:`weighted_average` takes them.
        labels: (cases,) classes from 0, or numbers.
        loss: as of :func:`weighted_average`.
        rounds: models added, the best single one first; of equal ones the earlier in order.
        groups: (cases,) patient of each case.
        level: confidence level.
        n_resamples: bootstrap resamples; models are selected anew on each.
        seed: same seed, same intervals.

    Returns:
        The weights, as of :func:`weighted_average`.

    Raises:
        ValueError: as :func:`weighted_average`, or for no round.

    References:
        Caruana et al. (2004), Ensemble selection from libraries of models, ICML.

    Examples:
        >>> y = [0, 1, 1, 0, 1]
        >>> good, coin = [0.1, 0.9, 0.8, 0.2, 0.9], [0.5] * 5
        >>> greedy_selection({"good": good, "coin": coin}, y, rounds=5).weights
        {'good': 1.0, 'coin': 0.0}
    """
    rounds = checks.check_whole(rounds, "rounds", 1)
    models = models_of(predictions, numbers=loss == "squared")
    truth = truth_of(labels, models, loss)

    def solve(values: Floats, truth: Floats) -> Floats:
        counts = np.zeros(len(values))
        total = np.zeros_like(values[0])
        for made in range(1, rounds + 1):
            reached = [loss_of((total + own) / made, truth, loss) for own in values]
            best = int(np.argmin(reached))
            counts[best] += 1
            total = total + values[best]
        return counts / rounds

    return _estimated(models, truth, solve, loss, groups, level, n_resamples, seed)


def best_weights(
    values: Floats, truth: Floats, *, loss: Loss, constraint: Constraint = "simplex"
) -> Floats:
    """The weights (models,) of least loss, of outputs (models, cases, outputs)."""
    if loss == "log":
        chosen = np.maximum((values * truth).sum(-1), 1e-12)
        return stats.model_weights(np.log(chosen).T)
    if loss == "auc":
        return _climbed(values, truth)
    return _least_squares(values, truth, constraint)


def _estimated(
    models: Models,
    truth: Floats,
    solve: Callable[[Floats, Floats], Floats],
    loss: Loss,
    groups: ArrayLike | None,
    level: float,
    n_resamples: int,
    seed: int,
) -> EnsembleWeights:
    solved: dict[bytes, Floats] = {}

    def of(rows: np.ndarray) -> Floats:
        # The same resamples are asked for once a model, and solved once.
        name = rows.tobytes()
        if name not in solved:
            solved[name] = solve(models.values[:, rows], truth[rows])
        return solved[name]

    rows = np.arange(len(truth))
    weights = of(rows)
    estimates = {
        name: stats.bootstrap(
            lambda rows, i=i: of(rows)[i], rows, groups=groups, method="percentile", level=level,
            n_resamples=n_resamples, seed=seed, name=f"weight of {name}",
        )
        for i, name in enumerate(models.names)
    }  # fmt: skip
    reached = loss_of(np.tensordot(weights, models.values, 1), truth, loss)
    by_name = {name: float(w) for name, w in zip(models.names, weights, strict=True)}
    return EnsembleWeights(by_name, estimates, reached, loss)


def _least_squares(values: Floats, truth: Floats, constraint: Constraint) -> Floats:
    a, b = values.reshape(len(values), -1).T, truth.ravel()
    if constraint == "none":
        return np.asarray(np.linalg.lstsq(a, b, rcond=None)[0], np.float64)
    if constraint == "nonnegative":
        return np.asarray(optimize.nnls(a, b)[0], np.float64)
    # With a sum of 1 it is |(A - b 1) w| that is least; a row that outweighs all others holds the
    # sum.
    scale = max(1.0, float(np.abs(a).max())) * len(b) ** 0.5
    held = 1e4 * scale
    rows = np.concatenate([a - b[:, None], np.full((1, a.shape[1]), held)])
    found = optimize.nnls(rows, np.concatenate([np.zeros(len(b)), [held]]))[0]
    return found / found.sum()


def _climbed(values: Floats, truth: Floats) -> Floats:
    """Weights on the simplex by steps towards single models, the largest gain first."""
    count = len(values)
    starts = [*np.eye(count), np.full(count, 1 / count)]

    def reached(weights: Floats) -> float:
        return loss_of(np.tensordot(weights, values, 1), truth, "auc")

    losses = [reached(start) for start in starts]
    best, least = starts[int(np.argmin(losses))], min(losses)
    for step in (0.3, 0.1, 0.03, 0.01):
        for _ in range(50):
            moves = [(1 - step) * best + step * corner for corner in np.eye(count)]
            found = [reached(move) for move in moves]
            if min(found) >= least:
                break
            best, least = moves[int(np.argmin(found))], min(found)
    return best
