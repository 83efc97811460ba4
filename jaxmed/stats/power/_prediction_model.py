"""Sample size of a prediction model (Riley's criteria)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from jaxmed.stats.checks import (
    check_number,
    check_rate,
    check_whole,
)


class ModelSize(NamedTuple):
    """Cases needed to develop a prediction model, by each of Riley's criteria."""

    n: int
    shrinkage: float
    optimism: float
    intercept: float
    r_squared: float
    events_per_parameter: float


def r_squared_of_auc(auc: float, prevalence: float) -> float:
    r"""Return Cox and Snell's R squared of a binormal score of an AUC and a prevalence.

    The score is normal of unit variance in each class, so its logistic model is exact; the
    likelihood ratio is integrated by quadrature.

    Examples:
        >>> round(r_squared_of_auc(0.8, 0.2), 2)
        0.18
    """
    check_rate(auc, "auc")
    phi = check_rate(prevalence, "prevalence")
    shift = math.sqrt(2) * float(special.ndtri(auc))
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    offset = math.log(phi / (1 - phi)) - shift**2 / 2
    on, off = offset + shift * (nodes + shift), offset + shift * nodes
    model = phi * float(weights @ -np.logaddexp(0, -on)) + (1 - phi) * float(
        weights @ -np.logaddexp(0, off)
    )
    null = phi * math.log(phi) + (1 - phi) * math.log(1 - phi)
    return 1 - math.exp(-2 * (model - null))


def model_sample_size(
    parameters: int,
    prevalence: float,
    *,
    r_squared: float | None = None,
    auc: float | None = None,
    shrinkage: float = 0.9,
    optimism: float = 0.05,
    margin: float = 0.05,
) -> ModelSize:
    r"""Return the cases needed to develop a binary prediction model (Riley's criteria).

    Args:
        parameters: candidate parameters.
        prevalence: prevalence of the outcome.
        r_squared: Cox and Snell's R squared expected; or
        auc: expected, turned into it by `r_squared_of_auc`. Exactly one of the two.
        shrinkage: wanted uniform shrinkage (criterion 1).
        optimism: allowed optimism in Nagelkerke's R squared (criterion 2).
        margin: allowed error of the overall risk (criterion 3).

    Returns:
        The largest of the three sizes, and each.

    Raises:
        ValueError: for values outside their ranges.

    References:
        Riley et al. (2020), BMJ 368:m441.

    Examples:
        >>> model_sample_size(20, 0.2, r_squared=0.15).n
        1097
    """
    phi = check_rate(prevalence, "prevalence")
    check_whole(parameters, "parameters", 1)
    check_rate(shrinkage, "shrinkage")
    check_number(optimism, "optimism", above=0)
    check_rate(margin, "margin")
    if (r_squared is None) == (auc is None):
        raise ValueError("give exactly one of r_squared= and auc=")
    r2 = r_squared_of_auc(auc, phi) if auc is not None else r_squared
    assert r2 is not None  # exactly one of the two is missing
    null = phi * math.log(phi) + (1 - phi) * math.log(1 - phi)
    most = 1 - math.exp(2 * null)
    if not 0 < r2 < most:
        raise ValueError(f"r_squared must lie in (0, {most:.4f}) at this prevalence, but is {r2}")

    def size(s: float) -> float:
        return parameters / ((s - 1) * math.log1p(-r2 / s))

    one = size(shrinkage)
    two = size(r2 / (r2 + optimism * most))
    three = (1.96 / margin) ** 2 * phi * (1 - phi)
    n = max(math.ceil(v - 1e-9) for v in (one, two, three))
    return ModelSize(n, one, two, three, r2, n * phi / parameters)
