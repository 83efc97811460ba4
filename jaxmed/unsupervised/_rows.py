"""What every function here asks of data: rows of finite numbers, weights, a number of parts."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from numpy.typing import ArrayLike, NDArray

from jaxmed.stats import checks


def rows(x: ArrayLike, name: str = "x", *, minimum: int = 1) -> NDArray[Any]:
    """Return data as floats (n, features), an example's axes in one; (n,) is one feature.

    Args:
        x: (n, ...) numbers. float64 stays; all else becomes float32.
        name: what to call it in an error.
        minimum: fewest rows.

    Returns:
        The array on the host.

    Raises:
        ValueError: for too few rows, no feature, NaN or infinity.
        TypeError: for a traced array.
    """
    if isinstance(x, Tracer):
        raise TypeError(
            f"{name} is traced: this runs on the host and cannot stand inside jit, vmap or grad"
        )
    array = np.asarray(x)
    # bfloat16 and its kin are NumPy's by extension alone, of kind V.
    if array.dtype.kind not in "biufV" or array.dtype.names:
        raise ValueError(f"{name} must be real numbers, but is of type {array.dtype}")
    if array.ndim == 0 or len(array) < minimum:
        count = "a single number" if array.ndim == 0 else f"{len(array)} row(s)"
        raise ValueError(f"{name} needs at least {minimum} row(s), but is {count}")
    array = array.reshape(len(array), -1)
    array = array if array.dtype == np.float64 else array.astype(np.float32, copy=False)
    if array.shape[1] == 0:
        raise ValueError(f"{name} has no feature: its shape is {np.shape(x)}")
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{name} holds NaN or infinities in {int(bad.sum())} of {len(array)} rows, the first "
            f"at index {int(bad.argmax())}; drop or impute them"
        )
    return array


def same_features(array: NDArray[Any], features: int, name: str, fitted: str) -> None:
    """Refuse rows that have another number of features than what was fitted."""
    if array.shape[1] != features:
        raise ValueError(
            f"{name} has {array.shape[1]} feature(s), but {fitted} was fitted to {features}"
        )


def row_weights(weight: ArrayLike | None, n: int) -> NDArray[np.float64]:
    """Return weights (n,), ones if there are none.

    Raises:
        ValueError: for another shape, a weight below 0 or not finite, or none above 0.
    """
    if weight is None:
        return np.ones(n)
    found = np.asarray(weight, np.float64)
    if found.shape != (n,):
        raise ValueError(f"weight must be ({n},), one for each row, but is {found.shape}")
    if not np.isfinite(found).all() or (found < 0).any():
        raise ValueError("weight must be finite and not negative")
    if not found.any():
        raise ValueError("all weights are 0: there is nothing to fit")
    return found


def parts(k: int, n: int, name: str = "k", what: str = "rows of positive weight") -> int:
    """Return the number of clusters or components, refusing more than there is to divide."""
    k = checks.check_whole(k, name, 1)
    if k > n:
        raise ValueError(f"{name} is {k}, but there are only {n} {what}")
    return k


def centred(
    x: NDArray[Any], weight: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return rows less their weighted mean, rounded to the rows' own type, and that mean.

    The product form of a distance, ``|a|^2 + |b|^2 - 2ab``, cancels where data lie far from 0. A
    mean of the rows' own type is as good an origin, and spares a copy of all rows in float64.
    """
    if (weight == weight[0]).all():
        mean = x.mean(axis=0, dtype=np.float64)
    else:
        mean = weight @ x.astype(np.float64, copy=False) / weight.sum()
    origin = mean.astype(x.dtype)
    return (x - origin).astype(computed_in(), copy=False), origin.astype(np.float64)


def computed_in() -> np.dtype:
    """The type JAX computes in: float32, or float64 under ``jax.enable_x64``."""
    return np.dtype(jax.dtypes.canonicalize_dtype(np.float64))


def constant_features(x: NDArray[Any], why: str) -> None:
    """Refuse features that do not vary.

    Raises:
        ValueError: names them, and says why they cannot be.
    """
    flat = np.flatnonzero(np.ptp(x, axis=0) == 0)
    if flat.size:
        shown = ", ".join(map(str, flat[:5])) + (", ..." if flat.size > 5 else "")
        raise ValueError(
            f"{flat.size} of {x.shape[1]} features are constant ({shown}): {why}; leave them out, "
            "or take components first (unsupervised.pca)"
        )
