"""Hierarchical models: comparison over data sets, and partial pooling over sites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from scipy import stats as law

from jaxmed import stats
from jaxmed.stats.checks import Floats, check_level, finite, same_length


class HierarchicalComparison(NamedTuple):
    """Posterior of the difference of two models over data sets.

    first_better, equivalent, second_better: probabilities that on a new data set the mean
    difference lies above, inside, below the region of practical equivalence; data_sets: the same
    for each observed data set, (data sets, 3); shrunken: (data sets,) posterior means;
    mean, lower, upper: of the average difference; level; draws: its draws; rhat, ess, divergences:
    of the chains; notes.
    """

    first_better: float
    equivalent: float
    second_better: float
    data_sets: Floats
    shrunken: Floats
    mean: float
    lower: float
    upper: float
    level: float
    draws: Floats
    rhat: float
    ess: float
    divergences: int
    notes: tuple[str, ...] = ()


def hierarchical_comparison(
    differences: Sequence[ArrayLike],
    *,
    rope: float,
    correlation: float | Sequence[float] | None = None,
    level: float = 0.95,
    draws: int = 1000,
    warmup: int = 1000,
    chains: int = 4,
    seed: int = 0,
) -> HierarchicalComparison:
    r"""Compare two models over several data sets, each with the results of its folds.

    .. math:: x_{ij} \sim N(\delta_i, \sigma_i^2) \text{ with correlation } \rho, \quad
        \delta_i \sim t_\nu(\delta_0, \sigma_0)

    Folds of one data set share training cases, so their results are correlated; the differences
    of the data sets are shrunk towards each other.

    Args:
        differences: per data set, (folds,): metric of the first model minus that of the second.
        rope: half width of the region of practical equivalence, in the metric's unit.
        correlation: :math:`\rho` between two folds, the ratio of test to all cases (Nadeau and
            Bengio); by default 1 / (number of folds); may differ by data set.
        level: confidence level of the interval.
        draws: kept draws a chain.
        warmup: adaptation steps a chain.
        chains: number of chains.
        seed: seed of the chains.

    Returns:
        The posterior.

    Raises:
        ValueError: for fewer than two data sets or two folds, differences that do not vary in any
            data set, or a negative region.

    References:
        Corani et al. (2017), Statistical comparison of classifiers through Bayesian hierarchical
        modelling, Machine Learning 106:1817. Benavoli et al. (2017), JMLR 18:77.
    """
    import numpyro
    from numpyro import distributions as dist

    check_level(level)
    rows = [finite(x, f"differences[{i}]", minimum=2) for i, x in enumerate(differences)]
    if len(rows) < 2:
        raise ValueError("a hierarchy needs two or more data sets: for one, bayes_correlated_t")
    if not rope >= 0:
        raise ValueError(f"rope must be 0 or more, got {rope!r}")
    n = np.array([x.size for x in rows])
    given = 1 / n if correlation is None else np.broadcast_to(correlation, n.shape)
    rho = finite(given, "correlation")
    if rho.min() < 0 or rho.max() >= 1:
        raise ValueError("correlation must lie in [0, 1)")
    # In units of the mean spread, so that the paper's priors apply whatever the metric's unit.
    unit = float(np.mean([x.std(ddof=1) for x in rows]))
    if not unit > 0:
        raise ValueError("the differences do not vary within any data set")
    scaled = [x / unit for x in rows]
    mean = np.array([x.mean() for x in scaled])
    square = np.array([((x - x.mean()) ** 2).sum() for x in scaled])
    between = max(float(mean.std(ddof=1)), 1e-3)
    widest = 1000.0

    def model() -> None:
        centre = numpyro.sample("centre", dist.Uniform(-10.0 * (1 + between), 10.0 * (1 + between)))
        spread = numpyro.sample("spread", dist.HalfCauchy(between))
        shape = numpyro.sample("shape", dist.Uniform(0.5, 5.0))
        rate = numpyro.sample("rate", dist.Uniform(0.05, 0.15))
        freedom = 1 + numpyro.sample("freedom", dist.Gamma(shape, rate))
        with numpyro.plate("data sets", len(n)):
            raw = numpyro.sample("raw", dist.StudentT(freedom))
            sigma = numpyro.sample("sigma", dist.LogUniform(1e-3, widest))
        delta = numpyro.deterministic("delta", centre + spread * raw)
        # Equicorrelated normals: the mean and the spread around it are independent.
        own = sigma * jnp.sqrt((1 + (n - 1) * rho) / n)
        numpyro.sample("mean", dist.Normal(delta, own), obs=mean)
        inside = sigma**2 * (1 - rho)
        numpyro.factor("square", -0.5 * ((n - 1) * jnp.log(inside) + square / inside).sum())

    found, quality = _chains(model, seed, warmup, draws, chains, ("centre", "spread"))
    centre, spread = found["centre"] * unit, found["spread"] * unit
    freedom = 1 + found["freedom"]
    above = law.t.sf((rope - centre) / spread, freedom).mean()
    below = law.t.cdf((-rope - centre) / spread, freedom).mean()
    delta = found["delta"] * unit
    each = np.stack(
        [(delta > rope).mean(0), (np.abs(delta) <= rope).mean(0), (delta < -rope).mean(0)], axis=1
    )
    tail = (1 - level) / 2
    low, high = np.quantile(centre, [tail, 1 - tail])
    return HierarchicalComparison(
        float(above),
        float(1 - above - below),
        float(below),
        each,
        delta.mean(axis=0),
        float(centre.mean()),
        float(low),
        float(high),
        level,
        centre,
        *quality,
    )


class Pooled(NamedTuple):
    """A quantity over sites, each shrunk towards the others according to its uncertainty.

    mean, lower, upper: of the average site; sites: (sites, 3) posterior mean and limits of each;
    raw: (sites,) as observed; new_site: limits of an unobserved site; between_sd: on the model's
    scale (`scale`); level; scale; rhat, ess, divergences; notes.
    """

    mean: float
    lower: float
    upper: float
    sites: Floats
    raw: Floats
    new_site: tuple[float, float]
    between_sd: float
    level: float
    scale: str
    rhat: float
    ess: float
    divergences: int
    notes: tuple[str, ...] = ()


def pooled_rates(
    successes: ArrayLike,
    n: ArrayLike,
    *,
    level: float = 0.95,
    between: float = 1.0,
    draws: int = 1000,
    warmup: int = 1000,
    chains: int = 4,
    seed: int = 0,
) -> Pooled:
    r"""Pool a proportion (sensitivity, specificity, accuracy) over sites.

    .. math:: y_s \sim \text{Bin}(n_s, \sigma(\theta_s)), \quad \theta_s \sim N(\mu, \tau), \quad
        \mu \sim N(0, 2),\; \tau \sim \text{HalfNormal}(b)

    Args:
        successes: (sites,).
        n: (sites,) cases of each.
        level: confidence level of the intervals.
        between: :math:`b`, the scale of the spread between sites, on the logit scale.
        draws: kept draws a chain.
        warmup: adaptation steps a chain.
        chains: number of chains.
        seed: seed of the chains.

    Returns:
        The posterior.

    Raises:
        ValueError: for fewer than two sites or invalid counts.

    References:
        Gelman et al. (2013), Bayesian Data Analysis, chapter 5.
    """
    import numpyro
    from numpyro import distributions as dist

    y, size = finite(successes, "successes", minimum=2), finite(n, "n", minimum=2)
    same_length(successes=y, n=size)
    if (y < 0).any() or (y > size).any() or (y % 1).any() or (size % 1).any() or (size < 1).any():
        raise ValueError("successes and n must be counts with 0 <= successes <= n")

    def model() -> None:
        theta = _sites(len(y), between)
        numpyro.sample("y", dist.Binomial(size.astype(int), logits=theta), obs=y)

    return _pool(model, special.expit, "logit", y / size, level, seed, warmup, draws, chains)


def pooled_estimates(
    values: ArrayLike,
    errors: ArrayLike | None = None,
    *,
    scale: Literal["identity", "logit"] = "identity",
    level: float = 0.95,
    between: float | None = None,
    draws: int = 1000,
    warmup: int = 1000,
    chains: int = 4,
    seed: int = 0,
) -> Pooled:
    r"""Pool estimates with standard errors over sites: AUC, mean Dice, a difference.

    .. math:: \hat y_s \sim N(\theta_s, e_s), \quad \theta_s \sim N(\mu, \tau)

    Args:
        values: (sites,) estimates, or estimates of `jaxmed.stats` that have an error.
        errors: (sites,) standard errors on the values' own scale.
        scale: scale on which sites are normal: `identity`, or `logit` for AUC and Dice (errors are
            transformed by the delta method).
        level: confidence level of the intervals.
        between: scale of the spread's prior on that scale; by default the standard deviation of the
            values, or the mean error if that is larger.
        draws: kept draws a chain.
        warmup: adaptation steps a chain.
        chains: number of chains.
        seed: seed of the chains.

    Returns:
        The posterior.

    Raises:
        ValueError: for fewer than two sites, errors that are not positive, or a logit of 0 or 1.
    """
    import numpyro
    from numpyro import distributions as dist

    if scale not in ("identity", "logit"):
        raise ValueError(f"scale must be 'identity' or 'logit', got {scale!r}")
    given: list[Any] = list(np.asarray(values, dtype=object))
    if errors is None:
        if not all(getattr(v, "se", None) is not None for v in given):
            raise ValueError("give errors, or estimates that have a standard error")
        errors, given = [v.se for v in given], [v.value for v in given]
    raw, e = finite(given, "values", minimum=2), finite(errors, "errors", minimum=2)
    same_length(values=raw, errors=e)
    if e.min() <= 0:
        raise ValueError("errors must be positive")
    x, back = raw, lambda t: t
    if scale == "logit":
        if raw.min() <= 0 or raw.max() >= 1:
            raise ValueError("a value of 0 or 1 has no logit: take scale='identity'")
        x, e, back = special.logit(raw), e / (raw * (1 - raw)), special.expit
    width = float(max(x.std(ddof=1), e.mean())) if between is None else float(between)
    centre, wide = float(x.mean()), 10 * float(max(x.std(ddof=1), e.max()))

    def model() -> None:
        theta = _sites(len(x), width, centre, wide)
        numpyro.sample("y", dist.Normal(theta, e), obs=x)

    return _pool(model, back, scale, raw, level, seed, warmup, draws, chains)


def _sites(n: int, between: float, centre: float = 0.0, wide: float = 2.0) -> Any:
    import numpyro
    from numpyro import distributions as dist

    mu = numpyro.sample("mu", dist.Normal(centre, wide))
    tau = numpyro.sample("tau", dist.HalfNormal(between))
    with numpyro.plate("sites", n):
        raw = numpyro.sample("raw", dist.Normal(0.0, 1.0))
    return numpyro.deterministic("theta", mu + tau * raw)


def _pool(model, back, scale, raw, level, seed, warmup, draws, chains) -> Pooled:
    check_level(level)
    found, quality = _chains(model, seed, warmup, draws, chains, ("mu", "tau"))
    tail = [(1 - level) / 2, (1 + level) / 2]
    centre, each = back(found["mu"]), back(found["theta"])
    rng = np.random.default_rng(seed)
    new = back(found["mu"] + found["tau"] * rng.standard_normal(found["mu"].shape))
    low, high = np.quantile(centre, tail)
    limits = np.quantile(each, tail, axis=0)
    first, last = np.quantile(new, tail)
    return Pooled(
        float(centre.mean()),
        float(low),
        float(high),
        np.stack([each.mean(axis=0), *limits], axis=1),
        np.asarray(raw, float),
        (float(first), float(last)),
        float(found["tau"].mean()),
        level,
        scale,
        *quality,
    )


def _chains(
    model: Callable[[], None],
    seed: int,
    warmup: int,
    draws: int,
    chains: int,
    watch: tuple[str, ...],
) -> tuple[dict[str, Floats], tuple[float, float, int, tuple[str, ...]]]:
    """Run NUTS; return draws by name, and (rhat, ess, divergences, notes)."""
    from numpyro.infer import MCMC, NUTS

    from jaxmed.bayes.posteriors._mcmc import _notes

    sampler = MCMC(
        NUTS(model, target_accept_prob=0.95),
        num_warmup=warmup,
        num_samples=draws,
        num_chains=chains,
        chain_method="vectorized",
        progress_bar=False,
    )
    sampler.run(jax.random.key(seed), extra_fields=("diverging",))
    by_chain = sampler.get_samples(group_by_chain=True)
    diagnostics = [stats.chain_diagnostics(np.asarray(by_chain[w], float).T) for w in watch]
    rhat = max(d.rhat for d in diagnostics)
    ess = min(min(d.ess_bulk, d.ess_tail) for d in diagnostics)
    bad = int(np.asarray(sampler.get_extra_fields()["diverging"]).sum())
    found = {k: np.asarray(v, np.float64).reshape(-1, *v.shape[2:]) for k, v in by_chain.items()}
    return found, (float(rhat), float(ess), bad, _notes(rhat, ess, bad, chains))
