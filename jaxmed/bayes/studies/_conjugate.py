"""Closed-form posteriors, the reference for the approximations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import integrate, linalg, optimize, special
from scipy import stats as law

from jaxmed.stats.checks import Floats, check_level, finite, same_length


class NormalPosterior(NamedTuple):
    """Posterior of linear regression with known noise.

    mean: (p,); covariance: (p, p); log_evidence: log marginal likelihood; noise_variance;
    loo: (cases,) exact leave-one-out log predictive densities.
    """

    mean: Floats
    covariance: Floats
    log_evidence: float
    noise_variance: float
    loo: Floats

    def predict(self, design: ArrayLike) -> tuple[Floats, Floats]:
        """Return the function's mean and variance at new rows, without the noise variance."""
        x = finite(design, "design", ndim=2)
        return x @ self.mean, np.einsum("ij,jk,ik->i", x, self.covariance, x)


def linear_posterior(
    design: ArrayLike,
    targets: ArrayLike,
    *,
    prior_precision: float = 1.0,
    noise_variance: float = 1.0,
) -> NormalPosterior:
    r"""Return the exact posterior of linear regression with known noise.

    .. math:: y = Xw + \epsilon, \quad w \sim N(0, \lambda^{-1} I)

    Args:
        design: (cases, p), with a column of ones for an intercept.
        targets: (cases,).
        prior_precision: :math:`\lambda`.
        noise_variance: variance of the noise.

    Returns:
        The posterior.

    References:
        Bishop (2006), Pattern Recognition and Machine Learning, section 3.3.

    Examples:
        >>> linear_posterior([[1.0], [1.0]], [1.0, 3.0]).mean.round(3)
        array([1.333])
    """
    x, y = finite(design, "design", ndim=2), finite(targets, "targets")
    n = same_length(design=x, targets=y)
    p = x.shape[1]
    precision = prior_precision * np.eye(p) + x.T @ x / noise_variance
    covariance = linalg.inv(precision)
    mean = covariance @ (x.T @ y) / noise_variance
    marginal = noise_variance * np.eye(n) + x @ x.T / prior_precision
    _, log_det = np.linalg.slogdet(marginal)
    inverse = linalg.inv(marginal)
    evidence = -0.5 * (y @ inverse @ y + log_det + n * np.log(2 * np.pi))
    # Leave-one-out of a Gaussian vector, from the inverse of its covariance alone.
    variance = 1 / np.diag(inverse)
    gap = variance * (inverse @ y)
    loo = -0.5 * (gap**2 / variance + np.log(2 * np.pi * variance))
    return NormalPosterior(mean, covariance, float(evidence), float(noise_variance), loo)


class NormalInverseGamma(NamedTuple):
    """Posterior of linear regression with unknown noise.

    mean: (p,); scale: (p, p), the covariance of the weights is `noise * scale`; a, b: of the noise
    variance's inverse gamma; log_evidence.
    """

    mean: Floats
    scale: Floats
    a: float
    b: float
    log_evidence: float

    @property
    def covariance(self) -> Floats:
        """Marginal covariance of the weights (of a t with 2a degrees of freedom)."""
        return self.scale * self.b / (self.a - 1)

    @property
    def noise_variance(self) -> float:
        """Mean of the noise variance."""
        return self.b / (self.a - 1)

    def predict(self, design: ArrayLike) -> tuple[Floats, Floats, float]:
        """Return location, scale and df of the targets' t distribution at new rows."""
        x = finite(design, "design", ndim=2)
        spread = 1 + np.einsum("ij,jk,ik->i", x, self.scale, x)
        return x @ self.mean, np.sqrt(self.b / self.a * spread), 2 * self.a


def linear_posterior_unknown_noise(
    design: ArrayLike,
    targets: ArrayLike,
    *,
    prior_precision: float = 1.0,
    a: float = 1.0,
    b: float = 1.0,
) -> NormalInverseGamma:
    r"""Return the exact posterior of linear regression with :math:`w \sim N(0, \sigma^2/\lambda)`.

    Args:
        design: (cases, p).
        targets: (cases,).
        prior_precision: :math:`\lambda`.
        a: shape of the inverse gamma prior of :math:`\sigma^2`.
        b: scale of the inverse gamma prior.

    Returns:
        The posterior.

    Examples:
        >>> q = linear_posterior_unknown_noise([[1.0], [1.0]], [1.0, 3.0])
        >>> q.mean.round(3), q.a
        (array([1.333]), 2.0)
    """
    x, y = finite(design, "design", ndim=2), finite(targets, "targets")
    n = same_length(design=x, targets=y)
    p = x.shape[1]
    precision = prior_precision * np.eye(p) + x.T @ x
    scale = linalg.inv(precision)
    mean = scale @ (x.T @ y)
    a_n, b_n = a + n / 2, b + 0.5 * (y @ y - mean @ precision @ mean)
    _, log_det = np.linalg.slogdet(precision)
    evidence = (
        -0.5 * n * np.log(2 * np.pi)
        + 0.5 * (p * np.log(prior_precision) - log_det)
        + a * np.log(b)
        - a_n * np.log(b_n)
        + special.gammaln(a_n)
        - special.gammaln(a)
    )
    return NormalInverseGamma(mean, scale, float(a_n), float(b_n), float(evidence))


class RatePosterior(NamedTuple):
    """Beta posterior of a proportion.

    a, b: of the beta; mean; lower, upper: equal-tailed limits; hdi: the shortest interval; level;
    log_evidence: of the count, under the prior.
    """

    a: float
    b: float
    mean: float
    lower: float
    upper: float
    hdi: tuple[float, float]
    level: float
    log_evidence: float

    def above(self, rate: float) -> float:
        """Posterior probability that the proportion is above `rate`."""
        return float(special.betaincc(self.a, self.b, rate))


def rate_posterior(
    successes: int, n: int, *, prior: tuple[float, float] = (1.0, 1.0), level: float = 0.95
) -> RatePosterior:
    """Return the posterior of a proportion: a sensitivity, a specificity, an error rate.

    Args:
        successes: number of successes.
        n: number of trials.
        prior: beta prior (a, b); (1, 1) is uniform, (0.5, 0.5) is Jeffreys'.
        level: probability of the intervals.

    Returns:
        The posterior.

    Raises:
        ValueError: unless 0 <= successes <= n, or for a prior that is not positive.

    Examples:
        >>> q = rate_posterior(48, 64)
        >>> round(q.mean, 3), round(q.above(0.8), 3)
        (0.742, 0.14)
    """
    check_level(level)
    if not 0 <= successes <= n or min(prior) <= 0:
        raise ValueError(f"0 <= successes <= n and a positive prior: {successes}, {n}, {prior}")
    a, b = prior[0] + successes, prior[1] + n - successes
    q = law.beta(a, b)
    tail = (1 - level) / 2
    evidence = special.betaln(a, b) - special.betaln(*prior)
    evidence += special.gammaln(n + 1) - special.gammaln(successes + 1)
    evidence -= special.gammaln(n - successes + 1)
    low, high = q.ppf([tail, 1 - tail])
    return RatePosterior(
        a, b, float(q.mean()), float(low), float(high), _shortest(q, level), level, float(evidence)
    )


def _shortest(q: Any, level: float) -> tuple[float, float]:
    def width(low: float) -> float:
        return float(q.ppf(min(low + level, 1.0)) - q.ppf(low))

    # The width is unimodal in the lower tail, but its minimum may be at an end.
    grid = np.linspace(0, 1 - level, 65)
    at = int(np.argmin([width(t) for t in grid]))
    found = optimize.minimize_scalar(
        width,
        bounds=(grid[max(at - 1, 0)], grid[min(at + 1, 64)]),
        method="bounded",
        options={"xatol": 1e-13},
    )
    low = float(found.x)
    if at == 0 and width(0.0) <= found.fun:
        low = 0.0
    return float(q.ppf(low)), float(q.ppf(min(low + level, 1.0)))


def probability_greater(first: RatePosterior, second: RatePosterior) -> float:
    """Return the posterior probability that the first proportion is the greater one.

    Args:
        first: result of `rate_posterior`.
        second: result of `rate_posterior`, independent of the first.

    Examples:
        >>> round(probability_greater(rate_posterior(56, 70), rate_posterior(48, 80)), 4)
        0.9959
    """
    p, q = law.beta(first.a, first.b), law.beta(second.a, second.b)
    centre = float(p.mean())
    value, _ = integrate.quad(
        lambda x: p.pdf(x) * q.cdf(x), 0, 1, points=[centre], epsabs=1e-11, epsrel=1e-10, limit=400
    )
    return float(value)
