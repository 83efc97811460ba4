"""Features with the mean and deviation of another image: styles that were never seen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, Network, stream
from jaxmed.core._made import made_by
from jaxmed.core._partners import partners

_SMALL = 1e-6  # Added to a variance.


def mixstyle(network: Network, *, at: str, alpha: float = 0.1, p: float = 0.5) -> Network:
    r"""The network that mixes the style of its features between images, in training alone.

    Behind the layers that ``at`` names, each channel x of an image is given a mean and a standard
    deviation between its own and those of a partner in the batch:

    .. math:: \big(\lambda \sigma + (1 - \lambda) \sigma'\big) \frac{x - \mu}{\sigma}
        + \lambda \mu + (1 - \lambda) \mu', \qquad \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    over its spatial axes, one :math:`\lambda` an image. No gradient goes through the statistics.
    What scanners and sites differ in lies there in the first layers of a network; behind the last
    ones it is what classes differ in.

    Partners are any two images, or images of two domains where the network is told them: give
    ``inputs=("image", "domain")`` to the objective and the learner, where ``domain`` is a field of
    whole numbers, and ``("image", "domain", "weight")`` lest padding rows be partners. Without, in
    training as in prediction, the network takes the image alone.

    Args:
        network: one that is made of Linen modules, whatever wraps them.
        at: a regular expression that the whole path of a module matches, such as
            ``"stage[12]_block2"`` of :func:`~jaxmed.networks.resnet18`: behind it features are
            mixed.
        alpha: of the Beta distribution, positive; small ones mix little, or nearly all.
        p: probability that a step mixes, independent for each layer.

    Returns:
        The network; its parameters and its predictions are the same.

    Raises:
        ValueError: if ``alpha`` is not positive and finite or ``p`` no probability; when traced in
            training, if no module matches, its features have no spatial axes, or there is no key.

    References:
        Zhou et al. (2021), Domain generalization with MixStyle, ICLR.

    >>> import jaxmed as jm
    >>> network = mixstyle(jm.from_linen(jm.networks.resnet8(2)), at="stage[12]_block1")
    >>> images = {"image": jnp.ones((4, 8, 8, 1)), "domain": jnp.array([0, 0, 1, 1])}
    >>> params, state = network.init(jax.random.key(0), images)
    >>> network.apply(params, state, images, key=jax.random.key(1), train=True)[0]["logits"].shape
    (4, 2)
    """
    if not 0 < alpha < float("inf"):
        raise ValueError(f"alpha must be positive and finite, got {alpha}")
    if not 0 <= p <= 1:
        raise ValueError(f"p is a probability, got {p}")

    def init(key, inputs):
        return network.init(key, _told(inputs)[0])

    def apply(params, state, inputs, *, key=None, train=False):
        inputs, domain, weight = _told(inputs)
        if not train:
            return network.apply(params, state, inputs, key=key, train=False)
        if key is None:
            raise ValueError("mixstyle draws partners in training, and was given no key")
        calls: dict[str, int] = {}

        def mixed(path: str, x: Any) -> Array:
            if not hasattr(x, "ndim") or x.ndim < 3:
                raise ValueError(
                    f"at={at!r} finds {path!r}, whose output is no (batch, *spatial, channels): "
                    f"{jax.tree.map(jnp.shape, x)}"
                )
            calls[path] = calls.get(path, 0) + 1
            own = stream(key, "mixstyle", path, calls[path])
            return mix_styles(own, x, alpha=alpha, p=p, domain=domain, weight=weight)

        with nn.intercept_methods(_behind(at, mixed)):
            found = network.apply(params, state, inputs, key=key, train=True)
        if not calls:
            there = _modules(network, params, state, inputs)
            raise ValueError(f"at={at!r} matches none of the network's Linen modules {there}")
        return found

    return made_by(Network(init, apply), "mixstyle", network=network, at=at, alpha=alpha, p=p)


def mix_styles(
    key: Key, x: Array, *, alpha: float, p: float, domain: Array | None, weight: Array | None
) -> Array:
    """Features with styles mixed between rows, with probability ``p``."""
    size = len(x)
    partner = partners(stream(key, "partner"), size, weight, domain)
    share = jax.random.beta(stream(key, "share"), alpha, alpha, (size,))
    mixed = jax.random.uniform(stream(key, "mixed"), ()) < p
    return with_style(x, x[partner], jnp.where(mixed, share, 1.0))


def with_style(x: Array, other: Array, share: Array) -> Array:
    """Features ``(batch, *spatial, channels)`` with a share of their own style, ``(batch,)``."""
    spatial = tuple(range(1, x.ndim - 1))
    share = share.reshape(-1, *[1] * (x.ndim - 1))

    def style(x: Array) -> tuple[Array, Array]:
        x = jax.lax.stop_gradient(x).astype(jnp.float32)
        return x.mean(spatial, keepdims=True), jnp.sqrt(x.var(spatial, keepdims=True) + _SMALL)

    (mean, deviation), (their_mean, their_deviation) = style(x), style(other)
    # As a change of scale and place: a share of 1 is the identity, to the bit.
    scale = 1 + (1 - share) * (their_deviation / deviation - 1)
    place = mean * (1 - scale) + (1 - share) * (their_mean - mean)
    return (x * scale + place).astype(x.dtype)


def _behind(at: str, change):
    """What Linen calls in place of its modules' methods: the method, and ``change`` behind it."""

    def look(call, args, kwargs, context):
        made = call(*args, **kwargs)
        path = "/".join(context.module.path)
        if context.method_name == "__call__" and re.fullmatch(at, path):
            return change(path, made)
        return made

    return look


def _modules(network: Network, params, state, inputs) -> list[str]:
    found: list[str] = []

    def note(path, made):
        found.append(path)
        return made

    with nn.intercept_methods(_behind(".+", note)):
        jax.eval_shape(lambda p, s, x: network.apply(p, s, x)[0], params, state, inputs)
    return sorted(set(found))


def _told(inputs: Any) -> tuple[Any, Array | None, Array | None]:
    """What the wrapped network is given, the domains and the weights of its rows."""
    if not isinstance(inputs, Mapping) or not {"domain", "weight"} & set(inputs):
        return inputs, None, None
    rest = {name: x for name, x in inputs.items() if name not in ("domain", "weight")}
    alone = next(iter(rest.values())) if len(rest) == 1 else rest
    return alone, inputs.get("domain"), inputs.get("weight")
