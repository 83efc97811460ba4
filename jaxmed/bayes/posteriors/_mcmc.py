"""Markov chain Monte Carlo over a network's parameters: NUTS and HMC by NumPyro."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed import stats
from jaxmed.bayes.posteriors._likelihood import Likelihood
from jaxmed.bayes.posteriors._model import Prior, last_layer, network_model, place, select
from jaxmed.bayes.posteriors._posterior import make_posterior
from jaxmed.core import Array, Batch, Endpoints, Key, Network, PyTree


class Chains(NamedTuple):
    """Draws of Markov chains; the first two fields are those of a posterior.

    Attributes:
        sample: as in :class:`Posterior`; all draws by default, chain by chain.
        predictive: as in :class:`Posterior`.
        draws: the random leaves by path, ``(chains * draws, ...)``.
        chains: number of chains.
        rhat: largest split R-hat of the outputs at some inputs (function space) and of the log
            joint density. Weights are not identified (neurons can be permuted), functions are.
        ess: smallest effective sample size, bulk or tail, of the same.
        divergences: number of divergent transitions.
        acceptance: mean acceptance probability.
        log_joint: ``(chains, draws)``, up to a constant.
        notes: warnings: divergences, chains that have not mixed, few effective draws.
    """

    sample: Callable[..., PyTree]
    predictive: Callable[..., Endpoints]
    draws: dict[str, np.ndarray]
    chains: int
    rhat: float
    ess: float
    divergences: int
    acceptance: float
    log_joint: np.ndarray
    notes: tuple[str, ...] = ()


def nuts(
    key: Key,
    network: Network,
    params: PyTree,
    state: PyTree,
    batch: Batch,
    likelihood: Likelihood,
    *,
    prior: Prior = 1.0,
    subset: str | None = None,
    warmup: int = 500,
    draws: int = 500,
    chains: int = 4,
    thin: int = 1,
    start: Literal["prior", "params"] = "prior",
    target_accept: float = 0.8,
    max_tree_depth: int = 10,
    trajectory_length: float | None = None,
    watch: int = 16,
) -> Chains:
    """Draw from the posterior by the No-U-Turn sampler, the reference for all approximations.

    Suited to the last layer of any network, or all of a small one. The network is evaluated without
    dropout and with fixed state.

    Args:
        key: random key of the chains.
        network: any network.
        params: parameters, giving the structure and the values of those not in ``subset``.
        state: state of the network.
        batch: the whole data set as one batch.
        likelihood: :func:`categorical`, :func:`bernoulli` or :func:`normal`.
        prior: prior, see :func:`priors_of`.
        subset: a regular expression for the random paths, ``last_layer``, or all.
        warmup: adaptation steps per chain.
        draws: steps kept per chain, before thinning.
        chains: number of chains, run as one program.
        thin: thinning interval of the draws.
        start: initial values of the chains: ``prior`` (overdispersed, so that R-hat is meaningful)
            or ``params``, jittered by 0.1.
        target_accept: target acceptance probability of the step size adaptation.
        max_tree_depth: maximum tree depth: at most ``2 ** max_tree_depth`` gradients per step.
        trajectory_length: trajectory length of plain HMC, used instead of NUTS.
        watch: number of inputs at which outputs are monitored for convergence.

    Returns:
        The chains.

    Raises:
        ValueError: if the log density is not finite at a chain's start, or for an unknown start.

    References:
        Hoffman and Gelman (2014), JMLR 15:1593. Phan, Pradhan, Jankowiak (2019), arXiv 1912.11554.
        Izmailov et al. (2021), What are Bayesian neural network posteriors really like?, ICML.
    """
    from numpyro.infer import HMC, MCMC, NUTS, init_to_sample, init_to_value

    batch = _finite_examples(batch, likelihood)
    if subset == "last_layer":
        subset = last_layer(network, params, state, likelihood.inputs_of(batch))
    model = network_model(network, params, state, likelihood, prior=prior, subset=subset)
    leaves = select(params, subset)
    if start == "prior":
        strategy = init_to_sample
    elif start == "params":
        strategy = init_to_value(values=leaves)
    else:
        raise ValueError(f"start must be 'prior' or 'params', got {start!r}")
    common = {"init_strategy": strategy, "target_accept_prob": target_accept}
    if trajectory_length is None:
        kernel = NUTS(model, max_tree_depth=max_tree_depth, **common)
    else:
        kernel = HMC(model, trajectory_length=trajectory_length, **common)
    sampler = MCMC(
        kernel,
        num_warmup=warmup,
        num_samples=draws,
        num_chains=chains,
        thinning=thin,
        chain_method="vectorized" if chains > 1 else "sequential",
        progress_bar=False,
    )
    options: dict[str, Any] = {}
    if start == "params" and chains > 1:
        rng = np.random.default_rng(int(jax.random.randint(key, (), 0, 2**31 - 1)))
        options["init_params"] = {
            p: jnp.stack(
                [x + 0.1 * rng.normal(size=np.shape(x)).astype(x.dtype) for _ in range(chains)]
            )
            for p, x in ((p, np.asarray(x)) for p, x in leaves.items())
        }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There are not enough devices")
        try:
            sampler.run(
                key, batch, extra_fields=("potential_energy", "diverging", "accept_prob"), **options
            )
        except (RuntimeError, ValueError) as error:
            # NumPyro's error message for a density that is not finite.
            if not re.search("valid initial parameters|got invalid", str(error)):
                raise
            raise ValueError(
                f"the log density is not finite where a chain begins: {error}"
            ) from None
    by_chain = {p: np.asarray(x) for p, x in sampler.get_samples(group_by_chain=True).items()}
    extra = sampler.get_extra_fields(group_by_chain=True)
    found = {p: x.reshape(-1, *x.shape[2:]) for p, x in by_chain.items()}
    posterior = subset_posterior(network, params, state, found)
    log_joint = -np.asarray(extra["potential_energy"], np.float64)
    some = jax.tree.map(lambda x: x[:watch], likelihood.inputs_of(batch))
    outputs = posterior.predictive(jax.random.key(0), some, outputs=(likelihood.output,))
    values = np.asarray(outputs[likelihood.output]).reshape(chains, log_joint.shape[1], -1)
    rhat, ess = _convergence(values, log_joint)
    divergences = int(np.asarray(extra["diverging"]).sum())
    return Chains(
        posterior.sample,
        posterior.predictive,
        found,
        chains,
        rhat,
        ess,
        divergences,
        float(np.asarray(extra["accept_prob"]).mean()),
        log_joint,
        _notes(rhat, ess, divergences, chains),
    )


def subset_posterior(network: Network, params: PyTree, state: PyTree, draws: dict[str, Any]) -> Any:
    """Return the posterior given by draws of some leaves, with the rest fixed.

    Args:
        network: any network.
        params: parameters, giving the structure and the values of leaves not in ``draws``.
        state: state of the network.
        draws: draws by path, ``(draws, ...)``, from :func:`nuts` or any sampler applied to
            :func:`network_model`.

    Returns:
        A posterior of as many samples as draws.
    """
    leaves = {p: jnp.asarray(x) for p, x in draws.items()}
    size = int(next(iter(leaves.values())).shape[0])

    def draw(content, key, i):
        del key
        params, state, leaves = content
        return place(params, {p: x[i] for p, x in leaves.items()}), state

    return make_posterior(network, (params, state, leaves), draw, size=size)


def _convergence(values: np.ndarray, log_joint: np.ndarray) -> tuple[float, float]:
    """Compute the largest R-hat and smallest ESS over outputs ``(chains, draws, outputs)``."""
    if log_joint.shape[1] < 8:
        return float("nan"), float("nan")
    columns = [log_joint, *np.moveaxis(values, -1, 0)[:64]]
    if not all(np.isfinite(column).all() for column in columns):
        return float("nan"), float("nan")  # not taken for a constant, which says nothing
    found = [stats.chain_diagnostics(c.T) for c in columns if np.ptp(c) > 0]
    rhat = float(np.nanmax([d.rhat for d in found]))
    return rhat, float(np.nanmin([min(d.ess_bulk, d.ess_tail) for d in found]))


def _notes(rhat: float, ess: float, divergences: int, chains: int) -> tuple[str, ...]:
    notes = []
    if divergences:
        notes.append(f"{divergences} divergent transitions: raise target_accept")
    if not rhat <= 1.01:
        notes.append(f"R-hat is {rhat:.3f}, above 1.01: the chains have not converged: run longer")
    if not ess >= 100 * chains:
        notes.append(f"the least effective sample size is {ess:.0f}, below 100 a chain")
    return tuple(notes)


def _finite_examples(batch: Batch, likelihood: Likelihood) -> dict[str, Array]:
    found = likelihood.examples(batch)
    for name, values in found.items():
        for leaf in jax.tree.leaves(values):
            bad = int((~np.isfinite(leaf)).sum())
            if bad:
                raise ValueError(f"{name!r} holds {bad} value(s) that are NaN or infinite")
            if not len(leaf):
                raise ValueError(f"{name!r} is empty")
    return jax.tree.map(jnp.asarray, found)
