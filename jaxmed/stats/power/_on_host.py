"""Studies to simulate in NumPy: on a CPU its draws and sorts take a tenth of XLA's time.

Each function draws many studies and returns their p-values, (studies,), in chunks that stay in the
processor's cache. The laws and the tests are those of the compiled form, the draws are others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from jaxmed.stats.checks import Floats
from jaxmed.stats.comparison._batch import untied_placements

# Values of one model worked on at a time.
_CHUNK = 200_000


class Latent(NamedTuple):
    """Standard normals of two models on patients of several rows.

    n: patients; rows: of each; correlation: of the two models; icc: of a patient's rows.
    """

    n: int
    rows: int
    correlation: float
    icc: float

    def chunks(self, rng: np.random.Generator, studies: int) -> Iterator[np.ndarray]:
        """Draw (2, studies, n, rows) at a time."""
        step = max(1, _CHUNK // (self.n * self.rows))
        for start in range(0, studies, step):
            shape = (min(step, studies - start), self.n, self.rows)
            found = self._pair(rng, shape)
            if self.rows > 1 and self.icc > 0:
                found *= np.float32(math.sqrt(1 - self.icc))
                found += np.float32(math.sqrt(self.icc)) * self._pair(rng, (*shape[:2], 1))
            yield found

    def _pair(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        found = rng.standard_normal((2, *shape), dtype=np.float32)
        found[1] *= np.float32(math.sqrt(1 - self.correlation**2))
        found[1] += np.float32(self.correlation) * found[0]
        return found


def clustered_sums(gap: Any) -> Any:
    """Variance of a mean of rows that come by patient: (..., patients, rows), centred."""
    *_, patients, rows = gap.shape
    return patients / (patients - 1) * (gap.sum(-1) ** 2).sum(-1) / (patients * rows) ** 2


def auc_p_values(
    law: Latent,
    rng: np.random.Generator,
    studies: int,
    shift: Floats,
    positives: int,
    *,
    paired: bool,
    margin: float,
) -> Floats:
    """DeLong's test (Obuchowski's of several rows) of two AUCs; the first patients are positive."""
    rows, on = law.rows, positives * law.rows
    shifts = np.outer(shift, np.arange(law.n * rows) < on).astype(np.float32)
    found = []
    for scores in law.chunks(rng, studies):
        size = scores.shape[1]
        wins = [untied_placements(on, scores[k].reshape(size, -1) + shifts[k]) for k in (0, 1)]
        area = [w[:, :on].mean(axis=1, keepdims=True) for w in wins]
        excess = [(w - a).reshape(size, law.n, rows) for w, a in zip(wins, area, strict=True)]
        if paired:
            excess = [excess[0] - excess[1]]
        variance = sum(
            clustered_sums(e[:, :positives]) + clustered_sums(e[:, positives:]) for e in excess
        )
        gap = (area[0] - area[1])[:, 0].astype(np.float64)
        found.append((gap + margin) / np.sqrt(np.maximum(variance, 1e-12)))
    return _normal_p(np.concatenate(found), one_sided=margin > 0)


def rate_p_values(
    law: Latent, rng: np.random.Generator, studies: int, cut: Floats, *, margin: float
) -> Floats:
    """Obuchowski's clustered McNemar test of two rates, or its margin form."""
    n, found = law.n, []
    for latent in law.chunks(rng, studies):
        first, second = (latent[k] < np.float32(cut[k]) for k in (0, 1))
        gap = first.sum(-1, dtype=np.float64) - second.sum(-1)  # of each patient
        if margin:
            rate = gap / law.rows
            se = np.sqrt(np.maximum(rate.var(axis=1, ddof=1), 1e-12) / n)
            found.append((rate.mean(axis=1) + margin) / se)
        else:
            square = np.maximum((gap**2).sum(axis=1), 1e-12)
            found.append(gap.sum(axis=1) * np.sqrt((n - 1) / n / square))
    return _normal_p(np.concatenate(found), one_sided=margin > 0)


def mean_p_values(
    law: Latent,
    rng: np.random.Generator,
    studies: int,
    differences: Callable[[np.ndarray], np.ndarray],
    *,
    margin: float,
) -> Floats:
    """The paired t-test on patients' mean differences."""
    n, found = law.n, []
    for latent in law.chunks(rng, studies):
        each = differences(latent).mean(axis=-1, dtype=np.float64)
        se = np.sqrt(np.maximum(each.var(axis=1, ddof=1), 1e-20) / n)
        found.append((each.mean(axis=1) + margin) / se)
    t = np.concatenate(found)
    return special.stdtr(n - 1, -t) if margin else 2 * special.stdtr(n - 1, -np.abs(t))


def _normal_p(z: Floats, *, one_sided: bool) -> Floats:
    return special.ndtr(-z) if one_sided else 2 * special.ndtr(-np.abs(z))
