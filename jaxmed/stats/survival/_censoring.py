"""Inverse-probability-of-censoring weights, and how each case moves what they are used in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jaxmed.quantities import censoring_steps, risk_table
from jaxmed.stats.checks import Floats
from jaxmed.stats.survival._followed import Followed


class Censoring:
    """The Kaplan-Meier estimate of remaining uncensored, with its derivatives in the cases.

    A case that is counted by the inverse of the estimate stands for those that were censored
    before. What a case adds to the estimate itself is part of its influence, and so of the
    variance: it makes weighted measures more precise than fixed weights would.
    """

    def __init__(self, cases: Followed) -> None:
        self.cases = cases
        self.table = risk_table(*cases)
        self.steps = np.concatenate(([1.0], censoring_steps(self.table)))

    def reached(self, at: Floats, *, before: bool) -> NDArray[np.intp]:
        """Return how many steps are behind each time, or behind just before it."""
        return np.searchsorted(self.table.time, at, "left" if before else "right")

    def influence(self, reached: NDArray[np.intp], amount: Floats) -> Floats:
        """Return the derivative of a sum of logs in each case's weight.

        Args:
            reached: (terms,) how many steps each term's estimate has behind it.
            amount: (terms,) factor of its log.

        Returns:
            (cases,) of `sum(amount * log(estimate))`; they sum to 0.
        """
        size = len(self.table.time)
        ahead = np.bincount(reached, amount, size + 1)[::-1].cumsum()[::-1][1:]
        exposed = self.table.at_risk - self.table.events
        stay = exposed - self.table.censored
        # Where nobody stays the estimate is 0 from there on, and no term may reach it.
        good = (ahead != 0) & (stay > 0)
        keep = np.zeros(size)
        keep[good] = ahead[good] * (1 / stay[good] - 1 / exposed[good])
        leave = np.zeros(size)
        leave[good] = -ahead[good] / exposed[good]
        when = np.searchsorted(self.table.time, self.cases.time)
        passed = np.concatenate(([0.0], keep.cumsum()))[when]
        return passed + np.where(self.cases.event, 0.0, leave[when])


def check_horizon(censoring: Censoring, at: float, name: str = "at") -> float:
    """Return a time by which who had the event and who had not are both known of some."""
    cases = censoring.cases
    if not (np.isfinite(at) and at > 0):
        raise ValueError(f"{name} must be a time above 0, but is {at}")
    last = float(cases.time.max())
    if at >= last and not cases.event[cases.time == last].all():
        raise ValueError(
            f"{name}={at:g} is not before the last time observed, {last:g}, at which a case is "
            "censored: nobody is known to be free of the event beyond it"
        )
    return float(at)
