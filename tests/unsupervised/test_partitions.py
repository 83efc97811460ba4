"""Silhouettes, agreement of partitions, the number of clusters."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest
from sklearn import metrics as sk

from jaxmed import unsupervised as un

KEY = jax.random.key(0)


def random_labels(n, k, seed):
    return np.random.default_rng(seed).integers(0, k, n)


def test_silhouettes_are_scikit_learns():
    x = np.random.default_rng(0).normal(size=(40, 3)) + 1e4
    labels = np.r_[random_labels(38, 3, 1), 7, 9]  # two that are alone
    ours = un.silhouettes(x, labels)
    np.testing.assert_allclose(ours, sk.silhouette_samples(x, labels), atol=2e-5)
    with pytest.raises(ValueError, match="one cluster"):
        un.silhouettes(x, np.zeros(40))


@pytest.mark.parametrize("seed", range(4))
def test_agreement_is_scikit_learns(seed):
    a, b = random_labels(50, 3, seed), random_labels(50, 5, seed + 100)
    ari = un.adjusted_rand(a, b, n_resamples=50)
    nmi = un.normalised_mutual_information(a, b, n_resamples=50)
    assert ari.value == pytest.approx(sk.adjusted_rand_score(a, b), abs=1e-12)
    assert nmi.value == pytest.approx(sk.normalized_mutual_info_score(a, b), abs=1e-12)
    for estimate in (ari, nmi):
        assert estimate.lower <= estimate.value <= estimate.upper
    assert un.adjusted_rand(b, a, n_resamples=50).value == pytest.approx(ari.value, abs=1e-12)
    names = np.array(["x", "y", "z"])[a]
    assert un.adjusted_rand(names, b, n_resamples=50) == ari


def test_resamples_count_pairs_of_different_cases():
    """By enumeration of the copies: those of one case make no pair."""
    from jaxmed.unsupervised.clusters._agreement import _Tables

    a, b, groups = random_labels(12, 2, 0), random_labels(12, 3, 1), np.arange(12) // 3
    counts = np.array([[2, 0, 1, 3]])
    # Each copy of a patient has cases of its own; the copies of one patient make no pair.
    drawn = [(g, c) for g in range(4) for c in range(counts[0, g])]
    rows = [(i, g, c) for g, c in drawn for i in np.flatnonzero(groups == g)]
    both = first = second = pairs = 0
    for (i, g, c), (j, h, e) in itertools.permutations(rows, 2):
        if i == j or (g == h and c != e and i == j):
            continue
        same_copy_or_other = g != h or c == e
        if not same_copy_or_other:
            continue
        pairs += 1
        first += a[i] == a[j]
        second += b[i] == b[j]
        both += a[i] == a[j] and b[i] == b[j]
    found = [part[0] for part in _Tables(a, b, groups).pairs(counts)]
    assert found == [both, first, second, pairs]


def test_intervals_of_agreement_cover():
    """Of 150 samples from one population, about 95 % hold its index."""
    rng = np.random.default_rng(0)
    table = np.array([[0.25, 0.05, 0.03], [0.05, 0.3, 0.02], [0.1, 0.05, 0.15]])
    cells = rng.choice(9, size=200_000, p=table.ravel())
    truth = un.adjusted_rand(cells // 3, cells % 3, n_resamples=2).value
    held = 0
    for i in range(150):
        drawn = rng.choice(9, size=120, p=table.ravel())
        e = un.adjusted_rand(drawn // 3, drawn % 3, n_resamples=200, seed=i)
        held += e.lower <= truth <= e.upper
    assert held / 150 >= 0.9


@pytest.mark.parametrize("measure", [un.adjusted_rand, un.normalised_mutual_information])
def test_what_agreement_refuses(measure):
    with pytest.raises(ValueError, match="0 / 0"):
        measure([0, 0, 0], [1, 1, 1])
    with pytest.raises(ValueError, match="labels has 2, clusters has 3"):
        measure([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="labels are missing for 1 rows"):
        measure([0, None, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="2 patients"):
        measure([0, 1, 1], [0, 1, 0], groups=["a", "a", "a"])


@pytest.mark.parametrize("method", ["silhouette", "gap", "stability"])
def test_three_clusters_are_found(method):
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(m, 1, (30, 2)) for m in ([0, 0], [9, 0], [0, 9])])
    found = un.choose_k(
        KEY, x, range(1 if method == "gap" else 2, 5), method=method, n_resamples=5, restarts=2
    )
    assert found.k == 3
    assert found.models[3].centres.shape == (3, 2)
    for estimate in found.scores.values():
        assert estimate.lower <= estimate.value <= estimate.upper


def test_the_gap_may_choose_one_cluster():
    x = np.random.default_rng(0).normal(size=(60, 2))
    assert un.choose_k(KEY, x, range(1, 3), method="gap", n_resamples=10).k == 1


def test_what_choosing_refuses():
    x = np.random.default_rng(0).normal(size=(9, 2))
    with pytest.raises(ValueError, match='single cluster; method="gap"'):
        un.choose_k(KEY, x, range(1, 3))
    with pytest.raises(ValueError, match="asks for 9 clusters of 9 rows"):
        un.choose_k(KEY, x, [2, 9])
    with pytest.raises(ValueError, match="compares each k with the next"):
        un.choose_k(KEY, x, [2, 4], method="gap")
    with pytest.raises(ValueError, match="method 'elbow' is not known"):
        un.choose_k(KEY, x, [2], method="elbow")
