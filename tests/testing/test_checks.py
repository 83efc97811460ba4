"""A check that cannot fail is none: each law is broken once, and named."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed.core import Network, Objective, from_functions
from jaxmed.testing import check_learner, check_network, check_objective

IMAGE = jax.random.normal(jax.random.key(0), (4, 5))
BATCH = {
    "image": IMAGE,
    "label": jnp.array([0, 1, 2, 0]),
    "weight": jnp.array([1.0, 1.0, 1.0, 0.0]),
}
DENSE = jm.from_linen(nn.Dense(3))
SUPERVISED = jm.supervised(jm.losses.cross_entropy)


def linear(apply):
    return from_functions(lambda key, x: {"w": jnp.ones((5, 3))}, apply)


def _stateful(params, state, inputs, *, key=None, train=False):
    return {"logits": inputs @ params}, {"seen": state["seen"] + 1}


def _drawing(params, state, inputs, *, key=None, train=False):
    noise = 0.0 if key is None else jax.random.normal(key)
    return {"logits": inputs @ params + noise}, state


NETWORKS = {
    "evaluation leaves the state as it is": Network(
        lambda key, x: (jnp.ones((5, 3)), {"seen": jnp.zeros(())}), _stateful
    ),
    "evaluation draws nothing at random": Network(lambda key, x: (jnp.ones((5, 3)), {}), _drawing),
    "in evaluation examples do not see each other": linear(
        lambda params, x: x @ params["w"] - x[:1] @ params["w"]
    ),
    "endpoints are a dict of arrays over the batch": linear(lambda params, x: x.T),
    "gradients are finite": linear(lambda params, x: jnp.sqrt(x @ (params["w"] - 1))),
}


@pytest.mark.parametrize("law", NETWORKS)
def test_a_broken_network_is_named_by_its_law(law):
    with pytest.raises(AssertionError, match=f"the network breaks the law: {law}"):
        check_network(NETWORKS[law], IMAGE)


def altered(change):
    """Supervised learning with ``change(value, params, state, batch, key) -> value, state``."""

    def loss(network, params, state, batch, key):
        value, (state, metrics) = SUPERVISED.loss(network, params, state, batch, key)
        value, state = change(value, params, state, batch, key)
        return value, (state, metrics)

    return Objective(SUPERVISED.init, loss, SUPERVISED.post_step)


OBJECTIVES = {
    "the loss and the metrics are scalars": altered(
        lambda value, params, state, batch, key: (value[None], state)
    ),
    "the loss and its gradient are finite": altered(
        lambda value, params, state, batch, key: (value * jnp.inf, state)
    ),
    "a step keeps the state's structure": altered(
        lambda value, params, state, batch, key: (value, {**state, "new": value})
    ),
    "rows of weight 0 do not count": altered(
        lambda value, params, state, batch, key: (value + batch["image"].mean(), state)
    ),
}


@pytest.mark.parametrize("law", OBJECTIVES)
def test_a_broken_objective_is_named_by_its_law(law):
    # A loss that is no scalar is refused by the gradient itself.
    expected = "only defined for scalar-output" if "scalars" in law else f"breaks the law: {law}"
    with pytest.raises((AssertionError, TypeError), match=expected):
        check_objective(OBJECTIVES[law], DENSE, BATCH)


def outside():
    """Numbers that no key decides: another one each time they are asked for."""
    rng = np.random.default_rng(0)
    return lambda: jnp.asarray(rng.normal())


def test_what_begins_may_not_look_outside():
    number = outside()

    def init(key, network, params, state, batch):
        return {"scale": number()}, {}

    objective = Objective(init, SUPERVISED.loss, SUPERVISED.post_step)
    with pytest.raises(AssertionError, match="the same key gives the same parameters and state"):
        check_objective(objective, DENSE, BATCH)
    single = jm.learner(DENSE, SUPERVISED, optax.sgd(0.1))

    def begun(key, batch):
        state = single.init(key, batch)
        return state._replace(params=jax.tree.map(lambda p: p + number(), state.params))

    with pytest.raises(AssertionError, match="the same key gives the same state"):
        check_learner(single._replace(init=begun), BATCH)
    network = Network(lambda key, x: ({"w": jnp.ones((5, 3)) + number()}, {}), DENSE.apply)
    with pytest.raises(AssertionError, match="the same key gives the same parameters"):
        check_network(network, IMAGE)


def test_a_broken_learner_is_named_by_its_law():
    single = jm.learner(DENSE, SUPERVISED, optax.sgd(0.1))

    def not_counting(state, batch):
        return single.step(state, batch)[0]._replace(step=state.step), {"loss": jnp.ones(())}

    with pytest.raises(AssertionError, match="the step is counted"):
        check_learner(single._replace(step=not_counting), BATCH)

    def aliased(key, batch):
        state = single.init(key, batch)
        return state._replace(state={**state.state, "teacher": state.params})

    def stepping(state, batch):
        kept, teacher = state._replace(state={"net": {}, "obj": {}}), state.state["teacher"]
        new, metrics = single.step(kept, batch)
        return new._replace(state={**new.state, "teacher": teacher}), metrics

    # Under jit the outputs are copies: sharing buffers is no fault there.
    check_learner(single._replace(init=aliased, step=stepping), BATCH)


def test_too_few_examples_are_refused():
    with pytest.raises(ValueError, match="two examples"):
        check_network(DENSE, IMAGE[:1])
