"""Variational posteriors: normal approximations fitted by stochastic gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxmed.bayes.posteriors._likelihood import Likelihood
from jaxmed.bayes.posteriors._model import (
    Prior,
    last_layer,
    network_model,
    place,
    priors_of,
    select,
)
from jaxmed.bayes.posteriors._posterior import make_posterior
from jaxmed.core import Endpoints, Key, Network, PyTree, stream


class Variational(NamedTuple):
    """A variational posterior; the first two fields are those of a posterior.

    Attributes:
        sample: as in :class:`Posterior`.
        predictive: as in :class:`Posterior`.
        losses: negative evidence lower bound, estimated at each step.
        parameters: parameters of the guide, by NumPyro's names.
        notes: warnings.
    """

    sample: Callable[..., PyTree]
    predictive: Callable[..., Endpoints]
    losses: np.ndarray
    parameters: dict[str, Any]
    notes: tuple[str, ...] = ()


def variational(
    key: Key,
    network: Network,
    params: PyTree,
    state: PyTree,
    batches: Any,
    likelihood: Likelihood,
    *,
    total: int,
    steps: int,
    guide: Any = "normal",
    estimator: Literal["shared", "flipout", "local"] = "shared",
    prior: Prior = 1.0,
    subset: str | None = None,
    learning_rate: Any = 1e-3,
    scale: float = 0.05,
    rank: int = 10,
    particles: int = 1,
    default: int = 30,
) -> Variational:
    """Fit a normal to the posterior by maximising the evidence lower bound.

    Uses NumPyro's guides over :func:`network_model`. Each step is a compiled program called from
    the host: ``SVI.run`` compiles the steps into one loop, in which XLA's convolutions are slow on
    CPU.

    Args:
        key: random key of the draws.
        network: any network.
        params: initial means, ideally trained parameters.
        state: state of the network, which is evaluated without dropout.
        batches: as returned by :func:`jaxmed.data.batches`, or a function from step to batch.
        likelihood: :func:`categorical`, :func:`bernoulli` or :func:`normal`.
        total: total number of examples.
        steps: number of steps.
        guide: ``normal`` (mean field), ``lowrank`` (low-rank plus diagonal covariance), or a
            function from the NumPyro model to any guide.
        estimator: gradient estimator. ``shared``: one draw of the weights per batch. ``flipout``:
            each example's draw has its own signs. ``local``: the layers' outputs are drawn instead
            of their weights. The last two reduce the variance for many examples per batch; they
            need ``normal`` and a Linen network, and share leaves other than layers' kernels.
        prior: prior, see :func:`priors_of`; normal for ``flipout`` and ``local``.
        subset: a regular expression for the random paths, ``last_layer``, or all.
        learning_rate: learning rate of Adam, a number or an Optax schedule.
        scale: initial standard deviation.
        rank: rank of ``lowrank``.
        particles: draws per step, for ``shared``.
        default: default number of samples.

    Returns:
        The posterior.

    Raises:
        ValueError: for unknown names, or a bound that is not finite.

    References:
        Graves (2011), NeurIPS. Blundell et al. (2015), ICML. Kingma, Salimans, Welling (2015),
        NeurIPS (local). Wen et al. (2018), ICLR (Flipout). Hoffman et al. (2013), JMLR 14:1303.
    """
    take: Any = batches if callable(batches) else batches.__getitem__
    if subset == "last_layer":
        subset = last_layer(network, params, state, likelihood.inputs_of(take(0)))
    if estimator not in ("shared", "flipout", "local"):
        raise ValueError(f"estimator must be shared, flipout or local, got {estimator!r}")
    problem = _Problem(network, params, state, likelihood, total, prior, subset)
    if estimator == "shared":
        run = _numpyro(key, problem, take, guide, learning_rate, scale, rank, particles)
    else:
        if guide != "normal":
            raise ValueError(f"estimator={estimator!r} is for guide='normal'")
        run = _layered(key, problem, take, estimator, learning_rate, scale)
    step, current, draw_leaves, final = run
    losses = []
    for t in range(steps):
        current, loss = step(current, likelihood.arrays(take(t)), key, t)
        losses.append(loss)
        if t % 200 == 199 or t == steps - 1:
            recent = np.asarray(jnp.stack(losses[-200:]))
            if not np.isfinite(recent).all():
                raise ValueError(
                    f"the evidence lower bound is not finite near step {t}: lower the learning "
                    "rate or the scale"
                )
    content = (params, state, final(current))

    def draw(content, key, i):
        del i
        params, state, guide_params = content
        return place(params, draw_leaves(key, guide_params)), state

    made = make_posterior(network, content, draw, default=default)
    return Variational(
        made.sample, made.predictive, np.asarray(jnp.stack(losses)), dict(content[2])
    )


class _Problem(NamedTuple):
    network: Network
    params: PyTree
    state: PyTree
    likelihood: Likelihood
    total: int
    prior: Prior
    subset: str | None


def _numpyro(key, problem, take, guide, learning_rate, scale, rank, particles):
    from numpyro import optim
    from numpyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO, autoguide, init_to_value

    network, params, state, likelihood, total, prior, subset = problem
    model = network_model(network, params, state, likelihood, prior=prior, subset=subset)
    start = {"init_loc_fn": init_to_value(values=select(params, subset)), "init_scale": scale}
    bound = Trace_ELBO(num_particles=particles)
    if guide == "normal":
        made = autoguide.AutoNormal(model, **start)
        bound = TraceMeanField_ELBO(num_particles=particles)
    elif guide == "lowrank":
        made = autoguide.AutoLowRankMultivariateNormal(model, rank=rank, **start)
    elif callable(guide):
        made = cast("Callable[..., Any]", guide)(model)
    else:
        raise ValueError(f"guide must be 'normal', 'lowrank' or a function, got {guide!r}")
    svi = SVI(model, made, optim.optax_to_numpyro(optax.adam(learning_rate)), bound, total=total)
    first = jax.tree.map(jnp.asarray, likelihood.arrays(take(0)))
    current = svi.init(stream(key, "guide"), first)

    @jax.jit
    def step(current, batch, key, t):
        del key, t  # NumPyro carries its own
        return svi.update(current, batch)

    def draw_leaves(key, guide_params):
        return made.sample_posterior(key, guide_params)

    return step, current, draw_leaves, svi.get_params


def _layered(key, problem, take, estimator, learning_rate, scale):
    from numpyro.distributions import Normal, kl_divergence

    del key, take
    network, params, state, likelihood, total, prior, subset = problem
    means = {p: jnp.asarray(x) for p, x in select(params, subset).items()}
    priors = priors_of(prior, means)
    bases = {p: getattr(law, "base_dist", law) for p, law in priors.items()}
    optimizer = optax.adam(learning_rate)
    start = {
        "mean": means,
        "log_scale": {p: jnp.full_like(x, np.log(scale)) for p, x in means.items()},
    }

    def divergence(q):
        value = 0.0
        for p, law in bases.items():
            own = Normal(q["mean"][p], jnp.exp(q["log_scale"][p]))
            base = getattr(law, "base_dist", law)
            value = value + kl_divergence(own, Normal(base.loc, base.scale)).sum()
        return value

    def loss(q, batch, key):
        sd = {p: jnp.exp(s) for p, s in q["log_scale"].items()}
        layers: set[str] = set()
        look = _layer_noise(estimator, q["mean"], sd, key, layers)
        # Which leaves belong to layers is known only after a first, abstract pass.
        with nn.intercept_methods(look):
            jax.eval_shape(
                lambda v: network.apply(place(params, v), state, likelihood.inputs_of(batch))[0],
                q["mean"],
            )
        if not layers:
            raise ValueError(f"estimator={estimator!r} needs Linen layers: take 'shared'")
        leaves = {
            p: m if p in layers else m + sd[p] * jax.random.normal(stream(key, p), m.shape, m.dtype)
            for p, m in q["mean"].items()
        }
        with nn.intercept_methods(look):
            fit = likelihood.total(network, place(params, leaves), state, batch)
        weight = batch.get("weight")
        rows = batch[likelihood.target].shape[0]
        count = rows if weight is None else jnp.maximum((weight > 0).sum(), 1)
        return divergence(q) - total / count * fit

    @jax.jit
    def step(current, batch, key, t):
        q, opt_state = current
        value, gradient = jax.value_and_grad(loss)(q, batch, stream(key, "step", t))
        updates, opt_state = optimizer.update(gradient, opt_state, q)
        return (optax.apply_updates(q, updates), opt_state), value

    def draw_leaves(key, q):
        return {
            p: m + jnp.exp(q["log_scale"][p]) * jax.random.normal(stream(key, p), m.shape, m.dtype)
            for p, m in sorted(q["mean"].items())
        }

    return step, (start, optimizer.init(start)), draw_leaves, lambda current: current[0]


def _layer_noise(estimator: str, means: dict, sds: dict, key: Key, layers: set[str]) -> Callable:
    """Return an interceptor that gives each example of a linear layer its own noise."""
    inside = [False]

    def look(call, args, kwargs, context):
        module = context.module
        path = "/".join(module.path)
        kernel = f"{path}/kernel" if path else "kernel"
        bias = kernel[: -len("kernel")] + "bias"
        if inside[0] or context.method_name != "__call__" or kernel not in means:
            return call(*args, **kwargs)
        x = args[0]
        layers.add(kernel)
        inside[0] = True
        try:
            alone = module.clone(parent=None, name=None)
            own = stream(key, "layer", path or "root")

            def linear(kernel_value, x):
                given = {"kernel": kernel_value}
                if bias in means:
                    given["bias"] = jnp.zeros_like(means[bias])
                return alone.apply({"params": given}, x, *args[1:], **kwargs)

            y = call(*args, **kwargs)
            if estimator == "local":
                variance = linear(sds[kernel] ** 2, x**2)
                noise = jax.random.normal(own, y.shape, y.dtype)
                return y + jnp.sqrt(jnp.maximum(variance, 1e-16)) * noise
            shape_in = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1])
            shape_out = (y.shape[0], *(1,) * (y.ndim - 2), y.shape[-1])
            draw = sds[kernel] * jax.random.normal(stream(own, "weights"), means[kernel].shape)
            flip_in = jax.random.rademacher(stream(own, "in"), shape_in, x.dtype)
            flip_out = jax.random.rademacher(stream(own, "out"), shape_out, y.dtype)
            return y + flip_out * linear(draw, x * flip_in)
        finally:
            inside[0] = False

    return look
