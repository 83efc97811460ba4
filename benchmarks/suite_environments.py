"""Steps of agents that look for a landmark, each with the window that it then sees.

Random actions, episodes that begin anew where they end, windows of 13^3 voxels at three scales, 256
agents at once. The peers do the same work: windows cut by ``lax.dynamic_slice`` out of images that
are padded and stored at each scale and phase of a voxel, and one agent after the other in NumPy,
as environments are usually written. All sides are given the same positions, and must see the
same. On a CPU the seconds are the processor's.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from benchmarks._case import Case, Options, Run
from benchmarks._jax import normal, program_bytes, waiting
from benchmarks._memory import mark
from jaxmed.core import stream
from jaxmed.reinforcement import landmark, pack_volumes, place, restarted, vectorised

_SCALES = (3, 2, 1)


def cases(options: Options) -> list[Case]:
    """Whole steps, and what is seen alone; voxels as they are, and in 16 bits."""
    images, size, window, agents, steps = (
        (2, (9, 10, 8), 5, 4, 3) if options.quick else (150, (36, 50, 35), 13, 256, 20)
    )
    volumes = normal(0, images, *size)
    rng = np.random.default_rng(1)
    where = (
        rng.integers(0, images, agents),
        rng.integers(0, len(_SCALES), agents),
        np.stack([rng.integers(0, n, agents) for n in size], axis=-1),
    )
    made: list[Case] = []
    for storage in ("float32", "int16"):
        sides = {
            "jaxmed": lambda storage=storage: _looks(volumes, window, where, storage),
            "dynamic_slice": lambda: _slices(volumes, window, where),
            "numpy": lambda: _numpy(volumes, window, where),
        }
        made += [
            Case(
                f"{agents} windows of {window}^3, {storage}", sides, "windows", items=agents,
                unit="windows", tolerance=1e-4, processor=True,
            ),
            Case(
                f"{steps} steps of {agents} agents, windows of {window}^3, {storage}",
                {"jaxmed": lambda storage=storage: _steps(volumes, window, agents, steps, storage)},
                "steps", items=agents * steps, unit="steps", processor=True,
            ),
        ]  # fmt: skip
    return made


def _environment(volumes: np.ndarray, window: int, storage: Any) -> Any:
    packed = pack_volumes(
        volumes, spacing=(1, 1, 1), window=window, scales=_SCALES, storage=storage
    )
    return landmark(packed, np.full((len(volumes), 3), min(volumes.shape[1:]) / 2))


def _looks(volumes: np.ndarray, window: int, where: Any, storage: str) -> Run:
    image, scale, position = where
    observe = jax.vmap(_environment(volumes, window, storage).observe)
    return _compiled(observe, place(image, position, scale=scale))


def _steps(volumes: np.ndarray, window: int, agents: int, steps: int, storage: str) -> Run:
    many = vectorised(_environment(volumes, window, storage), agents)

    def body(carry: Any, i: Any) -> Any:
        states, _ = carry
        key = stream(jax.random.key(0), i)
        actions = jax.random.randint(stream(key, "action"), (agents,), 0, 6)
        states, step = many.step(key, states, actions)
        states = restarted(stream(key, "restart"), many, states, step.ended)
        return (states, many.observe(states)), step.reward.mean()

    def run(states: Any) -> Any:
        return jax.lax.scan(body, (states, many.observe(states)), jnp.arange(steps))

    return _compiled(run, jax.jit(many.reset)(jax.random.key(1)))


def _slices(volumes: np.ndarray, window: int, where: Any) -> Run:
    image, scale, position = where
    stored = [_phases(volumes, s, window // 2) for s in _SCALES]

    def look(image: Any, scale: Any, position: Any) -> Any:
        def at(level: int) -> Any:
            s = _SCALES[level]
            start = (image, *(position % s), *(position // s))
            return jax.lax.dynamic_slice(stored[level], start, (1,) * 4 + (window,) * 3)

        cut = jax.lax.switch(scale, [lambda level=level: at(level) for level in range(3)])
        return cut.reshape(window, window, window, 1)

    return _compiled(jax.vmap(look), *(jnp.asarray(x, jnp.int32) for x in (image, scale, position)))


def _phases(volumes: np.ndarray, s: int, half: int) -> Any:
    """``(images, s, s, s, ...)``: of each remainder the voxels that leave it, with a border."""
    smooth = ndimage.gaussian_filter(volumes, (0, *[(s - 1) / 2] * 3), mode="nearest")
    around = [(half * s, half * s + -n % s) for n in volumes.shape[1:]]
    padded = np.pad(smooth, [(0, 0), *around])
    split = padded.reshape(len(volumes), *itertools.chain(*[(n // s, s) for n in padded.shape[1:]]))
    return jnp.asarray(split.transpose(0, 2, 4, 6, 1, 3, 5))


def _numpy(volumes: np.ndarray, window: int, where: Any) -> Run:
    half = window // 2
    padded = []
    for s in _SCALES:
        smooth = ndimage.gaussian_filter(volumes, (0, *[(s - 1) / 2] * 3), mode="nearest")
        padded.append(np.pad(smooth, [(0, 0), *[(half * s, half * s)] * 3]))

    def call() -> np.ndarray:
        seen = []
        for image, scale, at in zip(*where, strict=True):
            s = _SCALES[scale]
            x, y, z = (slice(p, p + 2 * half * s + 1, s) for p in at)
            seen.append(padded[scale][image, x, y, z])
        return np.stack(seen)[..., None]

    return Run(call, call)


def _compiled(function: Any, *arguments: Any) -> Run:
    program = jax.jit(function).lower(*arguments).compile()
    mark()
    return waiting(
        lambda: program(*arguments),
        lambda: np.asarray(jax.tree.leaves(program(*arguments))[0]),
        memory=program_bytes(program),
    )
