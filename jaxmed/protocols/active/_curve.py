"""Curves of labels: how good models are by the number of labels, strategy by strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import stats


class LabelCurve(NamedTuple):
    """A metric by the number of labels; made by :func:`label_curve`.

    Attributes:
        counts: (rounds,) numbers of labels, or what they cost.
        points: strategy to an estimate for each number.
        areas: strategy to the area under its curve over the numbers of labels, as a mean.
        gains: strategy to its area less the baseline's, paired by seed and case.
        saved: strategy to the share of labels that it needs less than the baseline to come as far
            as that does in the end; negative if it needs more, NaN if it never does.
        baseline: the strategy that others are compared with.
        metric: its name.
        unit: what is counted.
    """

    counts: NDArray[np.number]
    points: dict[str, tuple[stats.Estimate, ...]]
    areas: dict[str, stats.Estimate]
    gains: dict[str, stats.Estimate]
    saved: dict[str, float]
    baseline: str
    metric: str = "metric"
    unit: str = "labels"

    def __repr__(self) -> str:
        lines = [f"LabelCurve, {self.counts[0]:g} to {self.counts[-1]:g} {self.unit}"]
        lines += [f"  {name}: area {estimate}" for name, estimate in self.areas.items()]
        lines += [f"  {name} - {self.baseline}: {gain}" for name, gain in self.gains.items()]
        return "\n".join(lines)


def label_curve(
    outputs: Mapping[str, ArrayLike],
    labels: ArrayLike,
    counts: ArrayLike,
    metric: Callable[[Any, Any], float],
    *,
    baseline: str = "random",
    level: float = 0.95,
    name: str = "metric",
    unit: str = "labels",
) -> LabelCurve:
    """Compare strategies of active learning by what their models predict of the same test cases.

    Args:
        outputs: strategy to (seeds, rounds, cases, ...) predictions of test cases by each round's
            model. Runs of one seed begin with the same labels in all strategies.
        labels: (cases, ...) truth.
        counts: (rounds,) numbers of labels, or what they cost, rising.
        metric: ``(labels, outputs of a model) -> number``, more is better.
        baseline: the strategy that others are compared with.
        level: confidence level. Intervals are over seeds and test cases
            (:func:`jaxmed.stats.over_runs`).
        name: of the metric, for figures.
        unit: what is counted: labels, slices.

    Returns:
        The curves, their areas, and what each strategy gains.

    Raises:
        ValueError: for arrays of different shapes, counts that do not rise, fewer than two rounds,
            or no such baseline.

    Examples:
        >>> y = np.arange(8) % 2
        >>> late = np.stack([np.full(8, 0.5), y + 0.0])[None]
        >>> soon = np.stack([y + 0.0, y + 0.0])[None]
        >>> from jaxmed.quantities import auc
        >>> found = label_curve({"random": late, "entropy": soon}, y, [10, 20],
        ...     lambda y, p: auc(y == 1, p))
        >>> found.areas["random"].value, found.gains["entropy"].value, found.saved["entropy"]
        (0.75, 0.25, 0.5)
    """
    numbers = np.asarray(counts)
    if numbers.ndim != 1 or len(numbers) < 2 or (np.diff(numbers) <= 0).any():
        raise ValueError(f"counts are two numbers of labels or more, rising, got {numbers}")
    if baseline not in outputs:
        raise ValueError(f"the baseline {baseline!r} is none of {sorted(outputs)}")
    truth = np.asarray(labels)
    arrays = {strategy: np.asarray(found) for strategy, found in outputs.items()}
    shape = arrays[baseline].shape
    for strategy, array in arrays.items():
        if array.ndim < 3 or array.shape != shape or array.shape[1:3] != (len(numbers), len(truth)):
            raise ValueError(
                f"outputs of {strategy} must be (seeds, {len(numbers)}, {len(truth)}, ...) as all "
                f"others, got {array.shape}"
            )
    # Each count for the part of the axis around it: the trapezoidal rule, as a mean.
    steps = np.diff(numbers)
    share = np.concatenate([[0], steps]) + np.concatenate([steps, [0]])
    share = share / share.sum()

    def area(y: Any, x: Any) -> float:
        return float(sum(w * float(metric(y, x[:, i])) for i, w in enumerate(share)))

    by_case = {strategy: np.moveaxis(array, 1, 2) for strategy, array in arrays.items()}
    points = {
        strategy: tuple(
            stats.over_runs(
                metric, truth, array[:, i], level=level, name=f"{strategy}, {count:g} {unit}"
            )
            for i, count in enumerate(numbers)
        )
        for strategy, array in arrays.items()
    }
    areas = {
        strategy: stats.over_runs(area, truth, array, level=level, name=f"{strategy}, area")
        for strategy, array in by_case.items()
    }
    gains = {
        strategy: stats.over_runs(
            area, truth, array, baseline=by_case[baseline], level=level,
            name=f"{strategy} - {baseline}, area",
        )
        for strategy, array in by_case.items()
        if strategy != baseline
    }  # fmt: skip
    end = points[baseline][-1].value
    saved = {
        strategy: _saved(numbers, np.array([e.value for e in found]), end)
        for strategy, found in points.items()
        if strategy != baseline
    }
    return LabelCurve(numbers, points, areas, gains, saved, baseline, name, unit)


def _saved(counts: np.ndarray, values: np.ndarray, end: float) -> float:
    """The share of labels saved by where a curve first reaches a value, between rounds linearly."""
    above = np.flatnonzero(values >= end)
    if not len(above):
        return float("nan")
    i = int(above[0])
    if i == 0:
        needed = float(counts[0])
    else:
        part = (end - values[i - 1]) / (values[i] - values[i - 1])
        needed = counts[i - 1] + part * (counts[i] - counts[i - 1])
    return float(1 - needed / counts[-1])
