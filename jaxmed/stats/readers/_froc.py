"""Figures of merit of localisation studies (FROC), ready for the reader-study analysis."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.quantities import auc as auc_value
from jaxmed.stats.checks import Floats, as_array, same_length, unknown
from jaxmed.stats.readers._study import ReaderStudy, jackknife_covariance

_FIGURES = ("wAFROC", "AFROC", "wAFROC1", "AFROC1", "HrAuc")


def _beats(low: Floats, high: Floats) -> Floats:
    """Return for each `high` the share of `low` below it, ties (also of -inf) counting half."""
    ordered = np.sort(low)
    below = np.searchsorted(ordered, high, "left")
    level = np.searchsorted(ordered, high, "right")
    return (below + level) / (2 * low.size)


def _figure(
    fp: Floats,
    lesions: Floats,
    weights: Floats,
    owner: NDArray,
    keep: NDArray,
    diseased: NDArray,
    figure: str,
    best: Floats,
) -> float:
    """Return one figure of merit over the cases kept."""
    if figure == "HrAuc":
        return auc_value(diseased[keep], best[keep])
    noise = keep if figure.endswith("1") else keep & ~diseased
    rated = keep[owner]
    w = weights[rated] if figure.startswith("w") else np.ones(int(rated.sum()))
    total = float(np.sum(w))
    return float(np.sum(w * _beats(fp[noise], lesions[rated])) / total)


def froc_study(
    cases: ArrayLike,
    lesions: ArrayLike,
    *,
    mark_case: ArrayLike,
    mark_reader: ArrayLike,
    mark_treatment: ArrayLike,
    mark_lesion: ArrayLike,
    mark_rating: ArrayLike,
    readers: ArrayLike | None = None,
    treatments: ArrayLike | None = None,
    figure: str = "wAFROC",
    lesion_weights: ArrayLike | None = None,
) -> ReaderStudy:
    r"""Read a study in which readers mark and rate lesions, for `reader_test`.

    wAFROC is the probability that a lesion's rating exceeds the highest false mark of a case
    without disease, with lesions weighted inside their case and all cases weighted equally:

    .. math::
        \frac{1}{K_1 K_2} \sum_{k_1} \sum_{k_2} \sum_l W_{k_2 l}\,
        \psi(FP_{k_1}, z_{k_2 l})

    Unmarked lesions and cases without a false mark are rated -inf; ties count half.

    Args:
        cases: (cases,) names of all cases.
        lesions: (cases,) number of lesions of each; 0 has no disease.
        mark_case: (marks,) case of each mark.
        mark_reader: (marks,) reader.
        mark_treatment: (marks,) treatment.
        mark_lesion: (marks,) lesion hit, counted from 1 in its case; 0 for a false mark.
        mark_rating: (marks,) rating.
        readers: names of all readers, needed if one may have no marks.
        treatments: names of all treatments.
        figure: `wAFROC`, `AFROC` (lesions alike), `wAFROC1`, `AFROC1` (false marks of all
            cases) or `HrAuc` (the case's highest rating as a ROC rating).
        lesion_weights: (all lesions,) in the order of the cases, summing to 1 in each; equal if
            absent.

    Returns:
        The study with jackknife covariances over cases.

    Raises:
        ValueError: for unknown cases or lesions, a lesion marked twice, or no case of a kind.

    References:
        Chakraborty and Zhai (2016), Med Phys 43:2548. Chakraborty (2017), Observer Performance
        Methods for Diagnostic Imaging.
    """
    if figure not in _FIGURES:
        raise unknown("figure", figure, _FIGURES)
    names = as_array(cases, "cases")
    count = as_array(lesions, "lesions").astype(int)
    same_length(cases=names, lesions=count)
    if np.unique(names).size < names.size:
        raise ValueError("cases hold a name twice")
    order = np.argsort(names, kind="stable")
    marked_case = as_array(mark_case, "mark_case")
    at = np.searchsorted(names[order], marked_case)
    at = np.minimum(at, names.size - 1)
    if (names[order][at] != marked_case).any():
        raise ValueError("a mark is on a case that is not listed")
    case = order[at]
    by_reader = as_array(mark_reader, "mark_reader")
    by_treatment = as_array(mark_treatment, "mark_treatment")
    hit = as_array(mark_lesion, "mark_lesion").astype(int)
    rating = as_array(mark_rating, "mark_rating", np.float64)
    same_length(
        mark_case=case,
        mark_reader=by_reader,
        mark_treatment=by_treatment,
        mark_lesion=hit,
        mark_rating=rating,
    )
    if np.isnan(rating).any():
        raise ValueError(f"mark_rating holds {int(np.isnan(rating).sum())} NaN value(s)")
    if (hit < 0).any() or (hit > count[case]).any():
        raise ValueError("mark_lesion must count from 1 to the case's lesions, or be 0")
    diseased = count > 0
    if not diseased.any() or diseased.all():
        raise ValueError("the study needs cases with and without disease")
    start = np.concatenate(([0], np.cumsum(count)[:-1]))
    owner = np.repeat(np.arange(names.size), count)
    if lesion_weights is None:
        weights = 1.0 / count[owner]
    else:
        weights = as_array(lesion_weights, "lesion_weights", np.float64)
        sums = np.bincount(owner, weights, names.size)
        if weights.size != owner.size or not np.allclose(sums[diseased], 1):
            raise ValueError("lesion_weights must hold each lesion and sum to 1 in each case")
    reader_names = np.unique(by_reader if readers is None else as_array(readers, "readers"))
    treatment_names = np.unique(
        by_treatment if treatments is None else as_array(treatments, "treatments")
    )
    n = names.size
    shape = (treatment_names.size, reader_names.size)
    values = np.empty(shape)
    left_out = np.empty((*shape, n))
    for i, treatment in enumerate(treatment_names):
        for j, reader in enumerate(reader_names):
            rows = (by_treatment == treatment) & (by_reader == reader)
            fp = np.full(n, -np.inf)
            np.maximum.at(fp, case[rows & (hit == 0)], rating[rows & (hit == 0)])
            z = np.full(owner.size, -np.inf)
            marked = rows & (hit > 0)
            index = start[case[marked]] + hit[marked] - 1
            if np.unique(index).size < index.size:
                raise ValueError(f"reader {reader!r} marks a lesion twice under {treatment!r}")
            z[index] = rating[marked]
            best = fp.copy()
            np.maximum.at(best, owner, z)
            keep = np.ones(n, bool)
            args = (fp, z, weights, owner, keep, diseased, figure, best)
            values[i, j] = _figure(*args)
            for k in range(n):
                keep[k] = False
                left_out[i, j, k] = _figure(*args)
                keep[k] = True
    flat = left_out.reshape(-1, n)
    cov = jackknife_covariance(values.ravel(), flat, np.ones(flat.shape, bool))
    pseudo = n * values[..., None] - (n - 1) * left_out
    return ReaderStudy(
        values,
        cov.reshape(*shape, *shape),
        pseudo,
        treatment_names.tolist(),
        reader_names.tolist(),
        n,
        figure,
        "jackknife",
    )
