"""Several statistics of images on the same resamples, and their estimates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxmed.quantities import deviation
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import Floats
from jaxmed.stats.resampling._bootstrap import interval_from_replicates
from jaxmed.stats.resampling._resample import multinomial_counts

_PART = 50  # Resamples at a time: a statistic sorts as many boxes as there are for each.


def replicates(
    statistic: Callable[[Floats], Floats],
    n: int,
    codes: NDArray[np.intp] | None,
    k: int,
    n_resamples: int,
    seed: int,
) -> tuple[Floats, Floats]:
    """Values on the data (s,), and on resamples of images, or of groups of them, (b, s).

    Args:
        statistic: from weights (b, n) of the images to values (b, s).
        n: images.
        codes: (n,) group of each image; None where each is its own.
        k: groups.
        n_resamples: none where there is only one group.
        seed: of the draws.
    """
    value = statistic(np.ones((1, n)))[0]
    if k < 2 or n_resamples < 1:
        return value, np.zeros((0, value.size))
    rng, parts = np.random.default_rng(seed), []
    for start in range(0, n_resamples, _PART):
        counts = multinomial_counts(rng, min(_PART, n_resamples - start), k, k).astype(np.float64)
        parts.append(statistic(counts if codes is None else counts[:, codes]))
    return value, np.concatenate(parts)


def estimate(
    value: float,
    drawn: Floats,
    *,
    level: float,
    k: int,
    grouped: bool,
    unit: str | None,
    name: str,
    n_resamples: int,
    notes: tuple[str, ...] = (),
    details: Mapping[str, Any] | None = None,
) -> Estimate:
    """The percentile interval of a value, with notes on what it lacks."""
    good = drawn[np.isfinite(drawn)]
    low, high = 0.0, 1.0
    if good.size > max(1, n_resamples / 2):
        low, high = interval_from_replicates(value, good, method="percentile", level=level)
        if failed := n_resamples - good.size:
            notes += (f"undefined on {failed} of {n_resamples} resamples, which were left out",)
        if low == high:
            notes += ("all resamples agree: the bootstrap says nothing about the error here",)
        if k < 10:
            notes += (f"only {k} to resample: the interval is too narrow",)
    elif n_resamples < 1:
        notes += ("no resamples: the whole range is its interval",)
    else:
        notes += ("it rests on a single one, or on few: the whole range is its interval",)
    return Estimate(
        value, float(low), float(high), level, k, unit or ("patient" if grouped else "image"),
        f"percentile bootstrap ({n_resamples} resamples)", notes,
        se=deviation(good) if good.size > 1 else None, details=details or {}, name=name,
    )  # fmt: skip
