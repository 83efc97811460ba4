"""How images are drawn from any trained generator: one signature, one key an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxmed.core import Array, Key, PyTree, stream

Condition = Mapping[str, Array]
"""Arrays by name, such as ``label`` and ``map``, a row an image."""


class Draw(Protocol):
    """``(key, params, state, count, condition=None) -> (count, *spatial, channels)``, float32.

    ``params`` and ``state`` are the network's own. Image i depends on the key, on i and on row i of
    the condition alone: its key is ``stream(key, "image", i)``. In place of one key there may be
    ``(count,)`` of them, the images' own (:func:`image_keys`), by which :func:`draw_images` draws
    any part of the images.
    """

    def __call__(
        self,
        key: Key,
        params: PyTree,
        state: PyTree,
        count: int,
        condition: Condition | None = None,
        /,
    ) -> Array: ...


def image_keys(key: Key, count: int, *, first: int = 0) -> Key:
    """The keys of images, ``stream(key, "image", i)``.

    Args:
        key: one key; or the images' own, ``(count,)``, which are returned as they are.
        count: how many images.
        first: the number of the first one.

    Returns:
        ``(count,)`` keys.

    Raises:
        TypeError: for what is no typed key.
        ValueError: for fewer than one image, or another number of keys.

    >>> keys = image_keys(jax.random.key(0), 5)
    >>> bool((image_keys(jax.random.key(0), 2, first=3) == keys[3:]).all())
    True
    """
    _check_number("the number of images", count)
    if getattr(key, "shape", ()) == ():
        of_all = stream(key, "image")
        return jax.vmap(lambda i: stream(of_all, i))(first + jnp.arange(count))
    if key.shape != (count,):
        raise ValueError(f"{count} images need one key, or one each, got keys {key.shape}")
    return key


def drawing(
    images: Callable[[Key, PyTree, PyTree, dict[str, Array]], Array],
    *,
    classes: int = 0,
    map_channels: int = 0,
    needs: tuple[str, ...] = (),
    optional: bool = False,
) -> Draw:
    """Make a :class:`Draw` of a function that draws images by keys of their own.

    Args:
        images: ``(keys, params, state, condition) -> (n, *spatial, channels)``, of ``(n,)`` keys;
            pure, and row i by key i and row i of the condition alone.
        classes: how many classes ``condition["label"]`` chooses from; 0 for none.
        map_channels: channels of ``condition["map"]``; 0 for none.
        needs: further names that a condition must have.
        optional: whether ``label`` and ``map`` may be left out.

    Returns:
        The draw. It refuses a condition that the generator does not know, or lacks. Values of
        labels are looked at where they are known: outside ``jax.jit``, and in :func:`draw_images`.
    """
    known = {"label": classes, "map": map_channels}
    names = {name for name, size in known.items() if size} | set(needs)
    must = set(needs) if optional else names

    def check(condition: Condition | None, count: int) -> None:
        given = {} if condition is None else dict(condition)
        for name in sorted(given):
            if name not in names:
                raise ValueError(_unknown(name, names))
        for name in sorted(must - set(given)):
            raise ValueError(f"this generator draws by a condition {name!r}, which was not given")
        _check_rows(given, count)
        if "label" in given:
            _check_labels(given["label"], classes)
        if "map" in given and jnp.shape(given["map"])[-1] != map_channels:
            raise ValueError(
                f"condition['map'] has the shape {jnp.shape(given['map'])}, the generator takes "
                f"maps of {map_channels} channel(s), channels last"
            )

    def draw(key, params, state, count, condition=None, /):
        keys = image_keys(key, count)
        check(condition, count)
        given = {} if condition is None else {k: jnp.asarray(v) for k, v in condition.items()}
        return images(keys, params, state, given).astype(jnp.float32)

    draw.__dict__["check"] = check
    return draw


def draw_images(
    draw: Draw,
    key: Key,
    params: PyTree,
    state: PyTree,
    count: int,
    *,
    chunk: int = 64,
    condition: Condition | None = None,
    first: int = 0,
) -> np.ndarray:
    """Draw images in compiled chunks, so that the device's memory holds one chunk alone.

    Args:
        draw: of any generator's factory, such as :func:`diffusion_sampler`.
        key: random key; image i is drawn by ``stream(key, "image", i)``, so neither ``count`` nor
            ``chunk`` changes it.
        params: of the generator's network.
        state: likewise.
        count: how many images.
        chunk: how many are drawn at once.
        condition: arrays by name, ``(count, ...)``.
        first: the number of the first image: to go on after those that were drawn before.

    Returns:
        ``(count, *spatial, channels)`` float32, on the host.

    Raises:
        TypeError: for what is no typed key.
        ValueError: a count or chunk below 1, a condition that the generator does not know or
            lacks, a class that is not there, a condition of another number of rows; or if images
            are not finite, as of parameters that diverged.

    >>> noise = drawing(lambda keys, params, state, condition: jax.vmap(
    ...     lambda key: params * jax.random.normal(key, (4, 4, 1)))(keys))
    >>> one = draw_images(noise, jax.random.key(0), 2.0, {}, 5, chunk=2)
    >>> two = draw_images(noise, jax.random.key(0), 2.0, {}, 3, chunk=3)
    >>> one.shape, bool((one[:3] == two).all())
    ((5, 4, 4, 1), True)
    """
    _check_number("chunk", chunk)
    if getattr(key, "shape", ()) != ():
        raise ValueError(
            "draw_images takes one key of jax.random.key(seed), from which each image's is made, "
            f"got an array {key.shape} of {key.dtype}"
        )
    keys = image_keys(key, count, first=first)
    count, chunk = int(count), int(chunk)
    given = {} if condition is None else {k: np.asarray(v) for k, v in condition.items()}
    check = getattr(draw, "check", None)
    if check is not None:
        check(given, count)
    _check_rows(given, count)
    size = min(chunk, count)
    program = jax.jit(draw, static_argnums=3)  # compiled once a draw: JAX keeps it by the function
    images = []
    for start in range(0, count, size):
        # The last chunk is filled up with its last image, so that there is one program.
        rows = np.minimum(np.arange(start, start + size), count - 1)
        part = {name: array[rows] for name, array in given.items()}
        drawn = program(keys[rows], params, state, size, part if part else None)
        images.append(np.asarray(drawn, np.float32)[: count - start])
    whole = np.concatenate(images)
    if bad := int((~np.isfinite(whole.reshape(count, -1)).all(1)).sum()):
        raise ValueError(
            f"{bad} of {count} images are not finite: the parameters have diverged, or are not "
            "those of this generator's network"
        )
    return whole


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} is a whole number of at least 1, got {value!r}")


def _unknown(name: str, names: set[str]) -> str:
    there = f"it knows {', '.join(map(repr, sorted(names)))}" if names else "it was made for none"
    return f"this generator knows no condition {name!r}: {there}"


def _check_rows(condition: Mapping[str, Any], count: int) -> None:
    for name, array in condition.items():
        shape = jnp.shape(array)
        if shape[:1] != (count,):
            raise ValueError(
                f"condition[{name!r}] has the shape {shape}: {count} images need {count} rows"
            )


def _check_labels(label: Any, classes: int) -> None:
    shape, kind = jnp.shape(label), jnp.result_type(label)
    if len(shape) != 1 or not jnp.issubdtype(kind, jnp.integer):
        raise ValueError(f"condition['label'] is (count,) whole numbers, got {kind}{list(shape)}")
    if isinstance(label, Tracer):
        return
    values = np.asarray(label)
    for value in values[(values < 0) | (values >= classes)][:1]:
        raise ValueError(f"there is no class {value}: the generator knows 0 to {classes - 1}")
