"""How alike the structure of two images is, window by window."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.losses._inputs import at_least_float32, blank_missing, known, mean_known, same_shape
from jaxmed.quantities import gaussian_windows, most_scales, ssim_map


def ssim(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    data_range: float,
    where: jax.typing.ArrayLike | None = None,
) -> Array:
    """1 minus the structural similarity of two images, the mean over Gaussian windows.

    Beside an absolute error it keeps edges and texture that a mean over plausible images loses.

    Args:
        outputs: `(batch, *spatial, channels)`, 11 voxels or more along each axis.
        targets: of the same shape.
        data_range: the largest difference that values can have: 2 for images in [-1, 1].
        where: True where voxels count, or a weight; `(batch,)`, `(batch, *spatial)` or the
            targets' shape. A window counts if all its voxels do.

    Returns:
        `(batch,)`, in [0, 2]; 0 for an example without a window that counts.

    Raises:
        ValueError: if the shapes do not match, an axis is shorter than a window, or `data_range`
            is not above 0.

    Examples:
        >>> x = jnp.sin(jnp.arange(144.0)).reshape(1, 12, 12, 1)
        >>> ssim(x, -x, data_range=2.0).round(1)
        Array([0.4], dtype=float32)

    References:
        Wang et al., Image quality assessment: from error visibility to structural similarity, IEEE
        Transactions on Image Processing 2004. Zhao et al., Loss functions for image restoration
        with neural networks, IEEE Transactions on Computational Imaging 2017.
    """
    x, y = same_shape(at_least_float32(outputs), at_least_float32(targets), name="ssim")
    if x.ndim < 3 or not most_scales(x.shape[1:-1]):
        raise ValueError(
            f"ssim: outputs have shape {x.shape}; they must be (batch, *spatial, channels) with 11 "
            "voxels or more along each axis"
        )
    if not data_range > 0:
        raise ValueError(f"ssim: data_range={data_range}; it must be above 0")
    weights = known(where, x.shape)
    x, y = blank_missing(x, weights), blank_missing(y, weights)
    unlike = 1 - ssim_map(y, x, data_range=data_range)
    if weights is None:
        return mean_known(unlike, None)
    whole = gaussian_windows((weights > 0).astype(x.dtype)) > 1 - 1e-5
    return mean_known(unlike, jnp.where(whole, gaussian_windows(weights), 0))
