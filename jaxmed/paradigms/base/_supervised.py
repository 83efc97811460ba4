"""Supervised learning: targets in the batch."""

from __future__ import annotations

from collections.abc import Callable

from jaxmed.core import (
    Array,
    Batch,
    Inputs,
    Objective,
    network_inputs,
    pick,
    stateless,
    weighted_mean,
)

Loss = Callable[..., Array]
"""``(outputs, targets, *, where=None) -> (batch,)``, as in :mod:`jaxmed.losses`."""

Known = str | Callable[[Array], Array]
"""Which targets are known: the name of a boolean array, or a function of the targets."""


def supervised(
    loss: Loss,
    *,
    output: Inputs = "logits",
    target: Inputs = "label",
    inputs: Inputs = "image",
    known: Known | None = None,
) -> Objective:
    """Minimise a loss between an endpoint of the network and an array of the batch.

    Classification, regression, segmentation, ordinal and multi-label learning differ in the loss
    and in the names alone: a segmenter is ``supervised(losses.dice_ce, target="mask")``.

    Args:
        loss: per-example loss, ``(outputs, targets, *, where=None) -> (batch,)``.
        output: the endpoint it looks at, or several, which it is given as a dict
            (:func:`~jaxmed.core.pick`).
        target: the batch's array of targets, or several, alike.
        inputs: the batch's array that the network is given, or several, which it is given as a
            dict (:func:`~jaxmed.core.pick`).
        known: which targets are known, if not all are: the name of a boolean array of the batch, of
            the targets' shape or their first axes, or a function from the targets to one, such
            as ``lambda label: label >= 0``. Examples with no known target do not count.

    Returns:
        The objective. The batch's ``weight`` (0 for padding rows), where there is one, weights
        the examples.

    Raises:
        KeyError: when traced, if the network or the batch lacks a name; says which it has.

    >>> import jax, jax.numpy as jnp, flax.linen as nn, jaxmed as jm
    >>> network = jm.from_linen(nn.Dense(2))
    >>> batch = {"image": jnp.ones((3, 4)), "label": jnp.array([0, 1, -1])}
    >>> objective = supervised(jm.losses.cross_entropy, known=lambda label: label >= 0)
    >>> params, state = network.init(jax.random.key(0), batch["image"])
    >>> wrap = lambda tree: {"net": tree, "obj": {}}
    >>> loss, _ = objective.loss(network, wrap(params), wrap(state), batch, jax.random.key(1))
    >>> loss.shape
    ()
    """

    def evaluate(network, params, state, batch, key):
        endpoints, net = network.apply(
            params["net"], state["net"], network_inputs(batch, inputs), key=key, train=True
        )
        outputs = pick(endpoints, output, "network")
        targets = pick(batch, target, "batch")
        weight = batch.get("weight")
        if known is None:
            values = loss(outputs, targets)
        else:
            where = known_mask(known, targets, batch)
            values = loss(outputs, targets, where=where)
            counts = where.reshape(where.shape[0], -1).any(axis=1).astype(values.dtype)
            weight = counts if weight is None else weight * counts
        return weighted_mean(values, weight), ({**state, "net": net}, {})

    return stateless(evaluate)


def known_mask(known: Known, targets: Array, batch: Batch) -> Array:
    """Whether each target is known, of the targets' shape or of their first axes.

    Raises:
        KeyError: if ``known`` names no array of the batch.
    """
    return known(targets) if callable(known) else pick(batch, known, "batch")
