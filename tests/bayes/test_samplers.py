"""Samplers and variational fits reach the posterior that is known in closed form."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats as law

import jaxmed as jm
from jaxmed import bayes

KEY = jax.random.key(0)
ROWS, NOISE, PRECISION = 40, 0.5, 2.0


class Linear(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1, name="line")(x)


@pytest.fixture(scope="module")
def regression():
    """A network that is linear regression, its data, and the exact posterior (bias first)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 2)).astype(np.float32)
    y = (x @ [1.0, -0.5] + 0.3 + NOISE * rng.normal(size=ROWS)).astype(np.float32)
    design = np.concatenate([np.ones((ROWS, 1)), x], axis=1)
    exact = bayes.linear_posterior(design, y, prior_precision=PRECISION, noise_variance=NOISE**2)
    network = jm.from_linen(Linear())
    params, state = network.init(KEY, x)
    return network, params, state, {"image": x, "label": y}, exact


def rows_of(sample):
    return np.concatenate([sample["line"]["bias"], sample["line"]["kernel"][:, :, 0]], axis=1)


def close(sample, exact, mean=0.15, spread=0.15):
    """Mean within a share of the posterior's spread, covariance within a share of itself."""
    draws, sd = rows_of(sample), np.sqrt(np.diag(exact.covariance))
    assert np.all(np.abs(draws.mean(0) - exact.mean) < mean * sd), (draws.mean(0), exact.mean)
    assert np.allclose(draws.std(0), sd, rtol=spread), (draws.std(0), sd)
    return np.corrcoef(draws.T), exact.covariance / np.outer(sd, sd)


@pytest.mark.slow
def test_nuts(regression):
    network, params, state, batch, exact = regression
    padded = {k: np.concatenate([v, 9 + v[:3]]) for k, v in batch.items()}
    padded["weight"] = np.r_[np.ones(ROWS), np.zeros(3)]
    q = bayes.nuts(
        KEY, network, params, state, padded, bayes.normal(NOISE), prior=PRECISION,
        warmup=300, draws=500, chains=4,
    )  # fmt: skip
    found, want = close(q.sample(KEY), exact, 0.1, 0.1)
    assert np.allclose(found, want, atol=0.1)
    assert q.rhat < 1.02
    assert q.divergences == 0
    assert q.draws["line/kernel"].shape == (2000, 2, 1)
    log_lik = bayes.pointwise_log_likelihood(q, KEY, batch, bayes.normal(NOISE), 1000)
    loo = jm.stats.psis_loo(log_lik)
    assert abs(loo.elpd - exact.loo.sum()) < 0.3


@pytest.mark.slow
def test_hmc_on_the_last_layer_with_a_numpyro_prior(regression):
    network, params, state, batch, exact = regression
    q = bayes.nuts(
        KEY, network, params, state, batch, bayes.normal(NOISE), subset="line",
        prior={"bias": dist.Normal(0, 2**-0.5), "kernel": dist.Normal(0, 2**-0.5)},
        warmup=300, draws=500, chains=2, trajectory_length=1.0, start="params",
    )  # fmt: skip
    close(q.sample(KEY), exact)


@pytest.mark.slow
def test_few_draws_are_said_to_be_few(regression):
    network, params, state, batch, _ = regression
    q = bayes.nuts(
        KEY, network, params, state, batch, bayes.normal(NOISE), warmup=0, draws=10, chains=2
    )
    assert any("R-hat" in note or "effective" in note for note in q.notes)


def test_bad_data_are_named_before_a_chain_begins(regression):
    network, params, state, batch, _ = regression
    broken = {**batch, "label": np.full(ROWS, np.nan, np.float32)}
    with pytest.raises(ValueError, match="'label' holds 40 value"):
        bayes.nuts(KEY, network, params, state, broken, bayes.normal(NOISE), warmup=1, draws=1)
    with pytest.raises(KeyError, match="no 'label'"):
        bayes.nuts(KEY, network, params, state, {"image": batch["image"]}, bayes.normal(NOISE))


@pytest.mark.slow
def test_a_density_that_is_not_finite_is_said_to_be(regression):
    network, params, state, batch, _ = regression
    far = jax.tree.map(lambda v: jnp.full_like(v, jnp.nan), params)
    with pytest.raises(ValueError, match="log density is not finite"):
        bayes.nuts(
            KEY, network, far, state, batch, bayes.normal(NOISE), subset="kernel", warmup=1, draws=1
        )


@pytest.mark.slow
def test_mean_field_is_the_best_diagonal_normal(regression):
    network, params, state, batch, exact = regression
    want = np.sqrt(1 / np.diag(np.linalg.inv(exact.covariance)))
    for estimator in ("shared", "flipout", "local"):
        q = bayes.variational(
            KEY, network, params, state, lambda step: batch, bayes.normal(NOISE), total=ROWS,
            prior=PRECISION, steps=1200, learning_rate=lambda t: 0.05 * 0.996**t,
            estimator=estimator,
        )  # fmt: skip
        draws = rows_of(q.sample(KEY, 4000))
        assert np.allclose(draws.mean(0), exact.mean, atol=0.1 * want.max()), estimator
        assert np.allclose(draws.std(0), want, rtol=0.1), estimator
    assert q.losses[-100:].mean() < q.losses[:100].mean()


@pytest.mark.slow
def test_low_rank_reaches_the_correlations(regression):
    network, params, state, batch, exact = regression
    q = bayes.variational(
        KEY, network, params, state, lambda step: batch, bayes.normal(NOISE), total=ROWS,
        prior=PRECISION, steps=2500, guide="lowrank", rank=3, particles=8,
        learning_rate=lambda t: 0.03 * 0.998**t,
    )  # fmt: skip
    found, want = close(q.sample(KEY, 4000), exact, 0.2, 0.2)
    assert np.allclose(found, want, atol=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "step"), [("sgld", 4e-3), ("sghmc", 3e-4)])
def test_stochastic_gradients_reach_the_posterior(regression, method, step):
    network, params, state, batch, exact = regression
    q = bayes.sgmcmc(
        KEY, network, params, state, lambda step: batch, bayes.normal(NOISE), total=ROWS,
        prior=PRECISION, method=method, step_size=step, steps=8000, burn=500, every=5,
    )  # fmt: skip
    close(q.sample(KEY), exact, 0.25, 0.2)


def test_cycles_leave_draws_of_their_ends_alone(regression):
    network, params, state, batch, _ = regression
    q = bayes.sgmcmc(
        KEY, network, params, state, lambda step: batch, bayes.normal(NOISE), total=ROWS,
        step_size=1e-3, steps=200, cycles=2, every=10, explore=0.7, temperature=0.5,
    )  # fmt: skip
    assert len(q.energy) == 6
    assert "tempered" in q.notes[0]
    with pytest.raises(ValueError, match="smaller step_size"):
        bayes.sgmcmc(
            KEY, network, params, state, lambda step: batch, bayes.normal(NOISE), total=ROWS,
            step_size=10.0, steps=200,
        )  # fmt: skip


def test_priors_by_path():
    params = {"a": {"kernel": jnp.ones((2, 3))}, "b": {"bias": jnp.ones(3)}}
    found = bayes.priors_of({"kernel": 4.0, "bias": dist.Laplace(0, 1)}, params)
    assert found["a/kernel"].event_shape == (2, 3)
    assert np.isclose(
        found["a/kernel"].log_prob(jnp.zeros((2, 3))), 6 * np.log(2 / np.sqrt(2 * np.pi))
    )
    with pytest.raises(ValueError, match="no pattern of the prior"):
        bayes.priors_of({"kernel": 1.0}, params)
    with pytest.raises(ValueError, match="must be positive"):
        bayes.priors_of(0.0, params)
    with pytest.raises(ValueError, match=r"shape \(5,\)"):
        bayes.priors_of({".": dist.Normal(jnp.zeros(5), 1.0)}, params)


def test_noise_that_the_network_says():
    """Density, shapes, and a factor whose square is the Fisher information."""
    said = bayes.normal()
    outputs = jnp.array([[0.3, -0.5], [1.0, 0.2]])
    want = law.norm.logpdf([0.0, 2.0], outputs[:, 0], np.exp(outputs[:, 1]))
    for targets in (jnp.array([0.0, 2.0]), jnp.array([[[0.0], [2.0]]])):
        shaped = outputs.reshape(*targets.shape, 2)
        found = np.asarray(jax.jit(said.log_prob)(shaped, targets)).reshape(-1)
        assert np.allclose(found, want if found.size == 2 else want.sum(), atol=1e-5)
    with pytest.raises(ValueError, match=r"need targets \(2,\), not \(2, 2\)"):
        said.log_prob(outputs, outputs)
    with pytest.raises(ValueError, match="mean and log scale"):
        said.log_prob(outputs[:, :1], outputs[:, 0])
    root = np.asarray(jax.jit(said.factor)(outputs))[0]
    assert np.allclose(root @ root.T, np.diag([np.exp(1.0), 2.0]), atol=1e-5)


class Noisy(nn.Module):
    @nn.compact
    def __call__(self, x):
        noise = self.param("log_noise", nn.initializers.zeros, (1,))
        mean = nn.Dense(1, name="line")(x)
        return jnp.concatenate([mean, jnp.broadcast_to(noise, mean.shape)], axis=-1)


@pytest.mark.slow
def test_noise_is_inferred_with_the_weights(regression):
    *_, batch, _ = regression
    network = jm.from_linen(Noisy())
    params, state = network.init(KEY, batch["image"])
    q = bayes.nuts(
        KEY, network, params, state, batch, bayes.normal(), prior=1.0, warmup=300, draws=500,
        chains=2,
    )  # fmt: skip
    design = np.concatenate([np.ones((ROWS, 1)), batch["image"]], axis=1)
    fit = np.linalg.lstsq(design, batch["label"], rcond=None)
    residual = np.sqrt(fit[1][0] / (ROWS - 3))
    draws = np.exp(q.draws["log_noise"])
    assert abs(draws.mean() / residual - 1) < 0.06
    # The standard deviation's own error is near residual / sqrt(2 (n - p)).
    assert 0.8 < draws.std() / (residual / np.sqrt(2 * (ROWS - 3))) < 1.3


@pytest.mark.parametrize(
    "name", [pytest.param("nuts", marks=pytest.mark.slow), "sgld", "flipout", "laplace"]
)
def test_a_convolutional_network_in_every_sampler(name):
    """The whole way once on images: BatchNorm, convolutions, flipout, last-layer NUTS, Laplace."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 6, 6, 1)).astype(np.float32)
    batch = {"image": x, "label": rng.integers(0, 2, 12)}
    network = jm.from_linen(jm.networks.cnn(2, features=(3,)))
    params, state = jax.jit(network.init)(KEY, x)
    likelihood = bayes.categorical()
    common = (KEY, network, params, state)
    fits = {
        "nuts": lambda: bayes.nuts(
            *common, batch, likelihood, subset="last_layer", warmup=20, draws=20, chains=2
        ),
        "sgld": lambda: bayes.sgmcmc(
            *common, lambda t: batch, likelihood, total=12, step_size=1e-4, steps=20, every=5
        ),
        "flipout": lambda: bayes.variational(
            *common, lambda t: batch, likelihood, total=12, steps=3, estimator="flipout"
        ),
        "laplace": lambda: bayes.laplace(network, params, state, batch, likelihood),
    }
    found = fits[name]().predictive(KEY, x[:2], 3)["logits"]
    assert found.shape == (3, 2, 2)
    assert np.isfinite(found).all()


def ranks_of(infer, runs=200, draws=99):
    """Simulation-based calibration on regression with ten rows."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(10, 2)).astype(np.float32)
    network = jm.from_linen(Linear())
    params, state = network.init(KEY, x)

    def simulate(key):
        one, two = jax.random.split(key)
        w = jax.random.normal(one, (3,)) / np.sqrt(PRECISION)
        y = w[0] + x @ w[1:] + NOISE * jax.random.normal(two, (10,))
        return w, {"image": x, "label": np.asarray(y)}

    def run(key, batch):
        q = infer(key, network, params, state, batch)
        return rows_of(q.sample(key, draws))

    return bayes.simulation_ranks(jax.random.key(7), simulate, run, runs=runs, bins=10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "runs"), [("nuts", 100), ("hmc", 100), ("laplace", 150), ("sgld", 100), ("sghmc", 100)]
)
def test_simulation_based_calibration(name, runs):
    step_size = {"sgld": 1e-2, "sghmc": 1e-3}

    def infer(key, network, params, state, batch):
        likelihood = bayes.normal(NOISE)
        if name == "laplace":
            q = bayes.linear_posterior(
                np.concatenate([np.ones((10, 1)), batch["image"]], axis=1), batch["label"],
                prior_precision=PRECISION, noise_variance=NOISE**2,
            )  # fmt: skip
            mode = {"line": {"bias": q.mean[:1], "kernel": q.mean[1:, None]}}
            mode = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), mode)
            return bayes.laplace(
                network, mode, state, batch, likelihood, structure="full", prior_precision=PRECISION
            )
        if name in step_size:
            return bayes.sgmcmc(
                key, network, params, state, lambda t: batch, likelihood, total=10, method=name,
                prior=PRECISION, step_size=step_size[name], steps=5200, burn=250, every=50,
            )  # fmt: skip
        return bayes.nuts(
            key, network, params, state, batch, likelihood, prior=PRECISION, warmup=200,
            draws=990, thin=10, chains=1, trajectory_length=0.3 if name == "hmc" else None,
        )  # fmt: skip

    found = ranks_of(infer, runs=runs)
    assert found.p_value > 0.001, found.p_values


@pytest.mark.slow
def test_a_posterior_too_narrow_is_found_out():
    def infer(key, network, params, state, batch):
        q = bayes.linear_posterior(
            np.concatenate([np.ones((10, 1)), batch["image"]], axis=1), batch["label"],
            prior_precision=PRECISION, noise_variance=NOISE**2,
        )  # fmt: skip
        half = np.random.default_rng(int(jax.random.randint(key, (), 0, 2**31 - 1)))
        draws = half.multivariate_normal(q.mean, q.covariance / 4, 99)
        tree = {"line": {"bias": draws[:, :1], "kernel": draws[:, 1:, None]}}
        return bayes.members(network, tree, {})

    assert ranks_of(infer, runs=120).p_value < 1e-3
