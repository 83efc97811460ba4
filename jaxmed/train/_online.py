"""Optimizers of streams: gradient and Newton steps whose regret has a bound."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxmed.core import Array, PyTree

_LARGEST = 2**14  # Parameters whose square matrix, 1 GiB, may be kept.
_STEPS = 30  # Of Newton's rule for the multiplier of a projection.


class OnlineGradientState(NamedTuple):
    """The number of rounds so far."""

    count: Array


class OnlineNewtonState(NamedTuple):
    """What online Newton knows of the gradients so far.

    Attributes:
        root: (d, d) a root R of the inverse, ``R @ R.T = inv(epsilon I + sum of g g')``.
    """

    root: Array


def online_gradient(
    rate: float, *, radius: float | None = None, curvature: float | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Online gradient descent: steps that fall so that the regret has a bound.

    .. math:: x_{t+1} = \Pi(x_t - \eta_t g_t), \qquad \eta_t = \eta / \sqrt t
        \ \text{ or, of losses of curvature } H, \ \eta_t = \eta / (H t)

    Of convex losses with gradients up to G on a ball of diameter D the regret grows with
    :math:`\sqrt T`, least at :math:`\eta = D / G`; of losses that are strongly convex, with their
    curvature given and :math:`\eta = 1`, with :math:`\log T`.

    Args:
        rate: :math:`\eta`.
        radius: of the ball about 0 in which all parameters together stay; None for no bound.
        curvature: H, the least second derivative of every loss in every direction.

    Returns:
        The Optax transformation, for :func:`jaxmed.learner`.

    Raises:
        ValueError: for a number that is not positive and finite.

    References:
        Zinkevich (2003), Online convex programming and generalized infinitesimal gradient ascent,
        ICML. Hazan, Agarwal and Kale (2007), Logarithmic regret algorithms for online convex
        optimization, Machine Learning 69.

    >>> rule = online_gradient(1.0, radius=1.0)
    >>> x = jnp.array([0.6, 0.0])
    >>> change, _ = rule.update(jnp.array([-2.0, 0.0]), rule.init(x), x)
    >>> optax.apply_updates(x, change).tolist()
    [1.0, 0.0]
    """
    rate, radius, curvature = (
        _positive(rate, "rate"), _positive(radius, "radius"), _positive(curvature, "curvature")
    )  # fmt: skip

    def init(params: PyTree) -> OnlineGradientState:
        return OnlineGradientState(jnp.zeros((), jnp.int32))

    def update(gradients, state, params=None, **extra):
        count = state.count + 1
        fall = jnp.sqrt(count) if curvature is None else count * curvature
        x, g, back = _flat(params, gradients)
        moved = x - rate / fall * g
        if radius is not None:
            moved = moved * jnp.minimum(1, radius / jnp.maximum(jnp.linalg.norm(moved), 1e-30))
        return back(moved - x), OnlineGradientState(count)

    return optax.GradientTransformationExtraArgs(init, update)


def online_newton(
    gamma: float, *, epsilon: float | None = None, radius: float | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Online Newton steps: regret that grows with :math:`\log T` for exp-concave losses.

    .. math:: A_t = A_{t-1} + g_t g_t^\top, \qquad A_0 = \epsilon I, \qquad
        x_{t+1} = \Pi^{A_t}\Big(x_t - \frac1\gamma A_t^{-1} g_t\Big)

    A loss is :math:`\alpha`-exp-concave where :math:`e^{-\alpha f}` is concave, as squared errors
    and log losses of linear models with bounded inputs are. With gradients up to G on a ball of
    diameter D, :math:`\gamma = \frac12 \min(\frac1{4GD}, \alpha)` and the default
    :math:`\epsilon`, the regret against any point of the ball is at most

    .. math:: \frac1{2\gamma} \Big(\ln\frac{\det A_T}{\det A_0} + 1\Big)

    Whatever curvature there is lies along the gradients, so no second derivative is taken. The
    inverse is kept as a root that each gradient changes in :math:`O(d^2)` (Sherman and Morrison's
    formula in Potter's form, which rounding cannot make negative); only a step that leaves the ball
    costs an eigendecomposition. Memory is :math:`d^2`: for a head on features, not for a network.

    Args:
        gamma: :math:`\gamma`, the smaller the longer the steps.
        epsilon: what A begins with; by default :math:`1 / (\gamma D)^2` with a radius, else 1.
        radius: D / 2, of the ball about 0 in which all parameters together stay, nearest by
            :math:`A_t`; None for no bound.

    Returns:
        The Optax transformation, for :func:`jaxmed.learner`. One step is one round: of a batch its
        mean loss.

    Raises:
        ValueError: for a number that is not positive and finite; at ``init``, for more than 16,384
            parameters.

    References:
        Hazan, Agarwal and Kale (2007), Logarithmic regret algorithms for online convex
        optimization, Machine Learning 69.

    >>> rule = online_newton(0.5)
    >>> x = jnp.zeros(2)
    >>> change, state = rule.update(jnp.array([1.0, 0.0]), rule.init(x), x)
    >>> (change.round(4) + 0).tolist()  # A is now [[2, 0], [0, 1]]
    [-1.0, 0.0]
    """
    gamma, radius = _positive(gamma, "gamma"), _positive(radius, "radius")
    epsilon = _positive(epsilon, "epsilon")
    if epsilon is None:
        epsilon = 1.0 if radius is None else 1 / (gamma * 2 * radius) ** 2

    def init(params: PyTree) -> OnlineNewtonState:
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        if size > _LARGEST:
            raise ValueError(
                f"online Newton keeps a matrix of {size} x {size} for {size} parameters; up to "
                f"{_LARGEST} can be: train a head on features that are fixed"
            )
        dtype = jax.dtypes.canonicalize_dtype(ravel_pytree(params)[0].dtype)
        dtype = jnp.promote_types(dtype, jnp.float32)
        return OnlineNewtonState(jnp.eye(size, dtype=dtype) / jnp.sqrt(epsilon).astype(dtype))

    def update(gradients, state, params=None, **extra):
        x, g, back = _flat(params, gradients)
        x, g = x.astype(state.root.dtype), g.astype(state.root.dtype)
        along = g @ state.root
        grown = 1 + along @ along
        scale = 1 / (grown + jnp.sqrt(grown))
        root = state.root - scale * jnp.outer(state.root @ along, along)
        moved = x - root @ (g @ root) / gamma
        if radius is not None:
            far = jnp.linalg.norm(moved) > radius
            inside = functools.partial(_nearest, moved, root, radius)
            moved = jax.lax.cond(far, inside, lambda: moved)
        return back(moved - x), OnlineNewtonState(root)

    return optax.GradientTransformationExtraArgs(init, update)


def _nearest(x: Array, root: Array, radius: float) -> Array:
    """The point of a ball about 0 that is nearest to x outside it, by the norm of A."""
    vectors, spread, _ = jnp.linalg.svd(root)
    inverse = spread**2  # the eigenvalues of A's inverse
    along = x @ vectors

    # (I + m inv(A))^-1 x has the length of the radius at one m; from 0 Newton's rule, on the
    # inverse of the length, comes up to it and never passes it.
    def better(_: int, m: Array) -> Array:
        y = along / (1 + m * inverse)
        length = jnp.linalg.norm(y)
        slope = (y**2 * inverse / (1 + m * inverse)).sum()
        return m + length**2 / slope * (length - radius) / radius

    m = jax.lax.fori_loop(0, _STEPS, better, jnp.zeros((), x.dtype))
    y = along / (1 + m * inverse)
    return vectors @ (y * radius / jnp.linalg.norm(y))


def _flat(params: PyTree, gradients: PyTree) -> tuple[Array, Array, Any]:
    if params is None:
        raise ValueError("this optimizer needs the parameters: update(gradients, state, params)")
    x, back = ravel_pytree(params)
    return x, ravel_pytree(gradients)[0], lambda change: back(change.astype(x.dtype))


def _positive(value: float | None, name: str) -> Any:
    if value is not None and not 0 < value < float("inf"):
        raise ValueError(f"{name} must be positive and finite, but is {value}")
    return None if value is None else float(value)
