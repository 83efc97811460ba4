"""Pareto-smoothed importance sampling: leave-one-out from posterior draws, without refits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from jaxmed.stats.checks import Floats, as_array, finite


class Elpd(NamedTuple):
    """Expected log pointwise predictive density, higher is better.

    elpd, se: sum and its error; p_effective: parameters in effect; pointwise: (cases,);
    pareto_k: (cases,) shapes of the importance ratios' tails (None for WAIC); notes.
    """

    elpd: float
    se: float
    p_effective: float
    pointwise: Floats
    pareto_k: Floats | None
    notes: tuple[str, ...]


def _fit_pareto(tails: Floats) -> tuple[Floats, Floats]:
    """Fit generalised Pareto tails, (tail, cases) sorted upwards (Zhang and Stephens 2009).

    Returns shape k, with the weak prior of Vehtari et al., and scale.
    """
    n = tails.shape[0]
    m = 30 + int(np.sqrt(n))
    grid = 1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))
    quarter = tails[int(n / 4 + 0.5) - 1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        b = grid[:, None] / (3 * quarter) + 1 / tails[-1]
        k = np.empty_like(b)
        for i in range(m):  # one candidate at a time keeps memory at one (tail, cases) table
            k[i] = np.log1p(-b[i] * tails).mean(axis=0)
        score = n * (np.log(-b / k) - k - 1)
        score = np.where(np.isfinite(score), score, -np.inf)
        weights = np.exp(score - special.logsumexp(score, axis=0))
        centre = (b * weights).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = np.log1p(-centre * tails).mean(axis=0)
        sigma = -shape / centre
    # If a quarter of the tail underflows relative to its largest value nothing can be fitted: the
    # tail is heavier than any that can be smoothed, and a NaN would pass every comparison.
    shape = np.where(np.isnan(shape), np.inf, shape)
    return shape * n / (n + 10) + 10 * 0.5 / (n + 10), sigma


def pareto_smooth(log_ratios: ArrayLike, *, r_eff: float = 1.0) -> tuple[Floats, Floats]:
    """Smooth the largest importance ratios and normalise them.

    Args:
        log_ratios: (draws, cases).
        r_eff: effective draws over draws.

    Returns:
        Normalised log weights (draws, cases) and the Pareto shapes (cases,).

    Raises:
        ValueError: for fewer than 20 draws or NaN.

    References:
        Vehtari et al. (2024), JMLR 25:72.
    """
    x = finite(log_ratios, "log_ratios", minimum=20, ndim=2)
    draws, cases = x.shape
    weights = x - x.max(axis=0)
    count = int(np.ceil(min(0.2 * draws, 3 * np.sqrt(draws / r_eff))))
    shapes = np.full(cases, np.inf)
    if count >= 5:
        top = np.argpartition(weights, draws - count - 1, axis=0)[draws - count - 1 :]
        values = np.take_along_axis(weights, top, axis=0)
        order = np.argsort(values, axis=0, kind="stable")
        top = np.take_along_axis(top, order, axis=0)
        values = np.take_along_axis(values, order, axis=0)
        cut = np.maximum(values[0], np.log(np.finfo(np.float64).tiny))
        tail, top = values[1:], top[1:]
        spread = tail[-1] - tail[0] > 1e-12  # equal ratios have no tail to fit
        if spread.any():
            excess = np.exp(tail[:, spread]) - np.exp(cut[spread])
            k, sigma = _fit_pareto(excess)
            shapes[spread] = k
            p = (np.arange(1, count + 1) - 0.5)[:, None] / count
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                steps = sigma / k * np.expm1(-k * np.log1p(-p))
                flat = -sigma * np.log1p(-p)
            quantiles = np.where(np.abs(k) < 1e-30, flat, steps)
            smooth = np.log(quantiles + np.exp(cut[spread]))
            usable = np.isfinite(k)
            new = tail.copy()
            new[:, spread] = np.where(usable, smooth, tail[:, spread])
            np.put_along_axis(weights, top, np.minimum(new, 0.0), axis=0)
    return weights - special.logsumexp(weights, axis=0), shapes


def psis_loo(log_likelihood: ArrayLike, *, r_eff: float = 1.0, chunk: int = 4_000_000) -> Elpd:
    """Estimate leave-one-out predictive accuracy from posterior draws.

    Args:
        log_likelihood: (draws, cases) log-likelihood of each case at each draw.
        r_eff: effective draws over draws.
        chunk: entries worked on at a time.

    Returns:
        The estimate; shapes above .7 are counted in a note: refit without these cases.

    Raises:
        ValueError: for fewer than 20 draws, or NaN.

    References:
        Vehtari, Gelman, Gabry (2017), Stat Comput 27:1413.
    """
    x = as_array(log_likelihood, "log_likelihood", np.float64)
    if x.ndim != 2:
        raise ValueError(f"log_likelihood must be (draws, cases), but its shape is {x.shape}")
    draws, cases = x.shape
    step = max(1, chunk // draws)
    scores, shapes, plain = [], [], []
    for start in range(0, cases, step):
        part = x[:, start : start + step]
        weights, k = pareto_smooth(-part, r_eff=r_eff)
        scores.append(special.logsumexp(weights + part, axis=0))
        plain.append(special.logsumexp(part, axis=0) - np.log(draws))
        shapes.append(k)
    pointwise, k = np.concatenate(scores), np.concatenate(shapes)
    bad = int((~(k <= 0.7)).sum())
    notes = (f"{bad} of {cases} Pareto shapes above 0.7: refit without these cases",) * bool(bad)
    return Elpd(
        float(pointwise.sum()),
        float(np.sqrt(cases * pointwise.var(ddof=1))),
        float(np.concatenate(plain).sum() - pointwise.sum()),
        pointwise,
        k,
        notes,
    )


def waic(log_likelihood: ArrayLike) -> Elpd:
    """Estimate predictive accuracy by the widely applicable information criterion.

    Args:
        log_likelihood: (draws, cases).

    Returns:
        The estimate, on the scale of `psis_loo`, which is preferable.

    Raises:
        ValueError: for fewer than 2 draws, or NaN.

    References:
        Watanabe (2010), JMLR 11:3571.
    """
    x = finite(log_likelihood, "log_likelihood", minimum=2, ndim=2)
    draws, cases = x.shape
    penalty = x.var(axis=0, ddof=1)
    pointwise = special.logsumexp(x, axis=0) - np.log(draws) - penalty
    bad = int((penalty > 0.4).sum())
    notes = (f"{bad} of {cases} cases have a variance above 0.4: use psis_loo",) * bool(bad)
    return Elpd(
        float(pointwise.sum()),
        float(np.sqrt(cases * pointwise.var(ddof=1))),
        float(penalty.sum()),
        pointwise,
        None,
        notes,
    )


def compare_elpd(models: dict[str, Elpd]) -> list[dict[str, Any]]:
    """Rank models by their predictive accuracy, with errors of the paired differences.

    Args:
        models: name to estimate, on the same cases.

    Returns:
        Rows from the best: name, elpd, difference to the best and its error.

    Raises:
        ValueError: for different numbers of cases.

    Examples:
        >>> a = Elpd(-1.0, 0.1, 1.0, np.array([-0.5, -0.5]), None, ())
        >>> compare_elpd({"one": a})[0]["difference"]
        0.0
    """
    sizes = {len(m.pointwise) for m in models.values()}
    if len(sizes) != 1:
        raise ValueError(f"models are of different numbers of cases: {sorted(sizes)}")
    n = sizes.pop()
    ranked = sorted(models, key=lambda name: -models[name].elpd)
    best = models[ranked[0]].pointwise
    rows = []
    for name in ranked:
        gap = models[name].pointwise - best
        error = float(np.sqrt(n * gap.var(ddof=1))) if n > 1 else 0.0
        rows.append(
            {"name": name, "elpd": models[name].elpd, "difference": float(gap.sum()), "se": error}
        )
    return rows


def model_weights(pointwise: ArrayLike, *, method: str = "stacking") -> Floats:
    """Return weights for averaging the predictions of several models.

    Args:
        pointwise: (cases, models) log predictive densities, such as `Elpd.pointwise`.
        method: `stacking` (the mixture that predicts best) or `pseudo-bma` (softmax of elpd).

    Returns:
        (models,) that sum to 1.

    Raises:
        ValueError: for NaN or an unknown method.

    References:
        Yao et al. (2018), Bayesian Anal 13:917.

    Examples:
        >>> model_weights([[-1.0, -5.0], [-1.0, -5.0]]).round(3)
        array([1., 0.])
    """
    x = finite(pointwise, "pointwise", ndim=2)
    if method == "pseudo-bma":
        return special.softmax(x.sum(axis=0))
    if method != "stacking":
        raise ValueError(f"method must be 'stacking' or 'pseudo-bma', but is {method!r}")
    density = np.exp(x - x.max(axis=1, keepdims=True))
    k = x.shape[1]
    weights = np.full(k, 1 / k)
    # The log likelihood is concave in the weights: EM steps, then Newton's method.
    for _ in range(500):
        share = density * weights
        new = (share / share.sum(axis=1, keepdims=True)).mean(axis=0)
        moved = float(np.abs(new - weights).max())
        weights = new
        if moved < 1e-9:
            break

    def loss(w: Floats) -> tuple[float, Floats]:
        mix = np.maximum(density @ w, 1e-300)
        return -float(np.log(mix).mean()), -(density / mix[:, None]).mean(axis=0)

    found = optimize.minimize(
        loss,
        weights,
        jac=True,
        bounds=[(0, 1)] * k,
        method="SLSQP",
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(k)},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    better = found.success and found.fun <= loss(weights)[0]
    weights = np.clip(found.x, 0, 1) if better else weights
    return weights / weights.sum()
