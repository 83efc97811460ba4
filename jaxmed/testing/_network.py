"""The laws of a network."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Key, Network, PyTree
from jaxmed.testing._law import Laws, assert_close, assert_finite, assert_like, assert_same


def check_network(
    network: Network, inputs: PyTree, *, key: Key | None = None, rtol: float = 1e-4
) -> list[str]:
    """Check that a network obeys the laws of :class:`jaxmed.core.Network`.

    Args:
        network: the network.
        inputs: a batch of at least two examples, ``(batch, *spatial, channels)``, or a dict of
            arrays for a network that takes one.
        key: random key; ``jax.random.key(0)`` if absent.
        rtol: relative tolerance between a compiled and an eager pass.

    Returns:
        The names of the laws checked.

    Raises:
        AssertionError: names the first violated law.
        ValueError: if there are fewer than two examples.

    >>> import flax.linen as nn
    >>> from jaxmed.core import from_linen
    >>> held = check_network(from_linen(nn.Dense(3)), jnp.ones((2, 5)))
    >>> held[0]
    'the same key gives the same parameters'
    """
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(inputs)]
    rows = shapes[0][0]
    if rows < 2:
        raise ValueError(f"check_network needs at least two examples, got {shapes[0]}")
    key = jax.random.key(0) if key is None else key
    law = Laws("the network")

    def initialised():  # as one program, traced each time: init may not look at the outside
        return jax.jit(lambda key, inputs: network.init(key, inputs))(key, inputs)

    params, state = initialised()
    law(
        "the same key gives the same parameters",
        lambda: assert_same(initialised(), (params, state)),
    )

    def evaluate(params, state, inputs):
        return network.apply(params, state, inputs)

    def train(params, state, inputs, key):
        return network.apply(params, state, inputs, key=key, train=True)

    endpoints, after = evaluate(params, state, inputs)

    def endpoints_are_named_arrays():
        assert isinstance(endpoints, dict), f"endpoints are a {type(endpoints).__name__}"
        for name, leaf in _named_leaves(endpoints):
            assert leaf.shape[:1] == (rows,), f"{name}: {leaf.shape} has no batch axis"

    law("endpoints are a dict of arrays over the batch", endpoints_are_named_arrays)
    law("evaluation leaves the state as it is", lambda: assert_same(after, state))
    law(
        "evaluation draws nothing at random",
        lambda: assert_same(network.apply(params, state, inputs, key=key)[0], endpoints),
    )
    law(
        "a compiled pass equals an eager one",
        lambda: assert_close(jax.jit(evaluate)(params, state, inputs)[0], endpoints, rtol=rtol),
    )
    law(
        "in evaluation examples do not see each other",
        lambda: assert_close(
            evaluate(params, state, jax.tree.map(lambda leaf: leaf[::-1], inputs))[0],
            jax.tree.map(lambda leaf: leaf[::-1], endpoints),
            rtol=rtol,
        ),
    )
    compiled = jax.jit(train)
    trained, state_after = compiled(params, state, inputs, key)
    law("training keeps the state's structure", lambda: assert_like(state_after, state))
    law(
        "the same key gives the same training pass",
        lambda: assert_same(compiled(params, state, inputs, key)[0], trained),
    )
    law("training has evaluation's endpoints", lambda: assert_like(trained, endpoints))

    def summed(params):
        outputs = train(params, state, inputs, key)[0]
        leaves = [leaf for _, leaf in _named_leaves(outputs)]
        return sum(jnp.square(leaf.astype(jnp.float32)).mean() for leaf in leaves)

    gradients = jax.jit(jax.grad(summed))(params)
    law("gradients are finite", lambda: assert_finite(gradients))
    return law.held


def _named_leaves(endpoints):
    leaves = jax.tree.leaves_with_path(endpoints)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]
