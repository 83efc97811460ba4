"""Augmentation types, and their composition into a chain that resamples once."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmed import ops
from jaxmed.augment._follow import Followers, label_of, through_affine, through_grid
from jaxmed.core import Array, Batch, Key, View, stream
from jaxmed.ops._boundary import Mode

Shape = tuple[int, ...]
_UNIFORMS = 16


class Draw(NamedTuple):
    """Randomness of one step for one example: 16 uniform numbers in [0, 1), and a key for more.

    All steps get theirs from one batched call: a generator for each would double the time to
    compile. By convention ``uniform[0]`` decides whether a step is applied at all. ``key`` is not
    the key that ``uniform`` was drawn from, so draws from it are independent of those numbers; a
    step that needs several draws derives a stream for each.
    """

    uniform: Array
    key: Key


class Spatial(NamedTuple):
    """A spatial step, which maps output voxels to input points.

    ``coordinates(draw, points, before, after)`` maps points of the output, (*out, rank) in voxels,
    to points of the input; ``before`` and ``after`` are the spatial shapes on its two sides.
    ``after(before)`` gives the output's shape. ``exact(draw, array, rank)``, for a step that moves
    whole voxels, applies it to an array (*spatial, ...) without interpolation. ``affine`` says that
    the map is affine in the points, wherever they are: boxes and points then move exactly.
    """

    name: str
    coordinates: Callable[[Draw, Array, Shape, Shape], Array]
    after: Callable[[Shape], Shape] = lambda before: before
    exact: Callable[[Draw, Array, int], Array] | None = None
    affine: bool = False


class Intensity(NamedTuple):
    """An intensity step: ``apply(draw, image)`` for one image (*spatial, channels)."""

    name: str
    apply: Callable[[Draw, Array], Array]


@dataclass(frozen=True)
class Augmentation:
    """Steps and the batch fields they act on, as a pure ``(key, batch) -> batch``."""

    steps: tuple[Spatial | Intensity | View, ...]
    images: tuple[str, ...] = ("image",)
    masks: tuple[str, ...] = ("mask",)
    outside: Mode = "nearest"
    boxes: tuple[str, ...] = ("box",)
    points: tuple[str, ...] = ("point",)
    visible: float = 0.25

    def __call__(self, key: Key, batch: Batch) -> Batch:
        batch = dict(batch)
        if any(not isinstance(step, Spatial | Intensity) for step in self.steps):
            return _run(self, key, batch)
        _images(self, batch)
        beside = (*self.boxes, *map(label_of, self.boxes), *self.points)
        used = {n: batch[n] for n in (*self.images, *self.masks, *beside) if n in batch}
        return batch | _run(self, key, used)

    def _steps(self, key: Key, batch: dict[str, Array]) -> dict[str, Array]:
        draws = _draws(self, key, batch)
        run: list[tuple[Spatial, Draw]] = []
        for step, name in zip(self.steps, _names(self.steps), strict=True):
            if isinstance(step, Spatial):
                run.append((step, draws[name]))
                continue
            batch, run = self._move(run, batch), []
            if isinstance(step, Intensity):
                batch = batch | {
                    field: _shade(step, draws[f"{name} {field}"], batch[field], field)
                    for field in _fields(self, batch)[0]
                }
            else:
                batch = dict(step(stream(key, name), batch))
        return self._move(run, batch)

    def _move(self, run: list[tuple[Spatial, Draw]], batch: dict[str, Array]) -> dict[str, Array]:
        if not run:
            return batch
        images, masks, rank = _fields(self, batch)
        steps = [step for step, _ in run]
        shapes = [batch[images[0]].shape[1 : 1 + rank]]
        for step in steps:
            shapes.append(step.after(shapes[-1]))

        moved = {name: batch[name] for name in (*images, *masks)}
        draws = [draw for _, draw in run]
        exact = [step.exact for step in steps if step.exact is not None]
        whole_voxels = len(exact) == len(steps)
        followers = Followers(
            [n for n in self.boxes if n in batch], [n for n in self.points if n in batch]
        )
        affine = all(step.affine for step in steps)

        def whole(draws: list[Draw], array: Array) -> Array:
            for move, draw in zip(exact, draws, strict=True):
                array = move(draw, array, rank)
            return array

        def back(draws: list[Draw], points: Array) -> Array:
            # Maps go from output to input, so the last step's map is applied first.
            for i in reversed(range(len(steps))):
                points = steps[i].coordinates(draws[i], points, shapes[i], shapes[i + 1])
            return points

        if affine and followers:
            batch = batch | followers.moved(
                batch, lambda at: jax.vmap(through_affine(back, rank))(draws, at), shapes[-1],
                self.visible, curved=False,
            )  # fmt: skip
        if whole_voxels and (affine or not followers):
            return batch | {name: jax.vmap(whole)(draws, a) for name, a in moved.items()}

        def trace(draws: list[Draw]) -> Array:
            return back(draws, ops.identity_grid(shapes[-1]))

        # XLA for CPU would compute the whole map anew for each of the voxels that a point reads (3
        # times the cost in 3D); the loop keeps it apart. Barriers do not.
        points = lax.platform_dependent(
            draws, cpu=lambda d: lax.map(trace, d), default=lambda d: jax.vmap(trace)(d)
        )

        if followers and not affine:
            batch = batch | followers.moved(
                batch, lambda at: jax.vmap(through_grid)(points, at), shapes[-1], self.visible,
                curved=True,
            )  # fmt: skip
        if whole_voxels:
            return batch | {name: jax.vmap(whole)(draws, a) for name, a in moved.items()}

        def read(name: str, array: Array) -> Array:
            method = "linear" if name in images else "nearest"
            channels = array if array.ndim > rank + 1 else array[..., None]
            if method == "linear":
                channels = widened(channels)
            out = jax.vmap(
                lambda image, at: ops.resample(image, at, method=method, mode=self.outside)
            )(channels, points)
            out = out.reshape(-1, *shapes[-1], *array.shape[rank + 1 :])
            return rounded_to(out, array.dtype)

        return batch | {name: read(name, array) for name, array in moved.items()}


def _shade(step: Intensity, draws: Draw, images: Array, field: str) -> Array:
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"{step.name} needs a floating {field}, got {images.dtype}")
    shaded = jax.vmap(step.apply)(draws, widened(images))
    return rounded_to(shaded, images.dtype)


def widened(x: Array) -> Array:
    """Half precision as float32: the square of a common intensity is beyond float16."""
    half = jnp.issubdtype(x.dtype, jnp.floating) and jnp.finfo(x.dtype).bits < 32
    return x.astype(jnp.float32) if half else x


def rounded_to(x: Array, dtype: jnp.dtype) -> Array:
    """Cast to the type of an image: whole numbers by rounding, and all within the type's range."""
    if x.dtype == dtype:
        return x
    if jnp.issubdtype(dtype, jnp.bool_):
        return x >= 0.5
    if jnp.issubdtype(dtype, jnp.integer):
        limits = jnp.iinfo(dtype)
        x = jnp.round(x)
    else:
        limits = jnp.finfo(dtype)
    # Both limits in the type of x, in which the largest int32 is rounded up: one step below it.
    low, high = (np.asarray(float(v), x.dtype) for v in (limits.min, limits.max))
    high = high if float(high) <= float(limits.max) else np.nextafter(high, np.asarray(0, x.dtype))
    return jnp.clip(x, low, high).astype(dtype)


def _names(steps: Sequence[Spatial | Intensity | View]) -> list[str]:
    """Name every step; repeated names get their own streams, and the first keeps its draws."""
    names = [str(getattr(step, "name", type(step).__name__)) for step in steps]
    return [f"{name} {names[:i].count(name)}" for i, name in enumerate(names)]


def _draws(self: Augmentation, key: Key, batch: dict[str, Array]) -> dict[str, Draw]:
    images = _fields(self, batch)[0]
    streams = []
    for step, name in zip(self.steps, _names(self.steps), strict=True):
        if isinstance(step, Spatial):
            streams.append(name)
        elif isinstance(step, Intensity):
            streams.extend(f"{name} {field}" for field in images)
    if not streams:
        return {}
    codes = np.array([zlib.crc32(name.encode()) for name in streams], np.uint32)
    rows = np.arange(len(batch[images[0]]))
    each = np.repeat(codes, len(rows)), np.tile(rows, len(codes))
    uniform = jax.vmap(lambda c, r: jax.random.uniform(stream(key, "augment", c, r), (_UNIFORMS,)))(
        *each
    )
    # Keys of their own: one key, one draw.
    keys = jax.vmap(lambda c, r: stream(key, "augment further", c, r))(*each)
    keys = keys.reshape(len(codes), len(rows))
    uniform = uniform.reshape(len(codes), len(rows), _UNIFORMS)
    return {name: Draw(uniform[i], keys[i]) for i, name in enumerate(streams)}


# Compiled as one program even if the caller does not: op by op, a chain is hundreds of programs.
_run = jax.jit(Augmentation._steps, static_argnums=0)


def _images(self: Augmentation, batch: Batch) -> list[str]:
    """Return the image fields present."""
    images = [name for name in self.images if name in batch]
    if not images:
        raise ValueError(
            f"none of the images {self.images} is in the batch, which has {sorted(batch)}: name "
            "them by chain(..., images=...)"
        )
    return images


def _fields(self: Augmentation, batch: Batch) -> tuple[list[str], list[str], int]:
    """Return the image and mask fields present and the spatial rank, checking shapes."""
    images = _images(self, batch)
    masks = [name for name in self.masks if name in batch]
    first = batch[images[0]]
    rank = first.ndim - 2
    if rank < 1:
        raise ValueError(f"{images[0]} must be (batch, *spatial, channels), got {first.shape}")
    for name in images[1:]:
        if batch[name].ndim != first.ndim or batch[name].shape[:-1] != first.shape[:-1]:
            raise ValueError(
                f"{name} is {batch[name].shape}, but {images[0]} is {first.shape}: images that are "
                "moved together have one grid"
            )
    for name in masks:
        if batch[name].shape[: 1 + rank] != first.shape[: 1 + rank]:
            raise ValueError(
                f"{name} is {batch[name].shape}, but {images[0]} is {first.shape}: a mask has the "
                "grid of its image"
            )
    return images, masks, rank


def chain(
    *augmentations: Spatial | Intensity | View | Augmentation,
    images: Sequence[str] = ("image",),
    masks: Sequence[str] = ("mask",),
    outside: Mode = "nearest",
    boxes: Sequence[str] = ("box",),
    points: Sequence[str] = ("point",),
    visible: float = 0.25,
) -> Augmentation:
    """Compose augmentations; neighbouring spatial ones share one resample.

    Images are interpolated linearly, masks take the nearest voxel, at the same points. Flips,
    quarter turns and crops on their own move whole voxels without interpolation. Each example
    draws independently, from a stream named after the step: adding a step does not change the draws
    of the others.

    Args:
        *augmentations: augmentations of this subpackage, chains of them, or any
            ``(key, batch) -> batch``.
        images: fields (batch, *spatial, channels) that all steps act on.
        masks: fields (batch, *spatial) or (batch, *spatial, channels) that only spatial steps act
            on. Image and mask fields that a batch does not have are ignored.
        outside: boundary mode: ``"nearest"``, ``"constant"`` (0), ``"mirror"`` and
            the other modes of `ops.resample`.
        boxes: fields (batch, objects, 2 * rank) of boxes, lows then highs in voxels, voxel i
            covering i to i + 1, which move with the image: each becomes the smallest box around
            itself moved, cut at the border. The classes of ``box`` are in ``box_label``: -1 where
            there is no box, and where one has left the image.
        points: fields (batch, n, rank) of points, whole numbers being the middles of voxels, which
            move alike. One that leaves the image has a place outside it.
        visible: a box is kept if at least this share of it is still in the image.

    Returns:
        ``(key, batch) -> batch``; other fields are unchanged. Boxes and points that a batch does
        not have are ignored. They move exactly but under `elastic`, whose field has no inverse in
        closed form: there to a fraction of a voxel. Maps of instances are masks.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from jaxmed import augment
        >>> view = augment.chain(augment.flip(), augment.random_affine(), augment.gamma())
        >>> batch = {"image": jnp.ones((2, 8, 8, 1)), "mask": jnp.zeros((2, 8, 8), int)}
        >>> view(jax.random.key(0), batch)["mask"].shape
        (2, 8, 8)
    """
    steps: list[Spatial | Intensity | View] = []
    for each in augmentations:
        if isinstance(each, Augmentation):
            steps.extend(each.steps)
        elif isinstance(each, Spatial | Intensity) or callable(each):
            steps.append(each)
        else:
            raise TypeError(f"an augmentation is a (key, batch) -> batch, got {each!r}")
    if not 0 <= visible <= 1:
        raise ValueError(f"visible is a share of a box, got {visible}")
    return Augmentation(
        tuple(steps), tuple(images), tuple(masks), outside, tuple(boxes), tuple(points), visible
    )


def sometimes(draw: Draw, p: float, new: Array, old: Array) -> Array:
    """Take the new value with probability p, else the old."""
    return new if p >= 1 else jnp.where(draw.uniform[0] < p, new, old)


def between(uniform: Array, low: float, high: float) -> Array:
    """Rescale a uniform draw from [0, 1) to [low, high)."""
    return low + (high - low) * uniform


def check_p(p: float) -> float:
    """Raise ValueError unless p is a probability."""
    if not 0 <= p <= 1:
        raise ValueError(f"p is a probability, got {p}")
    return p


def smooth_field(key: Key, count: int, shape: Shape, knots: int) -> Array:
    """Draw smooth fields (count, *shape) from ``knots`` values along each axis.

    The values at the knots are uniform with unit variance: the spline sums many of them, so the
    field is nearly normal in the interior, and bounded. Uses one small matrix product per axis.
    """
    bound = np.sqrt(3)
    values = jax.random.uniform(key, (count * knots ** len(shape),), minval=-bound, maxval=bound)
    field = values.reshape(count, *(knots,) * len(shape))  # drawn flat: compiles 8 times faster
    for axis, n in enumerate(shape, start=1):
        field = jnp.moveaxis(jnp.tensordot(_spline(n, knots), field, (1, axis)), 0, axis)
    return field


def _spline(n: int, knots: int) -> np.ndarray:
    # Cubic B-splines with one knot beyond each end, so that the field is twice differentiable.
    at = np.linspace(1, knots - 2, n)[:, None] - np.arange(knots)
    u = np.abs(at)
    near, far = 2 / 3 - u**2 + u**3 / 2, (2 - u) ** 3 / 6
    return np.where(u < 1, near, np.where(u < 2, far, 0)).astype(np.float32)
