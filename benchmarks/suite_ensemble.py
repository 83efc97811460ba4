"""Five members by each strategy, against five single steps one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

import jaxmed as jm
from benchmarks._case import Case, Options, Run
from benchmarks._jax import flops_of, normal, program_bytes, waiting
from benchmarks._memory import mark

_MEMBERS = 5


def cases(options: Options) -> list[Case]:
    """A small and a large 2D network, and a 3D one."""
    images = (2, 8, 8, 1) if options.quick else (128, 28, 28, 1)
    few = images if options.quick else (64, 28, 28, 3)
    width = 4 if options.quick else 64
    volumes = (1, 8, 8, 8, 1) if options.quick else (2, 32, 32, 32, 1)
    base = 4 if options.quick else 16
    plan = jm.networks.UNetPlan((base, 2 * base, 4 * base), (1, 2, 2), (3, 3, 3), (2, 2, 2), (2, 2))
    return [
        _case(
            "ResNet-8, 28x28, batch 64",
            jm.networks.resnet8(2, width=4 if options.quick else 16),
            jm.losses.cross_entropy,
            _batch(few, "label"),
        ),
        _case(
            "ResNet-18, 28x28, batch 128",
            jm.networks.resnet18(2, width=width),
            jm.losses.cross_entropy,
            _batch(images, "label"),
        ),
        _case(
            "U-Net 3D, 32^3, batch 2",
            jm.networks.unet(2, plan=plan),
            jm.losses.dice_ce,
            _batch(volumes, "mask"),
        ),
    ]


def _batch(shape: tuple[int, ...], target: str) -> dict[str, np.ndarray]:
    labels = np.arange(shape[0]) % 2
    if target == "mask":
        labels = (normal(1, *shape[:-1]) > 0).astype(np.int32)
    return {"image": normal(0, *shape), target: labels.astype(np.int32)}


def _case(name: str, module: Any, loss: Callable, batch: dict[str, np.ndarray]) -> Case:
    target = "mask" if "mask" in batch else "label"
    single = jm.learner(
        jm.from_linen(module), jm.supervised(loss, target=target), optax.sgd(1e-2, momentum=0.9)
    )

    def members(strategy: str) -> Callable[[], Run]:
        return lambda: _steps(jm.ensemble(single, _MEMBERS, strategy=strategy), batch, 1)

    sides = {
        "jaxmed": members("auto"),
        "five single steps": lambda: _steps(single, batch, _MEMBERS),
        **{s: members(s) for s in ("unroll", "scan", "vmap")},
    }
    state = jax.eval_shape(single.init, jax.random.key(0), batch)
    return Case(name, sides, flops=_MEMBERS * flops_of(single.step, state, batch))


def _steps(learner: Any, batch: dict[str, np.ndarray], states: int) -> Run:
    make = jax.jit(learner.init).lower(jax.random.key(0), batch).compile()
    state = jax.eval_shape(learner.init, jax.random.key(0), batch)
    step = jax.jit(learner.step, donate_argnums=0).lower(state, batch).compile()
    mark()
    batch = jax.device_put(batch)
    held = [make(jax.random.key(i), batch) for i in range(states)]

    def call() -> Any:
        for i in range(states):
            held[i], _ = step(held[i], batch)
        return held

    return waiting(call, memory=program_bytes(step) if states == 1 else None)
