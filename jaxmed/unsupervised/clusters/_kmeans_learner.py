"""k-means over batches, as a learner."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import (
    Array,
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
from jaxmed.unsupervised._distances import nearest, sums_by_label
from jaxmed.unsupervised.clusters._starts import plus_plus


def kmeans_learner(k: int, *, inputs: Inputs = "image", reassign: float = 0.01) -> Learner:
    """Cluster a stream of batches: k-means as a learner.

    Each centre is the mean of all rows that were nearest to it when they came. With it ``fit``,
    checkpoints and several devices serve clustering as they serve a network, and
    ``ensemble(kmeans_learner(k), n)`` makes n starts at once.

    Args:
        k: the number of clusters; the first batch must have as many rows.
        inputs: the batch's array whose rows are clustered; an image's axes count as one.
        reassign: a centre with fewer rows than this share of the largest one's is moved to a row
            of the batch, drawn by its squared distance from its centre. It is looked for once
            ``10 k`` rows have passed since the last time; 0 moves none.

    Returns:
        The learner. ``params["net"]["centres"]`` is (k, ...) in the shape of a row,
        ``state["net"]["counts"]`` (k,) the weight of the rows behind each. Its metrics are the
        ``loss``, which is the mean squared distance to the nearest centre before the step, and
        ``moved``, centres that were moved. ``predict`` gives ``logits``, minus the squared
        distances (n, k), and ``cluster``, the nearest centre's index (n,). Rows of weight 0 do
        not count.

    Raises:
        ValueError: for k below 1 or a share outside [0, 1); at ``init``, if the batch has fewer
            than k rows.

    References:
        Sculley (2010), Web-scale k-means clustering, WWW.

    Examples:
        >>> batch = {"image": jnp.array([[0.0], [1.0], [8.0], [9.0]])}
        >>> run = kmeans_learner(2)
        >>> state, _ = run.step(run.init(jax.random.key(0), batch), batch)
        >>> sorted(state.params["net"]["centres"].ravel().tolist())
        [0.5, 8.5]
    """
    k = checks.check_whole(k, "k", 1)
    checks.check_number(reassign, "reassign", within=(0, 1))

    def init(key: Key, batch: Batch) -> LearnerState:
        x, weight, shape = batch_rows(batch, inputs)
        if x.shape[0] < k:
            raise ValueError(
                f"k is {k}, but the first batch has {x.shape[0]} rows, of which the centres are "
                "drawn: make batches larger"
            )
        origin = over(weight @ x, weight.sum())
        centres = plus_plus(stream(key, "start"), x - origin, weight, k) + origin
        return LearnerState(
            step=jnp.zeros((), jnp.int32),
            params={"net": {"centres": centres.reshape(k, *shape)}, "obj": {}},
            state={
                "net": {"counts": jnp.zeros((k,), x.dtype)},
                "obj": {"since_moved": jnp.zeros((), x.dtype)},
            },
            opt_state=(),
            key=stream(key, "run"),
        )

    def step(current: LearnerState, batch: Batch) -> tuple[LearnerState, Metrics]:
        x, weight, _ = batch_rows(batch, inputs)
        given = current.params["net"]["centres"]
        counts = current.state["net"]["counts"]
        origin = over(weight @ x, weight.sum())
        x, centres = x - origin, given.reshape(k, -1) - origin
        labels, distances = nearest(x, centres)
        loss = over(weight @ distances, weight.sum())
        one = jnp.concatenate([x, jnp.ones_like(weight)[:, None]], 1) * weight[:, None]
        total = sums_by_label(one, labels, k)
        new_counts = counts + total[:, -1]
        # The mean of all rows so far: what Sculley's rate of 1 / count comes to over a batch.
        moves = over(total[:, :-1] - total[:, -1:] * centres, new_counts[:, None])
        centres = centres + moves
        since = current.state["obj"]["since_moved"] + (weight > 0).sum()
        starved = (new_counts < reassign * new_counts.max()) & (since >= 10 * k)
        key = stream(current.key, "step", current.step)
        rows, moved = _far_rows(key, weight * distances, starved)
        centres = jnp.where(moved[:, None], x[rows], centres)
        # As much behind it as behind the least of the others, or it would be moved again.
        least = jnp.where(starved, jnp.inf, new_counts).min()
        new_counts = jnp.where(moved, least, new_counts)
        since = jnp.where(starved.any(), 0, since)
        state = LearnerState(
            step=current.step + 1,
            params={**current.params, "net": {"centres": (centres + origin).reshape(given.shape)}},
            state={"net": {"counts": new_counts}, "obj": {"since_moved": since}},
            opt_state=current.opt_state,
            key=current.key,
        )
        return state, {"loss": loss, "moved": moved.sum().astype(x.dtype)}

    def predict(current: LearnerState, given: PyTree) -> Endpoints:
        centres = current.params["net"]["centres"].reshape(k, -1)
        x = one_array(given)
        x = x.reshape(x.shape[0], -1).astype(centres.dtype)
        origin = centres.mean(0)
        x, centres = x - origin, centres - origin
        product = jnp.matmul(x, centres.T, precision=jax.lax.Precision.HIGHEST)
        squared = (x**2).sum(1)[:, None] + (centres**2).sum(1) - 2 * product
        return {"logits": -jnp.maximum(squared, 0), "cluster": nearest(x, centres)[0]}

    return Learner(init, step, predict)


def _far_rows(key: Key, mass: Array, wanted: Array) -> tuple[Array, Array]:
    """For each wanted centre another row, drawn by its mass; and which have got one."""
    n, k = mass.shape[0], wanted.shape[0]
    noise = jax.random.gumbel(stream(key, "reassign"), (n,), mass.dtype)
    score, order = jax.lax.top_k(jnp.log(mass) + noise, min(n, k))
    rank = jnp.cumsum(wanted) - 1
    # At most half of a batch: the rest shows whether the new centres are better.
    within = wanted & (rank < max(1, min(n, k, n // 2)))
    rank = jnp.clip(rank, 0, min(n, k) - 1)
    return order[rank], within & jnp.isfinite(score[rank])
