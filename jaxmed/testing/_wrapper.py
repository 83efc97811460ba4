"""The laws of a paradigm that wraps an objective."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmed.core import Batch, Inputs, Key, Network, Objective, Variables, network_inputs
from jaxmed.testing._law import Laws

_MARK = "marked"


def check_wrapper(
    wrap: Callable[[Objective], Objective],
    objective: Objective,
    network: Network,
    batch: Batch,
    *,
    key: Key | None = None,
    inputs: Inputs = "image",
) -> list[str]:
    """Check that a paradigm on objectives loses nothing of what it wraps.

    The objective is wrapped with metrics of all the names that the wrapper itself uses, so that one
    which overwrites a metric is found out. Nothing is compiled.

    Args:
        wrap: ``objective -> objective``.
        objective: an objective that it may wrap.
        network: a network to check it on.
        batch: what the objective looks at.
        key: where randomness comes from; ``jax.random.key(0)`` if absent.
        inputs: the batch's array by which the network is initialised, or several.

    Returns:
        The names of the laws checked.

    Raises:
        AssertionError: naming the first law that is broken.

    >>> import flax.linen as nn
    >>> import jaxmed as jm
    >>> batch = {"image": jnp.ones((2, 5)), "label": jnp.array([0, 2])}
    >>> check_wrapper(
    ...     lambda inner: jm.weighted({"a": inner}),
    ...     jm.supervised(jm.losses.cross_entropy), jm.from_linen(nn.Dense(3)), batch,
    ... )
    ['wrapped metrics all show', 'wrapped predictors are handed on']
    """
    key = jax.random.key(0) if key is None else key
    law = Laws("the wrapper")

    def names(objective: Objective) -> tuple[set[str], set[str]]:
        """Of the metrics and of the predictors."""

        def run(key, batch):
            params, state = network.init(key, network_inputs(batch, inputs))
            own, own_state = objective.init(key, network, params, state, batch)
            whole = {"net": params, "obj": own}, {"net": state, "obj": own_state}
            _, (after, metrics) = objective.loss(network, *whole, batch, key)
            return metrics, objective.predictors(whole[0], after)

        metrics, predictors = jax.eval_shape(run, key, dict(batch))
        return set(metrics), set(predictors)

    inside, _ = names(objective)
    wrapped, kept = names(wrap(objective))
    added = len(wrapped) - len(inside)

    def loss(network, params, state, batch, key):
        value, (state, metrics) = objective.loss(network, params, state, batch, key)
        more = dict.fromkeys(wrapped | {_MARK}, jnp.zeros(()))
        return value, (state, {**more, **metrics})

    def predictors(params, state):
        more = dict.fromkeys(kept | {_MARK}, Variables(params["net"], state["net"]))
        return {**more, **objective.predictors(params, state)}

    marked = objective._replace(loss=loss, predictors=predictors)
    (metrics, handed_on), (given, offered) = names(wrap(marked)), names(marked)

    def shows():
        wanted = added + len(given)
        assert len(metrics) >= wanted, (
            f"{wanted - len(metrics)} of the metrics {sorted(given)} are overwritten: join them "
            f"with jaxmed.core.merge_named; there are {sorted(metrics)}"
        )

    law("wrapped metrics all show", shows)

    def hands_on():
        found = {name for name in handed_on if name.split("/")[-1] == _MARK}
        assert found, (
            f"of the predictors {sorted(offered)} there are {sorted(handed_on)}: make the "
            "objective of the wrapped one by within(...)._replace(...)"
        )

    law("wrapped predictors are handed on", hands_on)
    return law.held
