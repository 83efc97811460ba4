"""Convergence of Markov chains: split R-hat by ranks, effective sample sizes, errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import fft, special

from jaxmed.quantities import midrank, unit_scale
from jaxmed.stats.checks import Floats, finite


class ChainDiagnostics(NamedTuple):
    """R-hat (rank-normalised and basic), effective sizes and Monte-Carlo errors of one quantity."""

    rhat: float
    rhat_basic: float
    ess_bulk: float
    ess_tail: float
    ess_basic: float
    mcse_mean: float
    mcse_sd: float
    mean: float
    sd: float


def _split(x: Floats) -> Floats:
    """Halve each chain, (draws, chains) to (draws / 2, 2 chains), the middle draw left out."""
    half = x.shape[0] // 2
    return np.concatenate([x[:half], x[-half:]], axis=1)


def _normal_scores(x: Floats) -> Floats:
    ranks = midrank(x.ravel()).reshape(x.shape)
    return special.ndtri((ranks - 0.375) / (x.size + 0.25))


def _rhat(x: Floats) -> float:
    n = x.shape[0]
    between = n * x.mean(axis=0).var(ddof=1)
    within = x.var(axis=0, ddof=1).mean()
    if within == 0:
        return float("nan") if between == 0 else float("inf")
    return float(np.sqrt((between / within + n - 1) / n))


def _ess(x: Floats) -> float:
    """Effective size by Geyer's initial monotone sequence (as in Stan)."""
    n, m = x.shape
    if np.ptp(x) == 0:
        return float("nan")
    centred = x - x.mean(axis=0)
    size = fft.next_fast_len(2 * n)
    power = np.abs(fft.rfft(centred, size, axis=0)) ** 2
    covariance = fft.irfft(power, size, axis=0)[:n].real / n
    within = float(covariance[0].mean()) * n / (n - 1)
    total = within * (n - 1) / n + (float(x.mean(axis=0).var(ddof=1)) if m > 1 else 0.0)
    rho_all = 1 - (within - covariance.mean(axis=1)) / total
    rho = np.zeros(n)
    rho[0] = 1.0
    t, even, odd = 0, 1.0, float(rho_all[1])
    rho[1] = odd
    while t < n - 5 and even + odd > 0:
        t += 2
        even, odd = float(rho_all[t]), float(rho_all[t + 1])
        if even + odd >= 0:
            rho[t], rho[t + 1] = even, odd
    last = t
    if even > 0:
        rho[last] = even
    for t in range(2, last - 1, 2):
        if rho[t] + rho[t + 1] > rho[t - 2] + rho[t - 1]:
            rho[t] = rho[t + 1] = (rho[t - 2] + rho[t - 1]) / 2
    tau = -1 + 2 * rho[:last].sum() + rho[last]
    return float(n * m / max(tau, 1 / np.log10(n * m)))


def chain_diagnostics(draws: ArrayLike) -> ChainDiagnostics:
    """Return convergence diagnostics of one quantity over several chains.

    R-hat above 1.01 means that the chains have not mixed; aim for an effective size of 100 per
    chain.

    Args:
        draws: (draws, chains).

    Returns:
        The diagnostics; undefined (NaN) where the draws do not vary.

    Raises:
        ValueError: for fewer than 8 draws, or NaN.

    References:
        Vehtari et al. (2021), Bayesian Anal 16:667.

    Examples:
        >>> d = chain_diagnostics(np.random.default_rng(0).normal(size=(500, 4)))
        >>> d.rhat < 1.02, d.ess_bulk > 1000
        (True, True)
    """
    x = finite(draws, "draws", minimum=8, ndim=2)
    scale = unit_scale(x)
    x = x / scale
    halves = _split(x)
    folded = np.abs(halves - np.median(halves))
    tails = [_ess(_split((x <= np.quantile(x, q)).astype(np.float64))) for q in (0.05, 0.95)]
    squares = (x - x.mean()) ** 2
    variance = float(squares.mean())
    sd = float(x.std(ddof=1))
    basic = _ess(halves)
    with np.errstate(invalid="ignore", divide="ignore"):
        of_variance = (float(np.mean(squares**2)) - variance**2) / _ess(_split(squares))
        mcse_sd = float(np.sqrt(of_variance / np.float64(variance) / 4))
    return ChainDiagnostics(
        max(_rhat(_normal_scores(halves)), _rhat(_normal_scores(folded))),
        _rhat(halves),
        _ess(_normal_scores(halves)),
        float(min(tails)),
        basic,
        sd / float(np.sqrt(basic)) * scale,
        mcse_sd * scale,
        float(x.mean()) * scale,
        sd * scale,
    )
