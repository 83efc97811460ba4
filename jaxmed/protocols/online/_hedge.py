"""Hedge: weights of experts that follow their losses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from jaxmed.stats import checks

Floats = NDArray[np.float64]


class Hedged(NamedTuple):
    """What weighing experts by their losses comes to; made by :func:`hedge`.

    Attributes:
        weights: (rounds, experts) before each round.
        losses: (rounds,) of the experts' weighted mean.
        regret: (rounds,) the total so far less that of the best single expert so far.
        bound: what the last regret cannot exceed, whatever the losses.
    """

    weights: Floats
    losses: Floats
    regret: Floats
    bound: float


def hedge(
    losses: ArrayLike, *, rate: float | None = None, low: float = 0.0, high: float = 1.0
) -> Hedged:
    r"""Weigh experts (models, sites, learners of a stream) by their losses so far.

    .. math:: w_{t,i} \propto e^{-\eta \sum_{s<t} \ell_{s,i}}

    Args:
        losses: (rounds, experts) in ``[low, high]``.
        rate: :math:`\eta` of losses brought to [0, 1]; by default :math:`\sqrt{8 \ln N / T}`, which
            has the least bound for T rounds of N experts.
        low: the least loss there can be.
        high: the largest.

    Returns:
        Weights, losses and regret. The bound is
        :math:`(\ln N / \eta + \eta T / 8) (\text{high} - \text{low})`, and
        :math:`\sqrt{T \ln N / 2}` times the range with the default rate.

    Raises:
        ValueError: for losses outside their range, no round or expert, a range that is not finite,
            or a rate that is not positive and finite.

    References:
        Freund and Schapire (1997), A decision-theoretic generalization of on-line learning, Journal
        of Computer and System Sciences 55. Cesa-Bianchi and Lugosi (2006), Prediction, Learning,
        and Games, Cambridge (the bound).

    Examples:
        >>> found = hedge([[0.0, 1.0]] * 50)
        >>> bool(found.weights[-1, 0] > 0.99), bool(found.regret[-1] <= found.bound)
        (True, True)
    """
    given = checks.finite(losses, "losses", ndim=2)
    if not given.shape[1]:
        raise ValueError(f"losses are of one expert or more, got the shape {given.shape}")
    low, high = checks.check_number(low, "low"), checks.check_number(high, "high")
    if not high > low:
        raise ValueError(f"high must be above low, got {low} and {high}")
    if given.min() < low or given.max() > high:
        raise ValueError(
            f"losses must be in [{low:g}, {high:g}], got {given.min():g} to {given.max():g}: give "
            "low and high"
        )
    scaled = (given - low) / (high - low)
    rounds, experts = scaled.shape
    if rate is None:
        rate = float(np.sqrt(8 * np.log(experts) / rounds)) or 1.0
    rate = checks.check_number(rate, "rate", above=0)
    before = np.concatenate([np.zeros((1, experts)), np.cumsum(scaled, axis=0)[:-1]])
    weights = special.softmax(-rate * before, axis=1)
    own = (weights * given).sum(1)
    best = np.cumsum(given, axis=0).min(1)
    bound = (np.log(experts) / rate + rate * rounds / 8) * (high - low)
    return Hedged(weights, own, np.cumsum(own) - best, float(bound))
