"""Stochastic-gradient MCMC: SGLD and SGHMC, with cyclical step sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.bayes.posteriors._likelihood import Likelihood
from jaxmed.bayes.posteriors._mcmc import subset_posterior
from jaxmed.bayes.posteriors._model import Prior, last_layer, log_prior, place, priors_of, select
from jaxmed.core import Endpoints, Key, Network, PyTree, stream


class StochasticChain(NamedTuple):
    """Draws of a stochastic-gradient chain; the first two fields are those of a posterior.

    Attributes:
        sample: as in :class:`Posterior`; all draws by default.
        predictive: as in :class:`Posterior`.
        draws: the random leaves by path, ``(draws, ...)``.
        energy: minus the log joint density, estimated at each draw.
        notes: warnings.
    """

    sample: Callable[..., PyTree]
    predictive: Callable[..., Endpoints]
    draws: dict[str, np.ndarray]
    energy: np.ndarray
    notes: tuple[str, ...] = ()


def sgmcmc(
    key: Key,
    network: Network,
    params: PyTree,
    state: PyTree,
    batches: Any,
    likelihood: Likelihood,
    *,
    total: int,
    step_size: float,
    steps: int,
    method: Literal["sgld", "sghmc"] = "sgld",
    prior: Prior = 1.0,
    subset: str | None = None,
    burn: int = 0,
    every: int = 10,
    cycles: int | None = None,
    explore: float = 0.5,
    friction: float = 0.1,
    temperature: float = 1.0,
) -> StochasticChain:
    r"""Draw from the posterior using mini-batch gradients.

    With the energy :math:`U = -\tfrac Nn \sum \log p(y \mid \theta) - \log p(\theta)`, SGLD is
    :math:`\theta \leftarrow \theta - \tfrac\epsilon2 \nabla U + \sqrt{\epsilon T}\, \xi` and SGHMC
    :math:`v \leftarrow (1 - \alpha) v - \epsilon \nabla U + \sqrt{2 \alpha \epsilon T}\, \xi,\;
    \theta \leftarrow \theta + v`. There is no accept step: the stationary distribution has a bias
    that vanishes with the step size (and with the gradient noise). Each step is a compiled program
    called from the host.

    Args:
        key: random key of the noise.
        network: any network.
        params: initial parameters of the chain.
        state: state of the network, which is evaluated without dropout.
        batches: as returned by :func:`jaxmed.data.batches`, or a function from step to batch.
        likelihood: :func:`categorical`, :func:`bernoulli` or :func:`normal`.
        total: total number of examples.
        step_size: :math:`\epsilon` at the first step of a cycle.
        steps: total number of steps.
        method: ``sgld`` or ``sghmc``.
        prior: prior, see :func:`priors_of`.
        subset: a regular expression for the random paths, ``last_layer``, or all.
        burn: number of initial steps discarded (without cycles).
        every: steps between two draws.
        cycles: number of cosine cycles of the step size; None for a constant step size.
        explore: initial share of each cycle spent searching for a mode: no noise, no draws.
        friction: :math:`\alpha` of SGHMC.
        temperature: T; below 1 a cold posterior, which is no longer that of the model.

    Returns:
        The chain.

    Raises:
        ValueError: for unknown names, no draws, or an energy that is not finite (reduce the step
            size).

    References:
        Welling and Teh (2011), ICML. Chen, Fox, Guestrin (2014), ICML. Zhang et al. (2020),
        Cyclical stochastic gradient MCMC, ICLR.
    """
    if method not in ("sgld", "sghmc"):
        raise ValueError(f"method must be 'sgld' or 'sghmc', got {method!r}")
    take: Any = batches if callable(batches) else batches.__getitem__
    if subset == "last_layer":
        subset = last_layer(network, params, state, likelihood.inputs_of(take(0)))
    leaves = {p: jnp.asarray(x) for p, x in select(params, subset).items()}
    priors = priors_of(prior, leaves)

    def energy(leaves, batch):
        weight = batch.get("weight")
        rows = batch[likelihood.target].shape[0]
        count = rows if weight is None else jnp.maximum((weight > 0).sum(), 1)
        fit = likelihood.total(network, place(params, leaves), state, batch)
        return -(total / count) * fit - log_prior(priors, leaves)

    @jax.jit
    def step(leaves, velocity, batch, key, t, rate, noise):
        value, gradient = jax.value_and_grad(energy)(leaves, batch)
        own = stream(
            key, "step", t
        )  # derived inside the step: keys made by the host cost more than a small step
        xi = {
            p: jax.random.normal(stream(own, p), x.shape, x.dtype)
            for p, x in sorted(leaves.items())
        }
        if method == "sgld":
            scale = jnp.sqrt(rate * noise)
            new = {p: x - 0.5 * rate * gradient[p] + scale * xi[p] for p, x in leaves.items()}
            return new, velocity, value
        scale = jnp.sqrt(2 * friction * rate * noise)
        velocity = {
            p: (1 - friction) * v - rate * gradient[p] + scale * xi[p] for p, v in velocity.items()
        }
        return {p: x + velocity[p] for p, x in leaves.items()}, velocity, value

    velocity = jax.tree.map(jnp.zeros_like, leaves)
    length = steps if cycles is None else max(steps // cycles, 1)
    kept: list[dict[str, Any]] = []
    energies = []
    for t in range(steps):
        place_in_cycle = (t % length) / length
        cycled = cycles is not None
        rate = step_size * (0.5 * (1 + np.cos(np.pi * place_in_cycle)) if cycled else 1.0)
        sampling = place_in_cycle >= explore if cycled else True
        rate = max(rate, 1e-3 * step_size)
        batch = likelihood.arrays(take(t))
        leaves, velocity, value = step(
            leaves, velocity, batch, key, t, rate, temperature if sampling else 0.0
        )
        due = t >= burn and (t + 1) % every == 0
        if sampling and due:
            value = float(value)
            if not np.isfinite(value):
                raise ValueError(f"the energy is {value} at step {t}: take a smaller step_size")
            kept.append({p: np.asarray(x) for p, x in leaves.items()})
            energies.append(value)
    if not kept:
        raise ValueError(f"{steps} steps with burn={burn}, every={every} leave no draw")
    draws = {p: np.stack([one[p] for one in kept]) for p in leaves}
    posterior = subset_posterior(network, params, state, draws)
    notes = () if temperature == 1.0 else (f"a tempered posterior, temperature {temperature:g}",)
    return StochasticChain(posterior.sample, posterior.predictive, draws, np.array(energies), notes)
