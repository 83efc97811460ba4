"""An agent that walks through an image to a landmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxmed.reinforcement._environment import Environment
from jaxmed.reinforcement.imaging._place import Place
from jaxmed.reinforcement.imaging._volumes import PackedVolumes, pack_volumes, windows
from jaxmed.reinforcement.imaging._walk import (
    End,
    Grid,
    Starts,
    beginning,
    check_walk,
    tolerances,
    walk,
)


def landmark(
    volumes: Sequence[ArrayLike] | ArrayLike | PackedVolumes,
    landmarks: ArrayLike,
    *,
    spacing: ArrayLike | None = None,
    window: int | None = None,
    scales: Sequence[int] | None = None,
    history: int = 4,
    frames: int = 1,
    pyramid: bool = False,
    end: End = "arrival",
    starts: Starts = "coarsest",
    inner: float = 1.0,
    tolerance: float | None = None,
    limit: int = 200,
) -> Environment:
    """Look for a landmark by steps along the axes, from coarse to fine.

    An action is one step along an axis: 0 and 1 back and forth along the first, 2 and 3 along the
    second, and so on, ``2 rank`` of them. A step is as long as neighbours in a window are apart,
    and ends at the border at the latest. The reward is by how many mm the landmark has come
    nearer, so that an episode's rewards add up to the distance gained. Once a scale has come to its
    end the agent goes on at the next finer one, and after the finest the episode is
    ``terminated``; ``limit`` steps truncate it.

    In training a scale comes to its end by arrival, where the landmark is one step away
    (``end="arrival"``). The place of a landmark is not known of a new image: there a scale comes to
    its end when the agent returns to a position among the last (``end="return"``), from the mean of
    the circle, and ``state.estimate`` is the answer. One that was truncated has found none, nor
    has one that is ``refused`` at its end: it ran against the border.

    Args:
        volumes: images of any sizes, ``(*spatial)`` of two or three axes, or
            :func:`pack_volumes` of them, which has a window, scales and spacing of its own.
        landmarks: in voxels, where whole numbers are centres of voxels, ``(n, rank)``; of several
            landmarks ``(n, landmarks, rank)``, each of which is looked for in episodes of its own.
        spacing: mm between voxels along each axis, ``(rank,)`` or ``(n, rank)``.
        window: voxels along each axis of what an agent sees, an odd number; 13 by default.
        scales: multiples of the smallest spacing, coarse to fine; ``(3, 2, 1)`` by default.
        history: how many of the last positions a state holds.
        frames: windows that are seen at once: about the position, and those before it.
        pyramid: whether windows of all scales are seen at once.
        end: what brings a scale to its end.
        starts: at the coarsest scale, anywhere; or at a scale drawn at random, of which the finer
            begin within half a window of the landmark: so they too are met from the first step on.
        inner: share of each axis, about its middle, in which episodes begin.
        tolerance: mm from the landmark at which the finest scale arrives; by default one step
            along the shortest axis, or half the diagonal of a step if that is longer.
        limit: steps at which an episode is truncated.

    Returns:
        The environment. Its states are :class:`Place`. Its observations are windows
        ``(window, ..., channels)``, float32, whose channels are those of the image, the finest
        varying fastest: of each frame, of each scale. With several landmarks they are dicts of
        ``"image"`` and ``"landmark"``, the number of the one that is looked for.

    Raises:
        ValueError: for whatever :func:`pack_volumes` refuses or was given already, landmarks of
            another shape or that lie outside their image, a tolerance that no sequence of steps
            reaches, and numbers out of range.

    References:
        Alansary, Oktay, Li, et al. (2019), Evaluating reinforcement learning agents for anatomical
        landmark detection, Medical Image Analysis 53. Ghesu, Georgescu, Zheng, et al. (2019),
        Multi-scale deep reinforcement learning for real-time 3D-landmark detection in CT scans,
        IEEE Transactions on Pattern Analysis and Machine Intelligence 41.

    Examples:
        >>> import jax
        >>> from jaxmed.reinforcement import place
        >>> environment = landmark(
        ...     np.zeros((1, 9, 9)), [[4, 6]], spacing=(1, 1), window=3, scales=(1,)
        ... )
        >>> state, step = environment.step(jax.random.key(0), place(0, [4, 3]), jnp.array(3))
        >>> state.position.tolist(), float(step.reward), environment.observe(state).shape
        ([4, 4], 1.0, (3, 3, 1))
    """
    packed = _packed(volumes, spacing, window, scales)
    targets, several = _targets(landmarks, packed)
    check_walk(end, starts, history, inner, limit)
    if not 1 <= frames <= history + 1:
        raise ValueError(
            f"frames are the present window and up to history={history} before it, got {frames}"
        )
    grid = Grid(
        np.zeros_like(packed.size),
        packed.size - 1,
        packed.stride,
        packed.spacing,
        targets,
        tolerances(packed.stride * packed.spacing[:, None], tolerance, "mm"),
    )
    return Environment(
        beginning(
            grid, starts=starts, inner=inner, reach=packed.window // 2 * packed.stride,
            history=history,
        ),
        walk(grid, end=end, history=history, limit=limit),
        _observe(packed, frames, pyramid, several),
        2 * packed.rank,
    )  # fmt: skip


def _observe(
    packed: PackedVolumes, frames: int, pyramid: bool, several: bool
) -> Callable[[Place], Any]:
    window = windows(packed)

    def observe(state: Place) -> Any:
        every = jnp.arange(len(packed.scales))
        scales = list(every) if pyramid else [state.scale]
        places = [state.position, *(state.recent[i] for i in range(frames - 1))]
        seen = [window(state.image, scale, at) for at in places for scale in scales]
        image = seen[0] if len(seen) == 1 else jnp.concatenate(seen, axis=-1)
        if several:
            return {"image": image, "landmark": state.target.astype(jnp.int32)}
        return image

    return observe


def _packed(
    volumes: Any, spacing: Any, window: int | None, scales: Sequence[int] | None
) -> PackedVolumes:
    given = {"window": window, "scales": scales}
    given = {name: value for name, value in given.items() if value is not None}
    if not isinstance(volumes, PackedVolumes):
        return pack_volumes(volumes, spacing=spacing, **given)
    for name in (*given, *["spacing"] * (spacing is not None)):
        raise ValueError(f"packed volumes have {name} of their own: give it to pack_volumes alone")
    return volumes


def _targets(landmarks: ArrayLike, packed: PackedVolumes) -> tuple[np.ndarray, bool]:
    """Landmarks as ``(n, landmarks, rank)``, and whether several were meant."""
    given = np.asarray(landmarks, float)
    n, rank = len(packed), packed.rank
    if given.ndim not in (2, 3) or given.shape[0] != n or given.shape[-1] != rank or not given.size:
        raise ValueError(
            f"landmarks have the shape {given.shape}; for {n} images of {rank} axes it is "
            f"({n}, {rank}), or ({n}, landmarks, {rank})"
        )
    each = given.reshape(n, -1, rank)
    outside = ~((each >= 0) & (each <= packed.size[:, None, :] - 1)).all(-1)
    if outside.any():
        i, k = (int(x) for x in np.argwhere(outside)[0])
        named = f"landmarks[{i}, {k}]" if given.ndim == 3 else f"landmarks[{i}]"
        raise ValueError(
            f"{named} = {each[i, k].tolist()} lies outside its image of {packed.size[i].tolist()} "
            "voxels, whose centres are 0 to the size less 1; positions are in voxels, not in mm"
        )
    return each, given.ndim == 3
