"""How unlike two images are: correlation, of whole images and of windows, and mutual information.

They compare images whose brightness differs: by a factor and an offset (`ncc`), by ones that change
from place to place (`lncc`), by anything that maps one onto the other (`mutual_information`).
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.losses._inputs import at_least_float32, blank_missing, known, mean_known, same_shape
from jaxmed.ops import window_sum

# Share of an image's variance below which a window counts as constant.
_FLAT = 1e-5
# Roundings of the largest value within which an image is constant: interpolation makes some.
_ROUNDINGS = 8


def ncc(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
) -> Array:
    r"""One minus the correlation of two images, :math:`1 - \mathrm{cov}(x, y) / (s_x s_y)`.

    Channels are correlated one by one, and averaged.

    Args:
        outputs: `(batch, *spatial, channels)`.
        targets: of the same shape.
        where: True where voxels count, or a weight; `(batch,)`, `(batch, *spatial)` or the
            targets' shape.

    Returns:
        `(batch,)`, in [0, 2]; 1, with a gradient of 0, where an image is constant and the
        correlation undefined; 0 where no voxel counts.

    Raises:
        ValueError: if the shapes do not match.

    Examples:
        >>> x = jnp.array([[[0.0], [1.0], [2.0]]])
        >>> ncc(x, 5 - 2 * x).round(4)
        Array([2.], dtype=float32)
    """
    x, y, weights = _pair(outputs, targets, where, "ncc")
    axes = tuple(range(1, x.ndim - 1))
    w = jnp.ones_like(x) if weights is None else weights
    total = w.sum(axes, keepdims=True)
    safe = jnp.where(total > 0, total, 1)
    given = (_varies(x, axes, w > 0) & _varies(y, axes, w > 0))[(slice(None), *(0,) * len(axes))]
    x, y = (a - (w * a).sum(axes, keepdims=True) / safe for a in (x, y))
    over = lambda a: (w * a).sum(axes) / safe.reshape(a.shape[0], -1)  # noqa: E731
    cross, xx, yy = over(x * y), over(x * x), over(y * y)
    root = jnp.sqrt(jnp.where(given, xx, 1)) * jnp.sqrt(jnp.where(given, yy, 1))
    some = (total > 0).reshape(cross.shape)
    return jnp.where(some, 1 - jnp.where(given, cross / root, 0), 0).mean(-1)


def lncc(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    window: int | Sequence[int] = 9,
    squared: bool = False,
) -> Array:
    r"""One minus the mean correlation of two images within windows about each voxel.

    Windows are cut at the border, and where voxels do not count. The variance of a window has a
    share of the whole image's added (:math:`10^{-5}`), so that the correlation falls to 0 where a
    window is constant.

    Args:
        outputs: `(batch, *spatial, channels)`.
        targets: of the same shape.
        where: True where voxels count, or a weight of the windows about them; `(batch,)`,
            `(batch, *spatial)` or the targets' shape.
        window: edge lengths in voxels, one or one an axis, odd.
        squared: whether to take the squared correlation, for which inverted contrast is as good.

    Returns:
        `(batch,)`, in [0, 2] or, squared, in [0, 1]; 1, with a gradient of 0, where an image is
        constant; 0 where no voxel counts.

    Raises:
        ValueError: if the shapes do not match, or a window is even.

    Examples:
        >>> x = jnp.sin(jnp.arange(40.0)).reshape(1, 40, 1)
        >>> lncc(x, 3 * x + 1, window=5).round(3)
        Array([0.], dtype=float32)

    References:
        Avants et al., Symmetric diffeomorphic image registration with cross-correlation, Medical
        Image Analysis 2008.
    """
    x, y, weights = _pair(outputs, targets, where, "lncc")
    axes = tuple(range(1, x.ndim - 1))
    counts = jnp.ones((1, *x.shape[1:-1], 1), bool) if weights is None else weights > 0
    given = _varies(x, axes, counts) & _varies(y, axes, counts)
    w = counts.astype(x.dtype)
    total = jnp.maximum(w.sum(axes, keepdims=True), 1)
    # About the mean of the whole image: sums of squares cancel where images are far from 0.
    x, y = (w * (a - (w * a).sum(axes, keepdims=True) / total) for a in (x, y))
    number = jnp.maximum(window_sum(w, window), 1)
    # Apart, so that those of an image that stays are not computed again in every step of a loop.
    sx, sxx, sxy = jnp.split(window_sum(jnp.concatenate([x, x * x, x * y], -1), window), 3, -1)
    sy, syy = jnp.split(window_sum(jnp.concatenate([y, y * y], -1), window), 2, -1)
    cross = sxy - sx * sy / number
    parts = []
    for image, linear, squares in ((x, sx, sxx), (y, sy, syy)):
        spread = jax.lax.stop_gradient((image * image).sum(axes, keepdims=True) / total)
        floor = jnp.where(given, _FLAT * spread * number, 1)
        parts.append(jnp.maximum(squares - linear * linear / number, 0) + floor)
    if squared:
        local = jnp.where(given, cross * cross / (parts[0] * parts[1]), 0)
    else:
        local = jnp.where(given, cross / jnp.sqrt(parts[0]) / jnp.sqrt(parts[1]), 0)
    return mean_known(1 - local, weights)


def mutual_information(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    bins: int = 32,
) -> Array:
    r"""The negative mutual information of two images' brightness, in nats.

    :math:`-\sum_{ij} p_{ij} \log (p_{ij} / (p_i p_j))` of the joint histogram. A voxel counts in
    the bins about its value by a cubic B-spline, so that it is differentiable; the range of each
    image is divided anew.

    Args:
        outputs: `(batch, *spatial, channels)`; channels are taken one by one, and averaged.
        targets: of the same shape.
        where: True where voxels count, or a weight; `(batch,)`, `(batch, *spatial)` or the
            targets' shape.
        bins: number of bins, 4 or more.

    Returns:
        `(batch,)`, at most 0; 0 where an image is constant.

    Raises:
        ValueError: if the shapes do not match, or there are too few bins.

    Examples:
        >>> x = jnp.sin(jnp.arange(40.0)).reshape(1, 40, 1)
        >>> bool(mutual_information(x, x**2)[0] < mutual_information(x, x[:, ::-1] ** 2)[0])
        True

    References:
        Mattes et al., PET-CT image registration in the chest using free-form deformations, IEEE
        Transactions on Medical Imaging 2003.
    """
    if bins < 4:
        raise ValueError(f"bins={bins}; a cubic B-spline needs 4 or more")
    x, y, weights = _pair(outputs, targets, where, "mutual_information")
    batch, channels = x.shape[0], x.shape[-1]
    w = jnp.ones_like(x) if weights is None else weights
    flat = lambda a: a.reshape(batch, -1, channels)  # noqa: E731
    x, y, w = flat(x), flat(y), flat(w)
    total = w.sum(1, keepdims=True)
    share = jnp.moveaxis(w / jnp.where(total > 0, total, 1), -1, 1)[..., None]
    px, py = (jnp.moveaxis(_in_bins(a, w > 0, bins), 2, 1) for a in (x, y))
    joint = jnp.einsum("bcni,bcnj->bcij", px * share, py, precision=jax.lax.Precision.HIGHEST)
    alone = joint.sum(-1, keepdims=True) * joint.sum(-2, keepdims=True)
    some = joint > 1e-12
    ratio = jnp.where(some, joint, 1) / jnp.where(some & (alone > 0), alone, 1)
    return -jnp.where(some, joint * jnp.log(ratio), 0).sum((-1, -2)).mean(-1)


def _in_bins(x: Array, counts: Array, bins: int) -> Array:
    """Each voxel's share in each bin, (batch, voxels, channels, bins)."""
    low = jnp.where(counts, x, jnp.inf).min(1, keepdims=True)
    high = jnp.where(counts, x, -jnp.inf).max(1, keepdims=True)
    low, high = (jax.lax.stop_gradient(jnp.where(jnp.isfinite(a), a, 0)) for a in (low, high))
    span = high - low
    # The spline reaches two bins to either side: none falls off the ends.
    at = 1 + (bins - 3) * (x - low) / jnp.where(span > 0, span, 1)
    apart = jnp.abs(at[..., None] - jnp.arange(bins, dtype=x.dtype))
    near = 2 / 3 - apart**2 + apart**3 / 2
    far = jnp.maximum(2 - apart, 0) ** 3 / 6
    return jnp.where(apart < 1, near, far)


def _varies(x: Array, axes: tuple[int, ...], counts: Array | bool = True) -> Array:
    """Whether an image's values differ by more than rounding, with its axes kept."""
    x = jax.lax.stop_gradient(x)
    over = {"axis": axes, "keepdims": True, "where": counts}
    low, high = x.min(initial=jnp.inf, **over), x.max(initial=-jnp.inf, **over)
    largest = jnp.maximum(jnp.abs(low), jnp.abs(high))
    return high - low > _ROUNDINGS * jnp.finfo(x.dtype).eps * largest


def _pair(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    where: jax.typing.ArrayLike | None,
    name: str,
) -> tuple[Array, Array, Array | None]:
    x, y = same_shape(at_least_float32(outputs), at_least_float32(targets), name=name)
    if x.ndim < 3:
        raise ValueError(
            f"{name}: outputs have shape {x.shape}; they must be (batch, *spatial, channels)"
        )
    weights = known(where, x.shape)
    return blank_missing(x, weights), blank_missing(y, weights), weights
