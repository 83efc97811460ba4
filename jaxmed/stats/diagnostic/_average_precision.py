"""Average precision: the area under the precision-recall curve by steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import (
    Floats,
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


def _steps(ordered: Floats) -> NDArray[np.intp]:
    """Return where runs of equal scores end, the scores in falling order."""
    return np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), ordered.size - 1)


def average_precision_value(positive: NDArray[np.bool_], scores: Floats) -> float:
    r"""Return :math:`\sum_k (R_k - R_{k-1}) P_k` over distinct thresholds (no interpolation)."""
    order = np.argsort(-scores, kind="stable")
    ends = _steps(scores[order])
    hits = np.cumsum(positive[order])[ends]
    precision = hits / (ends + 1)
    return float(np.sum(np.diff(hits, prepend=0) * precision) / hits[-1])


def weighted_average_precision(
    positive: NDArray[np.bool_], scores: Floats, weights: Floats
) -> Floats:
    """Return average precision under each row of weights (b, n); NaN without positives."""
    order = np.argsort(-scores, kind="stable")
    ends = _steps(scores[order])
    hit = positive[order]
    # Precision counts only at steps that hold a positive: a few columns of the running sums.
    step = np.searchsorted(ends, np.flatnonzero(hit))
    used, first = np.unique(step, return_index=True)
    called = np.cumsum(weights[:, order], axis=1).take(ends[used], axis=1)
    gained = weights[:, order[hit]]
    if used.size < step.size:  # positives of one score enter together
        gained = np.add.reduceat(gained, first, axis=1)
    hits = np.cumsum(gained, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(called > 0, hits / called.astype(np.float64), 0.0)
        return np.einsum("bk,bk->b", gained, precision) / hits[:, -1]


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

    Its value rests on the prevalence: the chance level is the share of positives, in `details`.

    Args:
        labels: (cases,) 0 or 1.
        scores: (cases,) higher for positives.
        method: `logit` (Boyd), `bootstrap` (percentile) or `bca`.
        level: confidence level.
        groups: (cases,) patient of each row; the bootstrap is then used and draws patients.
        unit: what is counted.
        n_resamples: of the bootstrap.
        seed: of the bootstrap.

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
    value = average_precision_value(positive, x)
    details = {"positives": n1, "negatives": n0, "chance": n1 / (n1 + n0)}
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
        weighted_average_precision,
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
