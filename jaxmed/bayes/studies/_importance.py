"""Importance sampling of low-dimensional posteriors; evidence and Bayes factors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from scipy import stats as law

from jaxmed import stats
from jaxmed.stats.checks import Floats, finite


class ImportanceSample(NamedTuple):
    """Weighted draws of a posterior.

    draws: (draws, dimensions); weights: (draws,), sum 1; log_evidence: log marginal likelihood;
    log_evidence_se: its standard error; ess: effective draws; pareto_k: of the weights' tail, above
    0.7 they cannot be trusted; notes.
    """

    draws: Floats
    weights: Floats
    log_evidence: float
    log_evidence_se: float
    ess: float
    pareto_k: float
    notes: tuple[str, ...] = ()

    def expectation(self, function: Callable[[Floats], ArrayLike]) -> Floats:
        """Return the posterior mean of a function, (draws, dimensions) to (draws, ...)."""
        return np.tensordot(self.weights, np.asarray(function(self.draws), float), axes=1)


def importance(
    log_joint: Callable[[Floats], ArrayLike],
    mode: ArrayLike,
    covariance: ArrayLike,
    *,
    draws: int = 20_000,
    df: float = 8.0,
    seed: int = 0,
) -> ImportanceSample:
    r"""Draw from a posterior by importance sampling from a Laplace approximation.

    The proposal is a multivariate t with the mode and covariance of a Laplace approximation, whose
    heavier tails keep the weights bounded. Suited to about ten dimensions at most; the shape of
    the weights' tail (`pareto_k`) is the diagnostic.

    Args:
        log_joint: (draws, dimensions) to (draws,): log likelihood plus log prior density, including
            the prior's constant (otherwise the evidence is meaningless).
        mode: (dimensions,).
        covariance: (dimensions, dimensions).
        draws: number of draws.
        df: degrees of freedom of the t.
        seed: seed of the draws.

    Returns:
        The sample.

    Raises:
        ValueError: for a covariance that is not positive definite, or a log joint density that is
            NaN or plus infinity.

    References:
        Geweke (1989), Econometrica 57:1317. Vehtari et al. (2024), JMLR 25:72.

    Examples:
        >>> q = importance(lambda x: -0.5 * (x**2).sum(1), [0.0], [[1.0]], draws=4000)
        >>> bool(abs(q.log_evidence - 0.5 * np.log(2 * np.pi)) < 0.02)
        True
    """
    m = finite(mode, "mode")
    c = finite(covariance, "covariance", ndim=2)
    if c.shape != (m.size, m.size) or np.linalg.eigvalsh((c + c.T) / 2).min() <= 0:
        raise ValueError(f"covariance must be positive definite ({m.size}, {m.size}): {c.shape}")
    proposal = law.multivariate_t(m, c, df=df)
    x = proposal.rvs(size=draws, random_state=np.random.default_rng(seed)).reshape(draws, m.size)
    value = np.asarray(log_joint(x), dtype=np.float64)
    if value.shape != (draws,) or np.isnan(value).any() or (value == np.inf).any():
        raise ValueError("log_joint must give one number a draw, neither NaN nor plus infinity")
    log_ratio = value - proposal.logpdf(x)
    if not np.isfinite(log_ratio).any():
        raise ValueError("the log joint density is minus infinity at every draw")
    log_evidence = special.logsumexp(log_ratio) - np.log(draws)
    weights = np.exp(log_ratio - special.logsumexp(log_ratio))
    spread = np.sqrt(np.mean((weights * draws - 1) ** 2) / draws)
    inside = np.where(np.isfinite(log_ratio), log_ratio, log_ratio[np.isfinite(log_ratio)].min())
    k = float(stats.pareto_smooth(inside[:, None])[1][0])
    notes = (
        (f"Pareto shape {k:.2f} above 0.7: the proposal does not fit, trust nothing",)
        if not k <= 0.7
        else ()
    )
    return ImportanceSample(
        x, weights, float(log_evidence), float(spread), float(1 / np.sum(weights**2)), k, notes
    )


class BayesFactor(NamedTuple):
    """Evidence for the first model over the second.

    factor: ratio of marginal likelihoods; log; probability: of the first model at even prior odds;
    words: Kass and Raftery's category; notes.
    """

    factor: float
    log: float
    probability: float
    words: str
    notes: tuple[str, ...] = ()


def bayes_factor(first: float, second: float, *, se: float = 0.0) -> BayesFactor:
    """Return the Bayes factor of two log evidences.

    Defined for proper priors only, and sensitive to them: a vaguer prior lowers the evidence,
    whatever the data. For networks, the Laplace evidence (`laplace(...).log_evidence`) is an
    approximation at one mode.

    Args:
        first: log marginal likelihood of the first model.
        second: log marginal likelihood of the second model on the same data.
        se: standard error of the difference; above 1 a note says so.

    Returns:
        The factor.

    Raises:
        ValueError: for an evidence that is not finite (an improper prior).

    References:
        Kass and Raftery (1995), JASA 90:773.

    Examples:
        >>> bayes_factor(-10.0, -12.0).words
        'positive'
    """
    if not np.isfinite([first, second]).all():
        raise ValueError(f"evidences must be finite, not {first} and {second}: improper priors?")
    log = float(first - second)
    scale = 2 * abs(log)
    words = "not worth more than a bare mention"
    for limit, name in ((2, "positive"), (6, "strong"), (10, "very strong")):
        if scale > limit:
            words = name
    notes = (f"the log evidences' standard error is {se:.2f}",) if se > 1 else ()
    with np.errstate(over="ignore"):
        return BayesFactor(float(np.exp(log)), log, float(special.expit(log)), words, notes)
