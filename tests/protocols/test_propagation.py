"""Labels spread over graphs: closed forms, dense solutions, scikit-learn, bad input."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from jaxmed.protocols import label_propagation, neighbour_graph, propagate

semi_supervised = pytest.importorskip("sklearn.semi_supervised")
KINDS = ("harmonic", "spreading", "poisson")


def blobs(n=90, classes=3, f=4, labelled=6, spread=1.0, seed=0):
    """Features with the labelled cases first, and the class of each."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = 4 * rng.normal(size=(classes, f))[y] + spread * rng.normal(size=(n, f))
    return x, y, labelled


def laplacian(graph):
    return np.diag(graph.sum(0)) - graph


def connected(seed=0, n=30):
    """A dense connected graph with random weights."""
    rng = np.random.default_rng(seed)
    graph = np.triu(rng.random((n, n)) * (rng.random((n, n)) < 0.2), 1)
    graph[np.arange(n - 1), np.arange(1, n)] += 0.1
    return graph + graph.T


@given(st.integers(0, 2**16))
def test_each_kind_is_its_equation(seed):
    graph, n = connected(seed), 5
    y = np.array([0, 1, 2, 1, 0])
    hot, full = np.eye(3)[y], laplacian(graph)
    found = {kind: propagate(sparse.csr_array(graph), y, kind=kind).scores for kind in KINDS}

    harmonic = np.linalg.solve(full[n:, n:], graph[n:, :n] @ hot)
    np.testing.assert_allclose(found["harmonic"], harmonic, atol=1e-6)

    root = 1 / np.sqrt(graph.sum(0))
    system = np.eye(len(graph)) - 0.99 * root[:, None] * graph * root
    spread = np.linalg.solve(system, np.concatenate([hot, np.zeros((len(graph) - n, 3))]))[n:]
    expected = spread / spread.sum(1, keepdims=True)
    np.testing.assert_allclose(found["spreading"], expected, atol=1e-5)

    source = np.zeros((len(graph), 3))
    source[:n] = hot - hot.mean(0)
    poisson = np.linalg.pinv(full, rcond=1e-10, hermitian=True) @ source
    degree = graph.sum(0)
    poisson -= degree @ poisson / degree.sum()
    np.testing.assert_allclose(found["poisson"], poisson[n:], atol=1e-5)


@pytest.mark.parametrize("kind", ["harmonic", "spreading"])
def test_scikit_learn_agrees(kind):
    x, y, n = blobs()
    graph = neighbour_graph(x, k=8)
    dense = graph.toarray()
    # scikit-learn iterates towards the same limit, on a kernel that it is given.
    options = {"kernel": lambda a, b: dense, "max_iter": 5000, "tol": 1e-10}
    if kind == "harmonic":
        model = semi_supervised.LabelPropagation(**options)
    else:
        model = semi_supervised.LabelSpreading(alpha=0.9, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x, np.where(np.arange(len(y)) < n, y, -1))
    found = label_propagation(x[:n], y[:n], x[n:], kind=kind, k=8, alpha=0.9)
    np.testing.assert_allclose(found.scores, model.label_distributions_[n:], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_few_labels_classify_separated_cases(kind):
    x, y, n = blobs(n=150, labelled=3)
    found = label_propagation(x[:n], y[:n], x[n:], kind=kind)
    assert (found.predicted == y[n:]).mean() > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_nodes_and_the_names_of_classes_change_nothing(kind):
    graph, y = connected(3), np.array([0, 1, 2, 1])
    found = propagate(graph, y, kind=kind).scores
    rng = np.random.default_rng(0)
    order = np.concatenate([rng.permutation(4), 4 + rng.permutation(len(graph) - 4)])
    swap = np.array([2, 0, 1])
    other = propagate(graph[np.ix_(order, order)], swap[y[order[:4]]], kind=kind).scores
    np.testing.assert_allclose(other[:, swap], found[order[4:] - 4], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_cases_that_no_label_reaches_are_named(kind):
    graph = np.zeros((7, 7))
    for i, j in ((0, 2), (1, 3), (4, 5)):  # 4 and 5 know each other alone, 6 nobody
        graph[i, j] = graph[j, i] = 1
    found = propagate(graph, [0, 1], kind=kind, prior=[0.9, 0.1])
    assert found.unreached.tolist() == [2, 3, 4]
    np.testing.assert_allclose(found.scores[2:], [[0.9, 0.1]] * 3)
    assert found.predicted[:2].tolist() == [0, 1]
    assert "3 of them joined to no label" in repr(found)
    assert np.isfinite(found.scores).all()


def test_poisson_tells_a_part_of_one_class():
    graph = np.zeros((5, 5))
    graph[0, 2] = graph[2, 0] = graph[1, 3] = graph[3, 1] = graph[3, 4] = graph[4, 3] = 1
    assert propagate(graph, [1, 0], kind="poisson").predicted.tolist() == [1, 0, 0]


@pytest.mark.parametrize("kind", ["harmonic", "spreading"])
def test_a_prior_is_met_in_the_mean(kind):
    graph = connected(1)
    prior = np.array([0.6, 0.3, 0.1])
    bare = propagate(graph, [0, 1, 2], kind=kind).scores
    found = propagate(graph, [0, 1, 2], kind=kind, prior=prior).scores
    np.testing.assert_allclose(found.sum(1), 1)
    scaled = bare * (prior / bare.mean(0))
    np.testing.assert_allclose(found, scaled / scaled.sum(1, keepdims=True), atol=1e-6)


def test_copies_of_an_image_have_its_label():
    x = np.concatenate([np.zeros((9, 2)), np.ones((9, 2))])
    found = label_propagation(x[[0, 9]], [0, 1], np.delete(x, [0, 9], 0), k=4)
    assert not np.isnan(found.scores).any()
    assert found.predicted.tolist() == [0] * 8 + [1] * 8


def test_labels_of_the_other_cases_are_not_asked_for():
    """They could only be given by mistake: nothing takes them."""
    assert list(inspect.signature(label_propagation).parameters)[:3] == [
        "features", "labels", "others",
    ]  # fmt: skip
    x, y, n = blobs()
    with pytest.raises(ValueError, match=r"labels must be \(6,\), one a case, got \(90,\)"):
        label_propagation(x[:n], y, x[n:])


def test_graphs_have_the_nearest_rows():
    x = np.random.default_rng(0).normal(size=(40, 3))
    graph = neighbour_graph(x, k=4, weights="binary").toarray()
    distance = np.linalg.norm(x[:, None] - x[None], axis=2) + np.diag(np.full(40, np.inf))
    near = np.zeros((40, 40))
    np.put_along_axis(near, np.argsort(distance, 1)[:, :4], 1.0, 1)
    np.testing.assert_array_equal(graph, near + near.T)
    weights = neighbour_graph(x, k=4).toarray()
    reach = np.sort(distance, 1)[:, 3:4]
    own = near * np.exp(-4 * np.where(near > 0, distance, 0) ** 2 / reach**2)
    np.testing.assert_allclose(weights, own + own.T, rtol=1e-3)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda x, y: label_propagation(x, y, x, kind="knn"), "kind 'knn'"),
        (lambda x, y: label_propagation(x, y, x, alpha=1.0), r"alpha is in \(0, 1\)"),
        (lambda x, y: label_propagation(x, y - 1, x), "labels must be in 0..1"),
        (lambda x, y: label_propagation(x, y / 2, x), "whole numbers"),
        (lambda x, y: label_propagation(x, y, x[:, :1]), "others 1"),
        (lambda x, y: label_propagation(x, y, x * np.nan), "NaN"),
        (lambda x, y: label_propagation(x, y, x, k=99), "k=99"),
        (lambda x, y: label_propagation(x, y, x, k=2, prior=[1, 2, 3]), "prior must be 3 shares"),
        (lambda x, y: propagate(np.eye(6), y), "all nodes have a label"),
        (lambda x, y: propagate(np.eye(5), y), "5 nodes, and there are 6 labels"),
        (lambda x, y: propagate(np.triu(np.ones((9, 9))), y), "not symmetric"),
        (lambda x, y: propagate(-np.ones((9, 9)), y), "negative"),
        (lambda x, y: propagate(np.full((9, 9), np.nan), y), "not finite"),
        (lambda x, y: propagate(np.ones((9, 8)), y), r"\(n, n\)"),
        (lambda x, y: propagate(np.ones((9, 9)), []), "a label or more"),
        (lambda x, y: neighbour_graph(x, weights="dense"), "weights 'dense'"),
    ],
)
def test_mistakes_are_told(call, told):
    x, y, n = blobs(labelled=6)
    with pytest.raises(ValueError, match=told):
        call(x[:n], y[:n])
