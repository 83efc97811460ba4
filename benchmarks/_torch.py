"""The torch side: threads, device, layout, and channels-last arrays in and out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._case import Run, UnavailableError


def torch_module(threads: int) -> Any:
    """Return the torch package, set to a number of threads and its fastest settings.

    Raises:
        UnavailableError: if it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise UnavailableError("pip install torch") from error
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    return torch


def device(torch: Any) -> str:
    """Return the device of torch: the GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def images(torch: Any, x: np.ndarray) -> Any:
    """Convert to a `(batch, channels, *spatial)` tensor that stays channels-last in memory."""
    order = (0, x.ndim - 1, *range(1, x.ndim - 1))
    tensor = torch.from_numpy(np.ascontiguousarray(x)).permute(order).to(device(torch))
    return tensor.contiguous(memory_format=memory_format(torch, x.ndim))


def kernels(torch: Any, k: np.ndarray, *, transposed: bool = False) -> Any:
    """`(*window, in, out)` to torch's `(out, in, *window)`, or `(in, out, *window)` flipped.

    Torch's transposed convolution is the gradient of a convolution; ours, like XLA's and Flax's,
    convolves the spread image, with the window the other way round.
    """
    last = k.ndim - 1
    if transposed:
        k = np.flip(k, tuple(range(last - 1)))
    front = (last - 1, last) if transposed else (last, last - 1)
    tensor = torch.from_numpy(np.ascontiguousarray(k.transpose(*front, *range(last - 1))))
    return tensor.to(device(torch)).contiguous(memory_format=memory_format(torch, k.ndim))


def memory_format(torch: Any, ndim: int) -> Any:
    """Return the channels-last memory format of that rank, if torch has one."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return formats.get(ndim, torch.contiguous_format)


def to_channels_last(tensor: Any) -> np.ndarray:
    """A torch tensor `(batch, channels, *spatial)` back to channels last, as NumPy."""
    array = tensor.detach().float().cpu().numpy()
    return np.moveaxis(array, 1, -1)


def to_kernel(tensor: Any, *, transposed: bool = False) -> np.ndarray:
    """Torch's kernel back to `(*window, in, out)`."""
    array = np.moveaxis(tensor.detach().float().cpu().numpy(), (0, 1), (-2, -1))
    if transposed:
        return np.flip(array, tuple(range(array.ndim - 2)))
    return array.swapaxes(-1, -2)


def timed(torch: Any, call: Callable[[], Any], result: Callable[[], Any] | None = None) -> Run:
    """Create a run that waits for the device."""
    if device(torch) == "cpu":
        return Run(call, result)
    return Run(call, result, torch.cuda.synchronize)
