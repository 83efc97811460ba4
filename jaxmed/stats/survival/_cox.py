"""Cox's proportional hazards model, and the baseline hazard of any model of log hazards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from jaxmed.quantities import step_at
from jaxmed.stats._result import Estimate, TestResult
from jaxmed.stats.checks import Floats, finite, quantile, spelled, unknown
from jaxmed.stats.survival._followed import Followed, check_times, followed, named_groups, per_case

TIES = ("efron", "breslow")
_STEPS = 50


class CoxModel(NamedTuple):
    """A fitted proportional hazards model.

    coefficients: (covariates,) log hazard ratios of one unit; covariance: of these; hazard_ratios:
    one estimate each, with its interval; log_likelihood, null_log_likelihood: partial, at the
    maximum and at 0; likelihood_ratio, wald, score: tests that all coefficients are 0; center:
    (covariates,) their means; baseline: cumulative hazard at the center (without strata).
    """

    coefficients: Floats
    covariance: Floats
    hazard_ratios: tuple[Estimate, ...]
    log_likelihood: float
    null_log_likelihood: float
    likelihood_ratio: TestResult
    wald: TestResult
    score: TestResult
    center: Floats
    baseline: BaselineHazard | None
    ties: str
    n: int
    events: int
    notes: tuple[str, ...]

    def log_hazard(self, covariates: ArrayLike) -> Floats:
        """Return each case's log hazard relative to a case at the center."""
        return (finite(covariates, "covariates", ndim=2) - self.center) @ self.coefficients

    def survival(self, covariates: ArrayLike, times: ArrayLike) -> Floats:
        """Return predicted probabilities (cases, times) of being free of the event."""
        if self.baseline is None:
            raise ValueError("a stratified model has a baseline for each stratum: use `breslow`")
        return self.baseline.survival(self.log_hazard(covariates), times)


class BaselineHazard(NamedTuple):
    """Breslow's cumulative hazard of a case whose log hazard is 0: (steps,) times and values."""

    time: Floats
    value: Floats

    def survival(self, log_hazard: ArrayLike, times: ArrayLike) -> Floats:
        r"""Return :math:`\exp(-H_0(t) e^{\eta})`, (cases, times); the last step holds beyond."""
        eta = finite(log_hazard, "log_hazard")
        at = check_times(np.atleast_1d(np.asarray(times, np.float64)), "times")
        hazard = step_at(self.time, self.value, at, 0.0, before=False)
        return np.exp(-np.exp(eta)[:, None] * hazard)


def cox_model(
    time: ArrayLike,
    event: ArrayLike,
    covariates: ArrayLike,
    *,
    ties: str = "efron",
    strata: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    level: float = 0.95,
) -> CoxModel:
    r"""Fit a proportional hazards model by its partial likelihood.

    .. math:: \ell(\beta) = \sum_i \sum_{l=0}^{d_i - 1} \Bigl[\eta_{(l)} - \log\Bigl(
       \sum_{j \in R_i} e^{\eta_j} - \tfrac{l}{d_i} \sum_{j \in D_i} e^{\eta_j} \Bigr)\Bigr]

    over the times with events :math:`D_i` among those at risk :math:`R_i`, with Efron's correction
    for ties; Breslow's is without the second sum. Newton's method, its steps halved where the
    likelihood would fall.

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 1 for the event, 0 for censored.
        covariates: (cases, covariates) numbers.
        ties: `efron` or `breslow`.
        strata: (cases,) each with a baseline of its own.
        names: of the covariates; `x0`, `x1`, ... by default.
        level: confidence level of the hazard ratios.

    Returns:
        The model. A note says where a coefficient has no finite estimate.

    Raises:
        ValueError: no event, a covariate that is constant or a combination of others, NaN.

    References:
        Cox (1972), JRSS B 34:187. Efron (1977), JASA 72:557. Breslow (1974), Biometrics 30:89.

    Examples:
        >>> arm = [[1], [0], [1], [1], [0], [0]]
        >>> model = cox_model([1, 2, 3, 4, 5, 6], [1, 1, 0, 1, 1, 1], arm)
        >>> model.coefficients.round(3), round(model.likelihood_ratio.p_value, 3)
        (array([1.073]), 0.368)
    """
    z = quantile(level)
    chosen = spelled(ties)
    if chosen not in TIES:
        raise unknown("ties", ties, TIES)
    cases = followed(time, event)
    x = per_case(covariates, "covariates", cases.time, ndim=2)
    p = x.shape[1]
    called = [f"x{i}" for i in range(p)] if names is None else [str(name) for name in names]
    if len(called) != p:
        raise ValueError(f"names has {len(called)} names for {p} covariates")
    center, spread = x.mean(0), x.std(0)
    constant = [name for name, s in zip(called, spread, strict=True) if not s > 0]
    if constant:
        raise ValueError(f"covariates: {', '.join(constant)} has one value for all cases")
    layers = _layers(strata, cases)
    scaled = (x - center) / spread
    null = _likelihood(cases, scaled, np.zeros(p), layers, chosen)
    if np.linalg.cond(null[2]) > 1e12:
        raise ValueError(
            f"covariates: one of {', '.join(called)} is a combination of others among the cases "
            "at risk when events happened"
        )
    fit = _newton(cases, scaled, layers, chosen)
    coefficients = fit.beta / spread
    covariance = np.linalg.pinv(fit.information) / np.outer(spread, spread)
    events, n = int(cases.event.sum()), len(cases.time)
    notes = () if fit.settled else ("the likelihood has no maximum at finite coefficients",)
    ratios = []
    for name, b, v in zip(called, coefficients, np.diag(covariance), strict=True):
        se = float(np.sqrt(max(v, 0.0)))
        with np.errstate(over="ignore"):
            value, low, high = (float(np.exp(b + k * z * se)) for k in (0, -1, 1))
        ratios.append(
            Estimate(value, low, high, level, n, "case", f"Wald, {chosen} ties", notes,
                     details={"log": float(b), "se_log": se, "z": float(b / se) if se else np.nan},
                     name=f"hazard ratio of {name}")
        )  # fmt: skip

    def test(statistic: float, kind: str) -> TestResult:
        return TestResult(
            statistic, float(special.chdtrc(p, statistic)), None, None, n, "case",
            f"{kind} test of Cox's model", notes, df=float(p),
        )  # fmt: skip

    baseline = None
    if strata is None:
        baseline = breslow(cases.time, cases.event, (x - center) @ coefficients)
    return CoxModel(
        coefficients, covariance, tuple(ratios), fit.value, null[0],
        test(2 * (fit.value - null[0]), "likelihood ratio"),
        test(float(fit.beta @ fit.information @ fit.beta), "Wald"),
        test(float(null[1] @ np.linalg.solve(null[2], null[1])), "score"),
        center, baseline, chosen, n, events, notes,
    )  # fmt: skip


def breslow(time: ArrayLike, event: ArrayLike, log_hazard: ArrayLike) -> BaselineHazard:
    r"""Return the baseline cumulative hazard that goes with given log hazards.

    .. math:: \hat H_0(t) = \sum_{t_i \le t} \frac{d_i}{\sum_{j \in R_i} e^{\eta_j}}

    With it a network trained by Cox's likelihood predicts survival and not only ranks. It is made
    of the cases that the network was trained on.

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 1 for the event, 0 for censored.
        log_hazard: (cases,) predicted.

    Returns:
        The baseline, with a `survival` method.

    Raises:
        ValueError: no event, NaN, unequal lengths.

    References:
        Breslow (1974), Biometrics 30:89.

    Examples:
        >>> breslow([1, 2, 3], [1, 1, 1], [0.0, 0.0, 0.0]).value.round(3)
        array([0.333, 0.833, 1.833])
    """
    cases = followed(time, event)
    eta = per_case(log_hazard, "log_hazard", cases.time)
    times, code = np.unique(cases.time, return_inverse=True)
    top = float(eta.max())
    at_risk = np.bincount(code, np.exp(eta - top), len(times))[::-1].cumsum()[::-1]
    dead = np.bincount(code, cases.event, len(times))
    return BaselineHazard(times, np.cumsum(dead / at_risk) * np.exp(-top))


class _Fit(NamedTuple):
    beta: Floats
    value: float
    information: Floats
    settled: bool


def _layers(strata: ArrayLike | None, cases: Followed) -> list[NDArray[np.intp]]:
    """Return the cases of each stratum, in descending time, as the likelihood sums them."""
    codes = np.zeros(len(cases.time), int)
    if strata is not None:
        names = named_groups(strata, "strata", len(cases.time))
        codes = np.unique(names, return_inverse=True)[1]
    order = np.lexsort((-cases.time, codes))
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def _newton(cases: Followed, x: Floats, layers: list[NDArray[np.intp]], ties: str) -> _Fit:
    beta = np.zeros(x.shape[1])
    value, gradient, information = _likelihood(cases, x, beta, layers, ties)
    least = 1e-6 * np.diag(information)
    for _ in range(_STEPS):
        step = np.linalg.lstsq(information, gradient, rcond=1e-12)[0]
        step /= max(1.0, float(np.abs(step).max()) / 5)  # exp of more would overflow
        for _ in range(30):
            after = _likelihood(cases, x, beta + step, layers, ties)
            if after[0] >= value - 1e-12 * abs(value):
                break
            step = step / 2
        beta, gain = beta + step, after[0] - value
        value, gradient, information = after
        if np.abs(step).max() < 1e-9 or (gain < 1e-12 * abs(value) and np.abs(step).max() < 1e-6):
            # Far out the information vanishes, and the likelihood only seems to have stopped.
            return _Fit(beta, value, information, bool((np.diag(information) > least).all()))
    return _Fit(beta, value, information, False)


def _likelihood(
    cases: Followed, x: Floats, beta: Floats, layers: list[NDArray[np.intp]], ties: str
) -> tuple[float, Floats, Floats]:
    """Return the log partial likelihood, its gradient and the information."""
    p = x.shape[1]
    value, gradient, information = 0.0, np.zeros(p), np.zeros((p, p))
    for rows in layers:
        time, event, x_rows = cases.time[rows], cases.event[rows], x[rows]
        if not event.any():
            continue
        eta = x_rows @ beta
        top = float(eta.max())
        risk = np.exp(eta - top)
        outer = x_rows[:, :, None] * x_rows[:, None, :]
        moments = (risk, risk[:, None] * x_rows, risk[:, None, None] * outer)
        # Times descend, so whoever is at risk at a time stands before the end of its run of ties.
        starts = np.concatenate(([0], np.flatnonzero(np.diff(time)) + 1))
        run = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(time))))
        last = np.append(starts[1:], len(time)) - 1
        dead = np.flatnonzero(event)
        of = run[dead]
        many = np.bincount(of, minlength=len(starts))
        nth = np.arange(len(dead)) - np.concatenate(([0], np.cumsum(many)))[of]
        share = nth / many[of] if ties == "efron" else np.zeros(len(dead))
        s0, s1, s2 = (
            np.cumsum(m, axis=0)[last][of]
            - share.reshape(-1, *[1] * (m.ndim - 1))
            * np.add.reduceat(m * event.reshape(-1, *[1] * (m.ndim - 1)), starts, axis=0)[of]
            for m in moments
        )
        mean = s1 / s0[:, None]
        value += float(np.sum(eta[dead] - top - np.log(s0)))
        gradient += x_rows[dead].sum(0) - mean.sum(0)
        information += (s2 / s0[:, None, None]).sum(0) - mean.T @ mean
    return value, gradient, information
