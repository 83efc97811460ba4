"""The recurrence of a selective state space, by an associative scan."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxmed.core import Array


def selective_scan(
    x: Array, step: Array, decay: Array, into: Array, out: Array, *, chunk: int = 256
) -> Array:
    r"""Run a linear recurrence whose coefficients depend on the input, all times at once.

    .. math::

        h_t = e^{\Delta_t A} h_{t-1} + \Delta_t B_t x_t, \qquad y_t = C_t h_t

    for each of d channels with n numbers of state. Pairs (factor, summand) are combined
    associatively, so that a sequence of length t takes :math:`\log_2 t` steps. States are kept for
    one chunk at a time, in the backward pass too, which computes them again.

    Args:
        x: ``(batch, time, d)``.
        step: :math:`\Delta`, ``(batch, time, d)``, positive.
        decay: :math:`A`, ``(d, n)``, negative.
        into: :math:`B`, ``(batch, time, n)``.
        out: :math:`C`, ``(batch, time, n)``.
        chunk: times that are computed at once: memory is ``batch * chunk * d * n`` numbers.

    Returns:
        ``(batch, time, d)``, at least float32.

    Raises:
        ValueError: if the shapes do not belong together, or the chunk is less than 1.

    References:
        Gu and Dao, Mamba: linear-time sequence modeling with selective state spaces, COLM 2024.

    >>> ones = jnp.ones((1, 3, 1))
    >>> selective_scan(ones, ones, -jnp.ones((1, 1)), ones, ones).ravel().round(2).tolist()
    [1.0, 1.37..., 1.5...]
    """
    batch, time, d = x.shape
    n = decay.shape[-1]
    if step.shape != x.shape or decay.shape != (d, n) or chunk < 1:
        raise ValueError(
            "x and step are (batch, time, d), decay is (d, n) and chunk at least 1, got "
            f"{x.shape}, {step.shape}, {decay.shape} and {chunk}"
        )
    if into.shape != (batch, time, n) or out.shape != (batch, time, n):
        raise ValueError(
            f"into and out are (batch, time, n), {(batch, time, n)}, got {into.shape}, {out.shape}"
        )
    wide = jnp.promote_types(x.dtype, jnp.float32)
    x, step, decay, into, out = (a.astype(wide) for a in (x, step, decay, into, out))
    chunk = min(chunk, time)
    count = -(-time // chunk)

    def cut(a: Array) -> Array:
        # Steps of 0 change nothing: the state stays, and nothing is added.
        a = jnp.pad(a, [(0, 0), (0, count * chunk - time), (0, 0)])
        return jnp.moveaxis(a.reshape(batch, count, chunk, -1), 1, 0)

    @jax.checkpoint
    def one(state: Array, parts: tuple[Array, ...]) -> tuple[Array, Array]:
        x, step, into, out = parts
        factors = jnp.exp(step[..., None] * decay)
        summands = (step * x)[..., None] * into[:, :, None]
        factors, summands = lax.associative_scan(_both, (factors, summands), axis=1)
        states = factors * state[:, None] + summands
        return states[:, -1], jnp.einsum("btdn,btn->btd", states, out)

    start = jnp.zeros((batch, d, n), wide)
    _, y = lax.scan(one, start, tuple(map(cut, (x, step, into, out))))
    return jnp.moveaxis(y, 0, 1).reshape(batch, count * chunk, d)[:, :time]


def _both(first: tuple[Array, Array], then: tuple[Array, Array]) -> tuple[Array, Array]:
    """Compose two affine maps of a state, factor and summand."""
    return first[0] * then[0], first[1] * then[0] + then[1]
