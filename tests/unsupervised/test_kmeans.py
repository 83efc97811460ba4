"""k-means and k-means as a learner."""

from __future__ import annotations

import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans as SklearnKMeans

import jaxmed as jm
from jaxmed import unsupervised as un
from jaxmed.testing import check_learner

KEY = jax.random.key(0)


def blobs(n=90, d=3, k=3, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    which = rng.integers(0, k, n)
    return rng.normal(0, 6, (k, d))[which] + rng.normal(size=(n, d)) + offset, which


def inertia_of(x, centres, weight=None):
    squared = ((x[:, None] - centres) ** 2).sum(-1).min(1)
    return squared @ (np.ones(len(x)) if weight is None else weight)


def test_the_same_start_ends_where_scikit_learn_ends():
    x, _ = blobs(seed=2)
    start = x[[0, 1, 2]]
    with jax.enable_x64(True):
        ours = un.kmeans(KEY, x, 3, start=start, tolerance=0)
    theirs = SklearnKMeans(3, init=start, n_init=1, tol=0).fit(x)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-9)
    assert ours.inertia == pytest.approx(inertia_of(x, ours.centres), rel=1e-9)
    assert (ours.assign(x).labels == theirs.labels_).all()
    assert ours.converged
    assert ours.counts.tolist() == np.bincount(theirs.labels_).tolist()


def test_inertia_never_rises_and_an_offset_costs_no_precision():
    x, _ = blobs(seed=3)
    start = x[:3]
    held = [
        un.kmeans(KEY, x, 3, start=start, max_steps=steps, tolerance=0) for steps in (1, 2, 3, 9)
    ]
    assert all(a.inertia >= b.inertia * (1 - 1e-6) for a, b in itertools.pairwise(held))
    far = un.kmeans(KEY, x + 1e5, 3, start=start + 1e5, tolerance=0)
    assert far.inertia == pytest.approx(held[-1].inertia, rel=1e-5)
    assert (far.assign(x + 1e5).labels == held[-1].assign(x).labels).all()


def test_the_optimum_in_one_dimension():
    x = np.random.default_rng(1).normal(size=24) ** 3
    row = np.sort(x)
    cost = {
        (i, j): ((row[i:j] - row[i:j].mean()) ** 2).sum()
        for i, j in itertools.combinations(range(25), 2)
    }
    best = min(
        cost[0, i] + cost[i, j] + cost[j, 24] for i, j in itertools.combinations(range(1, 24), 2)
    )
    found = un.kmeans(KEY, x, 3, restarts=40, tolerance=0)
    assert best * (1 - 1e-5) <= found.inertia <= best * 1.001


def test_weights_are_copies_and_chunks_change_nothing():
    x, _ = blobs(40, seed=4)
    counts = np.random.default_rng(0).integers(0, 3, 40)
    start = x[counts > 0][:3]
    weighted = un.kmeans(KEY, x, 3, start=start, weight=counts, tolerance=0)
    copied = un.kmeans(KEY, np.repeat(x, counts, axis=0), 3, start=start, tolerance=0)
    np.testing.assert_allclose(weighted.centres, copied.centres, rtol=1e-4, atol=1e-4)
    assert weighted.inertia == pytest.approx(copied.inertia, rel=1e-5)
    assert weighted.counts.sum() == counts.sum()
    chunked = un.kmeans(KEY, x, 3, start=start, weight=counts, tolerance=0, chunk=7)
    np.testing.assert_allclose(chunked.centres, weighted.centres, rtol=1e-5, atol=1e-5)


def test_empty_clusters_are_moved_and_counted():
    x = np.array([0.0, 0.1, 9.0, 9.1])[:, None]
    found = un.kmeans(KEY, x, 2, start=[[0.0], [100.0]], tolerance=0)
    assert found.moved == 1
    assert sorted(found.centres.ravel().round(3)) == [0.05, 9.05]
    assert found.counts.tolist() == [2, 2]


def test_ties_go_to_the_lowest_index():
    model = un.KMeans(np.array([[1.0], [-1.0], [1.0]]), np.ones(3), 0.0, 1, True, 0)
    assert model.assign([[0.0], [1.0], [-2.0]]).labels.tolist() == [0, 0, 1]


def test_fewer_different_rows_than_clusters_warn():
    with pytest.warns(UserWarning, match="1 of 3 clusters are empty"):
        found = un.kmeans(KEY, [[0.0], [0.0], [1.0], [1.0]], 3)
    assert found.inertia == 0
    assert np.isfinite(found.centres).all()


def test_greedy_starts_find_what_random_ones_miss():
    x, _ = blobs(200, 2, 8, seed=5)
    ends = [un.kmeans(jax.random.key(i), x, 8, start="++").inertia for i in range(5)]
    plain = [un.kmeans(jax.random.key(i), x, 8, start="random").inertia for i in range(5)]
    assert np.mean(ends) < np.mean(plain)
    assert un.kmeans(KEY, x, 8, restarts=3).inertia <= un.kmeans(KEY, x, 8).inertia


def test_images_keep_their_shape():
    x = np.random.default_rng(0).random((9, 4, 5, 1))
    found = un.kmeans(KEY, x, 2)
    assert found.centres.shape == (2, 4, 5, 1)
    flat = un.kmeans(KEY, x.reshape(9, -1), 2)
    np.testing.assert_array_equal(found.centres.reshape(2, -1), flat.centres)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"x": np.ones((2, 2)), "k": 3}, "k is 3, but there are only 2 rows"),
        (
            {"x": [[0.0], [np.nan]], "k": 1},
            "NaN or infinities in 1 of 2 rows, the first at index 1",
        ),
        ({"k": 0}, "k must be at least 1"),
        ({"k": 2, "weight": [1, 0, 0]}, "only 1 rows of positive weight"),
        ({"k": 2, "weight": [1, 1]}, "weight must be \\(3,\\)"),
        ({"k": 2, "weight": [1, 1, -1]}, "not negative"),
        ({"k": 2, "start": [[0.0]]}, "start has 1 centres"),
        ({"k": 2, "start": [[0.0, 1.0]] * 2}, "start has 2 feature"),
        ({"k": 2, "start": "best"}, "start 'best' is not known"),
        ({"k": 2, "start": [[0.0], [1.0]], "restarts": 2}, "there is one start"),
        ({"x": [["a"]], "k": 1}, "must be real numbers"),
        ({"x": np.zeros((0, 2)), "k": 1}, "needs at least 1 row"),
        ({"x": np.zeros((3, 0)), "k": 1}, "has no feature"),
    ],
)
def test_what_kmeans_refuses(options, rule):
    with pytest.raises(ValueError, match=rule):
        un.kmeans(KEY, **{"x": [[0.0], [1.0], [2.0]], **options})


def test_other_features_and_traced_rows_are_refused():
    model = un.kmeans(KEY, [[0.0], [1.0]], 1)
    with pytest.raises(ValueError, match="x has 2 feature"):
        model.assign([[0.0, 1.0]])
    with pytest.raises(TypeError, match="x is traced"):
        jax.eval_shape(lambda x: un.kmeans(KEY, x, 1), jnp.ones((3, 2)))


# The learner.


def batch_of(x, **more):
    return {"image": jnp.asarray(x, jnp.float32), **more}


def test_the_learner_keeps_the_laws():
    x = np.random.default_rng(0).normal(size=(16, 2, 2, 1))
    assert "several devices equal one" in check_learner(un.kmeans_learner(3), batch_of(x))


def test_a_step_is_the_mean_of_all_rows_so_far():
    x, _ = blobs(30, 2, seed=6)
    run = un.kmeans_learner(3, reassign=0)
    state, step = jax.jit(run.init)(KEY, batch_of(x)), jax.jit(run.step)
    sums = np.zeros((3, 2))
    counts = np.zeros(3)
    centres = np.asarray(state.params["net"]["centres"], np.float64)
    for part in (x[:10], x[10:20], x[20:]):
        labels = ((part[:, None] - centres) ** 2).sum(-1).argmin(1)
        expected = ((part - centres[labels]) ** 2).sum(-1).mean()
        sums += np.eye(3)[labels].T @ part
        counts += np.bincount(labels, minlength=3)
        old, centres = centres, sums / np.maximum(counts, 1)[:, None]
        centres[counts == 0] = old[counts == 0]
        state, metrics = step(state, batch_of(part))
        assert float(metrics["loss"]) == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(state.params["net"]["centres"], centres, rtol=1e-4, atol=1e-4)
    assert state.state["net"]["counts"].tolist() == counts.tolist()
    ends = run.predict(state, jnp.asarray(x))
    np.testing.assert_array_equal(ends["cluster"], ends["logits"].argmax(1))


def test_padding_counts_for_nothing():
    x, _ = blobs(12, 2, seed=7)
    run = un.kmeans_learner(2)
    init, step = jax.jit(run.init), jax.jit(run.step)
    whole = init(KEY, batch_of(x))
    padded = batch_of(np.r_[x, x[:4] + 50], weight=jnp.arange(16) < 12)
    a, told = step(whole, batch_of(x))
    b, told_padded = step(whole, padded)
    np.testing.assert_allclose(a.params["net"]["centres"], b.params["net"]["centres"], atol=1e-4)
    assert float(told["loss"]) == pytest.approx(float(told_padded["loss"]), rel=1e-4)
    far = init(KEY, padded).params["net"]["centres"]
    assert float(jnp.abs(far).max()) < 40  # no padding row is a centre


def test_starved_centres_are_moved():
    x, _ = blobs(60, 2, seed=8)
    run = un.kmeans_learner(3, reassign=0.1)
    state = jax.jit(run.init)(KEY, batch_of(x))
    far = state.params["net"]["centres"].at[0].set(1e4)
    state = state._replace(params={**state.params, "net": {"centres": far}})
    step = jax.jit(run.step)
    moved = 0
    for _ in range(4):
        state, metrics = step(state, batch_of(x))
        moved += int(metrics["moved"])
    assert moved >= 1
    assert float(jnp.abs(state.params["net"]["centres"]).max()) < 100


def test_fit_and_ensembles_take_it(tmp_path):
    x, _ = blobs(64, 2, 4, seed=9)
    source = jm.data.ArraySource({"image": x.astype(np.float32)})
    batches = jm.data.Batches(source, 32, seed=0)
    result = jm.fit(
        jm.ensemble(un.kmeans_learner(4), 2), batches, steps=6, out=tmp_path, progress=False
    )
    centres = result.state.params["net"]["centres"]
    assert centres.shape == (2, 4, 2)
    best = min(inertia_of(x, np.asarray(c, np.float64)) for c in centres)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        least = SklearnKMeans(4, n_init=5, random_state=0).fit(x).inertia_
    assert best < 1.5 * least


def test_what_the_learner_refuses():
    with pytest.raises(ValueError, match="k must be at least 1"):
        un.kmeans_learner(0)
    with pytest.raises(ValueError, match=r"reassign must lie in \[0, 1\]"):
        un.kmeans_learner(2, reassign=2)
    with pytest.raises(ValueError, match="k is 5, but the first batch has 3 rows"):
        un.kmeans_learner(5).init(KEY, batch_of(np.ones((3, 2))))
    with pytest.raises(KeyError, match="no 'image'"):
        un.kmeans_learner(2).init(KEY, {"x": jnp.ones((3, 2))})
