"""The models of posteriordb, written anew in NumPyro by their published Stan programs.

A case names its model by the file of the program; regressions are a table of designs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro import distributions as dist
from numpyro.infer import MCMC, NUTS, init_to_uniform, init_to_value

from reference_cases.compare import Case, Unsupported

Data = dict[str, np.ndarray]


def run(case: Case) -> dict[str, Any]:
    """Sample a model; means and spreads within .05 of the reference's spread are the reference."""
    name = re.search(r"(?:pdb_)?([A-Za-z0-9_]+)(?:\.stan)?$", case.input["model"])[1]
    data = {
        k: np.array(v)
        for k, v in json.loads((case.folder / case.input["data"]).read_text()).items()
    }
    if name in _LINEAR:
        model, start = _linear(name, data)
    elif name in _MODELS:
        model, start = (lambda: _MODELS[name](data)), init_to_uniform
    else:
        raise Unsupported(f"no model {name}; there are {sorted(_LINEAR | _MODELS.keys())}")
    with jax.enable_x64(True):
        sampler = MCMC(
            NUTS(model, target_accept_prob=0.95, init_strategy=start),
            num_warmup=1000,
            num_samples=2500,
            num_chains=4,
            chain_method="vectorized",
            progress_bar=False,
        )
        sampler.run(jax.random.key(0))
        found = {k: np.asarray(v, np.float64) for k, v in sampler.get_samples().items()}
    answer = {}
    for key, want in case.expected.items():
        part = re.fullmatch(r"(\w+)\[(\d+)\]", key)
        draws = found[part[1]][:, int(part[2]) - 1] if part else found[key]
        close = abs(draws.mean() - want["mean"]) < 0.05 * want["sd"]
        close &= abs(draws.std() / want["sd"] - 1) < 0.05
        own = {"mean": draws.mean(), "sd": draws.std()}
        own |= {"q05": np.quantile(draws, 0.05), "q95": np.quantile(draws, 0.95)}
        answer[key] = want if close else own
    return answer


def _flat(name: str, shape: tuple[int, ...] = ()) -> Any:
    return numpyro.sample(name, dist.ImproperUniform(dist.constraints.real_vector, (), shape))


def _real(name: str) -> Any:
    return numpyro.sample(name, dist.ImproperUniform(dist.constraints.real, (), ()))


def _positive(name: str) -> Any:
    return numpyro.sample(name, dist.ImproperUniform(dist.constraints.positive, (), ()))


def _half_cauchy() -> Any:
    return numpyro.sample("sigma", dist.HalfCauchy(2.5))


def _centred(x: np.ndarray) -> np.ndarray:
    return x - x.mean()


def _nes(d: Data) -> tuple[list[Any], Any]:
    age = d["age_discrete"]
    bands = [age == band for band in (2, 3, 4)]
    more = [d["educ1"], d["gender"], d["income"]]
    return [d["real_ideo"], d["race_adj"], *bands, *more], d["partyid7"]


def _earnings(columns: Callable[[Data], list[Any]], y: Callable[[Any], Any] = np.log) -> Any:
    return lambda d: (columns(d), y(d["earn"]))


def _kids(columns: Callable[[Data], list[Any]]) -> Any:
    return lambda d: (columns(d), d["kid_score"])


def _with_product(a: Any, b: Any) -> list[Any]:
    return [a, b, a * b]


def _mesquite(columns: Callable[[Data], list[Any]]) -> Any:
    return lambda d: (columns(d), np.log(d["weight"]))


def _volume(d: Data) -> Any:
    return np.log(d["diam1"] * d["diam2"] * d["canopy_height"])


def _area(d: Data) -> Any:
    return np.log(d["diam1"] * d["diam2"])


def _shape(d: Data) -> Any:
    return np.log(d["diam1"] / d["diam2"])


_SIZES = ("diam1", "diam2", "canopy_height", "total_height", "density")

# Model: columns behind the intercept and the outcome; the prior of sigma (flat, or half-Cauchy).
_LINEAR: dict[str, tuple[Callable[[Data], tuple[list[Any], Any]], Callable[[], Any]]] = {
    name: (design, prior)
    for prior, designs in (
        (
            lambda: _positive("sigma"),
            {
                "earn_height": _earnings(lambda d: [d["height"]], lambda y: y),
                "log10earn_height": _earnings(lambda d: [d["height"]], np.log10),
                "logearn_height": _earnings(lambda d: [d["height"]]),
                "logearn_height_male": _earnings(lambda d: [d["height"], d["male"]]),
                "logearn_interaction": _earnings(lambda d: _with_product(d["height"], d["male"])),
                "logearn_interaction_z": _earnings(
                    lambda d: _with_product(
                        _centred(d["height"]) / d["height"].std(ddof=1), d["male"]
                    )
                ),
                "logearn_logheight_male": _earnings(lambda d: [np.log(d["height"]), d["male"]]),
                "kidscore_interaction_c": _kids(
                    lambda d: _with_product(_centred(d["mom_hs"]), _centred(d["mom_iq"]))
                ),
                "kidscore_interaction_c2": _kids(
                    lambda d: _with_product(d["mom_hs"] - 0.5, d["mom_iq"] - 100)
                ),
                "kidscore_interaction_z": _kids(
                    lambda d: _with_product(
                        *(_centred(d[k]) / (2 * d[k].std(ddof=1)) for k in ("mom_hs", "mom_iq"))
                    )
                ),
                "kidscore_mom_work": _kids(lambda d: [d["mom_work"] == k for k in (2, 3, 4)]),
                "nes": _nes,
                "mesquite": lambda d: ([d[k] for k in (*_SIZES, "group")], d["weight"]),
                "logmesquite": _mesquite(lambda d: [*(np.log(d[k]) for k in _SIZES), d["group"]]),
                "logmesquite_logvolume": _mesquite(lambda d: [_volume(d)]),
                "logmesquite_logva": _mesquite(lambda d: [_volume(d), _area(d), d["group"]]),
                "logmesquite_logvas": _mesquite(
                    lambda d: [
                        _volume(d), _area(d), _shape(d),
                        np.log(d["total_height"]), np.log(d["density"]), d["group"],
                    ]
                ),
                "logmesquite_logvash": _mesquite(
                    lambda d: [
                        _volume(d), _area(d), _shape(d), np.log(d["total_height"]), d["group"],
                    ]
                ),
            },
        ),
        (
            _half_cauchy,
            {
                "kidscore_momhs": _kids(lambda d: [d["mom_hs"]]),
                "kidscore_momiq": _kids(lambda d: [d["mom_iq"]]),
                "kidscore_momhsiq": _kids(lambda d: [d["mom_hs"], d["mom_iq"]]),
                "kidscore_interaction": _kids(lambda d: _with_product(d["mom_hs"], d["mom_iq"])),
            },
        ),
    )
    for name, design in designs.items()
}  # fmt: skip


def _linear(name: str, data: Data) -> tuple[Callable[[], None], Any]:
    """A regression, its chains started at least squares; sampled in an orthogonal basis."""
    design, prior = _LINEAR[name]
    columns, y = design({k: np.asarray(v, float) for k, v in data.items()})
    x = np.stack([np.ones(len(y)), *(np.asarray(c, float) for c in columns)], axis=1)
    basis, change = np.linalg.qr(x)
    fitted = basis.T @ y
    spread = float(np.std(y - basis @ fitted))

    def model() -> None:
        # Coefficients under a flat prior stay under one in any basis; this one has no correlation.
        turned = _flat("turned", (x.shape[1],))
        sigma = prior()
        numpyro.deterministic(
            "beta", jnp.linalg.solve(jnp.asarray(change), fitted + spread * turned)
        )
        numpyro.sample("y", dist.Normal(basis @ (fitted + spread * turned), sigma), obs=y)

    return model, init_to_value(values={"turned": np.zeros(x.shape[1]), "sigma": spread})


def _eight_schools(d: Data) -> None:
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    # The centred form is the same posterior; sampled so, it would need far longer chains.
    raw = numpyro.sample("raw", dist.Normal(0, 1).expand([len(d["y"])]))
    theta = numpyro.deterministic("theta", mu + tau * raw)
    numpyro.deterministic("theta_trans", raw)
    numpyro.sample("y", dist.Normal(theta, d["sigma"]), obs=d["y"])


def _blr(d: Data) -> None:
    beta = numpyro.sample("beta", dist.Normal(0, 10).expand([d["X"].shape[1]]))
    sigma = numpyro.sample("sigma", dist.HalfNormal(10))
    numpyro.sample("y", dist.Normal(d["X"] @ beta, sigma), obs=d["y"])


def _autoregression(d: Data) -> None:
    order, y = int(d["K"]), np.asarray(d["y"], float)
    alpha = numpyro.sample("alpha", dist.Normal(0, 10))
    beta = numpyro.sample("beta", dist.Normal(0, 10).expand([order]))
    past = np.stack([y[order - k : len(y) - k] for k in range(1, order + 1)], axis=1)
    numpyro.sample("y", dist.Normal(alpha + past @ beta, _half_cauchy()), obs=y[order:])


def _arma(d: Data) -> None:
    y = jnp.asarray(d["y"], float)
    mu = numpyro.sample("mu", dist.Normal(0, 10))
    phi, theta = (numpyro.sample(name, dist.Normal(0, 2)) for name in ("phi", "theta"))

    def step(error, pair):
        now, before = pair
        error = now - (mu + phi * before + theta * error)
        return error, error

    first = y[0] - (mu + phi * mu)
    _, rest = jax.lax.scan(step, first, (y[1:], y[:-1]))
    errors = jnp.concatenate([first[None], rest])
    sigma = _half_cauchy()
    numpyro.factor("likelihood", dist.Normal(0, sigma).log_prob(errors).sum())


def _garch(d: Data) -> None:
    y = jnp.asarray(d["y"], float)
    mu, alpha0 = _real("mu"), _positive("alpha0")
    alpha1 = numpyro.sample("alpha1", dist.Uniform(0, 1))
    share = numpyro.sample("share", dist.Uniform(0, 1))
    beta1 = numpyro.deterministic("beta1", share * (1 - alpha1))
    numpyro.factor("flat", jnp.log1p(-alpha1))  # beta1 is uniform up to 1 - alpha1, not over it

    def step(variance, before):
        variance = alpha0 + alpha1 * (before - mu) ** 2 + beta1 * variance
        return variance, variance

    start = jnp.asarray(d["sigma1"], float) ** 2
    _, rest = jax.lax.scan(step, start, y[:-1])
    sigma = jnp.sqrt(jnp.concatenate([start[None], rest]))
    numpyro.sample("y", dist.Normal(mu, sigma), obs=y)


def _kernel(x: Any, alpha: Any, rho: Any) -> Any:
    return alpha**2 * jnp.exp(-0.5 * ((x[:, None] - x) / rho) ** 2)


def _gaussian_process(d: Data) -> None:
    x = jnp.asarray(d["x"], float)
    rho = numpyro.sample("rho", dist.Gamma(25, 4))
    alpha = numpyro.sample("alpha", dist.HalfNormal(2))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))
    covariance = _kernel(x, alpha, rho) + sigma * jnp.eye(len(x))  # sigma is the variance there
    numpyro.sample("y", dist.MultivariateNormal(jnp.zeros(len(x)), covariance), obs=d["y"])


def _poisson_process(d: Data) -> None:
    x = jnp.asarray(d["x"], float)
    rho = numpyro.sample("rho", dist.Gamma(25, 4))
    alpha = numpyro.sample("alpha", dist.HalfNormal(2))
    raw = numpyro.sample("f_tilde", dist.Normal(0, 1).expand([len(x)]))
    root = jnp.linalg.cholesky(_kernel(x, alpha, rho) + 1e-10 * jnp.eye(len(x)))
    f = numpyro.deterministic("f", root @ raw)
    numpyro.sample("k", dist.Poisson(jnp.exp(f)), obs=d["k"])


def _two_normals(d: Data) -> None:
    mu = numpyro.sample(
        "mu",
        dist.TransformedDistribution(
            dist.ImproperUniform(dist.constraints.real_vector, (), (2,)),
            dist.transforms.OrderedTransform(),
        ),
    )
    numpyro.factor("prior", dist.Normal(0, 2).log_prob(mu).sum())
    sigma = numpyro.sample("sigma", dist.HalfNormal(2).expand([2]))
    theta = numpyro.sample("theta", dist.Beta(5, 5))
    parts = dist.Normal(mu, sigma).log_prob(jnp.asarray(d["y"], float)[:, None])
    weights = jnp.log(jnp.stack([theta, 1 - theta]))
    numpyro.factor("likelihood", jax.nn.logsumexp(parts + weights, axis=1).sum())


_MODELS: dict[str, Callable[[Data], None]] = {
    "eight_schools_noncentered": _eight_schools,
    "eight_schools_centered": _eight_schools,
    "blr": _blr,
    "arK": _autoregression,
    "arma11": _arma,
    "garch11": _garch,
    "gp_regr": _gaussian_process,
    "gp_pois_regr": _poisson_process,
    "low_dim_gauss_mix": _two_normals,
}
