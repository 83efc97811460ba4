"""How alike two images are: structural similarity, peak signal to noise.

Images are (batch, *spatial, channels), of any rank, in NumPy or JAX; one value an image.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_TAPS, _SIGMA = 11, 1.5
_K = (0.01, 0.03)
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Of the scales, the finest first.


def psnr(targets: Any, outputs: Any, *, data_range: float) -> Any:
    r"""Return the peak signal-to-noise ratio in decibels, :math:`10 \log_{10} (R^2 / MSE)`.

    Args:
        targets: (batch, *spatial, channels).
        outputs: likewise.
        data_range: R, the largest difference that values can have.

    Returns:
        (batch,), infinite for equal images.

    Examples:
        >>> psnr(np.zeros((1, 4, 4, 1)), np.full((1, 4, 4, 1), 0.1), data_range=1.0).round(6)
        array([20.])
    """
    error = ((targets - outputs) ** 2).mean(axis=tuple(range(1, targets.ndim)))
    with np.errstate(divide="ignore"):
        return 10 * _of(error).log10(data_range**2 / error)


def ssim(targets: Any, outputs: Any, *, data_range: float) -> Any:
    r"""Return the structural similarity: the mean over windows and channels.

    .. math:: \frac{(2 \mu_x \mu_y + c_1)(2 \sigma_{xy} + c_2)}
        {(\mu_x^2 + \mu_y^2 + c_1)(\sigma_x^2 + \sigma_y^2 + c_2)}

    Windows are Gaussian, of 11 voxels a side and a deviation of 1.5, and lie within the image;
    :math:`c_1 = (0.01 R)^2`, :math:`c_2 = (0.03 R)^2`.

    Args:
        targets: (batch, *spatial, channels), 11 voxels or more along each axis.
        outputs: likewise.
        data_range: R, the largest difference that values can have.

    Returns:
        (batch,), at most 1.

    References:
        Wang et al. (2004), Image quality assessment: from error visibility to structural
        similarity, IEEE Transactions on Image Processing 13:600.

    Examples:
        >>> x = np.arange(144.0).reshape(1, 12, 12, 1) / 144
        >>> ssim(x, x, data_range=1.0)
        array([1.])
    """
    found = ssim_map(targets, outputs, data_range=data_range)
    return found.mean(axis=tuple(range(1, targets.ndim)))


def ssim_map(targets: Any, outputs: Any, *, data_range: float) -> Any:
    """Return the structural similarity of each window of :func:`ssim`.

    Returns:
        (batch, *spatial, channels), 10 voxels less along each axis: window i begins at voxel i.
    """
    brightness, structure = _parts(targets, outputs, data_range)
    return brightness * structure


def ms_ssim(targets: Any, outputs: Any, *, data_range: float, scales: int = 5) -> Any:
    """Return the structural similarity over several scales, the mean over channels.

    The product over scales of the mean contrast and structure, and of the whole at the coarsest,
    each to the power of its weight; a mean below 0 counts as 0. From scale to scale images are
    averaged in blocks of 2 voxels a side, of an odd number the last is left out.

    Args:
        targets: (batch, *spatial, channels), 11 voxels or more along each axis at the coarsest
            scale: see :func:`most_scales`.
        outputs: likewise.
        data_range: the largest difference that values can have.
        scales: how many, 1 to 5; the weights of fewer than 5 are scaled to a sum of 1.

    Returns:
        (batch,), 0 to 1.

    References:
        Wang, Simoncelli and Bovik (2003), Multiscale structural similarity for image quality
        assessment, Asilomar.

    Examples:
        >>> x = np.arange(484.0).reshape(1, 22, 22, 1) / 484
        >>> ms_ssim(x, x, data_range=1.0, scales=2)
        array([1.])
    """
    weights = np.array(_WEIGHTS[:scales]) / sum(_WEIGHTS[:scales])
    x, y, found = targets, outputs, 1.0
    space = tuple(range(1, targets.ndim - 1))
    for scale, weight in enumerate(weights):
        brightness, structure = _parts(x, y, data_range)
        whole = structure if scale < scales - 1 else brightness * structure
        found = found * whole.mean(axis=space).clip(0) ** weight
        if scale < scales - 1:
            x, y = _halved(x), _halved(y)
    return found.mean(axis=-1)  # pyright: ignore[reportAttributeAccessIssue]


def most_scales(shape: Any) -> int:
    """Return how many scales of :func:`ms_ssim` images of a spatial shape have room for, up to 5.

    Examples:
        >>> most_scales((28, 28)), most_scales((256, 160)), most_scales((10, 40))
        (2, 4, 0)
    """
    side, scales = min(shape), 0
    while side >= _TAPS and scales < len(_WEIGHTS):
        side, scales = side // 2, scales + 1
    return scales


def gaussian_windows(x: Any) -> Any:
    """Return Gaussian means of the windows of :func:`ssim`, those that lie within the image.

    Args:
        x: (batch, *spatial, channels).

    Returns:
        10 voxels less along each axis.
    """
    at = np.arange(_TAPS) - _TAPS // 2
    taps = np.exp(-(at**2) / (2 * _SIGMA**2))
    taps /= taps.sum()
    for axis in range(1, x.ndim - 1):
        last = x.shape[axis] - _TAPS + 1
        lead = (slice(None),) * axis
        x = sum(float(tap) * x[(*lead, slice(i, i + last))] for i, tap in enumerate(taps))
    return x


def _parts(x: Any, y: Any, data_range: float) -> tuple[Any, Any]:
    """The terms of brightness, and of contrast and structure, at each window within the image."""
    c1, c2 = ((k * data_range) ** 2 for k in _K)
    # Squares of what is near 0 keep their digits: both are taken about one mean.
    centre = x.mean(axis=tuple(range(1, x.ndim - 1)), keepdims=True)
    x, y = x - centre, y - centre
    of_x, of_y, xx, yy, xy = (gaussian_windows(z) for z in (x, y, x * x, y * y, x * y))
    structure = (2 * (xy - of_x * of_y) + c2) / (xx - of_x**2 + yy - of_y**2 + c2)
    of_x, of_y = of_x + centre, of_y + centre
    brightness = (2 * of_x * of_y + c1) / (of_x**2 + of_y**2 + c1)
    return brightness, structure


def _halved(x: Any) -> Any:
    for axis in range(1, x.ndim - 1):
        half = x.shape[axis] // 2
        lead = (slice(None),) * axis
        x = (x[(*lead, slice(0, 2 * half, 2))] + x[(*lead, slice(1, 2 * half, 2))]) / 2
    return x


def _of(x: Any) -> Any:
    """The library of an array: NumPy, or JAX's of the same names."""
    return x.__array_namespace__() if hasattr(x, "__array_namespace__") else np
