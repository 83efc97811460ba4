"""Target networks: copies that follow the network after its steps, and hold still within them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import PyTree, Variables
from jaxmed.paradigms.base._ema import ema_copy, ema_update
from jaxmed.paradigms.base._schedules import advance, counter


class Target:
    """How values are bootstrapped: from the network itself, or from a copy that follows it.

    Args:
        every: steps after which the copy is made anew.
        rate: share by which it moves towards the network after each step.

    Raises:
        ValueError: if both are given, ``every`` is less than 1 or ``rate`` outside (0, 1].
    """

    def __init__(self, every: int | None, rate: float | None) -> None:
        if every is not None and rate is not None:
            raise ValueError("a target network moves by target_every or by target_rate, not both")
        if every is not None and every < 1:
            raise ValueError(f"target_every must be at least 1 step, got {every}")
        if rate is not None and not 0 < rate <= 1:
            raise ValueError(f"target_rate must be in (0, 1], got {rate}")
        self.every, self.rate = every, rate
        self.kept = every is not None or rate is not None

    def init(self, params: PyTree, state: PyTree) -> dict[str, Any]:
        """The own state of an objective that bootstraps so, of the network's variables."""
        return {"target": ema_copy(params, state), **counter()} if self.kept else {}

    def variables(self, params: PyTree, state: PyTree) -> Variables:
        """What values are bootstrapped from: constants."""
        if self.kept:
            return Variables(**jax.lax.stop_gradient(state["obj"]["target"]))
        return Variables(*jax.lax.stop_gradient((params["net"], state["net"])))

    def post_step(self, params: PyTree, state: PyTree) -> PyTree:
        """The state after the optimizer has stepped."""
        if not self.kept:
            return state
        target = state["obj"]["target"]
        if self.rate is not None:
            target = ema_update(target, params["net"], 1 - self.rate)
            return advance(state, target={**target, "state": state["net"]})
        due = (state["obj"]["step"] + 1) % self.every == 0
        now = {"params": params["net"], "state": state["net"]}
        return advance(
            state, target=jax.tree.map(lambda new, old: jnp.where(due, new, old), now, target)
        )

    def predictors(self, params: PyTree, state: PyTree) -> dict[str, Variables]:
        """The copy, where there is one."""
        del params
        return {"target": Variables(**state["obj"]["target"])} if self.kept else {}
