"""Information criteria, likelihood ratios and exact leave-one-out scores of fitted models."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.stats._result import TestResult
from jaxmed.stats.calibration._logistic import fit_logistic, glm_covariance
from jaxmed.stats.checks import Floats, as_array, finite, same_length


class InformationCriteria(NamedTuple):
    """AIC, AIC corrected for small samples, BIC; smaller is better."""

    aic: float
    aicc: float
    bic: float


def information_criteria(log_likelihood: float, parameters: int, n: int) -> InformationCriteria:
    r"""Return :math:`2k - 2\ell`, its correction by :math:`2k(k+1)/(n-k-1)`, and BIC.

    Args:
        log_likelihood: maximised.
        parameters: estimated, k.
        n: cases.

    Returns:
        The three; AICc is infinite for n <= k + 1.

    References:
        Akaike (1974). Schwarz (1978). Hurvich and Tsai (1989), Biometrika 76:297.

    Examples:
        >>> information_criteria(-50.0, 3, 100).aic
        106.0
    """
    if parameters < 0 or n < 1:
        raise ValueError(f"parameters must be 0 or more and n 1 or more: {parameters}, {n}")
    aic = 2 * parameters - 2 * log_likelihood
    left = n - parameters - 1
    extra = 2 * parameters * (parameters + 1) / left if left > 0 else np.inf
    return InformationCriteria(aic, aic + extra, parameters * float(np.log(n)) - 2 * log_likelihood)


def information_weights(criteria: ArrayLike) -> Floats:
    r"""Return weights :math:`e^{-\Delta_i/2} / \sum_j e^{-\Delta_j/2}` of models.

    Args:
        criteria: (models,) AIC or another, on the same cases.

    Returns:
        (models,) that sum to 1.

    References:
        Burnham and Anderson (2002), Model Selection and Multimodel Inference.

    Examples:
        >>> information_weights([100.0, 100.0])
        array([0.5, 0.5])
    """
    c = finite(criteria, "criteria")
    return special.softmax(-0.5 * (c - c.min()))


def likelihood_ratio_test(
    log_likelihood_small: float,
    log_likelihood_large: float,
    parameters: int,
    *,
    n: int = 0,
    unit: str = "case",
) -> TestResult:
    """Compare two nested models by twice the gain in log-likelihood.

    Args:
        log_likelihood_small: log likelihood of the smaller model.
        log_likelihood_large: log likelihood of the larger.
        parameters: number of additional parameters of the larger model.
        n: cases, for the record.
        unit: name of the counted unit.

    Returns:
        The test, chi-square.

    Raises:
        ValueError: if the larger model fits worse, or adds no parameter.

    References:
        Wilks (1938), Ann Math Stat 9:60.

    Examples:
        >>> round(likelihood_ratio_test(-52.0, -50.0, 1).p_value, 4)
        0.0455
    """
    if parameters < 1:
        raise ValueError(f"the larger model must add a parameter, but adds {parameters}")
    gain = 2 * (log_likelihood_large - log_likelihood_small)
    if gain < -1e-6 * abs(log_likelihood_small):
        raise ValueError("the larger model fits worse: are they nested and converged?")
    gain = max(gain, 0.0)
    return TestResult(
        gain,
        float(special.chdtrc(parameters, gain)),
        None,
        None,
        n,
        unit,
        "likelihood ratio",
        df=parameters,
        name="nested models",
    )


class LogisticModel(NamedTuple):
    """A logistic regression: coefficients (intercept first), errors, likelihood, criteria."""

    coefficients: Floats
    standard_errors: Floats
    log_likelihood: float
    criteria: InformationCriteria
    n: int
    parameters: int
    notes: tuple[str, ...]


def logistic_model(
    features: ArrayLike, outcome: ArrayLike, *, errors: str = "information"
) -> LogisticModel:
    """Fit a logistic regression with an intercept by maximum likelihood.

    Args:
        features: (cases, features), or (cases, 0) for the intercept alone.
        outcome: (cases,) 0 or 1.
        errors: `information` at the maximum, or `glm` (R's, which differ in the fifth digit).

    Returns:
        The model; under separation a note says that the fit has no finite limit.

    Raises:
        ValueError: for NaN, unequal lengths, or outcomes other than 0/1.

    Examples:
        >>> logistic_model([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]).parameters
        2
    """
    from jaxmed.stats.checks import binary_labels

    y = binary_labels(outcome, "outcome").astype(np.float64)
    x = as_array(features, "features", np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or not np.isfinite(x).all():
        raise ValueError(f"features must be (cases, features) without NaN, but are {x.shape}")
    same_length(features=x, outcome=y)
    design = np.column_stack([np.ones(len(y)), x])
    fit = fit_logistic(design, y)
    notes = () if fit.converged else ("the fit did not converge: outcomes may be separated",)
    k = design.shape[1]
    covariance = glm_covariance(design, y) if errors == "glm" else fit.covariance
    return LogisticModel(
        fit.coefficients,
        np.sqrt(np.diag(covariance)),
        fit.log_likelihood,
        information_criteria(fit.log_likelihood, k, len(y)),
        len(y),
        k,
        notes,
    )


def leave_one_out_scores(features: ArrayLike, outcome: ArrayLike) -> Floats:
    """Return each case's log predictive probability by the logistic model without it.

    Args:
        features: (cases, features).
        outcome: (cases,) 0 or 1.

    Returns:
        (cases,) log scores, from as many refits.

    Raises:
        ValueError: as `logistic_model`.

    Examples:
        >>> len(leave_one_out_scores([[0.0], [1.0], [2.0], [3.0], [4.0]], [0, 1, 0, 1, 1]))
        5
    """
    x = as_array(features, "features", np.float64)
    x = x[:, None] if x.ndim == 1 else x
    y = as_array(outcome, "outcome", np.float64)
    design = np.column_stack([np.ones(len(y)), x])
    scores = np.empty(len(y))
    keep = np.ones(len(y), dtype=bool)
    for i in range(len(y)):
        keep[i] = False
        b = fit_logistic(design[keep], y[keep]).coefficients
        keep[i] = True
        eta = float(design[i] @ b)
        scores[i] = y[i] * eta - np.logaddexp(0.0, eta)
    return scores


def one_standard_error(
    scores: ArrayLike, *, complexity: ArrayLike | None = None, ratio: float | None = None
) -> dict[str, Any]:
    """Choose the simplest model within one standard error of the best over folds.

    Args:
        scores: (models, folds), higher is better.
        complexity: (models,); the order given if absent, simplest first.
        ratio: test over training size, for the corrected error of folds; plain if absent.

    Returns:
        `best` and `chosen` (row numbers), `means`, `errors` and the `bar`.

    Raises:
        ValueError: for fewer than two folds, or NaN.

    References:
        Breiman et al. (1984), Classification and Regression Trees, section 3.4.

    Examples:
        >>> one_standard_error([[0.80, 0.82], [0.81, 0.83], [0.79, 0.85]])["chosen"]
        0
    """
    s = finite(scores, "scores", ndim=2)
    folds = s.shape[1]
    if folds < 2:
        raise ValueError(f"an error over folds needs 2 of them, but there is {folds}")
    order = np.arange(len(s)) if complexity is None else finite(complexity, "complexity")
    same_length(scores=s, complexity=order)
    means = s.mean(axis=1)
    errors = s.std(axis=1, ddof=1) * np.sqrt(1 / folds + (ratio or 0.0))
    best = int(means.argmax())
    bar = float(means[best] - errors[best])
    good = np.flatnonzero(means >= bar)
    chosen = int(good[np.argmin(order[good])])
    return {"best": best, "chosen": chosen, "means": means, "errors": errors, "bar": bar}
