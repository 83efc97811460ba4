"""One task after another."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Objective, Variables
from jaxmed.paradigms import Consolidated, a_gem, ewc, lwf, replay, si
from rows._row import Row


def after_a_task(make):
    """A paradigm on what a network was before: here what it begins with, moved a little."""

    def objective(task):
        def init(key, network, params, state, batch):
            return built(params, state).init(key, network, params, state, batch)

        def built(params, state):
            past = jax.tree.map(lambda leaf: leaf + 0.01, params)
            return make(task.objective, Variables(past, state))

        def loss(network, params, state, batch, key):
            return built(params["net"], state["net"]).loss(network, params, state, batch, key)

        def post_step(params, state):
            return built(params["net"], state["net"]).post_step(params, state)

        def predictors(params, state):
            return built(params["net"], state["net"]).predictors(params, state)

        return Objective(init, loss, post_step, predictors)

    return objective


ROWS = {
    "ewc": Row(
        after_a_task(
            lambda o, past: ewc(
                o, Consolidated(past.params, jax.tree.map(jnp.ones_like, past.params))
            )
        ),
        stacks=True,
    ),
    "lwf": Row(after_a_task(lwf), stacks=True),
    "si": Row(lambda task: si(task.objective), stacks=True),
    "replay": Row(lambda task: replay(task.objective, 4), stacks=True),
    "a_gem": Row(lambda task: a_gem(task.objective, 4), stacks=True),
}
