"""Probes against scikit-learn; episodes as pure functions of seed and index."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed.protocols import episode, knn_probe, linear_probe

sklearn_linear = pytest.importorskip("sklearn.linear_model")
sklearn_near = pytest.importorskip("sklearn.neighbors")


def blobs(classes=3, n=90, f=5, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    means = rng.normal(size=(classes, f))
    return means[y] * 1.5 + rng.normal(size=(n, f)) * [1, 5, 0.1, 1, 1], y


@pytest.mark.parametrize("classes", [2, 3])
def test_the_linear_probe_is_penalised_logistic_regression(classes):
    x, y = blobs(classes)
    probe = linear_probe(x, y, l2=0.1)
    z = (x - x.mean(0)) / x.std(0)
    # scikit-learn minimises C * sum of losses + |W|^2 / 2.
    model = sklearn_linear.LogisticRegression(C=1 / (0.1 * len(x)), tol=1e-10, max_iter=10_000)
    expected = model.fit(z, y).predict_proba(z)
    if classes == 2:
        # Of two classes the softmax's weights are +-w / 2, so the same penalty costs half.
        model = sklearn_linear.LogisticRegression(C=2 / (0.1 * len(x)), tol=1e-10, max_iter=10_000)
        expected = model.fit(z, y).predict_proba(z)
    np.testing.assert_allclose(probe.predict(x), expected, atol=2e-5)


def test_the_penalty_is_chosen_by_the_inner_folds():
    x, y = blobs(2, n=60, f=5)
    noise = np.random.default_rng(1).normal(size=(60, 200))
    wide = linear_probe(np.column_stack([x, noise]), y, l2=(1e-4, 1.0))
    assert wide.l2 == 1.0  # two hundred columns of noise want a strong penalty
    clear = linear_probe(np.column_stack([10.0 * y, x]), y, l2=(1e-4, 1.0))
    assert clear.l2 == 1e-4


def test_a_single_shot_takes_the_largest_penalty():
    x, y = blobs(3, n=3)
    assert linear_probe(x, y).l2 == 10.0


def test_a_class_without_cases_keeps_its_column():
    x, y = blobs(2)
    p = linear_probe(x, y, classes=4).predict(x)
    assert p.shape == (90, 4)
    np.testing.assert_allclose(p.sum(1), 1)
    assert p[:, 2:].max() < 0.05


def test_nearest_neighbours_vote_as_scikit_learn_counts_them():
    x, y = blobs(3)
    q = blobs(3, seed=0)[0][::7] + 0.1
    found = knn_probe(x, y, q, k=7, temperature=1e9)  # equal votes
    model = sklearn_near.KNeighborsClassifier(7, metric="cosine").fit(x, y)
    np.testing.assert_allclose(found, model.predict_proba(q), atol=1e-8)
    sharp = knn_probe(x, y, q, k=7, temperature=1e-3)
    nearest = model.kneighbors(q, 1, return_distance=False)[:, 0]
    assert (sharp.argmax(1) == y[nearest]).all()
    assert knn_probe(x, y, q, k=10_000).shape == (len(q), 3)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda x, y: linear_probe(x, y[:-1]), r"got \(90, 5\) and \(89,\)"),
        (lambda x, y: linear_probe(x, y + 0.5), "integers"),
        (lambda x, y: linear_probe(x, y, classes=2), r"0\.\.1, got 0\.\.2"),
        (lambda x, y: linear_probe(x, 0 * y), "two classes"),
        (lambda x, y: linear_probe(x, y, l2=0.0), "positive"),
        (lambda x, y: linear_probe(np.where(x > 2, np.nan, x), y), "not finite"),
        (lambda x, y: knn_probe(x, y, x[:, :2]), r"\(others, 5\)"),
        (lambda x, y: knn_probe(x, y, x, k=0), "k is at least 1"),
    ],
)
def test_faults_are_told(change, match):
    with pytest.raises(ValueError, match=match):
        change(*blobs())


def test_an_episode_depends_on_seed_and_index_alone():
    labels = np.random.default_rng(0).integers(0, 6, 400)
    options = {"ways": 5, "shots": 3, "queries": 10}
    one = episode(labels, **options, seed=4, index=9)
    again = episode(labels, **options, seed=4, index=9)
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    others = [episode(labels, **options, seed=4, index=i) for i in range(5)]
    assert len({tuple(e.support) for e in others}) == 5


def test_an_episode_holds_each_example_once_and_its_own_labels():
    labels = np.random.default_rng(0).integers(0, 4, 100)
    for index in range(20):
        one = episode(labels, ways=3, shots=2, queries=5, index=index)
        both = np.concatenate([one.support, one.query])
        assert len(np.unique(both)) == 3 * 7
        np.testing.assert_array_equal(labels[one.support], one.classes[one.support_label])
        np.testing.assert_array_equal(labels[one.query], one.classes[one.query_label])


def test_over_episodes_all_classes_are_drawn_alike():
    labels = np.repeat(np.arange(4), 10)
    drawn = [episode(labels, ways=2, shots=1, queries=1, index=i).classes for i in range(600)]
    share = np.bincount(np.concatenate(drawn)) / 600
    np.testing.assert_allclose(share, 0.5, atol=0.08)


def test_too_few_examples_are_told():
    with pytest.raises(ValueError, match=r"2 classes with 3 \+ 3 examples .*\{0: 9, 1: 2\}"):
        episode([0] * 9 + [1] * 2, ways=2, shots=3, queries=3)
    with pytest.raises(ValueError, match="at least 1"):
        episode([0, 1], ways=2, shots=0, queries=1)
