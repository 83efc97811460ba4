"""Study designs to simulate: two AUCs, two rates, two means, with several rows per patient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, special

from jaxmed.stats.checks import Floats, check_number, check_rate, check_whole
from jaxmed.stats.power._on_host import (
    Latent,
    auc_p_values,
    clustered_sums,
    mean_p_values,
    rate_p_values,
)
from jaxmed.stats.power._simulate import PlannedStudy

if TYPE_CHECKING:
    import jax

# Up to this number of positive-negative row pairs, all are compared; beyond, rows are sorted.
_PAIRS = 40_000


def planned_aucs(
    first: float,
    second: float,
    *,
    correlation: float = 0.5,
    prevalence: float = 0.5,
    rows: int = 1,
    icc: float = 0.0,
    paired: bool = True,
    margin: float = 0.0,
) -> PlannedStudy:
    """Plan a comparison of two AUCs by DeLong's test (Obuchowski's for several rows per patient).

    Scores are binormal of equal spread. A patient is positive or negative as a whole, and its rows
    (images, lesions) share part of what makes each model right or wrong.

    Args:
        first: area of one model.
        second: area of the other.
        correlation: correlation of the two models' scores in each class.
        prevalence: share of positive patients, rounded to whole patients.
        rows: number of rows per patient.
        icc: correlation of a model's scores of two rows of a patient.
        paired: whether both models read the same patients, or n different ones each.
        margin: above 0, the test is one-sided for non-inferiority of the first.

    Returns:
        The study; n counts patients (of each model, unless paired).

    Raises:
        ValueError: values outside their ranges.

    References:
        DeLong et al. (1988), Biometrics 44:837. Obuchowski (1997), Biometrics 53:567.

    Examples:
        >>> from jaxmed.stats import simulate_power
        >>> study = planned_aucs(0.9, 0.8, rows=2, icc=0.4)
        >>> 0.5 < simulate_power(study, 100, studies=300).value < 0.99
        True
    """
    _within(first=first, second=second, prevalence=prevalence)
    _correlated(correlation, icc, rows)
    _margin(margin)
    shift = np.sqrt(2) * special.ndtri([first, second])

    def draw(key: jax.Array, n: int) -> tuple[Any, Any]:
        import jax.numpy as jnp

        positives = _whole(prevalence * n, n)
        scores = _latent(key, n, rows, correlation if paired else 0.0, icc)
        on = scores[:, :positives] + jnp.asarray(shift)[:, None, None]
        return on, scores[:, positives:]

    def p_value(data: tuple[Any, Any]) -> Any:
        import jax
        import jax.numpy as jnp

        on, off = data
        wins = [_placements(on[k], off[k]) for k in (0, 1)]
        area = [up.mean() for up, _ in wins]
        if paired:
            gap = [(wins[0][i] - wins[1][i]) - (area[0] - area[1]) for i in (0, 1)]
            variance = clustered_sums(gap[0]) + clustered_sums(gap[1])
        else:
            variance = sum(clustered_sums(part - area[k]) for k in (0, 1) for part in wins[k])
        z = (area[0] - area[1] + margin) / jnp.sqrt(jnp.maximum(variance, 1e-12))
        return jax.scipy.special.ndtr(-z) if margin else 2 * jax.scipy.special.ndtr(-abs(z))

    def on_host(rng: np.random.Generator, n: int, studies: int) -> Floats:
        share = correlation if paired else 0.0
        positives = _whole(prevalence * n, n)
        law = Latent(n, rows, share, icc)
        return auc_p_values(law, rng, studies, shift, positives, paired=paired, margin=margin)

    aim = f"non-inferiority within {margin:g} of" if margin else "a difference between AUCs of"
    return PlannedStudy(
        draw,
        p_value,
        _unit(rows, paired),
        f"{aim} {first:g} and {second:g}",
        math.ceil(3 / min(prevalence, 1 - prevalence)),
        on_host,
    )


def planned_rates(
    first: float,
    second: float,
    *,
    correlation: float = 0.5,
    rows: int = 1,
    icc: float = 0.0,
    margin: float = 0.0,
) -> PlannedStudy:
    """Plan a comparison of two models' accuracies by McNemar's mid-p test, or its clustered form.

    Correctness is a thresholded normal variable, correlated between the models and among the rows
    of a patient. For sensitivity, n counts positive patients, for accuracy all.

    Args:
        first: rate of one model.
        second: rate of the other.
        correlation: correlation of the two models' normal variables on a row.
        rows: number of rows per patient; more than one is tested by Obuchowski's clustered McNemar
            test.
        icc: correlation of a model's normal variables of two rows of a patient.
        margin: above 0, a one-sided test for non-inferiority of the first, by the difference's
            clustered error.

    Returns:
        The study; n counts patients.

    Raises:
        ValueError: values outside their ranges.

    References:
        Obuchowski (1998), Stat Med 17:1495. Fagerland, Lydersen, Laake (2013), BMC Med Res Meth 13.

    Examples:
        >>> from jaxmed.stats import simulate_power
        >>> study = planned_rates(0.9, 0.8, rows=1)
        >>> 0.3 < simulate_power(study, 150, studies=300).value < 0.95
        True
    """
    _within(first=first, second=second)
    _correlated(correlation, icc, rows)
    _margin(margin)
    cut = special.ndtri([first, second])

    def draw(key: jax.Array, n: int) -> Any:
        import jax.numpy as jnp

        latent = _latent(key, n, rows, correlation, icc)
        return (latent < jnp.asarray(cut)[:, None, None]).astype(jnp.float32)

    def p_value(right: Any) -> Any:
        import jax.numpy as jnp
        from jax.scipy import special as js

        gap = (right[0] - right[1]).sum(1)  # of each patient
        n = gap.shape[0]
        if margin:
            rate = gap / rows
            se = jnp.sqrt(jnp.maximum(rate.var(ddof=1), 1e-12) / n)
            return js.ndtr(-(rate.mean() + margin) / se)
        if rows == 1:
            b, c = (gap > 0).sum(), (gap < 0).sum()
            least, both = jnp.minimum(b, c), b + c
            # P(X <= least) and P(X = least) of a binomial of `both` tosses
            total = jnp.maximum(both, 1).astype(jnp.float32)
            tail = js.betainc(total - least, least + 1.0, 0.5)
            point = jnp.exp(
                js.gammaln(total + 1) - js.gammaln(least + 1.0) - js.gammaln(total - least + 1)
                - total * math.log(2)
            )  # fmt: skip
            return jnp.where(both == 0, 1.0, jnp.minimum(2 * tail - point, 1.0))
        square = (n - 1) / n * gap.sum() ** 2 / jnp.maximum((gap**2).sum(), 1e-12)
        return 2 * js.ndtr(-jnp.sqrt(square))

    def on_host(rng: np.random.Generator, n: int, studies: int) -> Floats:
        return rate_p_values(Latent(n, rows, correlation, icc), rng, studies, cut, margin=margin)

    aim = f"non-inferiority within {margin:g} of" if margin else "a difference between rates of"
    finding = f"{aim} {first:g} and {second:g}"
    # A case with a single row has McNemar's exact test, and few draws: that stays on the device.
    host = on_host if rows > 1 else None
    return PlannedStudy(draw, p_value, _unit(rows, True), finding, 4, host)


def planned_means(
    effect: float,
    *,
    sd: float,
    mean: float | None = None,
    correlation: float = 0.5,
    rows: int = 1,
    icc: float = 0.0,
    margin: float = 0.0,
) -> PlannedStudy:
    """Plan a comparison of two models' means, such as of Dice, by a paired t-test over patients.

    Args:
        effect: difference of the means, first minus second.
        sd: standard deviation of the differences where no `mean` is given; else of each model's
            values.
        mean: mean of the second model, in (0, 1): values are then logit-normal, skewed as Dice is.
        correlation: correlation of the two models' values on a case; used with `mean`.
        rows: number of rows per patient.
        icc: correlation of two rows of a patient.
        margin: above 0, a one-sided test for non-inferiority of the first.

    Returns:
        The study; n counts patients.

    Raises:
        ValueError: values outside their ranges, or a standard deviation that no distribution on
            (0, 1) of such a mean has.

    Examples:
        >>> from jaxmed.stats import simulate_power
        >>> study = planned_means(0.03, sd=0.1, mean=0.85, correlation=0.7)
        >>> 0.3 < simulate_power(study, 80, studies=300).value < 0.95
        True
    """
    _correlated(correlation, icc, rows)
    _margin(margin)
    check_number(effect, "effect")
    check_number(sd, "sd", above=0)
    if mean is not None:
        _within(mean=mean)
        _within(**{"mean + effect": mean + effect})
        centre, spread = np.array([_logit_normal(m, sd) for m in (mean + effect, mean)]).T

    def draw(key: jax.Array, n: int) -> Any:
        import jax
        import jax.numpy as jnp

        if mean is None:
            return effect + sd * _latent(key, n, rows, 0.0, icc)[0]
        latent = _latent(key, n, rows, correlation, icc)
        values = jax.nn.sigmoid(
            jnp.asarray(centre)[:, None, None] + jnp.asarray(spread)[:, None, None] * latent
        )
        return values[0] - values[1]

    def p_value(difference: Any) -> Any:
        import jax.numpy as jnp
        from jax.scipy import special as js

        each = difference.mean(1)
        n = each.shape[0]
        t = (each.mean() + margin) / jnp.sqrt(jnp.maximum(each.var(ddof=1), 1e-20) / n)
        df = n - 1.0
        two_sided = js.betainc(df / 2, 0.5, df / (df + t**2))
        if margin:
            return jnp.where(t > 0, two_sided / 2, 1 - two_sided / 2)
        return two_sided

    def differences(latent: np.ndarray) -> np.ndarray:
        if mean is None:
            return effect + sd * latent[0]
        values = [special.expit(np.float32(centre[k]) + np.float32(spread[k]) * latent[k])
                  for k in (0, 1)]  # fmt: skip
        return values[0] - values[1]

    def on_host(rng: np.random.Generator, n: int, studies: int) -> Floats:
        law = Latent(n, rows, 0.0 if mean is None else correlation, icc)
        return mean_p_values(law, rng, studies, differences, margin=margin)

    aim = f"non-inferiority within {margin:g} of means" if margin else "a difference of means"
    finding = f"{aim} of {effect:g} (sd {sd:g}" + (f", around {mean:g})" if mean else ")")
    return PlannedStudy(draw, p_value, _unit(rows, True), finding, 4, on_host if rows > 1 else None)


def _latent(key: jax.Array, n: int, rows: int, correlation: float, icc: float) -> Any:
    """(2, n, rows) standard normals, correlated between the two and among the rows."""
    import jax
    import jax.numpy as jnp

    shared, own = math.sqrt(abs(correlation)), math.sqrt(1 - abs(correlation))
    sign = math.copysign(1.0, correlation)

    def pair(key: jax.Array, shape: tuple[int, ...]) -> Any:
        both, one, two = jax.random.normal(key, (3, *shape))
        return jnp.stack([shared * both + own * one, sign * shared * both + own * two])

    each, whole = jax.random.split(key)
    found = pair(each, (n, rows))
    if rows > 1 and icc > 0:
        found = math.sqrt(icc) * pair(whole, (n, 1)) + math.sqrt(1 - icc) * found
    return found


def _placements(on: Any, off: Any) -> tuple[Any, Any]:
    """Share of the other class that each row beats or loses to; (patients, rows), no ties."""
    import jax.numpy as jnp

    a, b = on.ravel(), off.ravel()
    if a.size * b.size <= _PAIRS:
        wins = (a[:, None] > b).astype(jnp.float32)
        up, down = wins.mean(1), wins.mean(0)
    else:
        order = jnp.argsort(jnp.concatenate([a, b]))
        place = jnp.argsort(order)
        beaten = jnp.cumsum(order >= a.size)  # rows of `off` up to each place
        up = beaten[place[: a.size]].astype(jnp.float32) / b.size
        at = place[a.size :]
        down = 1 - (at + 1 - beaten[at]).astype(jnp.float32) / a.size
    return up.reshape(on.shape), down.reshape(off.shape)


def _logit_normal(mean: float, sd: float) -> tuple[float, float]:
    """Centre and spread on the logit scale of a variable on (0, 1) of a mean and sd."""
    if sd**2 >= mean * (1 - mean):
        raise ValueError(f"no variable on (0, 1) of mean {mean:g} has a standard deviation of {sd}")
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()

    def gap(at: np.ndarray) -> list[float]:
        values = special.expit(at[0] + np.exp(at[1]) * nodes)
        found = weights @ values
        return [found - mean, math.sqrt(max(weights @ (values - found) ** 2, 0)) - sd]

    begin = [special.logit(mean), math.log(sd / (mean * (1 - mean)))]
    solved = optimize.root(gap, begin)
    if not solved.success or max(abs(v) for v in gap(solved.x)) > 1e-6:
        raise ValueError(f"no logit-normal variable has mean {mean:g} and sd {sd:g}")
    return float(solved.x[0]), float(np.exp(solved.x[1]))


def _whole(wanted: float, n: int) -> int:
    return int(np.clip(round(wanted), 2, n - 2))


def _unit(rows: int, paired: bool) -> str:
    unit = "cases" if rows == 1 else f"patients of {rows} rows"
    return unit if paired else f"{unit} for each model"


def _within(**values: float) -> None:
    for name, value in values.items():
        check_rate(value, name)


def _correlated(correlation: float, icc: float, rows: int) -> None:
    check_number(correlation, "correlation", within=(-1, 1))
    check_number(icc, "icc", within=(0, 1))
    check_whole(rows, "rows", 1)


def _margin(margin: float) -> None:
    if not margin >= 0:
        raise ValueError(f"margin must be 0 (a two-sided test) or positive, but is {margin}")
    check_number(margin, "margin")
