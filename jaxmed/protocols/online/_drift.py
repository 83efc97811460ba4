"""Changes of a stream: of its mean, as it comes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.stats import checks

_BUCKETS = 5  # Of one size, of an exponential histogram.


class Drifts(NamedTuple):
    """Where a stream changed; made by :func:`page_hinkley` and :func:`adwin`.

    Attributes:
        at: positions at which a change was noticed, some time after it took place.
        mean: (values,) what the mean is taken to be after each value.
    """

    at: NDArray[np.intp]
    mean: NDArray[np.float64]


def page_hinkley(
    values: ArrayLike,
    *,
    delta: float = 0.005,
    threshold: float = 50.0,
    least: int = 30,
    direction: int = 1,
) -> Drifts:
    r"""Notice that the mean of a stream has risen: Page's cumulative sum test.

    A change is noticed when :math:`\sum (x_t - \bar x_t - \delta)` is more than the threshold above
    its lowest value; then everything begins anew.

    Args:
        values: (n,) such as losses, 1 for an error.
        delta: what a mean may rise by and be left alone.
        threshold: how much evidence is asked for.
        least: values before a change may be noticed.
        direction: 1 for a rise, -1 for a fall.

    Returns:
        Where changes were noticed.

    Raises:
        ValueError: for values, a delta or a threshold that are not finite, a threshold that is not
            positive, or another direction.

    References:
        Page (1954), Continuous inspection schemes, Biometrika 41.

    Examples:
        >>> page_hinkley([0.0] * 100 + [1.0] * 100, threshold=5).at.tolist()
        [105]
    """
    x = checks.finite(values, "values")
    delta = checks.check_number(delta, "delta")
    threshold = checks.check_number(threshold, "threshold", above=0)
    least = checks.check_whole(least, "least", 1)
    if direction not in (1, -1):
        raise ValueError(f"direction must be 1 or -1, got {direction}")
    found, means = [], np.empty(len(x))
    count, mean, total, lowest = 0, 0.0, 0.0, 0.0
    for i, value in enumerate(x.tolist()):
        count += 1
        mean += (value - mean) / count
        total += direction * (value - mean) - delta
        lowest = min(lowest, total)
        means[i] = mean
        if count >= least and total - lowest > threshold:
            found.append(i)
            count, mean, total, lowest = 0, 0.0, 0.0, 0.0
    return Drifts(np.array(found, np.intp), means)


def adwin(values: ArrayLike, *, delta: float = 0.002, every: int = 1) -> Drifts:
    r"""Keep the longest window of a stream whose mean has not changed: ADWIN.

    The window is cut where the means of an older and a newer part differ by more than

    .. math:: \sqrt{\frac{2}{m} \sigma^2 \ln \frac{2 \ln n}{\delta}}
        + \frac{2}{3m} \ln \frac{2 \ln n}{\delta}, \qquad
        \frac1m = \frac1{n_0} + \frac1{n_1}

    Memory grows with the logarithm of the window, by an exponential histogram of it. One change may
    be noticed several times while the window shrinks to what came after it.

    Args:
        values: (n,) in [0, 1], such as errors; others are to be scaled.
        delta: about the probability that a window without a change is cut.
        every: how many values pass between looks.

    Returns:
        Where windows were cut, and their means.

    Raises:
        ValueError: for values outside [0, 1], or a delta outside (0, 1).

    References:
        Bifet and Gavaldà (2007), Learning from time-changing data with adaptive windowing, SIAM
        International Conference on Data Mining.

    Examples:
        >>> found = adwin([0.0] * 200 + [1.0] * 200)
        >>> bool(200 <= found.at[0] < 215), bool(found.mean[-1] > 0.9)
        (True, True)
    """
    x = checks.finite(values, "values")
    if x.min() < 0 or x.max() > 1:
        raise ValueError(f"values must be in [0, 1], got {x.min():g} to {x.max():g}: scale them")
    if not 0 < delta < 1:
        raise ValueError(f"delta must be in (0, 1), got {delta}")
    every = checks.check_whole(every, "every", 1)
    window, found, means = _Window(), [], np.empty(len(x))
    for i, value in enumerate(x.tolist()):
        window.add(value)
        if i % every == 0 and window.cut(delta):
            found.append(i)
        means[i] = window.mean
    return Drifts(np.array(found, np.intp), means)


class _Window:
    """Sums over a window in buckets of 1, 2, 4, ... values, the oldest and largest first."""

    def __init__(self) -> None:
        self.rows: list[list[tuple[float, float]]] = [[]]  # by size: (sum, squared deviations)
        self.count, self.total, self.spread = 0, 0.0, 0.0

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def add(self, value: float) -> None:
        if self.count:
            gap = value - self.mean
            self.spread += gap * gap * self.count / (self.count + 1)
        self.count += 1
        self.total += value
        self.rows[0].append((value, 0.0))
        level = 0
        while len(self.rows[level]) > _BUCKETS:
            (a, va), (b, vb) = self.rows[level][:2]
            del self.rows[level][:2]
            half = 2**level
            gap = (a - b) / half
            if level + 1 == len(self.rows):
                self.rows.append([])
            self.rows[level + 1].append((a + b, va + vb + gap * gap * half / 2))
            level += 1

    def cut(self, delta: float) -> bool:
        """Leave out the oldest buckets while some cut of the window tells two means apart."""
        changed = False
        while self._differs(delta):
            self._forget()
            changed = True
        return changed

    def _differs(self, delta: float) -> bool:
        if self.count < 10:
            return False
        log = math.log(2 * math.log(self.count) / delta)
        variance = self.spread / self.count
        count, total = 0, 0.0
        for level in reversed(range(len(self.rows))):
            for part, _ in self.rows[level]:
                count += 2**level
                total += part
                rest = self.count - count
                if count < 5 or rest < 5:
                    continue
                inverse = 1 / count + 1 / rest
                gap = abs(total / count - (self.total - total) / rest)
                if gap > math.sqrt(2 * inverse * variance * log) + 2 / 3 * inverse * log:
                    return True
        return False

    def _forget(self) -> None:
        level = len(self.rows) - 1
        part, spread = self.rows[level].pop(0)
        if not self.rows[level] and level:
            self.rows.pop()
        size = 2**level
        rest = self.count - size
        gap = part / size - (self.total - part) / rest
        self.spread = max(self.spread - spread - gap * gap * size * rest / self.count, 0.0)
        self.count, self.total = rest, self.total - part
