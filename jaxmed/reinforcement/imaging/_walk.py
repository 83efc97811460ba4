"""Steps of an agent on a grid of whole numbers, from coarse to fine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxmed.core import Array, Key, stream
from jaxmed.reinforcement._environment import Step
from jaxmed.reinforcement.imaging._place import Place, check_numbers, place

End = Literal["arrival", "return"]
Starts = Literal["coarsest", "any"]


class Grid(NamedTuple):
    """On what an agent walks; all arrays begin with the images, ``(n, ...)``.

    Attributes:
        low: the least position along each axis, ``(n, axes)``.
        high: the largest, ``(n, axes)``.
        stride: of a step at each scale, ``(n, scales, axes)``.
        unit: how far apart two positions are along each axis, ``(n, axes)``.
        goal: what is looked for, ``(n, targets, axes)``.
        near: how far from it each scale arrives, ``(n, scales)``.
    """

    low: np.ndarray
    high: np.ndarray
    stride: np.ndarray
    unit: np.ndarray
    goal: np.ndarray
    near: np.ndarray


def walk(
    grid: Grid, *, end: End, history: int, limit: int
) -> Callable[[Key, Place, Array], tuple[Place, Step]]:
    """Make an environment's ``step``: 0 and 1 back and forth along the first axis, and so on."""
    low, high, stride = (jnp.asarray(x, jnp.int32) for x in (grid.low, grid.high, grid.stride))
    unit, goal, near = (jnp.asarray(x, jnp.float32) for x in (grid.unit, grid.goal, grid.near))
    axes, last = grid.low.shape[1], grid.stride.shape[1] - 1

    def distance(state: Place) -> Array:
        # Of an image or a target that there is not the reward is NaN, which halts a training.
        there = goal.at[state.image, state.target].get(mode="fill", fill_value=jnp.nan)
        away = (state.position - there) * unit[state.image]
        return jnp.sqrt((away**2).sum())

    def step(key: Key, state: Place, action: Array) -> tuple[Place, Step]:
        del key
        check_action(action, 2 * axes)
        if state.recent.shape[-2:] != (history, axes):
            raise ValueError(
                f"a state of this environment holds {history} positions of {axes} axes, got "
                f"{state.recent.shape}: give place() the environment's history"
            )
        way = jnp.where(jnp.arange(axes) == action // 2, 2 * (action % 2) - 1, 0)
        wanted = state.position + way * stride[state.image, state.scale]
        position = jnp.clip(wanted, low[state.image], high[state.image]).astype(jnp.int16)
        reached = state._replace(
            position=position,
            recent=jnp.concatenate([state.position[None], state.recent[:-1]]),
            known=jnp.minimum(state.known + 1, history).astype(jnp.int8),
            steps=state.steps + 1,
            refused=(position == state.position).all(),
        )
        if end == "arrival":
            done, centre = distance(reached) <= near[state.image, state.scale], position
        else:
            done, centre = reached.came_back, jnp.rint(reached.estimate).astype(jnp.int16)
        terminated = done & (state.scale == last)
        finer = place(
            state.image, centre, target=state.target, scale=state.scale + 1, history=history
        )._replace(steps=reached.steps, refused=reached.refused)
        passes = done & ~terminated
        now = jax.tree.map(lambda a, b: jnp.where(passes, a, b), finer, reached)
        # Nor is there a reward of an action that there is not.
        there_is = (action >= 0) & (action < 2 * axes)
        gained = jnp.where(there_is, distance(state) - distance(now), jnp.nan)
        return now, Step(gained, terminated, ~terminated & (now.steps >= limit))

    return step


def beginning(
    grid: Grid, *, starts: Starts, inner: float, reach: np.ndarray, history: int
) -> Callable[[Key], Place]:
    """Make an environment's ``reset``: anywhere in the inner part, or near the goal if finer.

    Args:
        grid: on which it walks.
        starts: at the coarsest scale, or at any.
        inner: share of each axis, about its middle.
        reach: how far from the goal a finer scale begins at most, ``(n, scales, axes)``.
        history: positions that a state holds.
    """
    n, scales, axes = grid.stride.shape
    check_numbers(n, grid.high)
    size = grid.high - grid.low + 1
    border = np.minimum(np.floor(size * (1 - inner) / 2), (size - 1) // 2).astype(int)
    first, end = (jnp.asarray(x, jnp.int32) for x in (grid.low + border, grid.high - border + 1))
    low, high, far = (jnp.asarray(x, jnp.int32) for x in (grid.low, grid.high, reach))
    goal = jnp.asarray(np.rint(grid.goal), jnp.int32)

    def reset(key: Key) -> Place:
        image = jax.random.randint(stream(key, "image"), (), 0, n)
        target = jax.random.randint(stream(key, "target"), (), 0, goal.shape[1])
        share = jax.random.uniform(stream(key, "position"), (axes,))
        begin, beyond, scale = first[image], end[image], 0
        if starts == "any":
            scale = jax.random.randint(stream(key, "scale"), (), 0, scales)
            about, away = goal[image, target], far[image, scale]
            begin = jnp.where(scale > 0, jnp.maximum(about - away, low[image]), begin)
            beyond = jnp.where(scale > 0, jnp.minimum(about + away, high[image]) + 1, beyond)
        # A draw just below 1 may round up to the end.
        position = jnp.minimum(begin + (share * (beyond - begin)).astype(jnp.int32), beyond - 1)
        return place(image, position, target=target, scale=scale, history=history)

    return reset


def tolerances(steps: np.ndarray, tolerance: float | None, unit: str) -> np.ndarray:
    """How far from the goal each scale arrives, ``(n, scales)``.

    Args:
        steps: how long a step is along each axis, ``(n, scales, axes)``.
        tolerance: of the finest scale; by default one step along the shortest axis, or half the
            diagonal of a step if that is longer.
        unit: of both.
    """
    # However a step is laid, some position is as near as half of its diagonal.
    least = np.sqrt((steps**2).sum(-1)) / 2
    # A little more, so that rounding does not put what is just reached out of reach.
    near = np.maximum(steps.min(-1), least) * (1 + 1e-5)
    if tolerance is None:
        return near
    worst = int(least[:, -1].argmax())
    if not tolerance >= least[worst, -1]:
        raise ValueError(
            f"tolerance={tolerance} {unit} cannot be reached: the steps of the finest scale are "
            f"{steps[worst, -1].round(3).tolist()} {unit} in image {worst}, so what is looked for "
            f"may be {least[worst, -1]:.3g} {unit} from every position; give a finer last scale, "
            f"or more {unit}"
        )
    near[:, -1] = tolerance
    return near


def check_walk(end: str, starts: str, history: int, inner: float, limit: int) -> None:
    """Refuse settings of a walk that there are not."""
    if end not in ("arrival", "return") or starts not in ("coarsest", "any"):
        raise ValueError(
            f"end is 'arrival' or 'return' and starts 'coarsest' or 'any', got {end!r}, {starts!r}"
        )
    if history < 2:
        raise ValueError(f"a circle has two positions at least: history >= 2, got {history}")
    if not 0 < inner <= 1:
        raise ValueError(f"inner is a share of each axis, above 0 and at most 1, got {inner}")
    if not 1 <= limit < 2**15:
        raise ValueError(f"limit is 1 to 32767 steps, got {limit}")


def check_action(action: Any, n: int) -> None:
    """Refuse an action that there is not, where its value is known."""
    if not isinstance(action, Tracer) and not 0 <= int(action) < n:
        raise ValueError(f"there are the actions 0 to {n - 1}, got {action}")
