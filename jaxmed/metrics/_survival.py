"""Concordance of risks with censored times."""

from __future__ import annotations

import warnings
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed import quantities
from jaxmed.metrics._examples import floats, label_weights, namespace
from jaxmed.metrics._metric import Metric, UndefinedMetricWarning, refuse_invalid


class Times(NamedTuple):
    """Chunks of risks, times and events, one per batch. Padding has weight 0."""

    risk: tuple[Any, ...]
    time: tuple[Any, ...]
    event: tuple[Any, ...]
    weight: tuple[Any, ...]
    invalid: Any


def concordance(
    *, method: Literal["harrell", "uno"] = "harrell", until: float | None = None
) -> Metric:
    r"""How often, of two cases, the one with the earlier event had the higher risk.

    Harrell's C, or Uno's, whose pairs are weighted by the inverse squared probability of being
    uncensored: :func:`jaxmed.stats.survival_concordance` defines both and adds an interval. The
    accumulator stores all risks, for pairs are of the whole data and not of a batch.

    Outputs are log hazards `(batch,)` or `(batch, 1)`, or the logits of hazards by intervals
    `(batch, intervals)`, whose risk is minus the sum of the survivals at their ends. Targets are
    `(batch, 2)`: the time, and 1 for the event or 0 for censored.

    Args:
        method: "harrell" or "uno".
        until: count the events before this time alone.

    Returns:
        A metric with a float value in [0, 1]; NaN, with an `UndefinedMetricWarning`, where no two
        cases are comparable.

    Raises:
        ValueError: an option is outside its values.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(concordance(), [0.9, 0.4, 0.5, 0.1], [[2, 1], [4, 1], [6, 0], [8, 1]])
        0.8
    """
    if method not in ("harrell", "uno"):
        raise ValueError(f"concordance: method={method!r}; it must be 'harrell' or 'uno'")

    def compute(accumulator: Times) -> float:
        refuse_invalid(accumulator.invalid, name="concordance")
        risk, time, event, weight = (
            np.concatenate([np.asarray(chunk, np.float64) for chunk in chunks])
            for chunks in accumulator[:4]
        )
        kept = weight > 0
        risk, time, event, weight = risk[kept], time[kept], event[kept] > 0, weight[kept]
        each = np.ones(len(time)) if until is None else (time < until).astype(np.float64)
        if method == "uno" and len(time):
            table = quantities.risk_table(time, event, weight)
            free = quantities.censoring_steps(table)
            each /= quantities.step_at(table.time, free, time, 1.0, before=True) ** 2
        value = quantities.concordance(time, event, risk, weight, each)
        if np.isnan(value):
            warnings.warn(
                "concordance is undefined (NaN): no two cases are comparable",
                UndefinedMetricWarning,
                stacklevel=2,
            )
        return value

    return Metric(_from_batch, _merge, compute)


def _from_batch(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    weight: jax.typing.ArrayLike | None = None,
    where: jax.typing.ArrayLike | None = None,
) -> Times:
    xp = namespace(outputs, targets, weight, where)
    x, y = floats(outputs, xp), floats(targets, xp)
    if y.ndim != 2 or y.shape[1] != 2 or x.ndim not in (1, 2) or len(x) != len(y):
        raise ValueError(
            f"concordance: targets {y.shape} must be (batch, 2), the time and whether it was the "
            f"event, and outputs {x.shape} (batch,) or (batch, intervals); the order is (outputs, "
            "targets)"
        )
    w = label_weights(weight, where, (len(y),), xp, name="concordance")
    time, event = y[:, 0], y[:, 1]
    risk = x.reshape(-1) if x.ndim == 1 or x.shape[1] == 1 else _risk_of_hazards(x, xp)
    bad = (w > 0) & ~((time >= 0) & ((event == 0) | (event == 1)))
    nan = (w > 0) & xp.isnan(risk)
    if xp is np and bad.any():
        raise ValueError(
            f"concordance: {int(bad.sum())} targets are no time from 0 with an event of 0 or 1"
        )
    if xp is np and nan.any():
        raise ValueError(f"concordance: {int(nan.sum())} of the outputs are NaN")
    w = xp.where(bad | nan, 0, w)
    return Times((risk,), (time,), (event,), (w,), (bad | nan).sum())


def _risk_of_hazards(logits: Any, xp: Any) -> Any:
    """Minus the sum of the survivals at the ends of the intervals."""
    with np.errstate(invalid="ignore"):  # NaN, in padding or to be told
        softplus = jax.nn.softplus(logits) if xp is jnp else np.logaddexp(0, logits)
    return -xp.exp(-xp.cumsum(softplus, axis=1)).sum(1)


def _merge(a: Times, b: Times) -> Times:
    return Times(*(x + y for x, y in zip(a, b, strict=True)))
