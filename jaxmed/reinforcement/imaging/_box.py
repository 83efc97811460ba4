"""An agent that moves and shapes a box until it holds what is looked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxmed.core import Array, Key, stream
from jaxmed.reinforcement._environment import Environment, Step
from jaxmed.reinforcement.imaging._place import check_numbers
from jaxmed.reinforcement.imaging._sampled import sampler
from jaxmed.reinforcement.imaging._volumes import checked_volumes
from jaxmed.reinforcement.imaging._walk import check_action


class Box(NamedTuple):
    """State of :func:`box`: a box in an image, and the actions that led to it.

    Attributes:
        image: number of the image, int16.
        low: where the box begins along each axis, in voxels, ``(rank,)``; voxel i covers i to
            i + 1.
        high: where it ends, ``(rank,)``.
        recent: the last actions, the latest first, -1 before the first one, ``(history,)`` int8.
        steps: taken so far, int16.
        stopped: whether the agent says that it has found something.
    """

    image: Array
    low: Array
    high: Array
    recent: Array
    steps: Array
    stopped: Array


def box(
    images: Sequence[ArrayLike] | ArrayLike,
    boxes: Sequence[ArrayLike] | ArrayLike,
    *,
    size: int = 16,
    context: float = 0.15,
    step: float = 0.2,
    aspect: bool = True,
    smallest: float = 3.0,
    threshold: float = 0.5,
    stop_reward: float = 3.0,
    history: int = 0,
    starts: Literal["whole", "random"] = "whole",
    limit: int = 40,
    outside: float = 0.0,
    channels: bool = False,
) -> Environment:
    """Look for a structure by moving, growing, shrinking and shaping a box; stop when it is found.

    Actions are, in their order: back and forth along each axis, by the share ``step`` of the box's
    length along it (``2 rank``); shrink and grow along all axes by that share; with ``aspect``
    shrink along one axis alone (``rank``); and the last one, stop. The middle stays where the box
    changes its size. A box neither leaves its image nor becomes shorter than ``smallest``.

    The reward of a change is the sign of the change of the overlap with whichever structure is
    overlapped most, intersection over union; a change as small as rounding is none. Stop is worth
    ``stop_reward`` where the overlap is at least ``threshold``, else its negative, and ends the
    episode: ``terminated``. ``limit`` steps truncate it.

    Args:
        images: of any sizes, ``(*spatial)`` of two or three axes, or ``(*spatial, channels)``.
        boxes: of each image those looked for, ``(boxes, 2 rank)``: lows, then highs, in voxels, as
            :func:`jaxmed.data.component_boxes` gives them. An image may have none: nothing
            overlaps there, and to stop is wrong.
        size: voxels of what is seen along each axis: the box, resampled.
        context: share of the box's length that is seen beyond it on each side.
        step: share by which a box is moved or changed, in (0, 1).
        aspect: whether a box may be shrunk along one axis alone.
        smallest: voxels of the shortest side.
        threshold: overlap from which a structure is found.
        stop_reward: see above.
        history: how many of the last actions are seen.
        starts: the whole image, or a box drawn at random.
        limit: steps at which an episode is truncated.
        outside: what is seen beyond the borders.
        channels: whether the last axis of the images is not spatial.

    Returns:
        The environment. Its states are :class:`Box`. Its observations are ``(size, ..., channels)``
        float32, by linear interpolation; with ``history`` dicts of these as ``"image"`` and
        ``"history"``, ``(history, actions)``, one row an action, ones and zeros.

    Raises:
        ValueError: for images that are not of two or three axes or have values that are not finite,
            boxes of another shape, without an extent or outside of their image, one that no box of
            ``smallest`` overlaps by ``threshold``, and numbers out of range.

    References:
        Caicedo and Lazebnik (2015), Active object localization with deep reinforcement learning,
        ICCV. Maicas, Carneiro, Bradley, Nascimento and Reid (2017), Deep reinforcement learning
        for active breast lesion detection from DCE-MRI, MICCAI.

    Examples:
        >>> environment = box(np.zeros((1, 20, 20)), [[[5, 5, 15, 15]]], size=8)
        >>> state = environment.reset(jax.random.key(0))
        >>> state, step = environment.step(jax.random.key(1), state, jnp.array(4))
        >>> state.low.tolist(), state.high.tolist(), float(step.reward)
        ([2.0, 2.0], [18.0, 18.0], 1.0)
    """
    arrays = checked_volumes(images, channels)
    rank = arrays[0].ndim - 1
    check_numbers(len(arrays), 0)
    if size < 1 or history < 0 or not context >= 0 or not 1 <= limit < 2**15:
        raise ValueError(
            "size is at least 1, history and context at least 0 and limit 1 to 32767, got "
            f"{size}, {history}, {context} and {limit}"
        )
    if not (0 < step < 1 and 0 < threshold <= 1 and smallest > 0 and stop_reward > 0):
        raise ValueError(
            "step is in (0, 1), threshold in (0, 1], smallest and stop_reward above 0, got "
            f"{step}, {threshold}, {smallest} and {stop_reward}"
        )
    if starts not in ("whole", "random"):
        raise ValueError(f"starts is 'whole' or 'random', got {starts!r}")
    shape = np.array([x.shape[:-1] for x in arrays], np.float32)
    if (shape < smallest).any():
        raise ValueError(f"an image is shorter than smallest={smallest} voxels: {shape.min():g}")
    goals = jnp.asarray(_padded(boxes, shape, smallest, threshold))
    ends = jnp.asarray(shape)
    moves, changes = jnp.asarray(_moves(rank, aspect)), jnp.asarray(_changes(rank, aspect))
    stop = len(moves)
    look = _look(arrays, size, context, outside)
    # The ends of a box are rounded by the size of its image, and its lengths with them.
    rounded = 4 * rank * float(np.finfo(np.float32).eps) * float(shape.max()) / smallest

    def reset(key: Key) -> Box:
        image = jax.random.randint(stream(key, "image"), (), 0, len(arrays)).astype(jnp.int16)
        low, high = jnp.zeros(rank), ends[image]
        if starts == "random":
            share = jax.random.uniform(stream(key, "length"), (rank,), minval=0.25, maxval=1.0)
            length = jnp.maximum(share * high, smallest)
            low = jax.random.uniform(stream(key, "position"), (rank,)) * (high - length)
            high = low + length
        no = jnp.zeros((), jnp.int16)
        recent = jnp.full(history, -1, jnp.int8)
        return Box(image, low, high, recent, no, jnp.zeros((), bool))

    def overlap(image: Array, low: Array, high: Array) -> Array:
        goal = goals[image]
        return _iou(low, high, goal[:, :rank], goal[:, rank:]).max()

    def act(key: Key, state: Box, action: Array) -> tuple[Box, Step]:
        del key
        check_action(action, stop + 1)
        length, whole = state.high - state.low, ends[state.image]
        known = (action >= 0) & (action < stop)
        row = jnp.clip(action, 0, stop - 1)
        move, change = (jnp.where(known, table[row], 0) for table in (moves, changes))
        new = jnp.clip(length * (1 + step * change), smallest, whole)
        middle = (state.low + state.high) / 2 + step * move * length
        low = jnp.clip(middle - new / 2, 0, whole - new)
        changed = (move != 0) | (change != 0)
        low = jnp.where(changed, low, state.low)
        high = jnp.where(changed, low + new, state.high)
        before, after = (overlap(state.image, *b) for b in ((state.low, state.high), (low, high)))
        stopped = action == stop
        found = jnp.where(before >= threshold, stop_reward, -stop_reward)
        gained = after - before
        gained = jnp.where(abs(gained) > rounded * jnp.maximum(before, after), gained, 0)
        reward = jnp.where(stopped, found, jnp.sign(gained))
        reward = jnp.where((action >= 0) & (action <= stop), reward, jnp.nan)
        recent = jnp.concatenate([jnp.asarray(action, jnp.int8)[None], state.recent])[:history]
        now = Box(state.image, low, high, recent, state.steps + 1, stopped)
        return now, Step(reward, stopped, ~stopped & (now.steps >= limit))

    def observe(state: Box) -> Any:
        seen = look(state.image, state.low, state.high)
        if not history:
            return seen
        done = state.recent[:, None] == jnp.arange(stop + 1)
        return {"image": seen, "history": done.astype(jnp.float32)}

    return Environment(reset, act, observe, stop + 1)


def _moves(rank: int, aspect: bool) -> np.ndarray:
    """Along which axis each action but the last moves, and which way."""
    n = 2 * rank + 2 + aspect * rank
    table = np.zeros((n, rank), np.float32)
    for axis in range(rank):
        table[2 * axis, axis], table[2 * axis + 1, axis] = -1, 1
    return table


def _changes(rank: int, aspect: bool) -> np.ndarray:
    """Along which axes each action but the last shrinks or grows."""
    table = np.zeros((2 * rank + 2 + aspect * rank, rank), np.float32)
    table[2 * rank], table[2 * rank + 1] = -1, 1
    if aspect:
        table[2 * rank + 2 :] = -np.eye(rank)
    return table


def _iou(low: Array, high: Array, lows: Array, highs: Array) -> Array:
    """Of a box with each of several, ``(boxes,)``; 0 with one without extent."""
    shared = jnp.clip(jnp.minimum(high, highs) - jnp.maximum(low, lows), 0).prod(-1)
    union = (high - low).prod(-1) + (highs - lows).prod(-1) - shared
    return shared / union


def _look(arrays: list[np.ndarray], size: int, context: float, outside: float) -> Any:
    """Make ``(image, low, high) -> (size, ..., channels)``."""
    rank, sample = arrays[0].ndim - 1, sampler(arrays, outside)
    line = (jnp.arange(size) + 0.5) / size
    grid = jnp.stack(jnp.meshgrid(*[line] * rank, indexing="ij"), -1)

    def look(image: Array, low: Array, high: Array) -> Array:
        begin, length = low - context * (high - low), (1 + 2 * context) * (high - low)
        # Voxel i covers i to i + 1, and its centre is the whole number i.
        return sample(image, begin + grid * length - 0.5)

    return look


def _padded(boxes: Any, shape: np.ndarray, smallest: float, threshold: float) -> np.ndarray:
    """``(n, most, 2 rank)``; places without a box have no extent."""
    n, rank = shape.shape
    given = [np.asarray(each, float) for each in boxes]
    if len(given) != n:
        raise ValueError(f"there are {n} images and boxes of {len(given)}")
    table = np.zeros((n, max([1, *map(len, given)]), 2 * rank), np.float32)
    for i, (each, size) in enumerate(zip(given, shape)):
        each = each.reshape(0, 2 * rank) if not each.size else each
        if each.ndim != 2 or each.shape[1] != 2 * rank:
            raise ValueError(
                f"boxes[{i}] has the shape {each.shape}; in an image of {rank} axes it is "
                f"(boxes, {2 * rank}): lows, then highs"
            )
        for k, one in enumerate(each):
            low, high = one[:rank], one[rank:]
            if not (high > low).all():
                raise ValueError(f"boxes[{i}][{k}] = {one.tolist()} has no extent: lows, highs")
            if not ((low >= 0) & (high <= size)).all():
                raise ValueError(
                    f"boxes[{i}][{k}] = {one.tolist()} lies outside its image of {size.tolist()} "
                    "voxels; boxes are in voxels, not in mm"
                )
            best = float(np.prod(np.minimum(1, (high - low) / smallest)))
            if best < threshold:
                raise ValueError(
                    f"boxes[{i}][{k}] = {one.tolist()} cannot be reached: a box of at least "
                    f"smallest={smallest} voxels overlaps it by {best:.2g} at most, below "
                    f"threshold={threshold}"
                )
        table[i, : len(each)] = each
    return table
