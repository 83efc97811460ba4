"""Losses and metrics take (outputs, targets), as Optax; statistics labels first, as scikit-learn.

Both by name over every public function, and by what is said to arguments that were swapped.
"""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import bayes, losses, metrics, quantities, report, stats

TRUTHS = {"labels", "target", "targets", "truth", "positive", "true"}
SAID = {
    "hit", "mean", "means", "output", "outputs", "predicted", "prediction", "predictions",
    "probabilities", "probs", "rating", "samples", "scores", "sets",
}  # fmt: skip


def _pairs(module):
    """Each public function with one name of the truth and one of what was predicted."""
    for name in module.__all__:
        function = getattr(module, name)
        if not inspect.isfunction(function):
            continue
        taken = [
            p.name
            for p in inspect.signature(function).parameters.values()
            if p.kind is p.POSITIONAL_OR_KEYWORD
        ]
        truth = [i for i, p in enumerate(taken) if p in TRUTHS]
        said = [i for i, p in enumerate(taken) if p in SAID]
        if truth and said:
            yield f"{module.__name__}.{name}", truth[0] < said[0]


@pytest.mark.parametrize(
    ("modules", "labels_first", "at_least"),
    [((losses, metrics), False, 15), ((stats, bayes, report), True, 50)],
    ids=["outputs first", "labels first"],
)
def test_the_order_is_one_rule(modules, labels_first, at_least):
    found = dict(pair for module in modules for pair in _pairs(module))
    assert len(found) >= at_least
    assert [name for name, first in found.items() if first != labels_first] == []


def test_the_parameters_of_losses_and_metrics_have_one_name():
    """Every loss and every accumulator: (outputs, targets, *, where); metrics also weigh."""
    for name in losses.__all__:
        function = getattr(losses, name)
        taken = list(inspect.signature(function).parameters)
        if inspect.isfunction(function) and "targets" in taken:
            assert taken[:2] == ["outputs", "targets"], name
            assert "where" in taken, name
    for make in (metrics.accuracy, metrics.auc, metrics.brier, metrics.dice, metrics.ece,
                 metrics.f1, metrics.mse, metrics.r2):  # fmt: skip
        taken = list(inspect.signature(make().from_batch).parameters)
        assert taken == ["outputs", "targets", "weight", "where"], make.__name__
    for name in quantities.__all__:
        assert "weight" not in inspect.signature(getattr(quantities, name)).parameters, name


P, Y = np.array([0.2, 0.7, 0.6]), np.array([0, 1, 1])
MANY, CLASSES = np.eye(3)[[0, 1, 2]] * 0.7 + 0.1, np.array([0, 1, 2])


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.evaluate(metrics.accuracy(activation=None), Y, P),
        lambda: metrics.evaluate(metrics.auc(), CLASSES, MANY),
        lambda: metrics.evaluate(metrics.brier(activation=None), Y, P),
        lambda: metrics.evaluate(metrics.dice(), np.zeros((1, 4), int), np.zeros((1, 4, 2))),
        lambda: jax.jit(metrics.f1().from_batch)(Y, P),
        lambda: losses.cross_entropy(jnp.asarray(CLASSES), jnp.asarray(MANY)),
        lambda: losses.binary_cross_entropy(jnp.asarray(Y), jnp.asarray(P)),
        lambda: losses.dice(jnp.zeros((1, 4), int), jnp.zeros((1, 4, 2))),
        lambda: losses.ordinal(jnp.asarray(CLASSES), jnp.asarray(MANY)),
    ],
)
def test_swapped_outputs_and_targets_are_told(call):
    with pytest.raises(ValueError, match=r"the order is \(outputs, targets\)"):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: stats.accuracy(P, Y, threshold=0.5),
        lambda: stats.accuracy(MANY, CLASSES),
        lambda: stats.auc(P, Y),
        lambda: stats.brier(P, Y),
        lambda: stats.confusion(MANY, CLASSES),
        lambda: stats.ece(P, Y),
        lambda: stats.f1(P, Y, threshold=0.5),
        lambda: stats.multiclass_auc(MANY, CLASSES),
        lambda: stats.average_precision(P, Y),
        lambda: stats.delong_test(P, Y, Y),
    ],
)
def test_swapped_labels_and_scores_are_told(call):
    with pytest.raises(ValueError, match=r"the order is \(labels, scores\)"):
        call()
