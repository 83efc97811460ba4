"""Kernels of a density: how each falls off with distance, its volume, its spread, its draws."""

from __future__ import annotations

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from jaxmed.core import Array, Key, stream
from jaxmed.stats import checks

Kernel = Literal["gaussian", "epanechnikov", "tophat", "exponential", "linear"]


def check_kernel(kernel: Any) -> Kernel:
    """The kernel, if it is one."""
    if kernel not in get_args(Kernel):
        raise checks.unknown("kernel", kernel, get_args(Kernel))
    return kernel


def log_profile(kernel: Kernel, squared: Array) -> Array:
    """The logarithm of a kernel without its constant, of the squared distance in bandwidths."""
    if kernel == "gaussian":
        return -squared / 2
    if kernel == "exponential":
        return -jnp.sqrt(squared)
    inside = squared < 1
    held = jnp.where(inside, squared, 0)
    if kernel == "tophat":
        height = jnp.zeros_like(held)
    else:
        height = jnp.log1p(-(held if kernel == "epanechnikov" else jnp.sqrt(held)))
    return jnp.where(inside, height, -jnp.inf)


def log_constant(kernel: Kernel, d: int) -> float:
    """The logarithm of the integral of ``exp(log_profile)`` over d dimensions."""
    if kernel == "gaussian":
        return d * np.log(2 * np.pi) / 2
    ball = d * np.log(np.pi) / 2 - gammaln(d / 2 + 1)
    share = {
        "tophat": 0.0,
        "epanechnikov": np.log(2 / (d + 2)),
        "linear": -np.log(d + 1),
        "exponential": gammaln(d + 1),
    }[kernel]
    return float(ball + share)


def deviation(kernel: Kernel, d: int) -> float:
    """The standard deviation of a kernel of bandwidth 1 along each of d axes."""
    variance = {
        "gaussian": 1.0,
        "tophat": 1 / (d + 2),
        "epanechnikov": 1 / (d + 4),
        "linear": (d + 1) / ((d + 2) * (d + 3)),
        "exponential": d + 1.0,
    }[kernel]
    return float(np.sqrt(variance))


def draws(kernel: Kernel, key: Key, n: int, d: int) -> NDArray[np.float64]:
    """N draws (n, d) of a kernel of bandwidth 1 about 0."""
    noise = np.asarray(jax.random.normal(stream(key, "noise"), (n, d)), np.float64)
    if kernel == "gaussian":
        return noise
    own = stream(key, "radius")
    if kernel == "tophat":
        radius = jax.random.uniform(own, (n,)) ** (1 / d)
    elif kernel == "epanechnikov":
        radius = jnp.sqrt(jax.random.beta(own, d / 2, 2.0, (n,)))
    elif kernel == "linear":
        radius = jax.random.beta(own, float(d), 2.0, (n,))
    else:
        radius = jax.random.gamma(own, float(d), (n,))
    length = np.linalg.norm(noise, axis=1, keepdims=True)
    return noise / length * np.asarray(radius, np.float64)[:, None]
