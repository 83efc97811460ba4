"""AUC and DeLong's test as JAX functions, for jit, vmap and accelerators.

They give the same numbers as the NumPy functions, which are faster on CPU (XLA sorts slowly
there); use these on GPU or TPU and inside compiled simulations. JAX is imported on first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import jax


class DeviceDelong(NamedTuple):
    """Areas, the difference's error, z and two-sided p, as arrays on the device."""

    first: Any
    second: Any
    se: Any
    z: Any
    p_value: Any


def _places(positive: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the share of the other class that each case beats, and the area, with exact ties."""
    import jax.numpy as jnp

    n = scores.shape[0]
    order = jnp.argsort(scores)
    ordered = scores[order]
    flag = positive[order]
    # Counts stay int32, so that float32 loses nothing before the division.
    counts = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(flag.astype(jnp.int32))])
    start = jnp.searchsorted(ordered, ordered, side="left")
    end = jnp.searchsorted(ordered, ordered, side="right")
    twice_positives = counts[start] + counts[end]
    twice_negatives = start + end - twice_positives
    n1 = counts[-1]
    n0 = n - n1
    dtype = scores.dtype
    beaten = jnp.where(flag, twice_negatives, 2 * n1 - twice_positives).astype(dtype)
    share = beaten / (2 * jnp.where(flag, n0, n1)).astype(dtype)
    places = jnp.zeros(n, dtype).at[order].set(share)
    area = jnp.sum(jnp.where(positive, places, 0)) / n1.astype(dtype)
    # A NaN sorts behind every number, so that it would count as the highest score.
    unknown = jnp.any(jnp.isnan(scores))
    places, area = jnp.where(unknown, jnp.nan, places), jnp.where(unknown, jnp.nan, area)
    return places, area


def auc_on_device(labels: jax.Array, scores: jax.Array) -> jax.Array:
    """Return the area under the ROC curve as a JAX scalar; NaN where a class has no case.

    Args:
        labels: (cases,) 0 or 1, or booleans.
        scores: (cases,) floating point; a NaN among them makes the area NaN.

    Returns:
        The area, in the dtype of the scores.

    Raises:
        ValueError: for other shapes, at trace time.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> y, x = jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8])
        >>> float(jax.jit(auc_on_device)(y, x))
        0.75
    """
    import jax.numpy as jnp

    positive, x = _inputs(labels, scores)
    return jnp.asarray(_places(positive, x)[1])


def _inputs(labels: Any, scores: Any) -> tuple[jax.Array, jax.Array]:
    import jax.numpy as jnp

    positive, x = jnp.asarray(labels) > 0, jnp.asarray(scores)
    if positive.ndim != 1 or x.shape != positive.shape:
        raise ValueError(f"labels and scores must be (cases,): {positive.shape}, {x.shape}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(jnp.float32)
    return positive, x


def delong_on_device(labels: jax.Array, first: jax.Array, second: jax.Array) -> DeviceDelong:
    """Return the paired DeLong test as JAX arrays, for jit and vmap.

    Args:
        labels: (cases,) 0 or 1, or booleans.
        first: (cases,) scores of one model.
        second: (cases,) scores of the other.

    Returns:
        The areas, the error of the difference, z (0 without variance) and two-sided p.

    Raises:
        ValueError: for other shapes, at trace time.

    References:
        DeLong et al. (1988), Biometrics 44:837.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> y, x = jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8])
        >>> float(jax.jit(delong_on_device)(y, x, x).p_value)
        1.0
    """
    import jax
    import jax.numpy as jnp

    positive, a = _inputs(labels, first)
    _, b = _inputs(labels, second)
    (places_a, one), (places_b, two) = _places(positive, a), _places(positive, b)
    gap = places_a - places_b
    variance = jnp.zeros((), gap.dtype)
    for mask, centre in ((positive, one - two), (~positive, one - two)):
        m = jnp.sum(mask).astype(gap.dtype)
        spread = jnp.sum(jnp.where(mask, (gap - centre) ** 2, 0))
        variance = variance + jnp.where(m > 1, spread / jnp.maximum(m - 1, 1) / m, 0)
    se = jnp.sqrt(variance)
    tiny = 1e-12 if gap.dtype == jnp.float64 else 1e-6
    z = jnp.where(se <= tiny, 0, (one - two) / jnp.where(se <= tiny, 1, se))
    p = 2 * jax.scipy.special.ndtr(-jnp.abs(z))
    return DeviceDelong(one, two, se, z, p)
