"""Variance components of a reader study (Obuchowski and Rockette)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxmed.stats.readers._study import ReaderStudy


class VarianceComponents(NamedTuple):
    """Obuchowski and Rockette's components of the variance of one figure of merit.

    reader, treatment_reader: of the readers; error: of one figure by its cases; cov1: same
    reader, other treatment; cov2: other reader, same treatment; cov3: both other.
    """

    reader: float
    treatment_reader: float
    error: float
    cov1: float
    cov2: float
    cov3: float


def components(study: ReaderStudy) -> tuple[VarianceComponents, dict[str, float]]:
    """Average the covariance by kind, and take the mean squares of the figures."""
    theta = study.theta
    t, r = theta.shape
    cov = study.covariance
    same_t, same_r = np.eye(t, dtype=bool), np.eye(r, dtype=bool)
    tt = same_t[:, None, :, None]
    rr = same_r[None, :, None, :]

    def mean(mask: np.ndarray) -> float:
        chosen = np.broadcast_to(mask, cov.shape)
        return float(cov[chosen].mean()) if chosen.any() else 0.0

    error, cov1, cov2, cov3 = mean(tt & rr), mean(~tt & rr), mean(tt & ~rr), mean(~tt & ~rr)
    row, column, grand = theta.mean(axis=1), theta.mean(axis=0), theta.mean()
    ms_t = r * float(np.sum((row - grand) ** 2)) / (t - 1) if t > 1 else 0.0
    ms_r = t * float(np.sum((column - grand) ** 2)) / (r - 1) if r > 1 else 0.0
    rest = theta - row[:, None] - column[None, :] + grand
    ms_tr = float(np.sum(rest**2)) / ((t - 1) * (r - 1)) if t > 1 and r > 1 else 0.0
    gap = max(cov2 - cov3, 0.0)
    components = VarianceComponents(
        (ms_r - ms_tr) / t - cov1 + cov3, ms_tr - error + cov1 + gap, error, cov1, cov2, cov3
    )
    return components, {"T": ms_t, "R": ms_r, "TR": ms_tr}
