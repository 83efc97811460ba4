"""Conformal risk control: thresholds that bound an expected loss, such as missed voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as law

from jaxmed.stats.checks import Floats, check_level, finite, same_length


class RiskControl(NamedTuple):
    """A threshold that controls a risk.

    threshold: the largest allowed (NaN if there is none); risk: mean loss of the calibration cases
    at it; limit: the requested bound; n: number of calibration cases; method; notes.
    """

    threshold: float
    risk: float
    limit: float
    n: int
    method: str
    notes: tuple[str, ...] = ()


def control_risk(
    losses: ArrayLike, thresholds: ArrayLike, *, limit: float = 0.1, bound: float = 1.0
) -> RiskControl:
    r"""Choose the largest threshold whose expected loss on a new case is at most `limit`.

    .. math:: \hat t = \max\{t : \tfrac{n}{n+1} \hat R(t) + \tfrac{B}{n+1} \le \text{limit}\}

    **Guarantee**: for exchangeable cases and losses in `[0, bound]` that do not decrease with the
    threshold, :math:`E[L_{n+1}(\hat t)] \le \text{limit}`, and at least
    :math:`\text{limit} - 2B/(n+1)` where losses have no large jumps.

    Args:
        losses: (cases, thresholds) losses of the calibration cases.
        thresholds: (thresholds,) in increasing order.
        limit: limit of the expected loss, in (0, 1) times the bound.
        bound: largest possible loss.

    Returns:
        The result; the threshold is NaN, with a note, if even the lowest is not safe.

    Raises:
        ValueError: for NaN, thresholds not increasing, or losses that decrease with them.

    References:
        Angelopoulos et al. (2024), Conformal risk control, ICLR.

    Examples:
        >>> control_risk(np.tile([0.0, 0.5], (99, 1)), [0.1, 0.2], limit=0.1).threshold
        0.1
    """
    loss = finite(losses, "losses", ndim=2)
    t = finite(thresholds, "thresholds")
    if loss.shape[1] != t.size:
        raise ValueError(f"losses must be (cases, {t.size}), but their shape is {loss.shape}")
    if (np.diff(t) <= 0).any():
        raise ValueError("thresholds must rise")
    if not 0 < limit < bound:
        raise ValueError(f"limit must lie in (0, {bound}), but is {limit!r}")
    if loss.min() < -1e-12 or loss.max() > bound + 1e-12:
        raise ValueError(f"losses must lie in [0, {bound}]: {loss.min():g} to {loss.max():g}")
    risk = loss.mean(axis=0)
    if (np.diff(risk) < -1e-9).any():
        raise ValueError("the risk falls where the threshold rises: use learn_then_test")
    n = len(loss)
    safe = np.flatnonzero((n * risk + bound) / (n + 1) <= limit + 1e-12)
    method = f"conformal risk control, {n} cases"
    if safe.size == 0:
        note = f"no threshold keeps the risk at {limit}: more cases or a lower threshold are needed"
        return RiskControl(math.nan, math.nan, limit, n, method, (note,))
    return RiskControl(float(t[safe[-1]]), float(risk[safe[-1]]), limit, n, method)


def false_negative_losses(
    probs: Sequence[ArrayLike], masks: Sequence[ArrayLike], thresholds: ArrayLike
) -> tuple[Floats, Floats]:
    r"""Return the share of each structure's voxels that each threshold misses.

    .. math:: L_i(t) = 1 - \frac{|\{v : p_{iv} \ge t\} \cap M_i|}{|M_i|}

    Args:
        probs: one array of voxel probabilities of the structure per case.
        masks: one true mask of the same shape per case.
        thresholds: (thresholds,) in increasing order.

    Returns:
        `(losses, kept)`: losses (cases with the structure, thresholds) and the numbers of these
        cases. A case without the structure has no miss by definition and is excluded, so the
        guarantee of `control_risk` applies to cases that have it.

    Raises:
        ValueError: for mismatched shapes or probabilities outside [0, 1].

    Examples:
        >>> losses, _ = false_negative_losses([[0.9, 0.4]], [[1, 1]], [0.3, 0.5, 0.95])
        >>> losses
        array([[0. , 0.5, 1. ]])
    """
    same_length(probs=probs, masks=masks)
    t = finite(thresholds, "thresholds")
    rows, kept = [], []
    for i, (p, mask) in enumerate(zip(probs, masks, strict=True)):
        p, mask = np.asarray(p), np.asarray(mask, bool)
        if p.shape != mask.shape:
            raise ValueError(f"case {i}: probabilities {p.shape} and mask {mask.shape} differ")
        if p.size and not (p.min() >= 0 and p.max() <= 1):
            raise ValueError(f"case {i}: probabilities must lie in [0, 1]")
        inside = np.sort(p[mask])
        if inside.size:
            rows.append(np.searchsorted(inside, t, side="left") / inside.size)
            kept.append(i)
    if not rows:
        raise ValueError("no case has the structure")
    return np.array(rows, dtype=np.float64), np.array(kept, dtype=np.float64).astype(int)


class RiskPValue(NamedTuple):
    """p-values of the hypothesis that the expected loss is above the limit.

    p_value: the minimum of the tight Hoeffding and the Bentkus bound; relative_entropy: the tight
    Hoeffding bound; hoeffding: the plain one, for comparison; binomial: Bentkus's probability
    without its factor e.
    """

    p_value: float
    relative_entropy: float
    hoeffding: float
    binomial: float


def hoeffding_bentkus(risk: float, n: int, limit: float) -> RiskPValue:
    r"""Return a p-value of the hypothesis "expected loss above `limit`", for losses in [0, 1].

    .. math:: p = \min\left(e^{-n\,h(\min(\hat R, \alpha), \alpha)},\;
        e\,P(\text{Bin}(n, \alpha) \le \lceil n \hat R \rceil)\right)

    **Guarantee**: valid in finite samples for independent losses, :math:`P(p \le u) \le u`.

    Args:
        risk: mean loss over the cases.
        n: number of cases.
        limit: :math:`\alpha`, in (0, 1).

    Returns:
        The p-value and its parts.

    References:
        Bates et al. (2021), JACM 68:43. Angelopoulos et al. (2021), Learn then test, arXiv
        2110.01052.

    Examples:
        >>> round(hoeffding_bentkus(0.0, 100, 0.05).p_value, 6)
        0.005921
    """
    check_level(limit, "limit")
    if n < 1 or not 0 <= risk <= 1:
        raise ValueError(f"a mean loss in [0, 1] of at least one case, not {risk!r} of {n}")
    a = min(risk, limit)
    distance = (1 - a) * math.log((1 - a) / (1 - limit))
    if a > 0:
        distance += a * math.log(a / limit)
    tight = math.exp(-n * distance)
    plain = math.exp(-2 * n * max(limit - risk, 0.0) ** 2)
    binomial = float(law.binom.cdf(math.ceil(n * risk - 1e-9), n, limit))
    return RiskPValue(min(tight, math.e * binomial, 1.0), tight, plain, binomial)


def learn_then_test(
    losses: ArrayLike, thresholds: ArrayLike, *, limit: float = 0.1, error: float = 0.1
) -> RiskControl:
    r"""Choose the largest threshold whose expected loss is certified to stay below the limit.

    Thresholds are tested in increasing order and testing stops at the first one not rejected
    (fixed sequence), so no correction is needed and losses need not be monotone.

    **Guarantee**: for independent cases with losses in [0, 1], with probability at least
    `1 - error` over calibration sets every threshold up to the chosen one has
    :math:`E[L] \le \text{limit}`.

    Args:
        losses: (cases, thresholds) in [0, 1].
        thresholds: (thresholds,) in order, the safest first.
        limit: limit of the expected loss.
        error: probability with which the guarantee may fail.

    Returns:
        The result; the threshold is NaN, with a note, if none is certified.

    Raises:
        ValueError: for NaN, mismatched shapes or losses outside [0, 1].

    Examples:
        >>> learn_then_test(np.tile([0.0, 0.5], (99, 1)), [0.1, 0.2], limit=0.1).threshold
        0.1
    """
    loss = finite(losses, "losses", ndim=2)
    t = finite(thresholds, "thresholds")
    check_level(error, "error")
    if loss.shape[1] != t.size:
        raise ValueError(f"losses must be (cases, {t.size}), but their shape is {loss.shape}")
    if loss.min() < 0 or loss.max() > 1:
        raise ValueError(f"losses must lie in [0, 1]: {loss.min():g} to {loss.max():g}")
    risk, n = loss.mean(axis=0), len(loss)
    good = 0
    while good < t.size and hoeffding_bentkus(risk[good], n, limit).p_value <= error:
        good += 1
    method = f"learn then test (Hoeffding-Bentkus), {n} cases, confidence {1 - error:g}"
    if good == 0:
        note = f"not even the first threshold is certified to keep the risk at {limit}"
        return RiskControl(math.nan, math.nan, limit, n, method, (note,))
    return RiskControl(float(t[good - 1]), float(risk[good - 1]), limit, n, method)
