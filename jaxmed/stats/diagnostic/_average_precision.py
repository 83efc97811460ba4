"""Average precision: the area under the precision-recall curve by steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed import quantities
from jaxmed.stats._result import Estimate, of_one_group
from jaxmed.stats.checks import (
    binary_scores,
    both_classes,
    check_level,
    group_codes,
    quantile,
    spelled,
    unknown,
)
from jaxmed.stats.diagnostic._proportion import proportion_limits
from jaxmed.stats.resampling._bootstrap import bootstrap


def average_precision(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    method: str = "logit",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Estimate average precision with an interval.

    Its value depends on the prevalence: the chance level is the share of positives, in `details`.

    Args:
        labels: (cases,) 0 or 1.
        scores: (cases,) higher for positives.
        method: `logit` (Boyd), `bootstrap` (percentile) or `bca`.
        level: confidence level.
        groups: (cases,) patient of each row; the bootstrap is then used and draws patients.
        unit: name of the counted unit.
        n_resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.

    Returns:
        The estimate.

    Raises:
        ValueError: for one class only, NaN or unequal lengths.

    References:
        Boyd, Eng, Page (2013), ECML PKDD, LNCS 8190:451.

    Examples:
        >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).value, 4)
        0.8333
    """
    check_level(level)
    positive, x = binary_scores(labels, scores)
    n1, n0 = both_classes(positive)
    codes, k = group_codes(groups, x.size)
    name = spelled(method)
    if name not in ("logit", "bootstrap", "bca"):
        raise unknown("method", method, ("logit", "bootstrap", "bca"))
    value = quantities.average_precision(positive, x)
    details = {"positives": n1, "negatives": n0, "chance": n1 / (n1 + n0)}
    if codes is not None and k == 1:
        return of_one_group(
            value, (0.0, 1.0), rows=x.size, level=level, unit=unit, method=name,
            name="average precision", details=details,
        )  # fmt: skip
    if name == "logit" and codes is None:
        notes: tuple[str, ...] = ()
        if value >= 1.0:
            low, high = proportion_limits(n1, n1, level=level)
            notes = ("the logit is infinite at 1: Wilson limits of the positives",)
        else:
            half = quantile(level) / np.sqrt(n1 * value * (1 - value))
            centre = special.logit(value)
            low, high = special.expit(centre - half), special.expit(centre + half)
        return Estimate(
            value,
            float(low),
            float(high),
            level,
            k,
            unit or "case",
            "logit",
            notes,
            se=float(np.sqrt(value * (1 - value) / n1)),
            details=details,
            name="average precision",
        )
    e = bootstrap(
        quantities.weighted_average_precision,
        positive,
        x,
        method="bca" if name == "bca" else "percentile",
        level=level,
        n_resamples=n_resamples,
        weighted=True,
        seed=seed,
        unit=unit,
        groups=groups,
        strata=positive if codes is None else None,
        name="average precision",
    )
    return Estimate(
        value,
        e.lower,
        e.upper,
        level,
        k,
        e.unit,
        e.method,
        e.notes,
        e.se,
        details | dict(e.details),
        "average precision",
    )
