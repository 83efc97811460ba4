"""The log-likelihood of images under a variational autoencoder, bounded by many draws."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import t

from jaxmed.core import Array, Key, Network, PyTree, as_network, stream
from jaxmed.generative._drawing import image_keys
from jaxmed.generative.autoencoders._levels import levels_of, log_normal
from jaxmed.generative.autoencoders._likelihood import Likelihood, log_likelihoods, per_image
from jaxmed.stats import Estimate, checks


def importance_bound(
    key: Key,
    network: Network | nn.Module,
    params: PyTree,
    state: PyTree,
    images: Any,
    *,
    likelihood: Likelihood = "gaussian",
    draws: int = 100,
    label: Any = None,
    chunk: int = 100,
    level: float = 0.95,
) -> Estimate:
    r"""Bound the mean log-likelihood of images from below by importance-weighted draws, in nats.

    .. math:: \log p(x) \ge \mathbb{E}\Big[\log \frac1K \sum_{k=1}^K
        \frac{p(x, z_k)}{q(z_k \mid x)}\Big], \qquad z_k \sim q(z \mid x)

    One draw is the evidence lower bound; the more are drawn the closer the bound comes.

    Args:
        key: random key; image i draws by ``stream(key, "image", i)``.
        network: as :func:`vae` takes it.
        params: its parameters.
        state: its state.
        images: ``(n, *spatial, channels)`` test images.
        likelihood: that it was trained with.
        draws: K, of latents for each image.
        label: ``(n,)`` classes, for a conditional network.
        chunk: images at a time; it changes no draw.
        level: of the interval.

    Returns:
        The estimate, a lower bound, with a t interval over images.

    Raises:
        ValueError: for fewer than two images, no draw or a chunk of none, a level outside (0, 1),
            another likelihood, or a bound that is not finite.
        KeyError: if the network tells nothing of a posterior.

    References:
        Burda, Grosse and Salakhutdinov (2016), Importance weighted autoencoders, ICLR.
    """
    checks.check_whole(draws, "draws", 1)
    checks.check_whole(chunk, "chunk", 1)
    checks.check_level(level)
    network, rows = as_network(network), np.asarray(images, np.float32)
    if len(rows) < 2:
        raise ValueError(f"an interval needs at least two images, got {len(rows)}")
    keys = image_keys(key, len(rows))
    given = {"image": rows} | ({} if label is None else {"label": np.asarray(label)})

    @jax.jit
    def bounds(keys: Key, given: dict[str, Array]) -> Array:
        def drawn(k):
            own = jax.vmap(lambda key: stream(key, k))(keys)
            ends, _ = network.apply(params, state, {**given, "key": own})
            return _log_weights(likelihood, ends, given["image"])

        values = jax.lax.map(drawn, jnp.arange(draws))
        return jax.nn.logsumexp(values, axis=0) - jnp.log(draws)

    parts = []
    with jax.default_matmul_precision("highest"):
        for first in range(0, len(rows), chunk):
            some = slice(first, first + chunk)
            part = bounds(keys[some], {name: array[some] for name, array in given.items()})
            parts.append(np.asarray(part, np.float64))
    values = np.concatenate(parts)
    if bad := int((~np.isfinite(values)).sum()):
        raise ValueError(f"{bad} of {len(values)} bounds are not finite")
    mean, error = float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)
    half = float(t.ppf(0.5 + 0.5 * level, len(values) - 1)) * error
    return Estimate(
        mean,
        mean - half,
        mean + half,
        level,
        len(values),
        "image",
        f"t interval of the bound by {draws} importance-weighted draws",
        name="log-likelihood, lower bound",
    )


def _log_weights(likelihood: Likelihood, ends: Any, images: Array) -> Array:
    """The logarithm of what one draw weighs, for each image."""
    total = log_likelihoods(likelihood, ends, images)
    latents = ends["latent"] if isinstance(ends["latent"], tuple) else (ends["latent"],)
    for level, z in zip(levels_of(ends), latents, strict=True):
        prior = log_normal(z, level.prior_mean, level.prior_log_variance)
        total += per_image(prior - log_normal(z, level.mean, level.log_variance))
    return total
