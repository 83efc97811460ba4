"""Pools, weights and stacks of models: closed forms, SciPy's solvers, what must not leak."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special

from jaxmed.protocols import (
    Runs,
    greedy_selection,
    pool,
    stacked_runs,
    stacking,
    weighted_average,
)

FEW = {"n_resamples": 20}


def models(seed=0, n=120, classes=3, skills=(0.3, 1.0, 1.5)):
    """Labels, and probabilities of models of rising skill."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    made = {
        f"m{i}": special.softmax(rng.normal(size=(n, classes)) + s * np.eye(classes)[y], axis=1)
        for i, s in enumerate(skills)
    }
    return made, y


def brier(weights, predictions, y):
    mixed = np.tensordot(weights, list(predictions.values()), 1)
    return np.square(mixed - np.eye(mixed.shape[1])[y]).sum(1).mean()


@given(st.integers(0, 2**16))
def test_pools_are_means_of_probabilities_and_of_logarithms(seed):
    made, _ = models(seed, n=9)
    weights = dict(zip(made, np.random.default_rng(seed).random(3) + 0.1, strict=True))
    share = np.array(list(weights.values())) / sum(weights.values())
    values = np.stack(list(made.values()))
    np.testing.assert_allclose(pool(made, weights), np.tensordot(share, values, 1))
    log = special.softmax(np.tensordot(share, np.log(values), 1), axis=1)
    np.testing.assert_allclose(pool(made, weights, kind="logarithmic"), log, rtol=1e-9)
    swapped = dict(reversed(made.items()))
    np.testing.assert_allclose(pool(swapped, weights), pool(made, weights))


def test_two_classes_may_be_one_number():
    made, y = models(classes=2)
    flat = {name: p[:, 1] for name, p in made.items()}
    for loss in ("log", "brier", "auc"):
        both = weighted_average(made, y, loss=loss, **FEW)
        one = weighted_average(flat, y, loss=loss, **FEW)
        assert one.weights == pytest.approx(both.weights, abs=1e-6)
        np.testing.assert_allclose(one.combine(flat), both.combine(made)[:, 1], rtol=1e-5)
    np.testing.assert_allclose(pool(flat), pool(made)[:, 1])
    np.testing.assert_allclose(stacking(flat, y).out_of_fold, stacking(made, y).out_of_fold[:, 1])


def test_squared_weights_are_scipys():
    made, y = models()
    a = np.stack([p.ravel() for p in made.values()], 1)
    b = np.eye(3)[y].ravel()
    free = weighted_average(made, y, loss="brier", constraint="none", **FEW)
    np.testing.assert_allclose(list(free.weights.values()), np.linalg.lstsq(a, b)[0])
    positive = weighted_average(made, y, loss="brier", constraint="nonnegative", **FEW)
    np.testing.assert_allclose(list(positive.weights.values()), optimize.nnls(a, b)[0])
    found = weighted_average(made, y, loss="brier", **FEW)
    expected = optimize.minimize(
        brier, np.full(3, 1 / 3), (made, y), bounds=[(0, 1)] * 3, method="SLSQP",
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, options={"ftol": 1e-14},
    )  # fmt: skip
    np.testing.assert_allclose(list(found.weights.values()), expected.x, atol=1e-5)
    np.testing.assert_allclose(found.loss, expected.fun, rtol=1e-9)


def test_numbers_are_averaged_by_least_squares():
    rng = np.random.default_rng(0)
    y = rng.normal(size=80)
    made = {"a": y + rng.normal(size=80), "b": y + 2 * rng.normal(size=80)}
    found = weighted_average(made, y, loss="squared", **FEW)
    a, b = made["a"] - made["b"], y - made["b"]
    np.testing.assert_allclose(found.weights["a"], a @ b / (a @ a), rtol=1e-5)
    np.testing.assert_allclose(sum(found.weights.values()), 1)
    np.testing.assert_allclose(np.square(found.combine(made) - y).mean(), found.loss)


@pytest.mark.parametrize("loss", ["log", "brier", "auc"])
def test_an_average_is_at_least_the_best_model_and_the_mean(loss):
    made, y = models()
    found = weighted_average(made, y, loss=loss, **FEW)
    for name in made:
        alone = weighted_average({name: made[name]}, y, loss=loss, **FEW)
        assert alone.weights == {name: 1.0}
        assert found.loss <= alone.loss + 1e-9
    mean = weighted_average({"mean": pool(made)}, y, loss=loss, **FEW)
    assert found.loss <= mean.loss + 1e-9
    for name, estimate in found.estimates.items():
        assert estimate.lower <= estimate.upper
        assert estimate.value == found.weights[name]


def test_a_constant_model_counts_for_nothing_and_order_changes_nothing():
    made, y = models(skills=(1.0, 1.5))
    made["constant"] = np.full((len(y), 3), 1 / 3)
    sure = {**made, "m1": 0.9 * np.eye(3)[y] + 0.1 / 3}
    first = weighted_average(sure, y, **FEW).weights
    assert first["constant"] < 1e-6
    last = weighted_average(dict(reversed(sure.items())), y, **FEW).weights
    for name, weight in first.items():
        np.testing.assert_allclose(last[name], weight, atol=1e-5)


def test_patients_are_drawn_whole():
    made, y = models()
    found = weighted_average(made, y, loss="brier", groups=np.arange(120) // 4, **FEW)
    assert found.estimates["m0"].n == 30
    assert found.estimates["m0"].unit == "patient"


def test_greedy_selection_is_caruanas():
    made, y = models()
    values, hot = np.stack(list(made.values())), np.eye(3)[y]
    counts, total = np.zeros(3), np.zeros_like(values[0])
    for made_so_far in range(1, 8):
        losses = [np.square((total + v) / made_so_far - hot).sum(1).mean() for v in values]
        counts[np.argmin(losses)] += 1
        total += values[np.argmin(losses)]
    found = greedy_selection(made, y, loss="brier", rounds=7, **FEW)
    np.testing.assert_allclose(list(found.weights.values()), counts / 7)


@pytest.mark.parametrize("meta", ["simplex", "nonnegative", "logistic"])
def test_a_stack_is_no_worse_than_its_models(meta):
    made, y = models(n=300)
    stack = stacking(made, y, meta=meta)
    rows = np.arange(len(y))
    loss = {n: -np.log(p[rows, y]).mean() for n, p in made.items()}
    reached = -np.log(stack.out_of_fold[rows, y]).mean()
    assert reached < min(loss.values()) + 0.05
    np.testing.assert_allclose(stack.predict(made).sum(1), 1)
    np.testing.assert_allclose(stack.out_of_fold.sum(1), 1)
    assert (stack.weights is None) == (meta == "logistic")


def test_no_patient_is_on_both_sides_of_a_fold():
    made, y = models(n=60)
    patients = np.arange(60) // 2
    seen = []

    def meta(inputs, labels):
        mine = {tuple(row) for row in inputs.round(9)}

        def predict(new):
            seen.append((mine, {tuple(row) for row in new.round(9)}))
            return np.full((len(new), 3), 1 / 3)

        return predict

    stacking(made, y, meta=meta, groups=patients)
    inputs = np.concatenate(list(made.values()), axis=1).round(9)
    owner = {tuple(row): patient for row, patient in zip(inputs, patients, strict=True)}
    assert len(seen) == 5
    for train, test in seen:
        assert not {owner[r] for r in train} & {owner[r] for r in test}


def test_a_stack_of_one_is_itself():
    made, y = models(skills=(1.0,))
    np.testing.assert_allclose(stacking(made, y).out_of_fold, made["m0"])


def test_a_finished_study_is_stacked_without_training():
    made, y = models(n=90)
    outputs = {name: np.stack([p, p[::-1][::-1]]) for name, p in made.items()}
    runs = Runs(y, outputs, ((0, 0), (0, 1)), tuple(map(str, y)), tuple(np.arange(90) // 3))
    found = stacked_runs(runs)
    assert list(found.outputs) == ["m0", "m1", "m2", "mean", "stack"]
    np.testing.assert_allclose(found.outputs["mean"][0], pool(made))
    expected = stacking(made, y, groups=runs.groups).out_of_fold
    np.testing.assert_allclose(found.outputs["stack"][1], expected)
    with pytest.raises(ValueError, match="none of them called mean or stack"):
        stacked_runs(found)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda p, y: pool({}), "no model"),
        (lambda p, y: pool(p, kind="mean"), "kind 'mean'"),
        (lambda p, y: pool(p, {"m0": 1.0}), r"weights are of \['m0'\]"),
        (lambda p, y: pool(p, dict.fromkeys(p, 0.0)), "all 0"),
        (lambda p, y: pool({**p, "x": p["m0"][:5]}), r"shape \(5, 3\)"),
        (lambda p, y: pool({"logits": 3 * p["m0"]}), "must be probabilities"),
        (lambda p, y: pool({"odd": p["m0"] * np.nan}), "predictions of odd"),
        (lambda p, y: weighted_average(p, y + 1), r"whole numbers in 0\.\.2"),
        (lambda p, y: weighted_average(p, y[:5]), r"must be \(120,\)"),
        (lambda p, y: weighted_average(p, y, loss="rmse"), "loss 'rmse'"),
        (lambda p, y: weighted_average(p, y, constraint="none"), "of squared losses"),
        (lambda p, y: weighted_average(p, y, constraint="sum"), "constraint 'sum'"),
        (lambda p, y: greedy_selection(p, y, rounds=0), "rounds"),
        (lambda p, y: stacking(p, y, meta="forest"), "meta 'forest'"),
        (lambda p, y: stacking(p, y).predict({"m0": p["m0"]}), r"predictions are of \['m0'\]"),
        (lambda p, y: stacking(p, y, meta=lambda x, y: lambda x: x), "meta-model gives the shape"),
        (lambda p, y: weighted_average(p, y, **FEW).combine({}), r"predictions of \[\]"),
    ],
)
def test_mistakes_are_told(call, told):
    made, y = models()
    with pytest.raises(ValueError, match=told):
        call(made, y)
