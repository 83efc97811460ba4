"""MAML and ANIL: a beginning from which a few gradient steps suffice."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from jaxmed.core import Network, PyTree, pick, stream, weighted_mean
from jaxmed.core._made import made_by
from jaxmed.paradigms.base._supervised import Loss
from jaxmed.paradigms.few_shot._episodic import split_episode
from jaxmed.paradigms.transfer._pretrained import divide, join

Strategy = Literal["auto", "unroll", "vmap", "scan"]


def maml(
    network: Network,
    loss: Loss,
    *,
    steps: int = 1,
    rate: float = 0.1,
    only: str = "",
    first_order: bool = False,
    output: str = "logits",
    strategy: Strategy = "auto",
) -> Network:
    r"""The network as it is after some gradient steps on an episode's support.

    .. math:: \theta' = \theta - \eta \nabla L_{\mathrm{support}}(\theta), \ldots; \qquad
        \mathrm{logits} = f_{\theta'}(q)

    Its gradient goes through those steps, to second order. Inputs and training are as
    :func:`prototypical`'s: ``supervised(loss, target="query_label", inputs=EPISODE)``. To predict
    is to adapt to the support given. ``only="^head"`` is ANIL: the head alone adapts.

    Args:
        network: any network with as many logits as an episode has classes. One with BatchNorm
            normalises support and query each by itself in training; without it is safer.
        loss: of the inner steps, as :mod:`jaxmed.losses` has them. A label of -1 is padding.
        steps: how many.
        rate: their learning rate.
        only: a regular expression: the parameters that adapt.
        first_order: whether the inner gradients are taken as constants (FOMAML).
        output: the endpoint that the inner loss looks at.
        strategy: how episodes of a batch are gone through, as in :func:`ensemble`: ``"auto"`` is
            ``"unroll"`` on a CPU and ``"vmap"`` elsewhere.

    Returns:
        The network, with the same parameters and state, and the adapted network's endpoints on the
        query, ``(episodes, q, ...)``. After a training pass its running statistics are the mean of
        the episodes'.

    Raises:
        ValueError: if ``steps`` or ``rate`` is not positive, or the strategy unknown; when traced,
            if ``only`` matches no parameter or the episode's shapes do not fit.

    References:
        Finn, Abbeel and Levine (2017), Model-agnostic meta-learning, ICML; Raghu et al. (2020),
        Rapid learning or feature reuse? Towards understanding the effectiveness of MAML, ICLR
        (ANIL).

    >>> import flax.linen as nn, jaxmed as jm
    >>> network = maml(jm.from_linen(nn.Dense(2)), jm.losses.cross_entropy, steps=2)
    >>> episodes = {
    ...     "support": jnp.ones((3, 2, 5)),
    ...     "support_label": jnp.array([[0, 1]] * 3),
    ...     "query": jnp.ones((3, 4, 5)),
    ... }
    >>> params, state = network.init(jax.random.key(0), episodes)
    >>> network.apply(params, state, episodes)[0]["logits"].shape
    (3, 4, 2)
    """
    if steps < 1 or rate <= 0:
        raise ValueError(f"steps and rate must be positive, got {steps} and {rate}")
    if strategy not in ("auto", "unroll", "vmap", "scan"):
        raise ValueError(f"unknown strategy {strategy!r}: auto, unroll, vmap or scan")

    def init(key, inputs):
        support, _, _ = split_episode(inputs)
        params, state = network.init(key, support[0])
        divide(params, only)  # refuses a pattern that matches nothing
        return params, state

    def adapted(params, state, support, labels, key, train):
        fixed, learning = divide(params, only)

        def inner(learning, key):
            endpoints, _ = network.apply(
                join(fixed, learning), state, support, key=key, train=train
            )
            known = labels >= 0
            values = loss(pick(endpoints, output, "network"), labels, where=known)
            return weighted_mean(values, known.astype(values.dtype))

        for step in range(steps):
            own = None if key is None else stream(key, "inner", step)
            slope = jax.grad(inner)(learning, own)
            if first_order:
                slope = jax.lax.stop_gradient(slope)
            learning = jax.tree.map(lambda p, g: p - rate * g, learning, slope)
        return join(fixed, learning)

    def apply(params, state, inputs, *, key=None, train=False):
        support, labels, query = split_episode(inputs)

        def one(episode):
            support, labels, query, number = episode
            own = None if key is None else stream(key, "episode", number)
            moved = adapted(params, state, support, labels, own, train)
            return network.apply(moved, state, query, key=own, train=train)

        episodes = (support, labels, query, jnp.arange(len(support)))
        endpoints, states = _each(one, episodes, strategy)
        return endpoints, jax.tree.map(_common, states, state)

    return made_by(
        Network(init, apply), "maml",
        network=network, loss=loss, steps=steps, rate=rate, only=only, first_order=first_order,
        output=output, strategy=strategy,
    )  # fmt: skip


def _each(function, episodes: PyTree, strategy: Strategy) -> PyTree:
    """The function's results on each episode, stacked."""
    if strategy == "auto":
        strategy = "unroll" if jax.default_backend() == "cpu" else "vmap"
    if strategy == "vmap":
        return jax.vmap(function)(episodes)
    if strategy == "scan":
        return jax.lax.map(function, episodes)
    count = len(jax.tree.leaves(episodes)[0])
    results = [function(jax.tree.map(lambda x, i=i: x[i], episodes)) for i in range(count)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def _common(after, before):
    """One state of the episodes': the mean of what is a number, the old of what is not."""
    if jnp.issubdtype(before.dtype, jnp.floating):
        return after.mean(0).astype(before.dtype)
    return before
