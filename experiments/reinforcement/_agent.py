"""What the agents have in common: values of actions by layers, double Q-learning, a replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np
import optax

import jaxmed as jm
from jaxmed import reinforcement as rl
from jaxmed.protocols import interact


class Values(nn.Module):
    """Values of actions, by convolutions whose outputs keep their place in the window."""

    features: tuple[int, ...]
    hidden: int
    actions: int | None

    @nn.compact
    def __call__(self, x: Any, *, train: bool = False) -> Any:
        for width in self.features:
            x = nn.relu(jm.networks.Conv(width)(x))
            x = jm.ops.max_pool(x, (2,) * (x.ndim - 2))
        x = nn.relu(nn.Dense(self.hidden)(x.reshape(len(x), -1)))
        x = nn.relu(nn.Dense(self.hidden // 2)(x))
        ends = {"features": x}
        return ends if self.actions is None else {**ends, "logits": nn.Dense(self.actions)(x)}


def agent_in(config: Any, world: rl.Environment, network: jm.Network) -> jm.Learner:
    """A double DQN that acts by averaged parameters."""
    total = config.steps * config.iterations
    optimizer = optax.chain(
        optax.clip_by_global_norm(10.0),
        optax.adamw(
            optax.cosine_decay_schedule(config.agent_rate, total), weight_decay=config.decay
        ),
    )
    objective = rl.q_learning(
        discount=config.discount, target_every=config.target_every, distance="huber"
    )
    learner = jm.train.parameter_average(
        jm.learner(network, objective, optimizer, inputs="observation"), 0.999
    )
    return rl.off_policy(
        world, learner, rl.replay(config.memory),
        behaviour=rl.epsilon_greedy(optax.linear_schedule(1.0, 0.1, total // 2)),
        environments=config.agents, batch=config.transitions, warm_up=config.warm_up,
        iterations=config.iterations,
    )  # fmt: skip


def learned(config: Any, agent: jm.Learner, seed: int, out: Path) -> Any:
    """The agent's state when it has learned."""
    every = max(config.steps // 20, 1)
    return interact(agent, steps=config.steps, every=every, seed=seed, out=out).state


def way(walks: rl.Played, i: int, of: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of the i-th episode what its states say, step by step and at its end, and its values."""
    assert walks.path is not None
    length = int(walks.lengths[i])
    before, after = of(walks.path["state"]), of(walks.states)
    positions = np.concatenate([np.asarray(before[i, :length]), np.asarray(after[i])[None]])
    return positions, np.asarray(walks.path["values"][i, :length])
