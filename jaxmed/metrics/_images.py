"""Metrics of images against images: structural similarity, peak signal to noise."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmed import quantities
from jaxmed.metrics._examples import floats, label_weights, namespace
from jaxmed.metrics._metric import Metric, add, refuse_invalid
from jaxmed.quantities import divide, most_scales

_SCALES = 5  # The most that ms_ssim has.


class Values(NamedTuple):
    """Weight of the images, weighted sum of their values, and how many hold NaN."""

    weight: Any
    total: Any
    invalid: Any


def ssim(*, data_range: float) -> Metric:
    """Structural similarity, the mean over images (:func:`jaxmed.quantities.ssim`).

    Outputs and targets are `(batch, *spatial, channels)`, in 2D or 3D, of 11 voxels or more along
    each axis. It is scikit-image's with Gaussian weights and without sample covariances.

    Args:
        data_range: the largest difference that values can have: 1 for images in [0, 1].

    Returns:
        A metric with a float value of at most 1; `where` is one value an image.

    References:
        Wang et al., Image quality assessment: from error visibility to structural similarity, IEEE
        Transactions on Image Processing 2004.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> x = np.sin(np.arange(144.0)).reshape(1, 12, 12, 1)
        >>> evaluate(ssim(data_range=2.0), x, x)
        1.0
    """
    return _metric("ssim", _range(data_range, "ssim"), quantities.ssim, 1)


def ms_ssim(*, data_range: float, scales: int = 5) -> Metric:
    """Structural similarity over several scales, the mean over images.

    Args:
        data_range: the largest difference that values can have: 1 for images in [0, 1].
        scales: how many, 1 to 5, each half as fine as the one before; those of small images that
            have no room for five must be said, for the number is another one
            (:func:`jaxmed.quantities.most_scales`).

    Returns:
        A metric with a float value from 0 to 1; `where` is one value an image.

    References:
        Wang, Simoncelli and Bovik, Multiscale structural similarity for image quality assessment,
        Asilomar 2003.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> x = np.sin(np.arange(784.0)).reshape(1, 28, 28, 1)
        >>> evaluate(ms_ssim(data_range=2.0, scales=2), x, x)
        1.0
    """
    if isinstance(scales, bool) or scales not in range(1, _SCALES + 1):
        raise ValueError(f"ms_ssim: scales={scales!r}; it must be 1 to {_SCALES}")
    found = partial(quantities.ms_ssim, scales=scales)
    return _metric("ms_ssim", _range(data_range, "ms_ssim"), found, scales)


def psnr(*, data_range: float) -> Metric:
    """Peak signal-to-noise ratio in decibels, the mean over images.

    Args:
        data_range: the largest difference that values can have: 1 for images in [0, 1].

    Returns:
        A metric with a float value, infinite if an image is equal to its target; `where` is one
        value an image.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> x = np.zeros((1, 8, 8, 1))
        >>> round(evaluate(psnr(data_range=1.0), x + 0.1, x), 6)
        20.0
    """
    return _metric("psnr", _range(data_range, "psnr"), quantities.psnr, 0)


def _range(data_range: float, name: str) -> float:
    if not 0 < data_range < np.inf:
        raise ValueError(f"{name}: data_range={data_range}; it must be a number above 0")
    return float(data_range)


def _metric(name: str, data_range: float, value: Callable[..., Any], scales: int) -> Metric:
    """The mean of a value an image; ``scales`` is what its size must have room for."""

    def from_batch(
        outputs: jax.typing.ArrayLike,
        targets: jax.typing.ArrayLike,
        *,
        weight: jax.typing.ArrayLike | None = None,
        where: jax.typing.ArrayLike | None = None,
    ) -> Values:
        xp = namespace(outputs, targets, weight, where)
        x, y = floats(outputs, xp), floats(targets, xp)
        if x.ndim < 3 or x.shape != y.shape:
            raise ValueError(
                f"{name}: outputs {x.shape} and targets {y.shape} must have one shape (batch, "
                "*spatial, channels)"
            )
        _check_size(name, x.shape[1:-1], scales)
        w = label_weights(weight, where, x.shape[:1], xp, name=name)
        axes = tuple(range(1, x.ndim))
        bad = (w > 0) & (xp.isnan(x) | xp.isnan(y)).any(axis=axes)
        if xp is np and bad.any():
            raise ValueError(
                f"{name}: {int(bad.sum())} images or their targets hold NaN; mask missing ones "
                "with where or weight"
            )
        w = xp.where(bad, 0, w)
        counts = (w > 0).reshape(-1, *(1,) * (x.ndim - 1))
        found = value(xp.where(counts, y, 0), xp.where(counts, x, 1), data_range=data_range)
        return Values(w.sum(), xp.where(w > 0, w * found, 0).sum(), bad.sum().astype(w.dtype))

    def compute(a: Values) -> float:
        refuse_invalid(a.invalid, name=name)
        return float(divide(np.asarray(a.total, float), np.asarray(a.weight, float), np.nan))

    return Metric(from_batch, add, compute)


def _check_size(name: str, space: tuple[int, ...], scales: int) -> None:
    room = most_scales(space)
    if room >= scales:
        return
    if not room:
        raise ValueError(
            f"{name}: images of {space} are smaller than its window, 11 voxels along each axis"
        )
    raise ValueError(
        f"{name}: images of {space} have room for {room} scale(s), not {scales}: give "
        f"scales={room}, and say so beside the number"
    )
