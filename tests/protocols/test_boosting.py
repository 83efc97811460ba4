"""Boosting: scikit-learn's AdaBoost on the same stumps, closed forms of least squares."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed.protocols import boosting

ensemble = pytest.importorskip("sklearn.ensemble")
tree = pytest.importorskip("sklearn.tree")


def blobs(n=150, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return rng.normal(size=(n, 4)) + 0.8 * rng.normal(size=(classes, 4))[y], y


def stump(x, y, weights, number):
    model = tree.DecisionTreeClassifier(max_depth=1, random_state=0)
    return model.fit(x, y, sample_weight=weights).predict


@pytest.mark.parametrize("classes", [2, 3])
def test_samme_is_scikit_learns(classes):
    x, y = blobs(classes=classes)
    found = boosting(stump, x, y, rounds=12)
    model = ensemble.AdaBoostClassifier(
        tree.DecisionTreeClassifier(max_depth=1, random_state=0), n_estimators=12, random_state=0
    ).fit(x, y)
    np.testing.assert_allclose(found.weights, model.estimator_weights_[: len(found.weights)])
    np.testing.assert_allclose(found.errors, model.estimator_errors_[: len(found.errors)])
    np.testing.assert_array_equal(found.predict(x).argmax(1), model.predict(x))
    for m, staged in enumerate(model.staged_predict(x), start=1):
        np.testing.assert_array_equal(found.predict(x, stages=m).argmax(1), staged)


def test_votes_are_log_odds():
    x, y = blobs(classes=2)
    found = boosting(stump, x, y, rounds=5)
    votes = sum(w * (2 * s(x) - 1) for w, s in zip(found.weights, found.stages, strict=True))
    p = found.predict(x)
    np.testing.assert_allclose(np.log(p[:, 1] / p[:, 0]), votes, rtol=1e-6)


def least_squares(x, y, weights, number):
    a = np.column_stack([x, np.ones(len(x))])
    w = np.linalg.lstsq(a, y, rcond=None)[0]
    return lambda new: np.column_stack([new, np.ones(len(new))]) @ w


def test_boosted_least_squares_is_least_squares():
    x, _ = blobs()
    y = x @ [1.0, -2.0, 0.5, 0.0] + 3 + np.random.default_rng(1).normal(size=len(x))
    whole = least_squares(x, y, None, 0)(x)
    once = boosting(least_squares, x, y, rounds=3, kind="gradient")
    np.testing.assert_allclose(once.predict(x), whole)
    np.testing.assert_allclose(once.errors, np.square(y - whole).mean())
    slowly = boosting(least_squares, x, y, rounds=40, kind="gradient", shrinkage=0.3)
    np.testing.assert_allclose(slowly.predict(x), whole, atol=1e-4)
    part = boosting(least_squares, x, y, rounds=2, kind="gradient", shrinkage=0.5)
    np.testing.assert_allclose(part.predict(x), 0.75 * whole)
    np.testing.assert_allclose(part.predict(x, stages=1), 0.5 * whole)


def test_the_log_loss_falls_round_by_round():
    x, y = blobs()

    def small(x, targets, weights, number):
        models = [
            tree.DecisionTreeRegressor(max_depth=2, random_state=0).fit(x, t) for t in targets.T
        ]
        return lambda new: np.stack([m.predict(new) for m in models], 1)

    found = boosting(small, x, y, rounds=15, kind="logit", shrinkage=0.5)
    assert (np.diff(found.errors) < 0).all()
    p = found.predict(x)
    np.testing.assert_allclose(p.sum(1), 1)
    np.testing.assert_allclose(-np.log(p[np.arange(len(y)), y]).mean(), found.errors[-1])
    assert (p.argmax(1) == y).mean() > 0.8


def test_a_model_without_an_error_ends_it_and_one_of_chance_does():
    x, y = blobs()
    perfect = boosting(lambda x, y, w, i: lambda new: y[: len(new)], x, y, rounds=9)
    assert len(perfect.stages) == 1
    assert (perfect.predict(x).argmax(1) == y).all()

    def then_chance(x, y, weights, number):
        return stump(x, y, weights, number) if number < 2 else lambda new: (y + 1) % 3

    assert len(boosting(then_chance, x, y, rounds=9).stages) == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kind": "ada"}, "kind 'ada'"),
        ({"rounds": 0}, "rounds"),
        ({"shrinkage": 0.0}, r"\(0, 1\]"),
        ({"targets": [0.5] * 150}, "whole numbers from 0"),
        ({"targets": [0] * 150}, "two classes or more"),
        ({"train": lambda x, y, w, i: lambda new: (y + 1) % 3}, "no better than chance"),
        ({"train": lambda x, y, w, i: lambda new: y + 7}, r"in 0\.\.2"),
        ({"train": lambda x, y, w, i: lambda new: y[:3]}, r"got \(3,\)"),
        ({"kind": "gradient", "train": lambda x, y, w, i: lambda new: y[:3]}, r"\(150,\) numbers"),
    ],
)
def test_mistakes_are_told(options, told):
    x, y = blobs()
    given = {"train": stump, "inputs": x, "targets": y, "rounds": 3, **options}
    with pytest.raises(ValueError, match=told):
        boosting(**given)
