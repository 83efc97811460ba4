"""Environments: many are as one, and no state is lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.core import stream
from jaxmed.reinforcement import Environment, Step, restarted, vectorised

KEY = jax.random.key(0)


def walk() -> Environment:
    """A walk that drifts at random, and ends beyond 2."""

    def step(key, state, action):
        place = state["place"] + action + jax.random.bernoulli(key)
        return {"place": place}, Step(1.0 * place, place > 2, jnp.zeros((), bool))

    return Environment(
        lambda key: {"place": jax.random.randint(key, (), 0, 2)}, step, lambda state: state["place"]
    )


def test_many_are_each_as_one():
    one, many = walk(), vectorised(walk(), 3)
    states = many.reset(KEY)
    actions = jnp.array([0, 1, 2])
    after, step = many.step(KEY, states, actions)
    for i in range(3):
        state = one.reset(stream(KEY, i))
        alone, alone_step = one.step(stream(KEY, i), state, actions[i])
        assert alone["place"] == after["place"][i]
        assert alone_step.reward == step.reward[i]
        assert alone_step.ended == step.ended[i]
        assert one.observe(alone) == many.observe(after)[i]


def test_what_has_ended_begins_anew_and_nothing_else_does():
    many = vectorised(walk(), 4)
    reached = {"place": jnp.array([5, 2, 7, 1])}
    ended = jnp.array([True, False, True, False])
    begun = restarted(KEY, many, reached, ended)
    fresh = many.reset(KEY)["place"]
    np.testing.assert_array_equal(begun["place"], jnp.where(ended, fresh, reached["place"]))
    np.testing.assert_array_equal(reached["place"], [5, 2, 7, 1])


def test_no_environments_are_refused():
    with pytest.raises(ValueError, match="n=0"):
        vectorised(walk(), 0)
