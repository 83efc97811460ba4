"""Few-shot learning by comparison: prototypical and matching networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Network, PyTree, pick
from jaxmed.core._made import made_by

EPISODE = ("support", "support_label", "query")
"""The arrays of a batch of episodes that a few-shot network is given."""


def prototypical(
    trunk: Network,
    ways: int,
    *,
    reads: str = "features",
    distance: Literal["euclidean", "cosine"] = "euclidean",
    scale: float = 1.0,
) -> Network:
    r"""A classifier whose classes are what an episode's support shows: prototypical networks.

    .. math:: c_k = \mathrm{mean}_{i: y_i = k} f(s_i), \qquad
        \mathrm{logits}_k = - \gamma \| f(q) - c_k \|^2

    Its inputs are ``{"support": (episodes, s, *image), "support_label": (episodes, s), "query":
    (episodes, q, *image)}``, the labels 0 to ``ways - 1`` within each episode, or -1 for padding:
    give ``inputs=EPISODE`` to the learner and the objective, ``target="query_label"`` to
    :func:`supervised`. Episodes of one batch go through the trunk together.

    Args:
        trunk: any network on images.
        ways: classes of an episode.
        reads: the trunk's endpoint that is compared, ``(images, f)``.
        distance: squared Euclidean, or the cosine, :math:`\gamma \cos(f(q), c_k)`.
        scale: :math:`\gamma`; the cosine wants about 10.

    Returns:
        The network, with the trunk's parameters and state, and the endpoints ``logits``
        ``(episodes, q, ways)`` and ``prototypes`` ``(episodes, ways, f)``. A class without support
        gets a logit of -1e9.

    Raises:
        ValueError: if ``ways`` is below 2 or the distance unknown; when traced, if the shapes of
            support, labels and query do not fit.
        KeyError: when traced, if an array or the endpoint is missing.

    References:
        Snell, Swersky and Zemel (2017), Prototypical networks for few-shot learning, NeurIPS.

    >>> import jaxmed as jm
    >>> network = prototypical(jm.from_linen(jm.networks.mlp(hidden=(8,))), ways=2)
    >>> episodes = {
    ...     "support": jnp.ones((3, 2, 5)),
    ...     "support_label": jnp.array([[0, 1]] * 3),
    ...     "query": jnp.ones((3, 4, 5)),
    ... }
    >>> params, state = network.init(jax.random.key(0), episodes)
    >>> network.apply(params, state, episodes)[0]["logits"].shape
    (3, 4, 2)
    """
    if distance not in ("euclidean", "cosine"):
        raise ValueError(f'distance must be "euclidean" or "cosine", got {distance!r}')

    def compare(support, labels, query):
        prototypes, there = class_means(support, labels, ways)
        if distance == "cosine":
            logits = scale * jnp.einsum("eqf,ekf->eqk", unit(query), unit(prototypes))
        else:
            gap = query[:, :, None] - prototypes[:, None]
            logits = -scale * jnp.square(gap).sum(-1)
        return {"logits": jnp.where(there[:, None], logits, -1e9), "prototypes": prototypes}

    network = _comparing(trunk, ways, reads, compare)
    options = {"reads": reads, "distance": distance, "scale": scale}
    return made_by(network, "prototypical", trunk=trunk, ways=ways, **options)


def matching(trunk: Network, ways: int, *, reads: str = "features", scale: float = 10.0) -> Network:
    r"""A classifier that attends to an episode's support: matching networks.

    .. math:: a_i = \mathrm{softmax}_i\; \gamma \cos(f(q), f(s_i)), \qquad
        p_k = \sum_{i: y_i = k} a_i

    without the paper's recurrent embedding of the whole support.

    Args:
        trunk: any network on images.
        ways: classes of an episode.
        reads: the trunk's endpoint that is compared.
        scale: :math:`\gamma`.

    Returns:
        The network, with inputs as :func:`prototypical`'s, and the endpoints ``logits`` (the log of
        p) ``(episodes, q, ways)`` and ``attention`` ``(episodes, q, s)``.

    Raises:
        ValueError: as :func:`prototypical`.

    References:
        Vinyals et al. (2016), Matching networks for one shot learning, NeurIPS.

    >>> import jaxmed as jm
    >>> network = matching(jm.from_linen(jm.networks.mlp(hidden=(8,))), ways=2)
    """

    def compare(support, labels, query):
        similar = scale * jnp.einsum("eqf,esf->eqs", unit(query), unit(support))
        similar = jnp.where((labels >= 0)[:, None], similar, -1e9)
        # Summed in logarithms: the gradient is not lost where a probability is small.
        log_attention = jax.nn.log_softmax(similar, axis=-1)[..., None]
        chosen = jax.nn.one_hot(labels, ways)[:, None] > 0
        logits = jax.nn.logsumexp(jnp.where(chosen, log_attention, -1e9), axis=2)
        return {"logits": logits, "attention": jnp.exp(log_attention[..., 0])}

    network = _comparing(trunk, ways, reads, compare)
    return made_by(network, "matching", trunk=trunk, ways=ways, reads=reads, scale=scale)


def _comparing(trunk: Network, ways: int, reads: str, compare) -> Network:
    """The network that embeds an episode by a trunk and compares."""
    if ways < 2:
        raise ValueError(f"an episode has at least two classes, got ways={ways}")

    def init(key, inputs):
        support, _, query = split_episode(inputs)
        return trunk.init(key, episode_images(support, query))

    def apply(params, state, inputs, *, key=None, train=False):
        support, labels, query = split_episode(inputs)
        endpoints, state = trunk.apply(
            params, state, episode_images(support, query), key=key, train=train
        )
        found = pick(endpoints, reads, "trunk")
        if found.ndim != 2:
            raise ValueError(
                f"episodes compare one vector per image, but {reads!r} has the shape {found.shape}"
            )
        found = found.astype(jnp.float32).reshape(len(support), -1, found.shape[-1])
        shots = support.shape[1]
        return compare(found[:, :shots], labels, found[:, shots:]), state

    return Network(init, apply)


def split_episode(inputs: Mapping[str, Array], target: str = "support_label"):
    """Support, its labels or masks, and query of episodes, their shapes checked."""
    names = ("support", target, "query")
    support, labels, query = (jnp.asarray(pick(inputs, name, "episode")) for name in names)
    images = support.ndim >= 3 and query.ndim == support.ndim
    if not images or (support.shape[0], support.shape[2:]) != (query.shape[0], query.shape[2:]):
        raise ValueError(
            "support (episodes, s, *image) and query (episodes, q, *image) must agree but for the "
            f"number of images, got {support.shape} and {query.shape}"
        )
    wanted = support.shape[:2] if target == "support_label" else support.shape[:-1]
    if labels.shape != wanted:
        raise ValueError(f"{target} must have the shape {wanted}, got {labels.shape}")
    return support, labels, query


def episode_images(support: Array, query: Array) -> Array:
    """The images of all episodes in a row, each episode's support before its query."""
    both = jnp.concatenate([support, query], axis=1)
    return both.reshape(-1, *both.shape[2:])


def class_means(values: Array, labels: Array, classes: int) -> tuple[Array, Array]:
    """Means `(episodes, classes, f)` of values `(episodes, n, f)` by class, and which there are."""
    chosen = jax.nn.one_hot(labels, classes, dtype=values.dtype)
    count = chosen.sum(1)
    total = jnp.einsum("enk,enf->ekf", chosen, values)
    return total / jnp.maximum(count, 1)[..., None], count > 0


def unit(x: PyTree) -> Array:
    """Vectors of length 1, with a finite gradient at 0."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), 1e-12))
