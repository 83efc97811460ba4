"""What a test says of all cases."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxmed import stats


def over_cases(
    values: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    bounds: tuple[float, float] | None = None,
    level: float = 0.95,
    name: str = "mean",
) -> stats.Estimate:
    """Estimate the mean of a test's numbers, one a case, with an interval.

    Answers of yes and no, such as :func:`pointing_game`'s, are a proportion, with Wilson's
    interval, which has a width where all agree; other numbers have that of a mean by t.

    Args:
        values: (cases,) numbers; NaN where a case has none.
        groups: (cases,) patient of each case: the interval then counts patients, and is one of a
            mean.
        bounds: least and greatest value there can be, beyond which no interval goes.
        level: confidence level.
        name: name of the quantity, for printing.

    Returns:
        The estimate over the cases that have a number.

    Raises:
        ValueError: if no case has a number, or one is out of bounds.

    Examples:
        >>> print(over_cases([1, 1, 1, 1, float("nan")], name="pointing"))
        pointing 1.000 (95% CI 0.510 to 1.000; n = 4 cases, wilson)
    """
    numbers = np.asarray(values, np.float64)
    known = numbers[~np.isnan(numbers)]
    if groups is not None:
        patients = np.asarray(groups)[~np.isnan(numbers)]
        return stats.mean(known, groups=patients, bounds=bounds, level=level, name=name)
    if known.size and np.isin(known, (0.0, 1.0)).all():
        return stats.proportion(float(known.sum()), known.size, level=level, name=name)
    return stats.mean(known, bounds=bounds, level=level, name=name)
