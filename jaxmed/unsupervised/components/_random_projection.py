"""Random projections, as networks."""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, Network, from_functions, stream
from jaxmed.stats import checks


def random_projection(
    n: int,
    *,
    kind: Literal["gaussian", "sparse", "hadamard"] = "gaussian",
    density: float = 1 / 3,
) -> Network:
    """Project rows on n random directions: a network that is not trained.

    Squared lengths and distances stay what they are, on average over the draws.

    Args:
        n: the number of directions.
        kind: ``"gaussian"``, independent normal numbers; ``"sparse"``, of which a share is not 0
            and has one size; ``"hadamard"``, signs drawn for the features, then n of the rows of a
            Hadamard matrix, which costs ``d log d`` in place of ``d n``.
        density: the share that is not 0 in ``"sparse"``; 1/3 is Achlioptas's.

    Returns:
        The network, from (m, ...) to ``features`` (m, n). What was drawn is its state, so that no
        optimizer changes it.

    Raises:
        ValueError: for an unknown kind or a density outside (0, 1]; at ``init``, if ``"hadamard"``
            is to have more directions than features, these filled up to a power of 2.

    References:
        Johnson and Lindenstrauss (1984), Extensions of Lipschitz mappings into a Hilbert space,
        Contemporary Mathematics 26:189. Achlioptas (2003), Database-friendly random projections,
        Journal of Computer and System Sciences 66:671. Ailon and Chazelle (2009), The fast
        Johnson-Lindenstrauss transform, SIAM Journal on Computing 39:302.

    Examples:
        >>> network = random_projection(3)
        >>> _, state = network.init(jax.random.key(0), jnp.ones((1, 5)))
        >>> network.apply({}, state, jnp.ones((2, 5)))[0]["features"].shape
        (2, 3)
    """
    n = checks.check_whole(n, "n", 1)
    if kind not in ("gaussian", "sparse", "hadamard"):
        raise checks.unknown("kind", kind, ("gaussian", "sparse", "hadamard"))
    if not 0 < density <= 1:
        raise ValueError(f"density must lie in (0, 1], but is {density}")

    def init(key: Key, inputs):
        d = math.prod(jnp.shape(inputs)[1:])
        if kind == "gaussian":
            return {}, {"matrix": jax.random.normal(stream(key, "matrix"), (d, n)) / math.sqrt(n)}
        if kind == "sparse":
            uniform = jax.random.uniform(stream(key, "matrix"), (d, n))
            signs = jnp.where(uniform < density / 2, -1.0, 1.0)
            size = 1 / math.sqrt(density * n)
            return {}, {"matrix": jnp.where(uniform < density, signs * size, 0)}
        padded = _power_of_2(d)
        if n > padded:
            raise ValueError(
                f"{d} features, filled up to {padded}, have no {n} different rows of a Hadamard "
                'matrix: give a smaller n, or kind="gaussian"'
            )
        order = jax.random.permutation(stream(key, "rows"), padded)[:n]
        return {}, {"signs": jax.random.rademacher(stream(key, "signs"), (d,)), "rows": order}

    def apply(params, state, inputs, *, key=None, train=False):
        del params, key, train
        x = jnp.reshape(inputs, (inputs.shape[0], -1))
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
        if kind != "hadamard":
            matrix = state["matrix"].astype(x.dtype)
            found = jnp.matmul(x, matrix, precision=jax.lax.Precision.HIGHEST)
        else:
            found = hadamard(x * state["signs"].astype(x.dtype))[:, state["rows"]] / math.sqrt(n)
        return {"features": found}, state

    return from_functions(init, apply, stateful=True)


def hadamard(x: Array) -> Array:
    """Rows (m, d) times the Hadamard matrix of the next power of 2, whose entries are 1 and -1."""
    m, d = x.shape
    size = _power_of_2(d)
    x = jnp.pad(x, ((0, 0), (0, size - d)))
    half = 1
    while half < size:
        pairs = x.reshape(m, -1, 2, half)
        first, second = pairs[:, :, 0], pairs[:, :, 1]
        x = jnp.stack([first + second, first - second], 2).reshape(m, size)
        half *= 2
    return x


def _power_of_2(d: int) -> int:
    return 1 << (d - 1).bit_length()


def enough_dimensions(n: int, distortion: float) -> int:
    r"""Return how many random directions keep all squared distances of n rows to a share.

    .. math:: k \ge 4 \ln n / (\epsilon^2 / 2 - \epsilon^3 / 3)

    Then some projection, and one of n at random with probability 1 / n or more, changes no squared
    distance between two of the rows by more than the share. It depends on no number of features.

    Args:
        n: rows.
        distortion: the share, in (0, 1).

    References:
        Dasgupta and Gupta (2003), An elementary proof of a theorem of Johnson and Lindenstrauss,
        Random Structures and Algorithms 22:60.

    Examples:
        >>> enough_dimensions(1000, 0.2)
        1595
    """
    n = checks.check_whole(n, "n", 2)
    checks.check_rate(distortion, "distortion")
    return math.ceil(4 * math.log(n) / (distortion**2 / 2 - distortion**3 / 3))
