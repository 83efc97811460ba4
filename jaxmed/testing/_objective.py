"""The laws of an objective."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import (
    Batch,
    Inputs,
    Key,
    Network,
    Objective,
    flatten_paths,
    network_inputs,
    stateless,
)
from jaxmed.paradigms import weighted
from jaxmed.testing._law import Laws, assert_close, assert_finite, assert_like, assert_same


def check_objective(
    objective: Objective,
    network: Network,
    batch: Batch,
    *,
    key: Key | None = None,
    inputs: Inputs = "image",
    rtol: float = 1e-4,
) -> list[str]:
    """Check that an objective obeys the laws of :class:`jaxmed.core.Objective`.

    Args:
        objective: the objective.
        network: a network to check it on.
        batch: a batch. If it has a ``weight``, the content of rows of weight 0 must not matter
            (checked if the network and the objective's heads keep no running statistics).
        key: random key; ``jax.random.key(0)`` if absent.
        inputs: name of the batch array used to initialise the network, or several.
        rtol: relative tolerance between equivalent programs.

    Returns:
        The names of the laws checked.

    Raises:
        AssertionError: names the first violated law.

    >>> import flax.linen as nn
    >>> import jaxmed as jm
    >>> batch = {"image": jnp.ones((2, 5)), "label": jnp.array([0, 2])}
    >>> network = jm.from_linen(nn.Dense(3))
    >>> "weight 0 gives a zero gradient" in check_objective(
    ...     jm.supervised(jm.losses.cross_entropy), network, batch
    ... )
    True
    """
    key = jax.random.key(0) if key is None else key
    law = Laws("the objective")
    net_params, net_state = jax.jit(network.init)(key, network_inputs(batch, inputs))

    def initialised():
        @jax.jit  # a program of its own each time: what is compiled once looks outside once
        def init():
            own_params, own_state = objective.init(key, network, net_params, net_state, batch)
            return {"net": net_params, "obj": own_params}, {"net": net_state, "obj": own_state}

        return init()

    def program(objective):
        def both(params, state, batch):
            return jax.value_and_grad(
                lambda params: objective.loss(network, params, state, batch, key), has_aux=True
            )(params)

        return both

    params, state = initialised()
    law(
        "the same key gives the same parameters and state",
        lambda: assert_same(initialised(), (params, state)),
    )
    run = jax.jit(program(objective))
    (value, (state_after, metrics)), gradient = run(params, state, batch)

    def scalars():
        assert value.shape == (), f"the loss has the shape {value.shape}"
        assert jnp.issubdtype(value.dtype, jnp.floating), f"the loss is {value.dtype}"
        for name, metric in metrics.items():
            assert jnp.shape(metric) == (), f"metric {name!r} has the shape {jnp.shape(metric)}"

    law("the loss and the metrics are scalars", scalars)

    def names():
        taken = sorted({"loss", "gradient_norm"} & set(metrics))
        assert not taken, f"a learner itself measures {taken}: give the metric another name"

    law("no metric has the name of the learner's", names)
    law("the loss and its gradient are finite", lambda: assert_finite((value, gradient)))
    law("a step keeps the state's structure", lambda: assert_like(state_after, state))
    law(
        "what comes after a step keeps the state's structure",
        lambda: assert_like(jax.jit(objective.post_step)(params, state_after), state),
    )
    law(
        "the same key gives the same loss and gradient",
        lambda: assert_same(run(params, state, batch)[0][0], value),
    )
    law(
        "a compiled loss equals an eager one",
        lambda: assert_close(
            objective.loss(network, params, state, batch, key)[0], value, rtol=rtol
        ),
    )

    def nested(tree, **others):
        return {"net": tree["net"], "obj": {"a": tree["obj"], **others}}

    @jax.jit
    def times(weight, batch):
        return program(weighted({"a": objective}, {"a": weight}))(
            nested(params), nested(state), batch
        )

    def alone():
        (same, _), same_gradient = times(1.0, batch)
        assert_close((same, same_gradient), (value, nested(gradient)), rtol=rtol)

    law("weighted alone it is itself", alone)

    def zero():
        _, none = times(0.0, batch)
        assert_same(none, jax.tree.map(lambda g: np.zeros(g.shape, g.dtype), none))

    law("weight 0 gives a zero gradient", zero)

    def beside():
        other = stateless(
            lambda network, params, state, batch, key: (
                jnp.square(jax.random.normal(key)),
                (state, {}),
            )
        )
        extended = weighted({"0 first": other, "a": objective, "z last": other})
        extra = {"0 first": {}, "z last": {}}
        (_, (_, measured)), with_others = jax.jit(program(extended))(
            nested(params, **extra), nested(state, **extra), batch
        )
        assert_close(measured["a/loss"], value, rtol=rtol)
        assert_close(with_others["obj"]["a"], gradient["obj"], rtol=rtol)
        assert_close(with_others["net"], gradient["net"], rtol=rtol)

    law("another objective beside it changes no draw", beside)
    own = flatten_paths(state["obj"])
    # State that a pass does not change (frozen parameters, keys) holds no batch statistics.
    still = jax.jit(partial(jax.tree.map, lambda old, new: (old == new).all()))(
        net_state, state_after["net"]
    )
    if "weight" in batch and all(jax.tree.leaves(still)) and not _statistics(own):
        # Padding is a copy of a real example by convention; anything else must work as well.
        moved = jax.jit(lambda batch: {name: _without_padding(name, batch) for name in batch})(
            batch
        )
        law(
            "rows of weight 0 do not count",
            lambda: assert_close(run(params, state, moved)[0][0], value, rtol=rtol),
        )
    return law.held


def _statistics(own) -> list[str]:
    """Return the running statistics of an objective's heads; padding enters them as in networks."""
    return [path for path in own if "batch_stats" in path]


def _without_padding(name: str, batch: Batch):
    """Replace the padding rows of an array by its first row: they may hold anything."""
    if name.startswith("weight"):
        return batch[name]
    # Unlabelled images have their own padding, if any.
    own = "weight" if not name.startswith("unlabelled") else f"weight_{name}"
    weight = batch.get(f"weight_{name}", batch.get(own))
    if weight is None:
        return batch[name]
    pads = jnp.asarray(weight) == 0

    def without(leaf):
        where = jnp.reshape(pads, (-1, *[1] * (jnp.ndim(leaf) - 1)))
        return jnp.where(where, leaf[:1], leaf)

    return jax.tree.map(without, batch[name])
