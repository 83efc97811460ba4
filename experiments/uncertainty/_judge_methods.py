"""The approximations that the judge measures: each from the same prior, likelihood and data."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmed as jm
from jaxmed import bayes

from ._judge_cases import Case, start


def modes(
    case: Case,
    key: jax.Array,
    members: int,
    steps: int,
    *,
    dropout: float = 0.0,
    perturbed: bool = False,
) -> Any:
    """Maxima of the log joint density, each from a draw of the prior, by Adam on all the data.

    `perturbed`: each member's prior is centred on a draw of its own, and its targets have noise of
    their own: draws of the posterior where the network is linear (randomised maximum a posteriori).
    """
    network = case.make(dropout)
    batch = {name: jnp.asarray(value) for name, value in case.train.items()}
    state = network.init(key, batch["image"][:1])[1]
    optimizer = optax.adam(optax.cosine_decay_schedule(0.02, steps))

    def one(key):
        first = start(case, jm.stream(key, "start"), dropout)
        centre, data = jax.tree.map(jnp.zeros_like, first), batch
        if perturbed:
            centre = start(case, jm.stream(key, "centre"), dropout)
            if case.noise is not None:
                moved = jax.random.normal(jm.stream(key, "noise"), batch["label"].shape)
                data = {**batch, "label": batch["label"] + case.noise * moved}

        def energy(params, key):
            square = jax.tree.map(lambda p, c: ((p - c) ** 2).sum(), params, centre)
            if dropout:
                outputs = network.apply(params, state, data["image"], key=key, train=True)[0]
                fit = case.likelihood.log_prob(outputs["logits"], data["label"]).sum()
            else:
                fit = case.likelihood.total(network, params, state, data)
            return 0.5 * sum(jax.tree.leaves(square)) - fit

        def step(carry, t):
            params, memory = carry
            gradient = jax.grad(energy)(params, jm.stream(key, "step", t))
            change, memory = optimizer.update(gradient, memory, params)
            return (optax.apply_updates(params, change), memory), None

        return jax.lax.scan(step, (first, optimizer.init(first)), jnp.arange(steps))[0][0]

    keys = jnp.stack([jm.stream(key, "member", i) for i in range(members)])
    return jax.jit(jax.vmap(one))(keys), state


def mode(case: Case, key: jax.Array, steps: int) -> tuple[Any, Any]:
    """One maximum of the log joint density."""
    params, state = modes(case, key, 1, steps)
    return jax.tree.map(lambda p: p[0], params), state


def with_map(case: Case, key: jax.Array, config: Any) -> Any:
    """One maximum of the log joint density."""
    return bayes.point(case.network, *mode(case, key, config.steps))


def with_ensemble(case: Case, key: jax.Array, config: Any) -> Any:
    """Maxima from different starts."""
    return _members(case, modes(case, key, config.members, config.steps))


def with_randomised(case: Case, key: jax.Array, config: Any) -> Any:
    """Maxima of perturbed problems (anchored ensemble); twice as many."""
    found = modes(case, key, 2 * config.members, config.steps, perturbed=True)
    return _members(case, found)


def _members(case: Case, found: tuple[Any, Any]) -> Any:
    params, state = found
    size = len(jax.tree.leaves(params)[0])
    states = jax.tree.map(lambda s: jnp.broadcast_to(s, (size, *s.shape)), state)
    return bayes.members(case.network, params, states)


def with_dropout(case: Case, key: jax.Array, config: Any) -> Any:
    """Dropout of 0.1 before the head, in training and prediction."""
    params, state = modes(case, key, 1, config.steps, dropout=0.1)
    params = jax.tree.map(lambda p: p[0], params)
    return bayes.mc_dropout(case.make(0.1), params, state, case.train["image"])


def laplace(case: Case, key: jax.Array, config: Any, **options: Any) -> bayes.Laplace:
    """A linearised Laplace approximation under the judge's own prior."""
    params, state = mode(case, key, config.steps)
    return bayes.laplace(
        case.network, params, state, case.train, case.likelihood, prior_precision=1.0, **options
    )


def with_laplace(case: Case, key: jax.Array, config: Any) -> Any:
    """The full matrix over all weights."""
    return laplace(case, key, config, structure="full")


def with_laplace_kron(case: Case, key: jax.Array, config: Any) -> Any:
    """Kronecker factors over all weights."""
    return laplace(case, key, config, structure="kron")


def with_laplace_last(case: Case, key: jax.Array, config: Any) -> Any:
    """The full matrix of the last layer."""
    return laplace(case, key, config, structure="full", subset="last_layer")


def with_laplace_mixture(case: Case, key: jax.Array, config: Any) -> Any:
    """Full Laplace round each of five maxima at most, equally weighted."""
    size = min(config.members, 5)
    params, state = modes(case, key, size, config.steps)
    parts = [
        bayes.laplace(
            case.network, jax.tree.map(lambda p, i=i: p[i], params), state, case.train,
            case.likelihood, structure="full", prior_precision=1.0,
        )
        for i in range(size)
    ]  # fmt: skip
    return bayes.mixture(parts)


def variational(case: Case, key: jax.Array, config: Any, guide: str) -> Any:
    """NumPyro's guide from the mode."""
    params, state = mode(case, key, config.steps)
    rate = optax.cosine_decay_schedule(0.01, 2 * config.steps)
    return bayes.variational(
        jm.stream(key, "guide"), case.network, params, state, lambda t: case.train,
        case.likelihood, total=len(case.train["label"]), steps=2 * config.steps, guide=guide,
        learning_rate=rate, scale=0.02,
    )  # fmt: skip


def with_mean_field(case: Case, key: jax.Array, config: Any) -> Any:
    """Mean-field variational inference."""
    return variational(case, key, config, "normal")


def with_low_rank(case: Case, key: jax.Array, config: Any) -> Any:
    """Variational inference by a normal of rank ten and a diagonal."""
    return variational(case, key, config, "lowrank")


def stochastic(case: Case, key: jax.Array, config: Any, **options: Any) -> Any:
    """Chains with steps small against the largest curvature, from the members of an ensemble.

    The gradients are of all the data: what is left of the error is that of the steps' size and of
    the chains' length.
    """
    params, state = modes(case, key, config.chains, config.steps)
    firsts = [jax.tree.map(lambda p, i=i: p[i], params) for i in range(config.chains)]
    fit = bayes.laplace(
        case.network, firsts[0], state, case.train, case.likelihood, structure="full",
        prior_precision=1.0,
    )  # fmt: skip
    largest = 1.0 + max(float(jnp.max(block.values)) for block in fit.blocks)
    parts = [
        bayes.sgmcmc(
            jm.stream(key, "chain", i), case.network, first, state, lambda t: case.train,
            case.likelihood, total=len(case.train["label"]), step_size=0.25 / largest,
            steps=config.chain_steps, burn=config.chain_steps // 5,
            every=max(config.chain_steps // 500, 1), **options,
        )
        for i, first in enumerate(firsts)
    ]  # fmt: skip
    return bayes.mixture(parts)


def with_sgld(case: Case, key: jax.Array, config: Any) -> Any:
    """Langevin dynamics without an accept step."""
    return stochastic(case, key, config, method="sgld")


def with_sghmc(case: Case, key: jax.Array, config: Any) -> Any:
    """Hamiltonian dynamics with friction, without an accept step."""
    return stochastic(case, key, config, method="sghmc", friction=0.02)


def chains(case: Case, key: jax.Array, config: Any, **options: Any) -> bayes.Chains:
    """NUTS over all weights."""
    params = start(case, key)
    state = case.network.init(key, jnp.asarray(case.train["image"][:1]))[1]
    return bayes.nuts(
        key, case.network, params, state, case.train, case.likelihood, prior=1.0, **options
    )


def with_nuts_short(case: Case, key: jax.Array, config: Any) -> Any:
    """One chain of a fifth of the judge's draws."""
    draws = max(config.draws // 5, 2)
    return chains(case, key, config, warmup=draws, draws=draws, chains=1)


METHOD = {
    "map": with_map,
    "dropout": with_dropout,
    "mean_field": with_mean_field,
    "low_rank": with_low_rank,
    "laplace_last": with_laplace_last,
    "laplace_kron": with_laplace_kron,
    "laplace": with_laplace,
    "ensemble": with_ensemble,
    "laplace_mixture": with_laplace_mixture,
    "randomised": with_randomised,
    "sgld": with_sgld,
    "sghmc": with_sghmc,
    "nuts_short": with_nuts_short,
}
FINITE = ("map", "ensemble", "randomised", "nuts_short")


def predict(case: Case, posterior: Any, key: jax.Array, n: int | None) -> np.ndarray:
    """Draws of the function at the test inputs, `(draws, inputs)`: probabilities or means."""
    from scipy import special

    f = bayes.predict_samples(posterior, key, case.test, n, size=len(case.test), chunk=50)
    f = f[..., 0].astype(np.float64)
    return f if case.noise is not None else special.expit(f)
