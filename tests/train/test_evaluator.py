"""The evaluator gives what metrics and statistics give for the predictions of the whole source."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmed as jm
from jaxmed import metrics, stats

METRICS = {
    "val/auc": metrics.auc(),
    "val/accuracy": metrics.accuracy(),
    "val/log_loss": metrics.log_loss(),
    "val/ap": metrics.average_precision(),
}


@pytest.fixture(scope="module")
def run(toy):
    learner = toy.linear()
    return learner, learner.init(jax.random.key(0), toy.arrays(8))


def _wanted(learner, state, data):
    logits = jm.train.predict(learner, state, data, size=8).astype(np.float64)
    p, y = np.asarray(jax.nn.softmax(logits))[:, 1], data["label"]
    return {
        "val/auc": stats.auc(y, logits[:, 1] - logits[:, 0]).value,
        "val/accuracy": stats.accuracy(y, logits).value,
        "val/log_loss": stats.log_loss(y, p).value,
        "val/ap": stats.average_precision(y, logits[:, 1] - logits[:, 0]).value,
    }


def test_padding_and_order_do_not_count(run, toy):
    learner, state = run
    data = toy.arrays(21)
    found = jm.train.evaluator(learner, data, METRICS, size=8)(state)
    assert list(found) == list(METRICS)
    want = _wanted(learner, state, data)
    assert found == pytest.approx(want, rel=1e-5)
    shuffled = jm.train.evaluator(learner, toy.batches(21, 8), METRICS)(state)
    assert shuffled == pytest.approx(found, rel=1e-6)


def test_missing_labels_are_left_out(run, toy):
    learner, state = run
    data = toy.arrays(21)
    kept = np.arange(21) % 3 > 0
    want = _wanted(learner, state, {name: values[kept] for name, values in data.items()})
    hidden = {**data, "label": np.where(kept, data["label"], -1).astype(np.int32), "seen": kept}
    for known in (lambda label: label >= 0, "seen"):
        found = jm.train.evaluator(learner, hidden, METRICS, known=known, size=8)(state)
        assert found == pytest.approx(want, rel=1e-5)


def test_fit_keeps_the_best_state_by_it(toy):
    look = jm.train.evaluator(toy.linear(), toy.arrays(21, seed=1), METRICS, size=8)
    result = jm.fit(
        toy.linear(), toy.batches(), epochs=2, evaluate=look, monitor="val/auc", progress=False
    )
    assert [set(METRICS) <= set(row) for row in result.history] == [True, True]
    best = max(row["val/auc"] for row in result.history)
    assert look(result.best_state)["val/auc"] == pytest.approx(best) == result.best["val/auc"]


def test_members_are_measured_each_by_itself(run, toy):
    learner, state = run
    flipped = jax.tree.map(lambda w: -w, state.params)
    pair = learner._replace(
        predict=lambda s, x: {
            "logits": jnp.stack(
                [learner.predict(s, x)["logits"],
                 learner.predict(s._replace(params=flipped), x)["logits"]]
            )
        }
    )  # fmt: skip
    data = toy.arrays(21)
    found = jm.train.evaluator(pair, data, {"auc": metrics.auc()}, size=8, members=True)(state)
    assert found["auc"] == pytest.approx(0.5)  # an order and its reverse


def test_what_is_missing_is_told(run, toy):
    learner, state = run
    with pytest.raises(ValueError, match="at least one metric"):
        jm.train.evaluator(learner, toy.arrays(8), {})
    with pytest.raises(KeyError, match="mask"):
        jm.train.evaluator(learner, toy.arrays(8), METRICS, target="mask", size=8)(state)
    with pytest.raises(KeyError, match="deep"):
        jm.train.evaluator(learner, toy.arrays(8), METRICS, output="deep", size=8)(state)
    each = {"f1": metrics.f1(average=None)}
    with pytest.raises(ValueError, match="'f1' gives an array"):
        jm.train.evaluator(learner, toy.arrays(8), each, size=8)(state)
