"""One trunk, a head for each landmark: each learns from its own episodes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmed as jm
from jaxmed.reinforcement import landmark_heads

TRUNK = jm.from_linen(jm.networks.mlp(hidden=(6,)))
SEEN = {
    "image": jax.random.normal(jax.random.key(1), (4, 3, 3, 1)),
    "landmark": jnp.array([1, 0, 2, 1], jnp.int32),
}


def test_the_head_is_that_of_the_landmark_and_no_other_learns():
    network = landmark_heads(TRUNK, 3, 4)

    @jax.jit
    def looked():
        params, state = network.init(jax.random.key(0), SEEN)

        def total(params, seen):
            return network.apply(params, state, seen)[0]["logits"].sum()

        first = jax.tree.map(lambda x: x[:1], SEEN)
        wrong = {**SEEN, "landmark": jnp.array([0, -1, 3, 2])}
        found = [network.apply(params, state, seen)[0] for seen in (SEEN, wrong)]
        return *found, jax.grad(total)(params, first)

    ends, wrong, gradient = looked()
    for row, k in enumerate([1, 0, 2, 1]):
        np.testing.assert_array_equal(ends["logits"][row], ends["all_logits"][row, k])
    assert np.isnan(wrong["logits"]).all(axis=1).tolist() == [False, True, True, False]
    heads = {name: np.abs(g["kernel"]).max() for name, g in gradient["heads"].items()}
    assert heads["landmark_1"] > 0
    assert heads["landmark_0"] == heads["landmark_2"] == 0


def test_landmarks_in_another_order_are_the_same_network():
    network = landmark_heads(TRUNK, 3, 4)
    params, state = network.init(jax.random.key(0), SEEN)
    order = [2, 0, 1]
    heads = {f"landmark_{k}": params["heads"][f"landmark_{order[k]}"] for k in range(3)}
    moved = {**SEEN, "landmark": jnp.argsort(jnp.array(order))[SEEN["landmark"]]}
    one = network.apply(params, state, SEEN)[0]
    other = network.apply({**params, "heads": heads}, state, moved)[0]
    np.testing.assert_array_equal(one["logits"], other["logits"])
    np.testing.assert_array_equal(one["all_logits"][:, jnp.array(order)], other["all_logits"])


def test_a_number_of_a_landmark_is_whole():
    network = landmark_heads(TRUNK, 2, 4)
    with pytest.raises(ValueError, match="whole numbers"):
        network.apply(*network.init(jax.random.key(0), SEEN), {**SEEN, "landmark": jnp.ones(4)})


def test_no_landmark_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        landmark_heads(TRUNK, 0, 4)
