"""Ridge regression from moments: the solution, and the choice of the ridge."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

from jaxmed.core import Array
from jaxmed.paradigms.least_squares._moments import Moments

# A feature whose deviation is a smaller part of its mean is a constant to float32.
_DEAD = 1e-5
_POWERS = (-7.0, 1.0, 33)  # of ten, times the count: the grid that "gcv" looks at
_HIGHEST = jax.lax.Precision.HIGHEST


class Linear(NamedTuple):
    """``y = h @ kernel + bias``.

    Attributes:
        kernel: ``(features, outputs)``.
        bias: ``(outputs,)``.
    """

    kernel: Array
    bias: Array


class Spectrum(NamedTuple):
    """The scaled products of features, in their own basis: every ridge at once.

    Attributes:
        values: eigenvalues ``(features,)``, none below 0.
        basis: ``(features, features)``: scaled features times this are uncorrelated.
        targets: ``(features, outputs)``: their products with the targets.
        scale: what each feature is multiplied with; 0 for one that does not vary.
    """

    values: Array
    basis: Array
    targets: Array
    scale: Array


def alive(moments: Moments) -> Array:
    """Which features vary, ``(features,)``."""
    variance = jnp.diagonal(moments.hh) / jnp.where(moments.count > 0, moments.count, 1)
    return variance > jnp.square(_DEAD * moments.mean_h)


def feature_scale(moments: Moments, *, standardise: bool) -> Array:
    """What each feature is multiplied with: one over its deviation, or 1; 0 if it is constant."""
    living = alive(moments)
    if not standardise:
        return living.astype(moments.hh.dtype)
    count = jnp.where(moments.count > 0, moments.count, 1)
    variance = jnp.where(living, jnp.diagonal(moments.hh) / count, 1)
    return jnp.where(living, 1 / jnp.sqrt(variance), 0)


def solve_ridge(moments: Moments, ridge: Array | float, *, standardise: bool) -> Linear:
    """The least of ``sum w |y - h kernel - bias|^2 + ridge |kernel|^2``, the bias being free.

    Args:
        moments: of the rows.
        ridge: positive. One that the sums cannot resolve,
            ``eps * trace / sqrt(features)`` with the ``eps`` of their dtype, counts as that; and
            where Cholesky's factorisation fails all the same, it is taken times 10 until it does
            not.
        standardise: whether the penalty is on the kernel of features divided by their deviations.

    Returns:
        The solution, in units of the features as they are.
    """
    scale = feature_scale(moments, standardise=standardise)
    system = moments.hh * jnp.outer(scale, scale)
    at = jnp.diag_indices(len(scale))
    trace = jnp.trace(system)
    ridge = jnp.maximum(jnp.asarray(ridge, system.dtype), _resolved(trace, len(scale)))

    def factor(ridge):
        return cho_factor(system.at[at].add(ridge), lower=True)[0]

    def failed(carry):
        ridge, triangle = carry
        # Sums that are not finite have no factor at any ridge.
        return ~jnp.isfinite(triangle[at]).all() & jnp.isfinite(trace) & (ridge <= trace + 1)

    def stronger(carry):
        return 10 * carry[0], factor(10 * carry[0])

    _, triangle = jax.lax.while_loop(failed, stronger, (ridge, factor(ridge)))
    kernel = scale[:, None] * cho_solve((triangle, True), scale[:, None] * moments.hy)
    return _with_bias(kernel, moments)


def spectrum(moments: Moments, *, standardise: bool) -> Spectrum:
    """One eigendecomposition, from which the solution for any ridge follows."""
    scale = feature_scale(moments, standardise=standardise)
    values, basis = jnp.linalg.eigh(moments.hh * jnp.outer(scale, scale))
    targets = jnp.matmul(basis.T, scale[:, None] * moments.hy, precision=_HIGHEST)
    return Spectrum(jnp.maximum(values, 0), basis, targets, scale)


def solve_spectrum(found: Spectrum, moments: Moments, ridge: Array) -> Linear:
    """:func:`solve_ridge` from a spectrum."""
    ridge = jnp.maximum(ridge, least_ridge(found))
    inside = found.targets / (found.values + ridge)[:, None]
    kernel = found.scale[:, None] * jnp.matmul(found.basis, inside, precision=_HIGHEST)
    return _with_bias(kernel, moments)


def least_ridge(found: Spectrum) -> Array:
    """The smallest ridge that the digits of the sums resolve."""
    return _resolved(found.values.sum(), len(found.values))


def _resolved(trace: Array, features: int) -> Array:
    limits = jnp.finfo(trace.dtype)
    return jnp.maximum(limits.eps * trace / features**0.5, limits.tiny)


def ridge_grid(moments: Moments) -> Array:
    """The ridges that are looked at where none are given: 1e-7 to 10 times the count."""
    return jnp.logspace(*_POWERS, dtype=moments.hh.dtype) * jnp.maximum(moments.count, 1)


def generalised_cross_validation(found: Spectrum, moments: Moments, ridges: Array) -> Array:
    """The criterion of each ridge, ``n RSS / (n - df)^2`` summed over the outputs.

    Args:
        found: of the moments.
        moments: of the rows.
        ridges: ``(ridges,)``.

    Returns:
        ``(ridges,)``; infinity where there are next to as many degrees of freedom as rows, and for
        ridges that the sums do not resolve: there the criterion is a quotient of rounding errors.

    References:
        Golub, Heath and Wahba (1979), Generalized cross-validation as a method for choosing a good
        ridge parameter, Technometrics 21.
    """
    s, lam = found.values[:, None], ridges[None, :]
    power = jnp.square(found.targets).sum(-1)[:, None]
    explained = (power * (s + 2 * lam) / jnp.square(s + lam)).sum(0)
    whole = moments.yy.sum()
    residual = jnp.maximum(whole - explained, jnp.finfo(whole.dtype).eps * whole)
    left = moments.count - 1 - (s / (s + lam)).sum(0)
    sound = (left > 1e-3 * moments.count) & (ridges >= least_ridge(found))
    return jnp.where(sound, moments.count * residual / jnp.square(left), jnp.inf)


def choose_ridge(found: Spectrum, moments: Moments, ridges: Array) -> Array:
    """The ridge of the least criterion; the largest where none is sound."""
    criterion = generalised_cross_validation(found, moments, ridges)
    return jnp.where(jnp.isfinite(criterion).any(), ridges[criterion.argmin()], ridges.max())


def leave_one_out_of(
    found: Spectrum, moments: Moments, ridges: Array, h: Array, weight: Array
) -> tuple[Array, Array]:
    """What each row would be predicted by all the others, for each ridge.

    Exact, the scale of the features being that of all rows: with the leverage ``l`` of a row its
    residual without it is ``(y - fit) / (1 - l)``.

    Args:
        found: of the moments.
        moments: of all rows.
        ridges: ``(ridges,)``.
        h: features of some of those rows, ``(rows, features)``.
        weight: theirs, ``(rows,)``.

    Returns:
        The fit ``(ridges, rows, outputs)`` and the leverages ``(ridges, rows)``.

    References:
        Allen (1974), The relationship between variable selection and data augmentation and a
        method for prediction, Technometrics 16.
    """
    own = jnp.matmul((h - moments.mean_h) * found.scale, found.basis, precision=_HIGHEST)
    shrunk = 1 / (found.values[None, :] + ridges[:, None])  # (ridges, features)
    fit = moments.mean_y + jnp.einsum(
        "nf,rf,fk->rnk", own, shrunk, found.targets, precision=_HIGHEST
    )
    count = jnp.where(moments.count > 0, moments.count, 1)
    leverage = 1 / count + jnp.matmul(shrunk, jnp.square(own).T, precision=_HIGHEST)
    return fit, weight * leverage


def _with_bias(kernel: Array, moments: Moments) -> Linear:
    return Linear(kernel, moments.mean_y - jnp.matmul(moments.mean_h, kernel, precision=_HIGHEST))
