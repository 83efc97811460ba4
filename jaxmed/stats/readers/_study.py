"""A multi-reader multi-case study as arrays, its figures of merit and their covariances."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.quantities import placements
from jaxmed.stats.checks import Floats, as_array, binary_labels, same_length, spelled, unknown
from jaxmed.stats.diagnostic._bootstrap_auc import weighted_auc
from jaxmed.stats.resampling._resample import resample_weights


class ReaderStudy(NamedTuple):
    """Figures of merit of each treatment and reader, and the covariance of all of them.

    theta: (treatments, readers); covariance: (treatments, readers, treatments, readers);
    pseudovalues: (treatments, readers, cases) jackknife pseudovalues, or None;
    treatments, readers: names; cases: their number; metric; method: of the covariance.
    """

    theta: Floats
    covariance: Floats
    pseudovalues: Floats | None
    treatments: list
    readers: list
    cases: int
    metric: str
    method: str


class _Cell(NamedTuple):
    """Ratings of one reader under one treatment: case codes, truth, rating."""

    cases: NDArray[np.intp]
    positive: NDArray[np.bool_]
    rating: Floats


def _auc_jackknife(cell: _Cell) -> tuple[float, Floats]:
    """Return the AUC and its value without each case, in closed form from the placements."""
    parts = placements(cell.positive, cell.rating)
    n1, n0 = parts.positives.size, parts.negatives.size
    if min(n1, n0) < 2:
        raise ValueError("each reader needs two cases of each class under each treatment")
    out = np.empty(cell.rating.size)
    out[cell.positive] = (n1 * parts.auc - parts.positives) / (n1 - 1)
    out[~cell.positive] = (n0 * parts.auc - parts.negatives) / (n0 - 1)
    return parts.auc, out


def _any_jackknife(metric: Callable[..., float], cell: _Cell) -> tuple[float, Floats]:
    """Return any metric and its value without each case."""
    value = float(metric(cell.positive, cell.rating))
    keep = np.ones(cell.rating.size, bool)
    out = np.empty(cell.rating.size)
    for i in range(out.size):
        keep[i] = False
        out[i] = metric(cell.positive[keep], cell.rating[keep])
        keep[i] = True
    return value, out


def _rate_jackknife(positive_class: bool, cell: _Cell) -> tuple[float, Floats]:
    """Return sensitivity (or specificity) of 0/1 ratings and its values without each case."""
    of = cell.positive == positive_class
    hit = (cell.rating > 0.5) == positive_class
    n, h = int(of.sum()), int((hit & of).sum())
    if n < 2:
        raise ValueError("each reader needs two cases of the class that is rated")
    out = np.full(cell.rating.size, h / n)
    out[of] = (h - hit[of]) / (n - 1)
    return h / n, out


def _jackknife(metric: str | Callable[..., float], cell: _Cell) -> tuple[float, Floats]:
    if callable(metric):
        return _any_jackknife(metric, cell)
    if metric == "auc":
        return _auc_jackknife(cell)
    return _rate_jackknife(metric == "sensitivity", cell)


def jackknife_covariance(values: Floats, left_out: Floats, used: NDArray[np.bool_]) -> Floats:
    r"""Return :math:`\frac{n-1}{n} \sum_k (\theta_{(k)} - \bar\theta)(\ldots)^T`.

    Args:
        values: (cells,) the metric of each cell (treatment and reader).
        left_out: (cells, cases) the metric without each case; as `values` where a case is not
            in a cell.
        used: (cells, cases) whether a case is in a cell; cells without a common case have
            covariance 0.
    """
    n = left_out.shape[1]
    gap = left_out - left_out.mean(axis=1, keepdims=True)
    covariance = (n - 1) / n * gap @ gap.T
    shared = (used.astype(np.float64) @ used.T) > 0
    return np.where(shared, covariance, 0.0)


def _placement_covariance(cells: list[_Cell], cases: int, unbiased: bool) -> Floats:
    """Return DeLong's covariance of the cells' AUCs, or the unbiased one of U-statistics."""
    m = len(cells)
    out = np.zeros((m, m))
    up, down = np.zeros((m, cases)), np.zeros((m, cases))
    on, off = np.zeros((m, cases), bool), np.zeros((m, cases), bool)
    area = np.empty(m)
    for i, cell in enumerate(cells):
        parts = placements(cell.positive, cell.rating)
        area[i] = parts.auc
        up[i, cell.cases[cell.positive]] = parts.positives
        down[i, cell.cases[~cell.positive]] = parts.negatives
        on[i, cell.cases[cell.positive]] = True
        off[i, cell.cases[~cell.positive]] = True
    if unbiased:
        return _unbiased(cells, up, down, on, off, area)
    for i in range(m):
        for j in range(i, m):
            total = 0.0
            for part, has in ((up, on), (down, off)):
                both = has[i] & has[j]
                k = int(both.sum())
                if k > 1:
                    n_i, n_j = int(has[i].sum()), int(has[j].sum())
                    cross = (part[i, both] - area[i]) @ (part[j, both] - area[j])
                    total += cross * k / (k - 1) / (n_i * n_j)
            out[i, j] = out[j, i] = total
    return out


def _unbiased(
    cells: list[_Cell], up: Floats, down: Floats, on: NDArray, off: NDArray, area: Floats
) -> Floats:
    """Unbiased covariance of crossed AUCs (Gallas 2006): products of different pairs stand in
    for the squared mean.
    """
    if not ((on == on[0]).all() and (off == off[0]).all()):
        raise ValueError("the unbiased covariance needs the same cases for all; use jackknife")
    n1, n0 = int(on[0].sum()), int(off[0].sum())
    if min(n1, n0) < 2:
        raise ValueError("the unbiased covariance needs two cases of each class")
    pairs = np.empty((len(cells), n1 * n0))
    for i, cell in enumerate(cells):
        order = np.argsort(cell.cases, kind="stable")
        x, y = cell.rating[order], cell.positive[order]
        gap = x[y][:, None] - x[~y][None, :]
        pairs[i] = ((gap > 0) + 0.5 * (gap == 0)).ravel()
    same = pairs @ pairs.T  # sum over pairs of s s'
    rows = up[:, on[0]] @ up[:, on[0]].T * n0**2  # sums over one positive, squared
    columns = down[:, off[0]] @ down[:, off[0]].T * n1**2
    total = np.outer(area, area) * (n1 * n0) ** 2
    # The pairs that share neither case estimate the square of the mean.
    apart = (total - rows - columns + same) / (n1 * (n1 - 1) * n0 * (n0 - 1))
    return np.outer(area, area) - apart


def _bootstrap_covariance(
    metric: str | Callable[..., float],
    cells: list[_Cell],
    truth: NDArray[np.bool_],
    used: NDArray[np.bool_],
    n_resamples: int,
    seed: int,
) -> Floats:
    """Covariance over resamples of cases, drawn within their class, the same for all cells."""
    rng = np.random.default_rng(seed)
    values = np.empty((n_resamples, len(cells)))
    done = 0
    for weights in resample_weights(rng, truth.size, n_resamples, strata=truth):
        rows = slice(done, done + len(weights))
        for k, cell in enumerate(cells):
            values[rows, k] = _weighted(metric, cell, weights[:, cell.cases])
        done += len(weights)
    good = np.isfinite(values).all(axis=1)
    if good.sum() < max(n_resamples / 2, 2):
        raise ValueError(f"the metric is undefined on {int((~good).sum())} resamples")
    covariance = np.atleast_2d(np.cov(values[good].T))
    shared = (used.astype(np.float64) @ used.T) > 0
    return np.where(shared, covariance, 0.0)


def _weighted(metric: str | Callable[..., float], cell: _Cell, weights: Floats) -> Floats:
    """The metric of a cell on each resample."""
    if metric == "auc":
        return weighted_auc(cell.positive, cell.rating, weights)
    if not callable(metric):  # all cases of a rate are of its class
        called = (cell.rating > 0.5) == (metric == "sensitivity")
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ called) / weights.sum(axis=1)
    out = np.full(len(weights), np.nan)
    for i, counts in enumerate(weights.astype(np.intp)):
        index = np.repeat(np.arange(counts.size), counts)
        try:
            out[i] = metric(cell.positive[index], cell.rating[index])
        except (ValueError, ZeroDivisionError):  # undefined on this resample
            continue
    return out


def reader_study(
    truth: ArrayLike,
    rating: ArrayLike,
    reader: ArrayLike,
    treatment: ArrayLike,
    case: ArrayLike,
    *,
    metric: str | Callable[..., float] = "auc",
    covariance: str = "jackknife",
    n_resamples: int = 2000,
    seed: int = 0,
) -> ReaderStudy:
    """Build a multi-reader multi-case study from one row per rating.

    Cases may be nested in readers or treatments, and readers may lack cases; distinct cases need
    distinct names. Figures that share no case have covariance 0.

    Args:
        truth: (ratings,) 0 or 1, of the case.
        rating: (ratings,) higher for positives; 0/1 decisions for sensitivity and specificity.
        reader: (ratings,) names of the readers.
        treatment: (ratings,) names of the treatments (modalities).
        case: (ratings,) names of the cases.
        metric: `auc`, `sensitivity`, `specificity`, or `(truth, rating) -> number`.
        covariance: `jackknife`; `bootstrap`, of cases within their class; for `auc` also
            `delong` and `unbiased`.
        n_resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.

    Returns:
        The figures of merit and their covariance, for `reader_test`.

    Raises:
        ValueError: for a reader without a rating under a treatment, two ratings of one case in
            one cell, a case with two truths, or unequal lengths.

    References:
        Obuchowski and Rockette (1995), Commun Stat Simul 24:285. Gallas (2006), Acad Radiol 13:353.

    Examples:
        >>> y = np.tile([0, 0, 1, 1], 4)
        >>> r, t, c = np.repeat([0, 0, 1, 1], 4), np.repeat([0, 1, 0, 1], 4), np.tile(range(4), 4)
        >>> x = [1, 3, 2, 4, 1, 2, 3, 4, 1, 2, 2, 4, 2, 1, 3, 3]
        >>> reader_study(y, x, r, t, c).theta
        array([[0.75 , 0.875],
               [1.   , 1.   ]])
    """
    name = spelled(covariance)
    known = ("jackknife", "bootstrap", "delong", "unbiased")
    if name not in known:
        raise unknown("covariance", covariance, known)
    if not callable(metric) and metric not in ("auc", "sensitivity", "specificity"):
        raise unknown("metric", metric, ("auc", "sensitivity", "specificity"))
    if name in ("delong", "unbiased") and metric != "auc":
        raise ValueError(f"covariance {name!r} is for auc; use jackknife or bootstrap")
    positive = binary_labels(truth, "truth")
    x = as_array(rating, "rating", np.float64)
    if np.isnan(x).any():
        raise ValueError(f"rating holds {int(np.isnan(x).sum())} NaN value(s)")
    factors = {"reader": reader, "treatment": treatment, "case": case}
    factors = {factor: as_array(values, factor) for factor, values in factors.items()}
    same_length(truth=positive, rating=x, **factors)
    arrays = [*factors.values()]
    if metric in ("sensitivity", "specificity"):  # only cases of its class contribute to a rate
        of = positive == (metric == "sensitivity")
        positive, x, arrays = positive[of], x[of], [a[of] for a in arrays]
        if x.size == 0:
            raise ValueError(f"{metric} has no case of its class")
    (readers, r), (treatments, t), (names, c) = (np.unique(a, return_inverse=True) for a in arrays)
    n = names.size
    first_truth = np.zeros(n, bool)
    first_truth[c] = positive
    if (first_truth[c] != positive).any():
        bad = names[c[first_truth[c] != positive][0]]
        raise ValueError(f"case {bad!r} is both positive and negative")
    cells, left_out = [], np.empty((treatments.size * readers.size, n))
    used = np.zeros(left_out.shape, bool)
    values = np.empty(left_out.shape[0])
    for i in range(treatments.size):
        for j in range(readers.size):
            rows = np.flatnonzero((t == i) & (r == j))
            if rows.size == 0:
                raise ValueError(
                    f"reader {readers[j]!r} has no rating under treatment {treatments[i]!r}"
                )
            if np.unique(c[rows]).size < rows.size:
                raise ValueError(f"reader {readers[j]!r} rates a case twice under one treatment")
            cell = _Cell(c[rows], positive[rows], x[rows])
            k = i * readers.size + j
            values[k], without = _jackknife(metric, cell)
            left_out[k] = values[k]
            left_out[k, cell.cases] = without
            used[k, cell.cases] = True
            cells.append(cell)
    if name == "jackknife":
        cov = jackknife_covariance(values, left_out, used)
    elif name == "bootstrap":
        cov = _bootstrap_covariance(metric, cells, first_truth, used, n_resamples, seed)
    else:
        cov = _placement_covariance(cells, n, name == "unbiased")
    shape = (treatments.size, readers.size)
    crossed = bool(used.all())  # pseudovalues are needed for every case under every reader
    pseudo = n * values[:, None] - (n - 1) * left_out
    return ReaderStudy(
        values.reshape(shape),
        cov.reshape(*shape, *shape),
        pseudo.reshape(*shape, n) if crossed else None,
        treatments.tolist(),
        readers.tolist(),
        n,
        metric if isinstance(metric, str) else getattr(metric, "__name__", "metric"),
        name,
    )
