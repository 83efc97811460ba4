"""Maximum-likelihood logistic regression by Newton steps, with detection of separation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from jaxmed.stats.checks import Floats


class LogisticFit(NamedTuple):
    """Coefficients (features,), their covariance, the log-likelihood, and whether it converged."""

    coefficients: Floats
    covariance: Floats
    log_likelihood: float
    converged: bool


def fit_logistic(
    design: Floats, outcome: Floats, *, offset: Floats | float = 0.0, steps: int = 100
) -> LogisticFit:
    """Fit P(y = 1) = expit(design @ b + offset).

    Args:
        design: (cases, features), with a column of ones for an intercept.
        outcome: (cases,) 0 or 1.
        offset: (cases,) added to the linear predictor.
        steps: maximum number of Newton steps; a step that lowers the likelihood is halved.

    Returns:
        The fit; `converged` is False under perfect separation, where the limit is infinite.
    """
    x, y = np.asarray(design, np.float64), np.asarray(outcome, np.float64)
    b = np.zeros(x.shape[1])

    def likelihood(coefficients: Floats) -> float:
        eta = x @ coefficients + offset
        return float(np.sum(y * eta - np.logaddexp(0.0, eta)))

    current = likelihood(b)
    converged = False
    information = np.eye(x.shape[1])
    for _ in range(steps):
        p = special.expit(x @ b + offset)
        information = (x * (p * (1 - p))[:, None]).T @ x
        try:
            step = np.linalg.solve(information, x.T @ (y - p))
        except np.linalg.LinAlgError:
            break
        size = 1.0
        while size > 1e-8:
            proposal = likelihood(b + size * step)
            if proposal >= current - 1e-12 * abs(current):
                break
            size /= 2
        b = b + size * step
        current = likelihood(b)
        if np.max(np.abs(size * step)) < 1e-11 * (1 + np.max(np.abs(b))):
            converged = True
            break
    # Separation: the likelihood reaches 0 and coefficients run away.
    converged = converged and current < -1e-6 and bool(np.max(np.abs(b)) < 1e8)
    with np.errstate(all="ignore"):
        p = special.expit(x @ b + offset)
        information = (x * (p * (1 - p))[:, None]).T @ x
        try:
            covariance = np.linalg.inv(information)
        except np.linalg.LinAlgError:
            covariance = np.full_like(information, np.inf)
    return LogisticFit(b, covariance, current, converged)


def glm_covariance(design: Floats, outcome: Floats, offset: Floats | float = 0.0) -> Floats:
    """Return the covariance as reported by R's glm, from the working weights of its last step.

    R stops when the deviance changes by less than 1e-8 and does not update the weights, so its
    standard errors differ from those at the maximum in the fifth digit.
    """
    x, y = np.asarray(design, np.float64), np.asarray(outcome, np.float64)
    mu = (y + 0.5) / 2
    eta = special.logit(mu)
    previous = np.inf
    weights = mu * (1 - mu)
    for _ in range(25):
        weights = mu * (1 - mu)
        working = eta - offset + (y - mu) / weights
        root = np.sqrt(weights)
        b = np.linalg.lstsq(x * root[:, None], working * root, rcond=None)[0]
        eta = x @ b + offset
        mu = special.expit(eta)
        deviance = -2 * float(np.sum(y * eta - np.logaddexp(0.0, eta)))
        if abs(deviance - previous) / (abs(deviance) + 0.1) < 1e-8:
            break
        previous = deviance
    return np.asarray(np.linalg.inv((x * weights[:, None]).T @ x), np.float64)
