"""From labels and scores to results: every metric with its interval."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from jaxmed.report._curves import precision_recall_points
from jaxmed.report._results import Results, Scores
from jaxmed.stats import Estimate, auc, bootstrap, clustered_proportion, proportion

Array = NDArray[Any]
Make = Callable[[], Estimate]
Named = Iterator[tuple[str, Make]]

HEADLINE = {
    "binary": ("auc", "accuracy", "sensitivity", "specificity"),
    "multi-class": ("auc", "accuracy", "balanced_accuracy"),
    "ordinal": ("auc", "accuracy", "quadratic_kappa"),
    "multi-label": ("auc", "accuracy"),
    "regression": ("mae", "rmse", "r2"),
}


def classification(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    task: str | None = None,
    classes: Sequence[str] = (),
    cases: Sequence[str] = (),
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    threshold: float = 0.5,
    resampling_seed: int = 0,
    title: str = "Classification",
    **about: Any,
) -> Results:
    """Measure predictions of classes or numbers, whatever model made them.

    AUC and accuracy are MedMNIST's: the mean one-against-rest AUC for several classes, the mean
    over labels for several labels; accuracy of the most probable class, or at `threshold`.

    Args:
        labels: (cases,) classes 0, 1, ...; (cases, tasks) 0/1 for multi-label; numbers.
        scores: (cases, classes) probabilities; for two classes also (cases,), of class 1;
            (cases, tasks) for multi-label; (cases,) for regression.
        task: one of `report.TASKS`; by default told from the shapes (never ordinal or
            regression).
        classes: names; by default their numbers.
        cases: names; by default their numbers.
        groups: (cases,) patients, where cases of one patient are not independent.
        level: of all intervals.
        threshold: of the positive call.
        resampling_seed: of the bootstrap.
        title: of the report.
        **about: further fields of `Results`.

    Returns:
        The results, ready for `write`. What is undefined on these data is left out of the
        metrics and named in the notes.

    Raises:
        ValueError: shapes that do not fit, labels outside the classes, scores that are not
            finite.

    Examples:
        >>> r = classification([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9])
        >>> r.task, r.metrics["auc"].value, r.metrics["accuracy"].value
        ('binary', 0.75, 0.5)
    """
    y, s = np.asarray(labels), np.asarray(scores, float)
    task = task or _guess(y, s)
    y, s = _checked(y, s, task)
    n = len(y)
    names = tuple(classes) or _numbered(y, s, task)
    _check_classes(y, s, names, task)
    cases = tuple(cases) or tuple(str(i) for i in range(n))
    for name, values in (("cases", cases), ("groups", groups)):
        if values is not None and len(values) != n:
            raise ValueError(f"{name} has {len(values)} entries for {n} rows")
    rule = _Rule(level, None if groups is None else np.asarray(groups), resampling_seed)
    metrics, undefined = _measured(_MAKERS[task](rule, y, s, names, threshold))
    return Results(
        title=title,
        task=task,
        classes=names,
        metrics=metrics,
        headline=tuple(name for name in HEADLINE[task] if name in metrics),
        scores=Scores(y, s, cases, groups),
        notes=(*about.pop("notes", ()), *undefined),
        **about,
    )


class _Rule(NamedTuple):
    """How intervals are made."""

    level: float
    groups: Array | None
    seed: int

    @property
    def unit(self) -> str:
        return "case" if self.groups is None else "patient"

    def auc(self, y: Array, s: Array) -> Make:
        return lambda: auc(y, s, level=self.level, groups=self.groups)

    def share(self, hits: Array, among: Array | None = None) -> Make:
        """The share of hits among all cases, or among some."""
        among = np.ones(len(hits), bool) if among is None else among

        def make() -> Estimate:
            if self.groups is None:
                return proportion(int(hits[among].sum()), int(among.sum()), level=self.level)
            return clustered_proportion(hits[among], self.groups[among], level=self.level)

        return make

    def resampled(self, statistic: Callable[..., float], *data: Array) -> Make:
        """A bootstrap estimate: BCa where the jackknife it needs is cheap."""
        n = len(data[0])
        return lambda: bootstrap(
            statistic,
            *data,
            method="bca" if n <= 2000 else "percentile",
            n_resamples=int(np.clip(2e7 / n, 200, 2000)),
            level=self.level,
            groups=self.groups,
            seed=self.seed,
            unit=self.unit,
        )


def _measured(named: Iterable[tuple[str, Make]]) -> tuple[dict[str, Estimate], list[str]]:
    """Run the makers; what is undefined becomes a note."""
    metrics, notes = {}, []
    for name, make in named:
        try:
            metrics[name] = dataclasses.replace(make(), name=name)
        except ValueError as error:
            notes.append(f"{name} is undefined on these data: {error}")
    return metrics, notes


def _binary(rule: _Rule, y: Array, s: Array, names: Sequence[str], threshold: float) -> Named:
    p = s[:, 1]
    called = p >= threshold
    yield "auc", rule.auc(y, p)
    yield "accuracy", rule.share(called == y)
    yield "sensitivity", rule.share(called, y == 1)
    yield "specificity", rule.share(~called, y == 0)
    yield "ppv", rule.share(y == 1, called)
    yield "npv", rule.share(y == 0, ~called)
    yield "average_precision", rule.resampled(_average_precision, y, p)
    yield "brier", rule.resampled(lambda a, b: float(((a - b) ** 2).mean()), y, p)
    yield "ece", rule.resampled(_ece, y.astype(float), p)


def _multi_class(rule: _Rule, y: Array, s: Array, names: Sequence[str], threshold: float) -> Named:
    k = len(names)
    top = s.argmax(1)
    yield "auc", rule.resampled(_macro_auc, y, s)
    yield "accuracy", rule.share(top == y)
    yield "balanced_accuracy", rule.resampled(lambda a, b: _balanced(a, b, k), y, top)
    yield "log_loss", rule.resampled(_log_loss, y, s)
    yield "ece", rule.resampled(_ece, (top == y).astype(float), s.max(1))
    for i, name in enumerate(names):
        yield f"auc/{name}", rule.auc((y == i).astype(int), s[:, i])


def _ordinal(rule: _Rule, y: Array, s: Array, names: Sequence[str], threshold: float) -> Named:
    k, top = len(names), s.argmax(1)
    yield "quadratic_kappa", rule.resampled(lambda a, b: _quadratic_kappa(a, b, k), y, top)
    yield "mae_grades", rule.resampled(lambda a, b: float(np.abs(a - b).mean()), y, top)
    yield from _multi_class(rule, y, s, names, threshold)


def _multi_label(rule: _Rule, y: Array, s: Array, names: Sequence[str], threshold: float) -> Named:
    yield "auc", rule.resampled(_label_auc, y, s)
    yield "accuracy", rule.resampled(lambda a, b: float((a == b).mean()), y, s >= threshold)
    for i, name in enumerate(names):
        yield f"auc/{name}", rule.auc(y[:, i], s[:, i])


def _regression(rule: _Rule, y: Array, s: Array, names: Sequence[str], threshold: float) -> Named:
    yield "mae", rule.resampled(lambda a, b: float(np.abs(a - b).mean()), y, s)
    yield "rmse", rule.resampled(lambda a, b: float(np.sqrt(((a - b) ** 2).mean())), y, s)
    yield "bias", rule.resampled(lambda a, b: float((b - a).mean()), y, s)
    yield "r2", rule.resampled(_r_squared, y, s)


_MAKERS = {
    "binary": _binary,
    "multi-class": _multi_class,
    "ordinal": _ordinal,
    "multi-label": _multi_label,
    "regression": _regression,
}


def _guess(y: Array, s: Array) -> str:
    if y.ndim == 2 and y.shape[1] > 1:
        return "multi-label"
    columns = 1 if s.ndim == 1 else s.shape[1]
    return "binary" if columns <= 2 else "multi-class"


def _checked(y: Array, s: Array, task: str) -> tuple[Array, Array]:
    if task not in _MAKERS:
        raise ValueError(f"task is one of {', '.join(_MAKERS)}, got {task!r}")
    if len(y) == 0 or len(y) != len(s):
        raise ValueError(
            f"labels and scores need the same number of rows, at least 1: {y.shape}, {s.shape}"
        )
    if not np.isfinite(s).all():
        rows = np.flatnonzero(~np.isfinite(s).reshape(len(s), -1).all(1))
        raise ValueError(f"scores must be finite; row {rows[0]} and {len(rows) - 1} others are not")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if s.ndim == 2 and s.shape[1] == 1 and task in ("binary", "regression"):
        s = s[:, 0]
    if task == "regression":
        if y.shape != s.shape or y.ndim != 1:
            raise ValueError(f"regression takes (cases,) twice, got {y.shape} and {s.shape}")
        return y.astype(float), s
    whole = y.astype(int)
    if (whole != y).any():
        raise ValueError("labels must be whole numbers")
    if task == "multi-label":
        if whole.shape != s.shape:
            raise ValueError(f"multi-label takes (cases, tasks) twice: {y.shape}, {s.shape}")
        return whole, s
    if whole.ndim != 1:
        raise ValueError(f"{task} labels have the shape (cases,), got {y.shape}")
    if task == "binary" and s.ndim == 1:
        s = np.stack([1 - s, s], 1)
    if s.ndim != 2:
        raise ValueError(f"{task} scores have the shape (cases, classes), got {s.shape}")
    return whole, s


def _numbered(y: Array, s: Array, task: str) -> tuple[str, ...]:
    return ("value",) if task == "regression" else tuple(str(i) for i in range(s.shape[1]))


def _check_classes(y: Array, s: Array, names: Sequence[str], task: str) -> None:
    if task == "regression":
        return
    if len(names) != s.shape[1]:
        raise ValueError(f"{len(names)} class names for {s.shape[1]} columns of scores")
    limit = 2 if task in ("binary", "multi-label") else len(names)
    if y.min() < 0 or y.max() >= limit:
        raise ValueError(f"labels must lie in 0..{limit - 1}, got {y.min()}..{y.max()}")


def _rank_auc(y: Array, s: Array) -> float:
    n1 = int(y.sum())
    n0 = len(y) - n1
    if n1 == 0 or n0 == 0:
        return float("nan")
    return float((rankdata(s)[y == 1].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def _macro_auc(y: Array, s: Array) -> float:
    """Mean over the classes that occur of one against the rest."""
    return float(np.mean([_rank_auc((y == i).astype(int), s[:, i]) for i in np.unique(y)]))


def _label_auc(y: Array, s: Array) -> float:
    values = [_rank_auc(a, b) for a, b in zip(y.T, s.T)]
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _log_loss(y: Array, s: Array) -> float:
    return float(-np.log(np.clip(s[np.arange(len(y)), y], 1e-12, 1)).mean())


def _r_squared(y: Array, s: Array) -> float:
    spread = ((y - y.mean()) ** 2).sum()
    return float(1 - ((y - s) ** 2).sum() / spread) if spread else float("nan")


def _average_precision(y: Array, s: Array) -> float:
    if not y.any():
        return float("nan")
    curve = precision_recall_points(y, s)
    return float((np.diff(np.r_[0, curve.x]) * curve.y).sum())


def _balanced(y: Array, p: Array, k: int) -> float:
    return float(np.mean([(p[y == i] == i).mean() for i in range(k) if (y == i).any()]))


def _ece(hit: Array, p: Array, bins: int = 15) -> float:
    """Expected calibration error over bins of equal width, closed on the right (Guo 2017)."""
    which = np.clip(np.ceil(p * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(which, hit - p, bins)
    return float(np.abs(gap).sum() / len(p))


def _quadratic_kappa(y: Array, p: Array, k: int) -> float:
    weight = (np.arange(k)[:, None] - np.arange(k)[None]) ** 2
    seen = np.bincount(y * k + p, minlength=k * k).reshape(k, k)
    chance = np.outer(seen.sum(1), seen.sum(0)) / len(y)
    denominator = (weight * chance).sum()
    return float(1 - (weight * seen).sum() / denominator) if denominator else float("nan")
