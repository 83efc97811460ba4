"""Kernels of a density: how each falls off with distance, its volume, its spread, its draws."""

from __future__ import annotations

import itertools
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from jaxmed.core import Array, Key, stream
from jaxmed.stats import checks

Kernel = Literal[
    "gaussian", "epanechnikov", "biweight", "triweight", "cosine", "tophat", "linear", "exponential"
]
_POWER = {"tophat": 0, "epanechnikov": 1, "biweight": 2, "triweight": 3}
"""Of ``1 - u^2``."""


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
    elif kernel == "linear":
        height = jnp.log1p(-jnp.sqrt(held))
    elif kernel == "cosine":
        height = jnp.log(jnp.cos(jnp.pi / 2 * jnp.sqrt(held)))
    else:
        height = _POWER[kernel] * jnp.log1p(-held)
    return jnp.where(inside, height, -jnp.inf)


def log_constant(kernel: Kernel, d: int) -> float:
    """The logarithm of the integral of ``exp(log_profile)`` over d dimensions."""
    if kernel == "gaussian":
        return d * np.log(2 * np.pi) / 2
    ball = d * np.log(np.pi) / 2 - gammaln(d / 2 + 1)
    if kernel in _POWER:
        p = _POWER[kernel]
        share = gammaln(p + 1) + gammaln(d / 2 + 1) - gammaln(d / 2 + p + 1)
    elif kernel == "cosine":
        share = np.log(d * _cosine_moment(d - 1))
    else:
        share = {"linear": -np.log(d + 1), "exponential": gammaln(d + 1)}[kernel]
    return float(ball + share)


def deviation(kernel: Kernel, d: int) -> float:
    """The standard deviation of a kernel of bandwidth 1 along each of d axes."""
    if kernel in _POWER:
        variance = 1 / (d + 2 * _POWER[kernel] + 2)
    elif kernel == "cosine":
        variance = _cosine_moment(d + 1) / _cosine_moment(d - 1) / d
    else:
        variance = {
            "gaussian": 1.0,
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
    elif kernel in _POWER:
        radius = jnp.sqrt(jax.random.beta(own, d / 2, _POWER[kernel] + 1.0, (n,)))
    elif kernel == "cosine":
        radius = _cosine_radius(own, n, d)
    elif kernel == "linear":
        radius = jax.random.beta(own, float(d), 2.0, (n,))
    else:
        radius = jax.random.gamma(own, float(d), (n,))
    length = np.linalg.norm(noise, axis=1, keepdims=True)
    return noise / length * np.asarray(radius, np.float64)[:, None]


def _cosine_moment(k: int) -> float:
    """The integral of ``u**k cos(pi u / 2)`` from 0 to 1.

    By parts from u = 1 on, for any k: the usual recurrence from k = 0 loses all digits by k = 30.
    """
    total, term = 0.0, np.pi / 2 / ((k + 1) * (k + 2))
    for i in range(20):
        total += term
        term *= -((np.pi / 2) ** 2) / ((k + 2 * i + 3) * (k + 2 * i + 4))
    return total


def _cosine_radius(key: Key, n: int, d: int) -> NDArray[np.float64]:
    """Radii of the cosine kernel: those of Epanechnikov's, of which at least 3 in 4 are kept."""
    radius, missing = np.zeros(n), np.ones(n, bool)
    for step in itertools.count():
        if not missing.any():
            return radius
        now = stream(key, step)
        squared = np.asarray(jax.random.beta(stream(now, "radius"), d / 2, 2.0, (n,)), np.float64)
        uniform = np.asarray(jax.random.uniform(stream(now, "keep"), (n,)), np.float64)
        kept = missing & (uniform * (1 - squared) < np.cos(np.pi / 2 * np.sqrt(squared)))
        radius[kept], missing[kept] = np.sqrt(squared[kept]), False
    raise AssertionError
