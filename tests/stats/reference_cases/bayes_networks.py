"""Posteriors over networks against laplace-torch, closed forms and long chains."""

from __future__ import annotations

import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy import optimize, special

import jaxmed as jm
from jaxmed import bayes
from reference_cases.compare import Case, Unsupported


class _Linear(nn.Module):
    """One row of weights, the intercept among them."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1, use_bias=False, name="linear", dtype=x.dtype, param_dtype=x.dtype)(x)


class _Mlp(nn.Module):
    hidden: int
    outputs: int

    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Dense(self.hidden, name="hidden", dtype=x.dtype, param_dtype=x.dtype)(x))
        return nn.Dense(self.outputs, name="head", dtype=x.dtype, param_dtype=x.dtype)(x)


def _rows(case: Case) -> tuple[np.ndarray, np.ndarray]:
    table = case.table()
    names = sorted(n for n in table if re.fullmatch(r"x\d+", n))
    return np.stack([table[n] for n in names], axis=1), table["y"]


def _linear(weights: np.ndarray) -> tuple:
    return jm.from_linen(_Linear()), {"linear": {"kernel": jnp.asarray(weights)[:, None]}}


def laplace_linear(case: Case, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    precision, noise = case.params["prior_precision"], case.params["noise_variance"]
    with jax.enable_x64(True):
        mode = bayes.linear_posterior(x, y, prior_precision=precision, noise_variance=noise).mean
        network, params = _linear(mode)
        q = bayes.laplace(
            network,
            params,
            {},
            {"image": x, "label": y},
            bayes.normal(noise**0.5),
            structure="full",
            prior_precision=precision,
        )
        variance = q.function(x[:5])[1][:, 0, 0]
        return {
            "laplace_torch_f_var_first5": np.asarray(variance).tolist(),
            "laplace_torch_log_marglik": q.log_evidence,
        }


def _logistic_mode(x: np.ndarray, y: np.ndarray, precision: float) -> np.ndarray:
    sign = 2 * y - 1

    def energy(w):
        p = special.expit(x @ w)
        value = np.logaddexp(0, -sign * (x @ w)).sum() + 0.5 * precision * w @ w
        return value, x.T @ (p - y) + precision * w

    w = optimize.minimize(energy, np.zeros(x.shape[1]), jac=True, method="BFGS").x
    for _ in range(5):
        p = special.expit(x @ w)
        hessian = x.T @ (x * (p * (1 - p))[:, None]) + precision * np.eye(x.shape[1])
        w = w - np.linalg.solve(hessian, energy(w)[1])
    return w


def laplace_logistic(case: Case) -> dict[str, Any]:
    x, y = _rows(case)
    x = np.concatenate([np.ones((len(x), 1)), x], axis=1)
    precision = case.params["prior_precision"]
    mode = _logistic_mode(x, y, precision)
    with jax.enable_x64(True):
        network, params = _linear(mode)
        q = bayes.laplace(
            network,
            params,
            {},
            {"image": x, "label": y},
            bayes.bernoulli(),
            structure="full",
            prior_precision=precision,
        )
        mean, covariance = q.function(x[:5])
        inverse = q.function(np.eye(x.shape[1]))[1][:, 0, 0]  # the diagonal
        u = np.asarray(q.blocks[0].basis[0])
        whole = u @ np.diag(1 / (np.asarray(q.blocks[0].values) + precision)) @ u.T
        assert np.allclose(np.diag(whole), inverse)
        return {
            "map": mode.tolist(),
            "hessian_inv": whole.tolist(),
            "log_marglik_laplace": q.log_evidence,
            "probit_pred_first5": bayes.probit_probabilities(mean, covariance).tolist(),
            "gauss_hermite_pred_first5": bayes.logistic_normal_mean(
                np.asarray(mean)[:, 0], np.asarray(covariance)[:, 0, 0]
            ).tolist(),
        }


def laplace_network(case: Case) -> dict[str, Any]:
    command = case.command
    subset = re.search(r"subset_of_weights='(\w+)'", command)[1]
    structure = re.search(r"hessian_structure='(\w+)'", command)[1]
    if "classification" not in command or structure not in ("full", "kron", "diag"):
        raise Unsupported(command)
    x, y = _rows(case)
    w = np.load(case.folder / case.input["weights"])
    with jax.enable_x64(True):
        params = {
            "hidden": {"kernel": jnp.asarray(w["W1"].T), "bias": jnp.asarray(w["b1"])},
            "head": {"kernel": jnp.asarray(w["W2"].T), "bias": jnp.asarray(w["b2"])},
        }
        network = jm.from_linen(_Mlp(len(w["b1"]), len(w["b2"])))
        q = bayes.laplace(
            network,
            params,
            {},
            {"image": x, "label": y.astype(int)},
            bayes.categorical(),
            structure=structure,
            subset="last_layer" if subset == "last_layer" else None,
            prior_precision=case.params["prior_precision"],
        )
        mean, covariance = q.function(x[:5])
        return {
            "log_marglik": q.log_evidence,
            "probit_probs_first5": bayes.probit_probabilities(mean, covariance).tolist(),
            "f_mean_first5": np.asarray(mean).tolist(),
            "f_var_first5": np.asarray(covariance).tolist(),
        }


def exact_logistic(case: Case) -> dict[str, Any]:
    x, y = _rows(case)
    x = np.concatenate([np.ones((len(x), 1)), x], axis=1)
    precision = case.params["prior_precision"]
    mode = _logistic_mode(x, y, precision)
    p = special.expit(x @ mode)
    hessian = x.T @ (x * (p * (1 - p))[:, None]) + precision * np.eye(x.shape[1])
    constant = 0.5 * x.shape[1] * np.log(precision / (2 * np.pi))

    def log_joint(w):
        fit = -np.logaddexp(0, -(2 * y - 1) * (w @ x.T)).sum(axis=-1)
        return fit - 0.5 * precision * (w**2).sum(axis=-1) + constant

    q = bayes.importance(log_joint, mode, np.linalg.inv(hessian), draws=400_000, seed=1)
    mean = q.expectation(lambda w: w)
    second = q.expectation(lambda w: w**2)
    return {
        "mean": mean.tolist(),
        "sd": np.sqrt(second - mean**2).tolist(),
        "log_evidence": q.log_evidence,
        "posterior_predictive_first5": q.expectation(lambda w: special.expit(w @ x[:5].T)).tolist(),
    }


def dropout(case: Case) -> dict[str, Any]:
    """The sampler's moments must reach the closed form; the closed form is what is returned."""
    w, x, rate = np.array(case.input["w"]), np.array(case.input["x"]), case.input["drop_rate"]

    class Dropped(nn.Module):
        @nn.compact
        def __call__(self, x, *, train=False):
            x = nn.Dropout(rate, deterministic=not train)(x)
            return nn.Dense(1, use_bias=False, name="linear")(x)

    params = {"linear": {"kernel": jnp.asarray(w, jnp.float32)[:, None]}}
    one = jnp.asarray(x, jnp.float32)[None]
    q = bayes.mc_dropout(jm.from_linen(Dropped()), params, {}, one)
    draws = np.asarray(q.predictive(jax.random.key(0), one, 20_000, chunk=2000)["logits"])
    mean, variance = (w * x).sum(), rate / (1 - rate) * ((w * x) ** 2).sum()
    assert abs(draws.mean() - mean) < 5 * np.sqrt(variance / draws.size)
    assert abs(draws.var() / variance - 1) < 0.06
    return {"mean": mean, "variance": variance}


def swag(case: Case) -> dict[str, Any]:
    with jax.enable_x64(True):
        m = bayes.swag_moments(np.array(case.input["trajectory"]), rank=case.input.get("rank"))
        return {
            "mean": np.asarray(m.mean).tolist(),
            "diag": np.asarray(m.diagonal).tolist(),
            "covariance": np.asarray(m.covariance()).tolist(),
        }


def function_space(case: Case) -> dict[str, Any]:
    """Chains of our own against the file's, in function space."""
    net = re.match(r"MLP in-(\d+)-1 tanh; w1~N\(0,([\d.]+)\^2/in\)", case.params["net"])
    if net is None:
        raise Unsupported(case.params["net"])
    hidden, sd = int(net[1]), float(net[2])
    data = np.load(case.folder / case.input["file"])
    x, y, new = (data[k].astype(np.float32) for k in ("X", "y", "X_test"))
    noise = re.search(r"Normal\(f,([\d.]+)\)", case.params["likelihood"])
    likelihood = bayes.normal(float(noise[1])) if noise else bayes.bernoulli()
    network = jm.from_linen(_Mlp(hidden, 1))
    params, state = network.init(jax.random.key(0), x)
    prior = {
        "hidden/kernel": dist.Normal(0.0, sd / np.sqrt(x.shape[1])),
        "head/kernel": dist.Normal(0.0, sd / np.sqrt(hidden)),
        "bias": dist.Normal(0.0, sd),
    }
    batch = {"image": x, "label": y if noise else y.astype(int)}
    q = bayes.nuts(
        jax.random.key(1), network, params, state, batch, likelihood,
        prior=prior, warmup=800, draws=1500, chains=4,
    )  # fmt: skip
    f = np.asarray(q.predictive(jax.random.key(2), new, chunk=500)["logits"])[..., 0]
    target = data["y_test"]
    if noise:
        score = bayes.mixture_log_score(target, f, float(noise[1]))
        answer = {
            "pred_mean": f.mean(axis=0).tolist(),
            "pred_sd": f.std(axis=0).tolist(),
            "test_nll": score.mean(),
            "test_rmse": np.sqrt(np.mean((f.mean(axis=0) - target) ** 2)),
        }
    else:
        p = special.expit(f)
        mean = p.mean(axis=0)
        answer = {
            "pred_mean": mean.tolist(),
            "pred_sd": p.std(axis=0).tolist(),
            "test_nll": -np.log(np.where(target == 1, mean, 1 - mean)).mean(),
            "test_accuracy": ((mean > 0.5) == target).mean(),
        }
    return answer
