"""Metrics of probabilities: Brier score, log loss, expected calibration error."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed import quantities
from jaxmed.metrics._examples import Examples, read
from jaxmed.metrics._metric import Activation, Metric, add, refuse_invalid
from jaxmed.quantities import divide, mean_defined


class Sums(NamedTuple):
    """Weighted sums of values and of weights: `(tasks, ...)` each, one task if multi-class."""

    values: Any
    weight: Any
    invalid: Any


def brier(*, activation: Activation = "auto") -> Metric:
    r"""Brier score: the mean squared error of the probabilities.

    Binary: :math:`(p - y)^2`, in [0, 1]. Three classes or more: :math:`\sum_k (p_k - t_k)^2`, in
    [0, 2] (as in scikit-learn). Several binary tasks: their mean. NaN without any label.

    Args:
        activation: "auto" (the outputs are logits) or None (they are probabilities).

    Returns:
        A metric with a float value.

    Raises:
        ValueError: unknown activation; on a batch outside jit also values that are no
            probabilities.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(brier(activation=None), [0.5, 1.0], [1, 1])
        0.125

    References:
        Brier, Verification of forecasts expressed in terms of probability, 1950.
    """
    return Metric(_summer("brier", _is_raw(activation)), add, _mean("brier"))


def log_loss(*, activation: Activation = "auto") -> Metric:
    r"""Log loss: the mean of :math:`-\log p` of the true label, in nats.

    It is exact from logits; a probability of the true label below 1e-12 is clipped to it. Several
    binary tasks: their mean. NaN without any label.

    Args:
        activation: "auto" (the outputs are logits) or None (they are probabilities).

    Returns:
        A metric with a float value of at least 0.

    Raises:
        ValueError: unknown activation; on a batch outside jit also values that are no
            probabilities.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> round(evaluate(log_loss(), [0.0, 0.0], [1, 0]), 4)
        0.6931
    """
    return Metric(_summer("log_loss", _is_raw(activation)), add, _mean("log_loss"))


def ece(
    *, bins: int = 15, top_label: bool | None = None, activation: Activation = "auto"
) -> Metric:
    r"""Expected calibration error: the mean gap between confidence and frequency, by bin.

    :math:`\sum_b \frac{W_b}{W} |\bar p_b - \bar y_b|` over equal-width bins
    :math:`(b/B, (b+1)/B]` (0 belongs to the first), with the mean probability and the observed
    frequency in each. Binary: of the positive class. Three classes or more: of the predicted class
    ("top label"). Several binary tasks: their mean. NaN without any label.

    Args:
        bins: B.
        top_label: None: as above; True: the predicted class also for binary tasks, with
            confidence max(p, 1 - p).
        activation: "auto" (the outputs are logits) or None (they are probabilities).

    Returns:
        A metric with a float value in [0, 1].

    Raises:
        ValueError: an option is outside its values; on a batch outside jit also values that are
            no probabilities.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> round(evaluate(ece(activation=None), [0.9, 0.9, 0.8, 0.1], [1, 1, 0, 0]), 3)
        0.275

    References:
        Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    if bins < 1:
        raise ValueError(f"ece: bins={bins}; it must be at least 1")

    def compute(accumulator: Sums) -> float:
        refuse_invalid(accumulator.invalid, name="ece")
        values, weight = (np.asarray(a, np.float64) for a in accumulator[:2])
        count, said, hit = np.moveaxis(values, -1, 0)
        total = weight[:, None]
        gap, share = divide(hit - said, total, np.nan), divide(count, total, np.nan)
        errors = quantities.calibration_error(gap, share)
        return mean_defined(np.where(weight > 0, errors, np.nan))

    return Metric(_binner(bins, bool(top_label), _is_raw(activation)), add, compute)


def _is_raw(activation: Activation) -> bool:
    if activation not in ("auto", None):
        raise ValueError(f"activation={activation!r}; it must be 'auto' or None (probabilities)")
    return activation is None


def _mean(name: str) -> Callable[[Sums], float]:
    def compute(accumulator: Sums) -> float:
        refuse_invalid(accumulator.invalid, name=name)
        return mean_defined(divide(accumulator.values, accumulator.weight, np.nan))

    return compute


def _log_probabilities(batch: Examples, raw: bool) -> tuple[Any, Any]:
    """Return log p per class `(n, classes)`, or log p and log (1 - p) per task `(n, tasks)`."""
    x, xp = batch.outputs, batch.xp
    if raw:
        return quantities.floored(x), quantities.floored(1 - x)
    if batch.multiclass:
        x = x - x.max(-1, keepdims=True)
        return x - xp.log(xp.exp(x).sum(-1, keepdims=True)), None
    return -xp.logaddexp(0, -x), -xp.logaddexp(0, x)


def _checked(batch: Examples, raw: bool, name: str) -> Examples:
    if raw and batch.xp is np:
        x = batch.outputs
        known = (batch.weight > 0)[:, None] if batch.multiclass else batch.weight > 0
        outside = (x < 0) | (x > 1)
        if batch.multiclass:
            outside |= np.abs(x.sum(-1, keepdims=True) - 1) > 1e-3
        if (outside & known).any():
            raise ValueError(
                f"{name}: with activation=None the outputs must be probabilities in [0, 1] (and "
                "sum to 1 over three or more classes); for logits use activation='auto'"
            )
    return batch


def _probabilities(batch: Examples, raw: bool) -> Any:
    return batch.outputs if raw else batch.xp.exp(_log_probabilities(batch, raw)[0])


@cache
def _summer(name: str, raw: bool) -> Callable[..., Sums]:
    def from_batch(
        outputs: jax.typing.ArrayLike,
        targets: jax.typing.ArrayLike,
        *,
        weight: jax.typing.ArrayLike | None = None,
        where: jax.typing.ArrayLike | None = None,
    ) -> Sums:
        batch = read(outputs, targets, weight, where, name=name, probabilities=raw)
        batch = _checked(batch, raw, name)
        xp, y, w = batch.xp, batch.labels, batch.weight
        if batch.multiclass:
            true = y[:, None] == xp.arange(batch.outputs.shape[-1])
            if name == "brier":
                values = quantities.brier_values(true, _probabilities(batch, raw)).sum(-1)
            else:
                values = -xp.where(true, _log_probabilities(batch, raw)[0], 0).sum(-1)
            values, w = values[:, None], w[:, None]
        elif name == "brier":
            values = quantities.brier_values(y, _probabilities(batch, raw))
        else:
            yes, no = _log_probabilities(batch, raw)
            values = -xp.where(y == 1, yes, no)
        values = xp.where(w > 0, values, 0) * w
        return Sums(values.sum(0), w.sum(0), batch.invalid.astype(w.dtype))

    return from_batch


@cache
def _binner(bins: int, top_label: bool, raw: bool) -> Callable[..., Sums]:
    def from_batch(
        outputs: jax.typing.ArrayLike,
        targets: jax.typing.ArrayLike,
        *,
        weight: jax.typing.ArrayLike | None = None,
        where: jax.typing.ArrayLike | None = None,
    ) -> Sums:
        batch = read(outputs, targets, weight, where, name="ece", probabilities=raw)
        batch = _checked(batch, raw, "ece")
        xp, y, w = batch.xp, batch.labels, batch.weight
        p = _probabilities(batch, raw)
        if batch.multiclass:
            hit = (quantities.largest(batch.outputs) == y)[:, None]
            p, w = p.max(-1)[:, None], w[:, None]
        elif top_label:
            hit = quantities.at_least(p, 0.5) == (y == 1)
            p = xp.maximum(p, 1 - p)
        else:
            hit = y == 1
        slot = quantities.width_bins(p, bins)
        if xp is np:
            cell = (slot + bins * np.arange(p.shape[1])).reshape(-1)
            parts = (w, p * w, hit * w)
            sums = [np.bincount(cell, v.reshape(-1), bins * p.shape[1]) for v in parts]
            values = np.stack(sums, -1).reshape(-1, bins, 3)
        else:
            inside = (slot[..., None] == jnp.arange(bins)).astype(p.dtype)  # (n, tasks, bins)
            parts = jnp.stack([w, p * w, hit * w], -1)
            values = jnp.einsum("ntb,ntv->tbv", inside, parts, precision="highest")
        return Sums(values, w.sum(0), batch.invalid.astype(w.dtype))

    return from_batch
