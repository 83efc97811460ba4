"""Sliding-window prediction of images of any size by a network of one patch size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxmed import ops
from jaxmed.inference._window_mean import mean_on_device, mean_on_host

Reduce = Callable[[np.ndarray], np.ndarray]


def sliding_window(
    predict: Callable[[Any], Any],
    image: Any,
    window: Sequence[int],
    *,
    overlap: float = 0.5,
    size: int = 2,
    importance: str = "gaussian",
    value: float | Sequence[float] | np.ndarray = 0.0,
    accumulate: str = "auto",
    reduce: str | Reduce | None = None,
    sink: Any = None,
) -> Any:
    r"""Predict an image in overlapping windows, averaged with weights at each voxel.

    :math:`p_v = \sum_w g_{w v} f(x_w)_v / \sum_w g_{w v}`, with :math:`g` decreasing from the
    centre of each window to its border, where a network has least context.

    On the host the image is read window by window, and what no further window touches is averaged,
    reduced, put into the result and released. The sums in memory do not grow with the image's
    length along its first axis, and above half a gigabyte most of them lie in a temporary folder.
    With ``reduce`` or ``sink`` there is no array of all probabilities either.

    Args:
        predict: ``(size, *window, channels) -> (size, *window, classes)``, compiled or not; it
            always gets this one shape.
        image: (*spatial, channels), an array, a memory map or a Zarr array. Where it is smaller
            than the window it is padded on both sides.
        window: edge lengths in voxels.
        overlap: minimum fraction of a window shared with its neighbour, in [0, 1).
        size: windows predicted at once.
        importance: ``"gaussian"`` or ``"constant"``.
        value: padding value, one number or one per channel: 0 is the mean of a standardised image.
        accumulate: where image and sums are stored: on the ``"host"``, for volumes of any size, or
            on the ``"device"``, which avoids copying each window back and forth. ``"auto"``
            is the device, unless that is a CPU or there is a ``sink``.
        reduce: ``"argmax"`` for the class of the largest mean, the first of equal ones, as uint8
            (int32 for more than 256 classes); or a function of blocks of means
            ``(*block, classes) -> (*block, ...)``. None keeps the means.
        sink: what the result is put into: an array, a memory map or a Zarr array of the result's
            shape, or anything else with a ``shape`` and assignment to slices.

    Returns:
        (*spatial, classes) float32, or what ``reduce`` makes of it; ``sink`` where one is given.

    Raises:
        ValueError: window and image differ in rank, the prediction has another shape than its
            windows, the sink has another shape than the result or cannot hold its numbers, there
            are as many values as neither 1 nor the channels, or an option is unknown.

    References:
        Isensee et al., nnU-Net, Nature Methods 18, 2021.

    Examples:
        >>> double = lambda x: 2 * x
        >>> sliding_window(double, np.arange(5.0)[:, None], (4,)).ravel().tolist()
        [0.0, 2.0, 4.0, 6.0, 8.0]
        >>> signs = lambda x: np.concatenate([x, -x], -1)
        >>> sliding_window(signs, np.array([[1.0], [-1], [3]]), (2,), reduce="argmax").tolist()
        [0, 1, 0]
    """
    if not hasattr(image, "shape") or isinstance(image, jax.Array):
        image = np.asarray(image)
    window = tuple(int(n) for n in window)
    if len(image.shape) != len(window) + 1:
        raise ValueError(
            f"a window {window} goes over images (*spatial, channels) of {len(window)} spatial "
            f"axes, got the shape {tuple(image.shape)}"
        )
    if size < 1:
        raise ValueError(f"size is at least 1 window, got {size}")
    spatial, channels = tuple(image.shape[:-1]), image.shape[-1]
    fill = np.asarray(value, np.float32)
    if fill.shape not in ((), (1,), (channels,)):
        raise ValueError(
            f"value is one number or one per channel, got {fill.size} for the image's "
            f"{channels} channels"
        )
    before = [max(w - n, 0) // 2 for n, w in zip(spatial, window, strict=True)]
    shape = tuple(max(n, w) for n, w in zip(spatial, window, strict=True))
    starts = np.asarray(ops.sliding_windows(shape, window, overlap=overlap))
    weight = ops.window_importance(window, kind=importance)[..., None]

    def read(start: Sequence[int], lengths: Sequence[int] = window) -> np.ndarray:
        return _read(image, np.subtract(start, before), lengths, fill)

    result = _Result(spatial, _reduction(reduce), sink)
    if _stays_on_host(accumulate, sink):
        blocks = mean_on_host(predict, read, shape, starts, weight, size)
    else:
        whole = mean_on_device(predict, read([0] * len(shape), shape), starts, weight, size)
        blocks = _planes(whole)
    inner = tuple(slice(low, low + n) for low, n in zip(before, spatial, strict=True))
    for spans, means in blocks:
        place, part = _cut(spans, inner)
        if all(a < b for a, b in place):
            rest = inner[len(spans) :]
            result.put(tuple(slice(a, b) for a, b in place), means[(*part, *rest)])
    return result.array


def _read(image: Any, start: np.ndarray, size: Sequence[int], fill: np.ndarray) -> np.ndarray:
    """Read a box of an image as float32, with a value per channel where it has no voxels."""
    low = np.maximum(start, 0)
    high = np.minimum(np.add(start, size), image.shape[:-1])
    found = np.asarray(
        image[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))], np.float32
    )
    if found.shape[:-1] == tuple(size):
        return found
    out = np.empty((*size, image.shape[-1]), np.float32)
    out[...] = fill
    out[tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))] = found
    return out


def _planes(whole: np.ndarray) -> Iterator[tuple[tuple[tuple[int, int], ...], np.ndarray]]:
    """Cut an array along its first axis, so that it is reduced piece by piece."""
    for first in range(0, len(whole), 16):
        part = np.array(whole[first : first + 16])  # a device's own array is read-only
        yield ((first, first + len(part)),), part


def _cut(
    spans: Sequence[tuple[int, int]], inner: Sequence[slice]
) -> tuple[list[tuple[int, int]], list[slice]]:
    """The place of a block in the image without its padding, and the part of it that lies there."""
    place, part = [], []
    for (a, b), wanted in zip(spans, inner):
        first, last = max(a, wanted.start), min(b, wanted.stop)
        place.append((first - wanted.start, last - wanted.start))
        part.append(slice(first - a, last - a))
    return place, part


def _reduction(reduce: str | Reduce | None) -> Reduce:
    if reduce is None:
        return lambda means: means
    if reduce == "argmax":
        return _argmax
    if isinstance(reduce, str):
        raise ValueError(f"reduce is 'argmax' or a function, got {reduce!r}")
    return reduce


def _argmax(means: np.ndarray) -> np.ndarray:
    labels = np.uint8 if means.shape[-1] <= 256 else np.int32
    return means.argmax(-1).astype(labels)


class _Result:
    """Collects reduced blocks in an array that is made for the first of them, or in a sink."""

    def __init__(self, spatial: tuple[int, ...], reduce: Reduce, sink: Any):
        self._spatial, self._reduce = spatial, reduce
        self.array, self._checked = sink, False

    def put(self, place: tuple[slice, ...], means: np.ndarray) -> None:
        # The same memory layout whatever the block, so that sums over classes round alike.
        block = np.asarray(self._reduce(np.ascontiguousarray(means)))
        rank = len(self._spatial)
        if block.shape[:rank] != means.shape[:rank]:
            raise ValueError(
                f"reduce must map (*block, classes) {means.shape} to the same voxels, "
                f"got {block.shape}"
            )
        shape = (*self._spatial, *block.shape[rank:])
        if self.array is None:
            self.array = np.empty(shape, block.dtype)
        elif not self._checked:
            self._check(shape, block.dtype, means.shape[-1])
        self._checked = True
        self.array[place] = block

    def _check(self, shape: tuple[int, ...], dtype: np.dtype, classes: int) -> None:
        if tuple(self.array.shape) != shape:
            raise ValueError(
                f"sink has the shape {tuple(self.array.shape)}, the result has {shape}"
            )
        own = np.dtype(getattr(self.array, "dtype", dtype))
        small = own.kind in "iu" and self._reduce is _argmax and np.iinfo(own).max < classes - 1
        if small or (dtype.kind == "f" and own.kind not in "fcV"):
            what = f"labels up to {classes - 1}" if small else f"numbers of type {dtype}"
            raise ValueError(f"sink is of type {own}, which does not hold {what}")


def _stays_on_host(accumulate: str, sink: Any) -> bool:
    if accumulate not in ("auto", "host", "device"):
        raise ValueError(f"accumulate must be 'auto', 'host' or 'device', got {accumulate!r}")
    if accumulate == "auto":
        return sink is not None or jax.default_backend() == "cpu"
    return accumulate == "host"
