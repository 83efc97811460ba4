"""Principal components of a stream of batches, as a learner."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import (
    Batch,
    Endpoints,
    Inputs,
    Key,
    Learner,
    LearnerState,
    Metrics,
    PyTree,
    stream,
)
from jaxmed.stats import checks
from jaxmed.unsupervised._batch import batch_rows, one_array, over
from jaxmed.unsupervised._rows import parts
from jaxmed.unsupervised.components._pca import PCA, assembled, leading


def pca_learner(n: int, *, inputs: Inputs = "image") -> Learner:
    """Find principal components of a stream of batches: exact, however they are cut.

    A step adds the batch's mean and products to those so far, and nothing is forgotten: neither
    the order of batches nor their size nor the number of devices changes the result, to rounding.
    Memory grows with the square of the number of features.

    Args:
        n: the number of components.
        inputs: the batch's array whose rows are taken; an image's axes count as one.

    Returns:
        The learner. ``state["net"]`` holds ``count``, ``mean`` (d,) and ``scatter`` (d, d), sums of
        products about the mean; :func:`fitted_pca` makes a :class:`PCA` of it on the host, and
        :func:`merged_pca` joins two that saw different rows. ``predict`` gives ``features``, the
        coordinates (m, n). Its metric ``loss`` is the mean squared distance of the rows so far from
        their mean: nothing is minimised. Rows of weight 0 do not count, and one of weight 2 is two.

    Raises:
        ValueError: for n below 1; at ``init``, if rows have fewer than n features.

    References:
        Chan, Golub and LeVeque (1983), Algorithms for computing the sample variance, The American
        Statistician 37:242.

    Examples:
        >>> run = pca_learner(1)
        >>> batch = {"image": jnp.array([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])}
        >>> state, _ = run.step(run.init(jax.random.key(0), batch), batch)
        >>> fitted_pca(state, 1).variances
        array([5.], dtype=float32)
    """
    n = checks.check_whole(n, "n", 1)

    def init(key: Key, batch: Batch) -> LearnerState:
        x, _, _ = batch_rows(batch, inputs)
        d = x.shape[1]
        parts(n, d, "n", "features")
        net = {
            "count": jnp.zeros((), x.dtype),
            "mean": jnp.zeros((d,), x.dtype),
            "scatter": jnp.zeros((d, d), x.dtype),
        }
        return LearnerState(
            step=jnp.zeros((), jnp.int32),
            params={"net": {}, "obj": {}},
            state={"net": net, "obj": {}},
            opt_state=(),
            key=stream(key, "run"),
        )

    def step(current: LearnerState, batch: Batch) -> tuple[LearnerState, Metrics]:
        x, weight, _ = batch_rows(batch, inputs)
        count = weight.sum()
        mean = over(weight @ x, count)
        centred = (x - mean) * jnp.sqrt(weight)[:, None]
        scatter = jnp.matmul(centred.T, centred, precision=jax.lax.Precision.HIGHEST)
        net = _joined(current.state["net"], {"count": count, "mean": mean, "scatter": scatter})
        state = current._replace(step=current.step + 1, state={**current.state, "net": net})
        return state, {"loss": over(jnp.trace(net["scatter"]), net["count"])}

    def predict(current: LearnerState, given: PyTree) -> Endpoints:
        net = current.state["net"]
        x = one_array(given)
        x = x.reshape(x.shape[0], -1).astype(net["mean"].dtype)
        _, vectors = jnp.linalg.eigh(net["scatter"])
        components = vectors[:, ::-1][:, :n].T
        largest = jnp.abs(components).argmax(1)
        signs = jnp.sign(jnp.take_along_axis(components, largest[:, None], 1))
        product = jnp.matmul(
            x - net["mean"], (components * signs).T, precision=jax.lax.Precision.HIGHEST
        )
        return {"features": product}

    return Learner(init, step, predict)


def fitted_pca(state: LearnerState, n: int) -> PCA:
    """Make the components of what a :func:`pca_learner` has seen.

    Args:
        state: of the learner.
        n: the number of components; any, whatever the learner predicts with.

    Returns:
        The components, from an eigendecomposition in float64.

    Raises:
        ValueError: for fewer than two rows, or more components than directions in which they vary.
    """
    net = {name: np.asarray(value) for name, value in state.state["net"].items()}
    count, d = float(net["count"]), len(net["mean"])
    if count < 2:
        raise ValueError(f"the learner has seen {count:g} row(s): components need 2")
    n = parts(n, min(int(count) - 1, d), "n", f"directions of {count:g} rows of {d} features")
    scatter = net["scatter"].astype(np.float64) / (count - 1)
    variances, components = leading(scatter, n)
    total = float(np.trace(scatter))
    return assembled(
        net["mean"].astype(np.float64), components, variances, total, round(count),
        net["mean"].dtype,
    )  # fmt: skip


def merged_pca(first: LearnerState, second: LearnerState) -> LearnerState:
    """Join two states of a :func:`pca_learner` that saw different rows: one that saw both.

    The key is the first one's; steps are added up.
    """
    net = _joined(first.state["net"], second.state["net"])
    return first._replace(step=first.step + second.step, state={**first.state, "net": net})


def _joined(first: PyTree, second: PyTree) -> PyTree:
    """Counts, means and scatters of the rows behind either."""
    count = first["count"] + second["count"]
    gap = second["mean"] - first["mean"]
    share = over(second["count"], count)
    between = (first["count"] * share) * jnp.outer(gap, gap)
    return {
        "count": count,
        "mean": first["mean"] + share * gap,
        "scatter": first["scatter"] + second["scatter"] + between,
    }
