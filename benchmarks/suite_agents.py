"""Steps of agents that learn as they go: a double DQN that looks for landmarks.

Act, write, draw, learn, 64 agents at once and 64 transitions at each step of the network, whose
windows of 13^3 voxels are cut anew of a replay of 100,000 transitions between places. On a CPU the
seconds are the processor's.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn

import jaxmed as jm
from benchmarks._case import Case, Options, Run
from benchmarks._jax import normal, program_bytes, waiting
from benchmarks._memory import mark
from jaxmed import reinforcement as rl


def cases(options: Options) -> list[Case]:
    """Layers and convolutions, all drawn alike and by priority, few agents and many."""
    made = []
    for name, channels, agents, prioritised in (
        ("layers", (), 64, 0.0),
        ("layers, priorities", (), 64, 0.6),
        ("layers, 1,024 agents", (), 1024, 0.0),
        ("convolutions", (16, 32), 64, 0.0),
    ):
        agents = min(agents, 8) if options.quick else agents
        iterations = 2 if options.quick else 20
        made.append(
            Case(
                f"{iterations} iterations, {name}",
                {
                    "jaxmed": lambda a=channels, b=agents, c=prioritised, d=iterations: _agent(
                        options, a, b, c, d
                    )
                },
                "agents", items=agents * iterations, unit="steps", processor=True,
            )
        )  # fmt: skip
    return made


class _Values(nn.Module):
    """Values of the six steps along the axes."""

    channels: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for features in self.channels:
            x = nn.relu(jm.networks.Conv(features, strides=2)(x))
        x = nn.relu(nn.Dense(128)(x.reshape(len(x), -1)))
        return nn.Dense(6)(nn.relu(nn.Dense(64)(x)))


def _agent(
    options: Options, channels: tuple[int, ...], agents: int, prioritised: float, iterations: int
) -> Run:
    images, size, window = (2, (9, 10, 8), 5) if options.quick else (150, (36, 50, 35), 13)
    capacity, batch = (64, 8) if options.quick else (100_000, 64)
    packed = rl.pack_volumes(normal(0, images, *size), spacing=(1, 1, 1), window=window)
    world = rl.landmark(packed, np.full((images, 3), min(size) / 2))
    objective = rl.q_learning(discount=0.9, target_every=500, keep_errors=prioritised > 0)
    network = jm.from_linen(_Values(channels))
    agent = rl.off_policy(
        world,
        jm.learner(network, objective, optax.adam(1e-3), inputs="observation"),
        rl.replay(capacity, prioritised=prioritised),
        behaviour=rl.epsilon_greedy(0.1), environments=agents, batch=batch,
        warm_up=capacity // 2, iterations=iterations,
    )  # fmt: skip
    state = jax.jit(agent.init)(jax.random.key(0), {})
    program = jax.jit(agent.step, donate_argnums=0).lower(state, {}).compile()
    mark()

    def call() -> Any:
        nonlocal state
        state, metrics = program(state, {})
        return metrics

    return waiting(call, memory=program_bytes(program))
