"""Another share of each class among the cases at hand than among those trained on."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import stats
from jaxmed.protocols._classes import class_probabilities, labels_of_all
from jaxmed.stats import checks

Floats = NDArray[np.float64]
_STEPS, _SMALL = 1000, 1e-7


class PriorShift(NamedTuple):
    """The classes' shares among unlabelled cases; made by :func:`prior_shift`.

    Attributes:
        prior: (classes,) the estimated shares, which add up to 1.
        source: (classes,) the shares that the classifier was trained with.
        shares: an estimate with its interval for each class, by bootstrap of the cases.
    """

    prior: Floats
    source: Floats
    shares: tuple[stats.Estimate, ...]

    def adjusted(self, probabilities: ArrayLike) -> Floats:
        """Return probabilities (cases, classes) under the new shares: Bayes' rule.

        Raises:
            ValueError: for rows that are no probabilities, or another number of classes.
        """
        p = class_probabilities(probabilities, "probabilities")
        if p.shape[1] != len(self.prior):
            raise ValueError(f"{p.shape[1]} probabilities a case, but {len(self.prior)} classes")
        scaled = p * (self.prior / self.source)
        total = scaled.sum(1, keepdims=True)
        # A case that is certainly of a class that was found to have no share stays as it was.
        return np.where(total > 0, scaled / np.where(total > 0, total, 1), p)


def prior_shift(
    probabilities: ArrayLike,
    source: ArrayLike,
    *,
    method: Literal["em", "bbse"] = "em",
    held_out: tuple[ArrayLike, ArrayLike] | None = None,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> PriorShift:
    r"""Estimate the classes' shares among unlabelled cases, and correct probabilities by them.

    It is assumed that a class looks alike here and there and is only rarer or more frequent, as a
    disease in a specialist's clinic and in a screening: another scanner is another matter.

    * *EM*: the shares of highest likelihood,
      :math:`\pi_c \leftarrow \overline{\pi_c p_c / s_c \big/ \sum_k \pi_k p_k / s_k}` from the
      source's shares :math:`s`. Right where the probabilities are calibrated.
    * *BBSE*: predicted classes are counted, and what a held-out part of the source says about the
      classifier's confusions is undone, :math:`\pi = s \odot C^{-1} \mu`. Right for any classifier
      whose confusion matrix can be inverted, less precise.

    Args:
        probabilities: (cases, classes) of the unlabelled cases.
        source: (classes,) the shares of the classes that the classifier was trained with.
        method: which of the two.
        held_out: of ``"bbse"``: probabilities (n, classes) and labels (n,) of cases of the source
            that the classifier was not trained on.
        groups: (cases,) patient of each unlabelled case: whole patients are drawn. Held-out cases
            are drawn one by one.
        level: confidence level.
        n_resamples: bootstrap resamples: of the cases, and of those held out.
        seed: same seed, same intervals.

    Returns:
        The shares with percentile intervals, and how to correct probabilities.

    Raises:
        ValueError: for rows that are no probabilities, shares that are no distribution or 0 for a
            class, held-out cases missing, of another number of classes or without one of them, or a
            confusion matrix that cannot be inverted.

    References:
        Saerens, Latinne and Decaestecker (2002), Adjusting the outputs of a classifier to new a
        priori probabilities, Neural Computation 14. Lipton, Wang and Smola (2018), Detecting and
        correcting for label shift with black box predictors, ICML.

    Examples:
        >>> sure = np.eye(2)[[0, 0, 0, 1]] * 0.98 + 0.01
        >>> found = prior_shift(sure, [0.5, 0.5])
        >>> found.prior.round(2).tolist()
        [0.76, 0.24]
    """
    p = class_probabilities(probabilities, "probabilities")
    s = checks.finite(source, "source")
    if s.shape != (p.shape[1],) or (s <= 0).any() or not np.isclose(s.sum(), 1):
        raise ValueError(
            f"source must be {p.shape[1]} shares above 0 that add up to 1, got {s.tolist()}"
        )
    if method == "em":
        if held_out is not None:
            raise ValueError("held-out cases are for method='bbse'")
        rows, strata = (p,), None
        start = _expected(p, np.ones((1, len(p))), s, s[None])
        shares: Any = lambda p, w: _expected(p, w, s, np.repeat(start, len(w), 0))  # noqa: E731
    elif method == "bbse":
        rows = _both(p, held_out)
        strata = (rows[1] >= 0).astype(int)
        if groups is not None:
            own = [f"held out {i}" for i in range(int(strata.sum()))]
            groups = [*(f"case of {g}" for g in np.asarray(groups).tolist()), *own]
        shares = lambda p, y, w: _unconfused(p, y, w, s)  # noqa: E731
        if not np.isfinite(shares(*rows, np.ones((1, len(strata))))).all():
            raise ValueError(
                "the confusion matrix of the held-out cases cannot be inverted: the classifier "
                "never tells some class from the others; take method='em', or more held-out cases"
            )
    else:
        raise checks.unknown("method", method, ("em", "bbse"))
    found = tuple(
        stats.bootstrap(
            lambda *given, c=c: shares(*given)[:, c], *rows, weighted=True, method="percentile",
            strata=strata, groups=groups, level=level, n_resamples=n_resamples, seed=seed,
            name=f"share of class {c}",
        )
        for c in range(len(s))
    )  # fmt: skip
    return PriorShift(np.array([e.value for e in found]), s, found)


def _expected(p: Floats, weights: Floats, source: Floats, prior: Floats) -> Floats:
    """The shares (b, classes) of highest likelihood under weights (b, cases)."""
    likelihood = p / source
    total = weights.sum(1, keepdims=True)
    for _ in range(_STEPS):
        mixed = np.maximum(prior @ likelihood.T, np.finfo(float).tiny)
        new = prior * ((weights / mixed) @ likelihood) / total
        moved = np.abs(new - prior).max()
        prior = new
        if moved < _SMALL:
            break
    return prior / prior.sum(1, keepdims=True)


def _both(p: Floats, held_out: tuple[ArrayLike, ArrayLike] | None) -> tuple[Floats, NDArray]:
    """Unlabelled cases, of class -1, before those held out."""
    if held_out is None:
        raise ValueError(
            "method='bbse' needs held_out=(probabilities, labels) of cases of the source"
        )
    known, classes = class_probabilities(held_out[0], "held-out probabilities"), p.shape[1]
    if known.shape[1] != classes:
        raise ValueError(f"held-out cases have {known.shape[1]} classes, the others {classes}")
    labels = labels_of_all(held_out[1], len(known), classes, "held-out labels")
    none = np.full(len(p), -1)
    return np.concatenate([p, known]), np.concatenate([none, labels])


def _unconfused(p: Floats, y: Floats, weights: Floats, source: Floats) -> Floats:
    """The shares (b, classes) that explain the predicted classes; NaN where none do."""
    classes = p.shape[1]
    predicted = np.eye(classes)[p.argmax(1)]
    new = y < 0
    mean = weights[:, new] @ predicted[new] / weights[:, new].sum(1, keepdims=True)
    of_class = (y[:, None] == np.arange(classes)).astype(np.float64)
    counts = np.einsum("bn,ni,nj->bij", weights, predicted * ~new[:, None], of_class, optimize=True)
    size = counts.sum(1, keepdims=True)
    rates = np.divide(counts, size, out=np.full_like(counts, np.nan), where=size > 0)
    found = np.full(mean.shape, np.nan)
    sound = np.isfinite(rates).all((1, 2))
    sound[sound] = np.linalg.cond(rates[sound]) < 1e6
    found[sound] = np.linalg.solve(rates[sound], mean[sound][..., None])[..., 0]
    found = np.maximum(found, 0)
    return found / found.sum(1, keepdims=True)
