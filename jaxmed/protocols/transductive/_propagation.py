"""Labels that spread over a graph of labelled and unlabelled cases."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse import csgraph, linalg

from jaxmed.protocols.transductive._graph import checked_graph, neighbour_graph
from jaxmed.stats import checks
from jaxmed.unsupervised._rows import rows

Floats = NDArray[np.float64]
Kind = Literal["harmonic", "spreading", "poisson"]


class Propagated(NamedTuple):
    """What a graph says about the unlabelled cases; made by :func:`propagate`.

    Attributes:
        scores: (others, classes). Of ``"harmonic"`` and ``"spreading"`` probabilities, which add up
            to 1; of ``"poisson"`` real numbers, of which the largest decides.
        predicted: (others,) the class of the largest score, the first of equal ones.
        unreached: positions of the cases that no path joins to a label: their scores are the
            classes' shares alone.
        kind: how labels were spread.
    """

    scores: Floats
    predicted: NDArray[np.int64]
    unreached: NDArray[np.intp]
    kind: str

    def __repr__(self) -> str:
        n, classes = self.scores.shape
        lost = f", {len(self.unreached)} of them joined to no label" if len(self.unreached) else ""
        return f"Propagated({self.kind}: {n} cases in {classes} classes{lost})"


def label_propagation(
    features: ArrayLike,
    labels: ArrayLike,
    others: ArrayLike,
    *,
    kind: Kind = "harmonic",
    k: int = 10,
    classes: int | None = None,
    prior: ArrayLike | None = None,
    alpha: float = 0.99,
) -> Propagated:
    """Classify cases by a graph of nearest neighbours over labelled and unlabelled ones.

    Unlabelled cases join the classes: a case far from all labels is told by those between. Their
    images may be those of the test set, for nothing else of them is asked.

    Args:
        features: (n, ...) of the labelled cases: of a network, or images.
        labels: (n,) their classes, from 0.
        others: (m, ...) features of the unlabelled cases.
        kind: how labels spread, see :func:`propagate`.
        k: neighbours of each case.
        classes: number of classes; by default the largest label plus one.
        prior: (classes,) their shares among the unlabelled cases, if they are known.
        alpha: of ``"spreading"``.

    Returns:
        The classes of the unlabelled cases.

    Raises:
        ValueError: for features that do not fit or are not finite, no unlabelled case, and what
            :func:`propagate` refuses.

    Examples:
        >>> found = label_propagation([[0.0], [9.0]], [0, 1], [[1.0], [2.0], [7.0], [8.0]], k=1)
        >>> found.predicted.tolist(), found
        ([0, 0, 1, 1], Propagated(harmonic: 4 cases in 2 classes))
    """
    known, new = rows(features, "features"), rows(others, "others")
    if known.shape[1] != new.shape[1]:
        raise ValueError(f"features have {known.shape[1]} numbers a case, others {new.shape[1]}")
    if np.shape(labels) != (len(known),):
        raise ValueError(f"labels must be ({len(known)},), one a case, got {np.shape(labels)}")
    graph = neighbour_graph(np.concatenate([known, new]), k=k)
    return propagate(graph, labels, kind=kind, classes=classes, prior=prior, alpha=alpha)


def propagate(
    graph: Any,
    labels: ArrayLike,
    *,
    kind: Kind = "harmonic",
    classes: int | None = None,
    prior: ArrayLike | None = None,
    alpha: float = 0.99,
) -> Propagated:
    r"""Spread the labels of the first nodes of a graph over all others.

    With the weights :math:`W`, the degrees :math:`D` and :math:`L = D - W`:

    * *harmonic*: each unlabelled node has the weighted mean of its neighbours' probabilities,
      :math:`L_{uu} F_u = W_{ul} Y`. Labels stay as they are.
    * *spreading*: :math:`(I - \alpha D^{-1/2} W D^{-1/2}) F = Y`, rows then brought to a sum of 1.
      Labels are evidence like their neighbours', so that single wrong ones count less.
    * *Poisson*: labels are sources and sinks, :math:`L F = Y - \bar y` at the labelled nodes and 0
      elsewhere, with a mean of 0 by degree. It is made for one or a few labels a class, where
      harmonic functions are flat everywhere but beside the labels. In a part of the graph whose
      labels are all of one class that class has the score 1, any other 0.

    Args:
        graph: (nodes, nodes) symmetric weights, sparse or dense, as :func:`neighbour_graph` makes
            them; labelled nodes stand first.
        labels: (n,) classes of the first n nodes, from 0.
        kind: which of the three.
        classes: number of classes; by default the largest label plus one.
        prior: (classes,) their shares among the unlabelled cases. Scores are then scaled: harmonic
            and spread ones so that the mean over reached cases is the prior (class mass
            normalisation), Poisson's by the prior over the labels' shares.
        alpha: of ``"spreading"``, in (0, 1): how much neighbours count beside a node's own label.

    Returns:
        Scores and classes of the other nodes.

    Raises:
        ValueError: for a graph that is not symmetric, finite and not negative, labels that are no
            whole numbers from 0 or leave no node to classify, a prior that is no distribution, an
            alpha outside (0, 1), or an unknown kind.
        RuntimeError: if the iterations of a solution do not converge.

    References:
        Zhu, Ghahramani and Lafferty (2003), Semi-supervised learning using Gaussian fields and
        harmonic functions, ICML. Zhou et al. (2003), Learning with local and global consistency,
        NeurIPS. Calder, Cook, Thorpe and Slepčev (2020), Poisson learning: graph based
        semi-supervised learning at very low label rates, ICML.

    Examples:
        >>> chain = np.diag(np.ones(3), 1) + np.diag(np.ones(3), -1)
        >>> order = [0, 3, 1, 2]  # the ends are labelled
        >>> found = propagate(chain[np.ix_(order, order)], [0, 1])
        >>> found.scores.round(3).tolist()
        [[0.667, 0.333], [0.333, 0.667]]
    """
    if kind not in ("harmonic", "spreading", "poisson"):
        raise checks.unknown("kind", kind, ("harmonic", "spreading", "poisson"))
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is in (0, 1), got {alpha}")
    y, count = _checked_labels(labels, classes)
    weights = checked_graph(graph, len(y))
    n, total = len(y), weights.shape[0]
    if n == total:
        raise ValueError("all nodes have a label: there is none to classify")
    shares = np.bincount(y, minlength=count) / n
    wanted = None if prior is None else _checked_prior(prior, count)
    part = csgraph.connected_components(weights, directed=False)[1]
    reached = np.isin(part, part[:n])
    hot = np.eye(count)[y]
    scores = np.tile(shares if wanted is None else wanted, (total, 1))
    if reached[n:].any():
        inside = np.flatnonzero(reached)
        solve = {"harmonic": _harmonic, "spreading": _spreading, "poisson": _poisson}[kind]
        found = solve(weights[inside][:, inside], hot, part[inside], alpha)
        if kind != "poisson":
            found = _shares(np.maximum(found, 0), shares)
        if wanted is not None:
            found = _with_prior(found, wanted, shares, n, kind)
        scores[inside] = found
    scores = scores[n:]
    unreached = np.flatnonzero(~reached[n:])
    return Propagated(scores, scores.argmax(1), unreached, kind)


def _harmonic(weights: sparse.csr_array, hot: Floats, part: NDArray, alpha: float) -> Floats:
    n = len(hot)
    laplacian = csgraph.laplacian(weights).tocsr()
    solved = _solved(laplacian[n:, n:], weights[n:, :n] @ hot)
    return np.concatenate([hot, solved])


def _spreading(weights: sparse.csr_array, hot: Floats, part: NDArray, alpha: float) -> Floats:
    nodes = weights.shape[0]
    scale = sparse.diags_array(_inverse(np.sqrt(weights.sum(1))))
    system = sparse.eye_array(nodes, format="csr") - alpha * (scale @ weights @ scale)
    start = np.zeros((nodes, hot.shape[1]))
    start[: len(hot)] = hot
    return _solved(system, start)


def _poisson(weights: sparse.csr_array, hot: Floats, part: NDArray, alpha: float) -> Floats:
    nodes, n = weights.shape[0], len(hot)
    degree = weights.sum(1)
    # Each connected part is a problem of its own, with sources that add up to 0.
    codes = np.unique(part, return_inverse=True)[1]
    members = sparse.csr_array((np.ones(nodes), (codes, np.arange(nodes))))
    labelled = members[:, :n] @ hot
    mean = labelled / labelled.sum(1, keepdims=True)
    source = np.zeros((nodes, hot.shape[1]))
    source[:n] = hot - mean[codes[:n]]
    found = _solved(csgraph.laplacian(weights).tocsr(), source)
    mass = members @ degree
    middle = (members @ (degree[:, None] * found)) * _inverse(mass)[:, None]
    found -= middle[codes]
    alone = (labelled > 0).sum(1) == 1
    return np.where(alone[codes][:, None], mean[codes], found)


def _solved(system: sparse.csr_array, right: Floats) -> Floats:
    """The solution for each column, by conjugate gradients scaled by the diagonal.

    A sparse factor of such graphs fills up: memory would grow with the square of the nodes.
    """
    scale = sparse.diags_array(_inverse(system.diagonal()))
    columns = []
    for column in right.T:
        found, failed = linalg.cg(system, column, rtol=1e-8, atol=0, maxiter=10_000, M=scale)
        if failed:
            raise RuntimeError(
                f"conjugate gradients did not converge on {len(column)} nodes in 10,000 steps: "
                "the graph's weights differ too much; take weights='binary', or fewer neighbours"
            )
        columns.append(found)
    return np.stack(columns, axis=1)


def _inverse(values: Floats) -> Floats:
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)


def _with_prior(found: Floats, prior: Floats, shares: Floats, n: int, kind: str) -> Floats:
    if kind == "poisson":
        return found * (prior * _inverse(shares))
    return _shares(found * (prior * _inverse(found[n:].mean(0))), prior)


def _shares(found: Floats, otherwise: Floats) -> Floats:
    """Rows brought to a sum of 1; those of zeros become what is given otherwise."""
    total = found.sum(1, keepdims=True)
    return np.where(total > 0, found * _inverse(total), otherwise)


def _checked_labels(labels: ArrayLike, classes: int | None) -> tuple[NDArray[np.int64], int]:
    y = np.asarray(labels)
    if y.ndim != 1 or not len(y):
        raise ValueError(f"labels must be (n,) with a label or more, got the shape {y.shape}")
    if y.dtype.kind not in "iub":
        raise ValueError(f"labels must be whole numbers from 0, got {y.dtype}")
    count = int(y.max()) + 1 if classes is None else checks.check_whole(classes, "classes", 1)
    if y.min() < 0 or y.max() >= count:
        raise ValueError(
            f"labels must be in 0..{count - 1}, got {y.min()} to {y.max()}: give labelled cases "
            "alone, the others have none"
        )
    return y.astype(np.int64), count


def _checked_prior(prior: ArrayLike, classes: int) -> Floats:
    found = checks.finite(prior, "prior")
    if found.shape != (classes,) or (found < 0).any() or not np.isclose(found.sum(), 1):
        raise ValueError(f"prior must be {classes} shares that add up to 1, got {found}")
    return found
