"""Selective prediction: risk-coverage curves, their areas, and cost-based referral."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.bayes._check import Bools, probabilities
from jaxmed.stats.checks import Floats, finite, same_length


class RiskCoverage(NamedTuple):
    """Risk-coverage curve: error among the answered cases against the share answered.

    coverage, risk: (cases,), from the surest case on; threshold: (cases,) confidence at each.
    """

    coverage: Floats
    risk: Floats
    threshold: Floats

    def risk_at(self, coverage: float) -> float:
        """Return the risk when the most confident `ceil(coverage * cases)` cases are answered."""
        k = int(np.ceil(coverage * self.risk.size - 1e-9))
        if not 1 <= k <= self.risk.size:
            raise ValueError(f"a coverage of {coverage} answers no case of {self.risk.size}")
        return float(self.risk[k - 1])

    def coverage_at(self, risk: float) -> float:
        """Return the largest coverage at which the risk is at most `risk`; 0 if there is none."""
        below = np.flatnonzero(self.risk <= risk + 1e-12)
        return float(self.coverage[below[-1]]) if below.size else 0.0


def risk_coverage(losses: ArrayLike, confidence: ArrayLike) -> RiskCoverage:
    """Return the risk-coverage curve of a selective predictor.

    Args:
        losses: (cases,) 0/1 errors, or any loss such as 1 - Dice.
        confidence: (cases,) higher is surer. Tied cases are answered in random order: each enters
            with the mean loss of its ties, so that the order of the rows changes nothing.

    Returns:
        The curve.

    Raises:
        ValueError: for NaN, other shapes or negative losses.

    References:
        Geifman and El-Yaniv (2017), Selective classification for deep neural networks, NeurIPS.

    Examples:
        >>> risk_coverage([0, 1, 0], [0.9, 0.2, 0.8]).risk.round(3)
        array([0.   , 0.   , 0.333])
    """
    loss, sure = finite(losses, "losses"), finite(confidence, "confidence")
    n = same_length(losses=loss, confidence=sure)
    if loss.min() < 0:
        raise ValueError(f"losses must be 0 or more, but one is {loss.min():g}")
    order = np.argsort(-sure, kind="stable")
    ordered = sure[order]
    tie = np.cumsum(np.append(False, ordered[1:] != ordered[:-1]))
    expected = (np.bincount(tie, loss[order]) / np.bincount(tie))[tie]
    answered = np.arange(1, n + 1)
    return RiskCoverage(answered / n, np.cumsum(expected) / answered, ordered)


class SelectiveScores(NamedTuple):
    """Areas under the risk-coverage curve; lower is better.

    aurc: mean risk over coverages; e_aurc: above that of a perfect order of the same losses;
    e_aurc_approximate: the same with Geifman's closed form for 0/1 losses (NaN for other losses);
    augrc: area of the generalised risk, the errors that pass as a share of all cases;
    error_auroc: probability that a wrong case is less sure than a right one (NaN where all cases
    are right, or wrong, or losses are not 0/1).
    """

    aurc: float
    e_aurc: float
    e_aurc_approximate: float
    augrc: float
    error_auroc: float


def selective_scores(losses: ArrayLike, confidence: ArrayLike) -> SelectiveScores:
    r"""Return scores of how well a confidence separates correct from wrong cases.

    .. math:: \text{AURC} = \frac1n \sum_k \frac1k \sum_{i \le k} \ell_{(i)}, \qquad
        \text{AUGRC} = \frac1n \sum_k \frac1n \sum_{i \le k} \ell_{(i)}

    Args:
        losses: (cases,) 0/1 errors or other losses.
        confidence: (cases,) higher is surer.

    Returns:
        The scores.

    References:
        Geifman, Uziel, El-Yaniv (2019), ICLR (AURC, E-AURC). Traub et al. (2024), NeurIPS (AUGRC).

    Examples:
        >>> s = selective_scores([0, 0, 1, 0], [0.9, 0.8, 0.3, 0.6])
        >>> s.aurc, s.e_aurc, s.error_auroc
        (0.0625, 0.0, 1.0)
    """
    curve = risk_coverage(losses, confidence)
    loss, sure = np.asarray(losses, float), np.asarray(confidence, float)
    n = loss.size
    best = float(np.mean(np.cumsum(np.sort(loss)) / np.arange(1, n + 1)))
    aurc = float(curve.risk.mean())
    binary = bool(((loss == 0) | (loss == 1)).all())
    approximate = auroc = float("nan")
    if binary:
        rate = float(loss.mean())
        closed = rate + (1 - rate) * np.log1p(-rate) if rate < 1 else 1.0
        approximate = aurc - closed
        if 0 < rate < 1:
            auroc = _auroc(-sure, loss == 1)
    return SelectiveScores(
        aurc, aurc - best, float(approximate), float(np.mean(curve.risk * curve.coverage)), auroc
    )


def _auroc(scores: Floats, positive: Bools) -> float:
    from jaxmed import stats

    return float(stats.auc(positive, scores).value)


class Referral(NamedTuple):
    """Cases to refer, and the cost per case of each policy.

    refer: (cases,) booleans; rate: share referred; cost: expected per case; cost_answer_all and
    cost_refer_all: of the two plain policies; threshold: refer where the expected cost of an answer
    is above it.
    """

    refer: Bools
    rate: float
    cost: float
    cost_answer_all: float
    cost_refer_all: float
    threshold: float


def refer(
    probs: ArrayLike, *, cost_refer: float, costs: ArrayLike | None = None, answer: bool = True
) -> Referral:
    r"""Refer a case to a reader if that is cheaper than the model's best answer.

    The best answer's expected cost is :math:`\min_a \sum_y p_y C_{ya}`; the case is referred where
    this is above `cost_refer`. With 0/1 costs that is Chow's rule: refer where
    :math:`1 - \max_y p_y > c`. It is optimal for calibrated probabilities.

    Args:
        probs: (cases, classes), or (cases,) of the positive class.
        cost_refer: cost of one referral, in the unit of `costs`.
        costs: (classes, answers): cost of each answer for each true class; 0/1 errors by default.
            A missed cancer may cost 50 where a false alarm costs 1.
        answer: whether ties are answered.

    Returns:
        The decision, with costs expected under `probs`.

    Raises:
        ValueError: for logits, other shapes or negative costs.

    References:
        Chow (1970), On optimum recognition error and reject tradeoff, IEEE Trans Inf Theory 16:41.

    Examples:
        >>> r = refer([0.02, 0.3, 0.95], cost_refer=0.1)
        >>> r.refer, round(r.cost, 3)
        (array([False,  True, False]), 0.057)
    """
    p = probabilities(probs)
    k = p.shape[1]
    table = 1 - np.eye(k) if costs is None else finite(costs, "costs", ndim=2)
    if len(table) != k:
        raise ValueError(f"costs must be ({k} classes, answers), but their shape is {table.shape}")
    if table.min() < 0 or not cost_refer >= 0:
        raise ValueError("costs must be 0 or more")
    best = (p @ table).min(axis=1)
    away = best > cost_refer if answer else best >= cost_refer
    return Referral(
        away,
        float(away.mean()),
        float(np.where(away, cost_refer, best).mean()),
        float(best.mean()),
        float(cost_refer),
        float(cost_refer),
    )
