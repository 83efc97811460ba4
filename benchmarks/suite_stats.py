"""Statistics against SciPy, ArviZ, crepes and scikit-learn: from resampling to a whole page."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats as sp

from benchmarks._case import Case, Options, Run, UnavailableError
from jaxmed import stats


def cases(options: Options) -> list[Case]:
    """Every case of the suite; sizes are those of the published targets."""
    n, resamples = (200, 50) if options.quick else (10_000, 10_000)
    many, flips = (300, 500) if options.quick else (100_000, 100_000)
    studies = 20 if options.quick else 10_000
    return [
        _bootstrap(n, resamples),
        _delong(many),
        _batch(studies),
        _flips(1000 if not options.quick else 50, flips),
        _readers(400 if not options.quick else 20),
        _psis(*((4000, 1000) if not options.quick else (200, 20))),
        _conformal(50_000 if not options.quick else 100),
        _report(1000 if not options.quick else 60, resamples),
    ]


def _side(function: Callable, *arguments: Any, result: Callable | None = None) -> Callable[[], Run]:
    call = functools.partial(function, *arguments)
    return lambda: Run(call, result)


def _scores(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.4
    a = rng.normal(size=n) + y
    return y, a, a + rng.normal(size=n)


def _bootstrap(n: int, resamples: int) -> Case:
    y, x, _ = _scores(n)
    high, low = x[y], x[~y]

    def ours() -> Any:
        return stats.auc(y, x, method="bootstrap", n_resamples=resamples)

    def statistic(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        ranks = sp.rankdata(np.concatenate([a, b], axis=axis), axis=axis)
        n1, n0 = a.shape[axis], b.shape[axis]
        top = np.take(ranks, range(n1), axis=axis).sum(axis=axis)
        return (top - n1 * (n1 + 1) / 2) / (n1 * n0)

    def theirs() -> Any:
        return sp.bootstrap(
            (high, low),
            statistic,
            n_resamples=resamples,
            method="percentile",
            vectorized=True,
            batch=100,
            rng=0,
        )

    return Case(
        f"{resamples:,} bootstraps of AUC, n = {n:,}",
        {"jaxmed": _side(ours), "scipy": _side(theirs)},
        "bootstrap",
    )


def _delong(n: int) -> Case:
    y, a, b = _scores(n)

    def ours() -> float:
        return stats.delong_test(y, a, b).statistic

    def theirs() -> float:
        """The mid-rank algorithm (Sun and Xu) with SciPy's ranks."""
        parts = []
        for x in (a, b):
            n1, n0 = int(y.sum()), int((~y).sum())
            every, up, down = sp.rankdata(x), sp.rankdata(x[y]), sp.rankdata(x[~y])
            parts.append(((every[y] - up) / n0, 1 - (every[~y] - down) / n1))
        (u1, d1), (u2, d2) = parts
        variance = (u1 - u2).var(ddof=1) / u1.size + (d1 - d2).var(ddof=1) / d1.size
        return float((u1.mean() - u2.mean()) / np.sqrt(variance))

    return Case(
        f"paired DeLong, n = {n:,}",
        {"jaxmed": _side(ours, result=ours), "scipy": _side(theirs, result=theirs)},
        "delong",
        tolerance=1e-9,
    )


def _batch(studies: int) -> Case:
    rng = np.random.default_rng(1)
    y = np.repeat([True, False], 100)
    a = rng.normal(size=(studies, 200)) + y
    b = a + rng.normal(size=(studies, 200))

    def ours() -> np.ndarray:
        return stats.delong_batch(y, a, b).z

    def theirs() -> np.ndarray:
        def places(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            every = sp.rankdata(x, axis=1)
            up, down = sp.rankdata(x[:, y], axis=1), sp.rankdata(x[:, ~y], axis=1)
            return (every[:, y] - up) / 100, 1 - (every[:, ~y] - down) / 100

        (u1, d1), (u2, d2) = places(a), places(b)
        spread = (u1 - u2).var(axis=1, ddof=1) / 100 + (d1 - d2).var(axis=1, ddof=1) / 100
        return (u1 - u2).mean(axis=1) / np.sqrt(spread)

    return Case(
        f"{studies:,} paired DeLong studies of n = 200",
        {"jaxmed": _side(ours, result=ours), "scipy": _side(theirs, result=theirs)},
        "delong",
        tolerance=1e-8,
    )


def _flips(n: int, resamples: int) -> Case:
    d = np.random.default_rng(2).normal(0.02, 1, n)

    def ours() -> Any:
        return stats.sign_flip_test(d, n_resamples=resamples)

    def theirs() -> Any:
        return sp.permutation_test(
            (d,),
            lambda x, axis: x.mean(axis=axis),
            n_resamples=resamples,
            permutation_type="samples",
            vectorized=True,
            batch=1000,
            rng=0,
        )

    return Case(
        f"{resamples:,} paired permutations, n = {n:,}",
        {"jaxmed": _side(ours), "scipy": _side(theirs)},
        "permutation",
    )


def _readers(cases_: int) -> Case:
    """A reader study, against the jackknife by definition: one refit per case."""
    rng = np.random.default_rng(3)
    r, t, c = (g.ravel() for g in np.meshgrid(range(10), range(2), range(cases_)))
    y = c % 2
    x = y * (1 + 0.3 * t) + rng.normal(size=c.size)

    def run(metric: Any) -> float:
        study = stats.reader_study(y, x, r, t, c, metric=metric)
        return stats.reader_test(study).overall.statistic

    def refit(truth: np.ndarray, rating: np.ndarray) -> float:
        return float(
            sp.mannwhitneyu(rating[truth], rating[~truth], method="asymptotic").statistic
            / (truth.sum() * (~truth).sum())
        )

    ours, theirs = functools.partial(run, "auc"), functools.partial(run, refit)
    return Case(
        f"reader study, {cases_} cases x 10 readers x 2",
        {"jaxmed": _side(ours, result=ours), "scipy": _side(theirs, result=theirs)},
        "reader study",
        tolerance=1e-8,
    )


def _psis(draws: int, cases_: int) -> Case:
    """Leave-one-out by Pareto-smoothed importance sampling, against ArviZ."""
    rng = np.random.default_rng(4)
    log_likelihood = -0.5 * rng.normal(size=(draws, cases_)) ** 2 + rng.normal(size=cases_)

    def ours() -> float:
        return stats.psis_loo(log_likelihood).elpd

    def peer() -> Run:
        try:
            import arviz
        except ImportError:
            raise UnavailableError("arviz: pip install arviz") from None
        data = arviz.from_dict(
            posterior={"x": np.zeros((1, draws))}, log_likelihood={"y": log_likelihood[None]}
        )

        def theirs() -> float:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that some shapes are large
                return float(arviz.loo(data, reff=1.0).elpd_loo)

        return Run(theirs, theirs)

    return Case(
        f"PSIS-LOO, {draws} draws x {cases_} cases",
        {"jaxmed": _side(ours, result=ours), "arviz": peer},
        "PSIS",
        tolerance=1e-4,
    )


def _conformal(n: int) -> Case:
    """The p-value of each of ten classes of as many new cases as calibrate, against crepes."""
    from jaxmed import bayes

    rng = np.random.default_rng(5)
    calibration, new = rng.random(n), rng.random((n, 10))

    def ours() -> np.ndarray:
        return bayes.conformal_p_values(calibration, new)

    def peer() -> Run:
        try:
            from crepes import ConformalClassifier
        except ImportError:
            raise UnavailableError("crepes: pip install crepes") from None
        fitted = ConformalClassifier().fit(calibration)

        def theirs() -> np.ndarray:
            return fitted.predict_p(new, smoothing=False)

        return Run(theirs, theirs)

    return Case(
        f"conformal p-values of 10 classes, n = {n:,}",
        {"jaxmed": _side(ours, result=ours), "crepes": peer},
        "conformal",
        tolerance=1e-9,
    )


def _report(n: int, resamples: int) -> Case:
    """Four models compared by five metrics, against one resample at a time with scikit-learn."""
    from jaxmed import report

    rng = np.random.default_rng(5)
    y = (rng.random(n) < 0.4).astype(int)
    models = {
        f"model {i}": 1 / (1 + np.exp(0.8 - rng.normal(size=n) - (1.5 - 0.2 * i) * y))
        for i in range(4)
    }
    names = ("auc", "accuracy", "sensitivity", "average_precision", "brier")

    def ours() -> Any:
        found = report.compare(y, models, metrics=names, n_resamples=resamples)
        return report.html(found)

    def peer() -> Run:
        try:
            from sklearn import metrics as sk
        except ImportError:
            raise UnavailableError("scikit-learn: pip install scikit-learn") from None
        of = (
            sk.roc_auc_score,
            lambda t, p: sk.accuracy_score(t, p >= 0.5),
            lambda t, p: sk.recall_score(t, p >= 0.5),
            sk.average_precision_score,
            sk.brier_score_loss,
        )

        def theirs() -> Any:
            """One in a hundred of the resamples, for the whole takes minutes."""
            draw = np.random.default_rng(0)
            for _ in range(resamples // 100):
                rows = draw.integers(0, n, n)
                for p in models.values():
                    for metric in of:
                        metric(y[rows], p[rows])

        return Run(theirs)

    return Case(
        f"page of 4 models x 5 metrics x {resamples:,} resamples (scikit-learn: a hundredth)",
        {"jaxmed": _side(ours), "scikit-learn": peer},
        "report",
    )
