"""Normal distribution observed through rounding, accurate far in the tails."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special
from numpyro import distributions
from numpyro.distributions import constraints

from jaxmed.core import Array

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_LOG_ROOT = 0.5 * math.log(2 * math.pi)


class RoundedNormal(distributions.Distribution):
    r"""Normal distribution of values rounded to a step: scores, grades, counts on a coarse scale.

    .. math:: p(y) = \frac{1}{h} \left[ \Phi\left(\frac{y + h/2 - \mu}{\sigma}\right)
        - \Phi\left(\frac{y - h/2 - \mu}{\sigma}\right) \right]

    This is the probability that the value rounds to `y`, divided by the step: a density in the
    unit of `y` (that of the normal plus a uniform of width `h`) that never exceeds `1 / h`, however
    small the noise.

    Args:
        loc: mean of the value before rounding.
        scale: standard deviation of the value before rounding, positive.
        step: distance between neighbouring values.
    """

    arg_constraints = {  # noqa: RUF012 NumPyro's declaration of a distribution
        "loc": constraints.real,
        "scale": constraints.positive,
        "step": constraints.positive,
    }
    support = constraints.real
    reparametrized_params = ["loc", "scale"]  # noqa: RUF012

    def __init__(self, loc: Array, scale: Array, step: Array | float, *, validate_args=None):
        shape = jnp.broadcast_shapes(*(jnp.shape(x) for x in (loc, scale, step)))
        self.loc, self.scale, self.step = (jnp.broadcast_to(x, shape) for x in (loc, scale, step))
        super().__init__(batch_shape=shape, validate_args=validate_args)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw from the density: the normal plus a uniform of width `step`."""
        shape = (*sample_shape, *self.batch_shape)
        one, two = jax.random.split(key)
        noise = jax.random.normal(one, shape, jnp.result_type(self.loc))
        within = jax.random.uniform(two, shape, noise.dtype, -0.5, 0.5)
        return self.loc + self.scale * noise + self.step * within

    def log_prob(self, value: Array) -> Array:
        """Return the log density."""
        middle = (value - self.loc) / self.scale
        return log_interval(middle, 0.5 * self.step / self.scale) - jnp.log(self.step)

    @property
    def mean(self) -> Array:
        """Mean of the density."""
        return self.loc

    @property
    def variance(self) -> Array:
        """Variance of the density: that of the normal plus that of the uniform."""
        return self.scale**2 + self.step**2 / 12


@jax.custom_jvp
def log_interval(middle: Array, half: Array) -> Array:
    r"""Compute the log probability of an interval under the standard normal.

    .. math:: \log\left[\Phi(m + h) - \Phi(m - h)\right]

    Args:
        middle: midpoint of the interval, any number.
        half: half width of the interval, positive.
    """
    return _interval(middle, half)[0]


@log_interval.defjvp
def _log_interval_jvp(primals, tangents):
    # Densities at the two ends divided by the probability. Each alone may underflow.
    (middle, half), (d_middle, d_half) = primals, tangents
    value, near = _interval(middle, half)
    exponent = -2 * half * jnp.abs(middle)  # logarithm of the far end's density over the near end's
    along = jnp.sign(middle) * near * jnp.expm1(exponent)
    return value, along * d_middle + near * (1 + jnp.exp(exponent)) * d_half


def _interval(middle: Array, half: Array) -> tuple[Array, Array]:
    """Return the log probability, and the density at the end nearer to 0 over the probability."""
    x = jnp.abs(middle)
    low, high = x - half, x + half
    # Narrow, with little change of density: quadrature, since the formulae below cancel.
    narrow = (half <= 0.5) & (x * half <= 1)
    tilt = jnp.where(narrow, x * half, 0.0)[..., None]
    small = jnp.where(narrow, half, 0.5)
    nodes, weights = (jnp.asarray(v, small.dtype) for v in (_NODES, _WEIGHTS))
    density = jnp.exp(-tilt * nodes - 0.5 * (small[..., None] * nodes) ** 2)
    mass = small * (weights * density).sum(-1)
    log_narrow = jnp.log(mass) - 0.5 * x**2 - _LOG_ROOT
    near_narrow = jnp.exp(tilt[..., 0] - 0.5 * small**2) / mass
    # Wide and containing 0: the complement is small.
    log_wide = jnp.log1p(-(special.ndtr(-high) + special.ndtr(jnp.minimum(low, 0.0))))
    near_wide = jnp.exp(-0.5 * low**2 - _LOG_ROOT - log_wide)
    # In a tail: the density at the near end is factored out, so that nothing underflows.
    rest = _mills(jnp.maximum(low, 0.0)) - _mills(high) * jnp.exp(-2 * x * half)
    rest = jnp.where(narrow | (low < 0), 1.0, rest)
    log_tail = jnp.log(rest) - 0.5 * low**2 - _LOG_ROOT
    pick = lambda *of: jnp.where(narrow, of[0], jnp.where(low < 0, *of[1:]))  # noqa: E731
    return pick(log_narrow, log_wide, log_tail), pick(near_narrow, near_wide, 1 / rest)


def _mills(x: Array) -> Array:
    """Compute the Mills ratio, `(1 - Phi(x)) / phi(x)`, for non-negative x."""
    near = jnp.minimum(x, 5.0)
    direct = math.sqrt(math.pi / 2) * special.erfc(near / math.sqrt(2)) * jnp.exp(0.5 * near**2)
    far = jnp.maximum(x, 5.0)
    fraction = far
    for k in range(16, 0, -1):
        fraction = far + k / fraction
    return jnp.where(x < 5, direct, 1 / fraction)
