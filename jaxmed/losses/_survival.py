"""Times to an event, some of them censored: hazards by intervals, Cox's partial likelihood.

Targets are `(batch, 2)`: the time from the start of observation to the event or to its end, and
whether it was the event (1) or the end (0: censored).
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array
from jaxmed.losses._inputs import at_least_float32, blank_missing, in_order, known


def discrete_hazard(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    edges: Sequence[float],
    where: jax.typing.ArrayLike | None = None,
) -> Array:
    r"""Negative log-likelihood of the interval of an event, one hazard for each interval.

    .. math::

        -\delta \log h_k - \sum_{j < k} \log(1 - h_j), \qquad h_j = \sigma(x_j)

    for an event in interval k, from the end of the one before to its own end. Who is censored has
    survived the intervals whose middle had passed; who is beyond the last end survived all. An
    example's loss is its own, so batches and padding change nothing, and hazards need not be
    proportional.

    Args:
        outputs: logits of the hazards `(batch, intervals)`.
        targets: `(batch, 2)`: time, and 1 for the event or 0 for censored. A negative time, or
            another event, that `where` does not mask gives NaN.
        edges: ends of the intervals, ascending from above 0, one for each; in the times' unit.
        where: True where the example counts, `(batch,)`.

    Returns:
        `(batch,)` in float32, nats; 0 where masked.

    Raises:
        ValueError: if shapes do not match, or the edges do not ascend.

    References:
        Gensheimer and Narasimhan, A scalable discrete-time survival model for neural networks,
        PeerJ 2019. Kvamme and Borgan, Continuous and discrete-time survival prediction with neural
        networks, Lifetime Data Anal. 2021.

    Examples:
        >>> targets = jnp.array([[1.5, 1.0], [1.5, 0.0]])
        >>> discrete_hazard(jnp.zeros((2, 3)), targets, edges=(1, 2, 3)).round(4)  # 2 and 2 log 2
        Array([1.3863, 1.3863], dtype=float32)
    """
    in_order(outputs, targets, name="discrete_hazard")
    x, time, event, weights = _read(outputs, targets, where, name="discrete_hazard")
    ends = check_edges(edges)
    if x.ndim != 2 or x.shape[1] != len(ends):
        raise ValueError(
            f"discrete_hazard: outputs {x.shape} must be (batch, {len(ends)}), a hazard for each "
            f"of the {len(ends)} intervals of edges"
        )
    starts = np.concatenate(([0.0], ends[:-1]))
    died = (event[:, None] > 0) & (time[:, None] > starts) & (time[:, None] <= ends)
    died = died.at[:, 0].set(died[:, 0] | ((event > 0) & (time == 0)))
    reached = jnp.where(event[:, None] > 0, jnp.float32(ends), jnp.float32((starts + ends) / 2))
    # An event survives the intervals that ended before it, a censoring those half behind it.
    lived = jnp.where(event[:, None] > 0, time[:, None] > reached, time[:, None] >= reached)
    value = jnp.where(died, jax.nn.softplus(-x), 0) + jnp.where(lived, jax.nn.softplus(x), 0)
    return _valued(value.sum(1), time, event, weights)


def discrete_survival(
    outputs: jax.typing.ArrayLike,
    *,
    edges: Sequence[float],
    times: Sequence[float] | None = None,
) -> Array:
    r"""Survival at the ends of the intervals of `discrete_hazard`, or at any times.

    .. math:: S(e_k) = \prod_{j \le k} (1 - h_j)

    Within an interval the hazard rate is taken for constant, so that log S is linear between the
    ends; beyond the last it stays.

    Args:
        outputs: logits of the hazards `(batch, intervals)`.
        edges: ends of the intervals.
        times: where to evaluate; the edges by default.

    Returns:
        `(batch, times)` in float32.

    Raises:
        ValueError: if the edges do not ascend or are not one for each interval.

    Examples:
        >>> discrete_survival(jnp.zeros((1, 2)), edges=(1, 2), times=(1, 1.5, 2)).round(3)
        Array([[0.5  , 0.354, 0.25 ]], dtype=float32)
    """
    x, ends = at_least_float32(outputs), check_edges(edges)
    if x.ndim != 2 or x.shape[1] != len(ends):
        raise ValueError(
            f"discrete_survival: outputs {x.shape} must be (batch, {len(ends)}), one for each edge"
        )
    log = jnp.concatenate([jnp.zeros((len(x), 1)), -jnp.cumsum(jax.nn.softplus(x), axis=1)], axis=1)
    knots = np.concatenate(([0.0], ends))
    at = np.asarray(ends if times is None else times, np.float64)
    if at.ndim != 1 or not (at >= 0).all():
        raise ValueError(f"discrete_survival: times must be a row of times from 0, got {times}")
    left = np.clip(np.searchsorted(knots, at, "right") - 1, 0, len(ends) - 1)
    share = np.clip((at - knots[left]) / (knots[left + 1] - knots[left]), 0, 1)
    return jnp.exp(log[:, left] * (1 - share) + log[:, left + 1] * share)


def cox(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
) -> Array:
    r"""Each event's part in Cox's negative log partial likelihood of the batch, Efron's ties.

    .. math::

        -\eta_i + \frac1{d_i} \sum_{l=0}^{d_i - 1} \log\Bigl(\sum_{j: t_j \ge t_i} e^{\eta_j}
        - \frac{l}{d_i} \sum_{j: t_j = t_i, \delta_j = 1} e^{\eta_j}\Bigr)

    It is a property of the batch: an event is compared with the examples of the batch that are
    still at risk, so another batch gives an example another loss, and a batch without an event,
    or with one that nobody outlived, gives none. Large batches, at best all cases, are for it
    (memory is that of all pairs); where they are small take `discrete_hazard`. Masked examples are
    in no risk set; padding has to be masked, as :func:`jaxmed.paradigms.proportional_hazards` does.

    Args:
        outputs: log hazards `(batch,)` or `(batch, 1)`.
        targets: `(batch, 2)`: time, and 1 for the event or 0 for censored. A negative time, or
            another event, that `where` does not mask gives NaN.
        where: True where the example counts, `(batch,)`.

    Returns:
        `(batch,)` in float32, nats; 0 of censored and masked examples. Their sum is the batch's.

    Raises:
        ValueError: if shapes do not match.

    References:
        Cox, Regression models and life-tables, JRSS B 1972. Efron, JASA 1977. Katzman et al.,
        DeepSurv, BMC Med. Res. Methodol. 2018.

    Examples:
        >>> cox(jnp.zeros(3), jnp.array([[1.0, 1.0], [2.0, 1.0], [3.0, 0.0]])).round(4)
        Array([1.0986, 0.6931, 0.    ], dtype=float32)
    """
    in_order(outputs, targets, name="cox")
    x, time, event, weights = _read(outputs, targets, where, name="cox")
    if x.ndim == 2 and x.shape[1] == 1:
        x = x[:, 0]
    if x.ndim != 1:
        raise ValueError(f"cox: outputs {x.shape} must be log hazards (batch,) or (batch, 1)")
    n = len(x)
    counts = jnp.ones(n, bool) if weights is None else weights > 0
    dead = counts & (event == 1)
    at_risk = counts & (time >= time[:, None])
    tied = dead & dead[:, None] & (time == time[:, None])
    # The diagonal fills the rows of masked examples: a sum of nothing has a gradient of NaN.
    whole = jax.nn.logsumexp(jnp.where(at_risk | jnp.eye(n, dtype=bool), x, -jnp.inf), axis=1)
    share = jnp.where(tied, jnp.exp(jnp.where(tied, x - whole[:, None], 0)), 0).sum(1)
    many = jnp.maximum(tied.sum(1), 1)
    nth = (tied & (jnp.arange(n) < jnp.arange(n)[:, None])).sum(1)
    taken = jnp.log1p(-jnp.minimum(nth / many * share, 1 - 1e-6))
    value = jnp.where(dead, whole - x + jnp.where(tied, taken, 0).sum(1) / many, 0)
    return _valued(value, time, event, weights)


def check_edges(edges: Sequence[float]) -> np.ndarray:
    """Return the ends of the intervals, ascending from above 0."""
    ends = np.asarray(edges, np.float64)
    if ends.ndim != 1 or len(ends) == 0 or not (np.diff(ends, prepend=0.0) > 0).all():
        raise ValueError(f"edges must ascend from above 0, the ends of the intervals, got {edges}")
    return ends


def _read(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    where: jax.typing.ArrayLike | None,
    *,
    name: str,
) -> tuple[Array, Array, Array, Array | None]:
    x, y = at_least_float32(outputs), at_least_float32(targets)
    if y.ndim != 2 or y.shape[1] != 2 or x.ndim == 0 or len(x) != len(y):
        raise ValueError(
            f"{name}: targets {y.shape} must be (batch, 2), the time and whether it was the event, "
            f"of the outputs' batch {x.shape[:1]}"
        )
    weights = known(where, y.shape[:1])
    time, event = (blank_missing(y[:, i], weights) for i in (0, 1))
    mask = None if weights is None else weights.reshape(-1, *[1] * (x.ndim - 1))
    return blank_missing(x, mask), time, event, weights


def _valued(value: Array, time: Array, event: Array, weights: Array | None) -> Array:
    """NaN where the target is none, 0 where it is masked."""
    good = (time >= 0) & ((event == 0) | (event == 1))
    return blank_missing(jnp.where(good, value, jnp.nan), weights)
