"""Gates of convolutional and multi-dimensional cells, and one directed pass of each."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp

from jaxmed import ops
from jaxmed.core import Array

GATES = {"lstm": 4, "gru": 3}


def conv_sweep(
    driven: Array, kernel: Array, bias: Array, *, cell: str, axis: int, reverse: bool, remat: bool
) -> Array:
    """Sweep a convolutional cell along one axis, convolving what it carries over the others.

    Args:
        driven: ``(batch, *spatial, gates * width)``: what the input gives to each gate. The LSTM's
            gates are input, forget, cell, output; the GRU's reset, update, new.
        kernel: ``(*window, width, gates * width)``, over all axes but the one swept along.
        bias: ``(gates * width,)``, of what is carried: the GRU's reset gate multiplies the new
            gate's part of it too.
        cell: ``"lstm"`` or ``"gru"``.
        axis: along which to go.
        reverse: whether to begin at the far end.
        remat: whether to compute each step again in the backward pass.

    Returns:
        ``(batch, *spatial, width)``.
    """
    width = kernel.shape[-2]
    plane = tuple(n for i, n in enumerate(driven.shape[1:-1], start=1) if i != axis)
    nothing = jnp.zeros((driven.shape[0], *plane, width), driven.dtype)

    def recurrent(h: Array) -> Array:
        if not plane:
            return h @ kernel + bias
        return ops.conv(h, kernel, bias=bias)

    def lstm(carry: tuple[Array, Array], given: list[Array]):
        c, h = carry
        carried = jnp.split(recurrent(h), 4, axis=-1)
        i, f, g, o = (own + other for own, other in zip(given, carried, strict=True))
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (c, h), h

    def gru(h: Array, given: list[Array]):
        xr, xz, xn = given
        hr, hz, hn = jnp.split(recurrent(h), 3, axis=-1)
        new = jnp.tanh(xn + jax.nn.sigmoid(xr + hr) * hn)
        z = jax.nn.sigmoid(xz + hz)
        h = (1 - z) * new + z * h
        return h, h

    step, start = (lstm, (nothing, nothing)) if cell == "lstm" else (gru, nothing)
    # One array a gate: taken apart within the loop, they double the time of a forward pass.
    gates = jnp.split(driven, GATES[cell], axis=-1)
    return ops.sweep(step, gates, start=start, axis=axis, reverse=reverse, remat=remat)[1]


def md_gates(cell: str, axes: int) -> int:
    """How many gates a multi-dimensional cell has: input, cell, output, and what forgets."""
    return 3 + axes if cell == "graves" else 4 + axes


def md_sweep(driven: Array, kernels: Array, *, cell: str, remat: bool) -> Array:
    """Sweep a multi-dimensional LSTM from the first corner, diagonal by diagonal.

    A place sees its neighbour before it along every axis. Places whose indices add up to one
    number do not see each other and are computed at once, so the loop is as long as the sum of the
    axes and not as their product.

    Args:
        driven: ``(batch, *spatial, gates * width)``: what the input gives to each gate.
        kernels: ``(axes, width, gates * width)``: of the neighbour along each axis.
        cell: ``"graves"``: ``c = i g + sum_k f_k c_k``, whose forget gates may add up to more than
            1; or ``"stable"``: ``c = (1 - f) i g + f sum_k w_k c_k`` with weights ``w`` that
            add up to 1, so that no state leaves (-1, 1).
        remat: whether to compute each diagonal again in the backward pass.

    Returns:
        ``(batch, *spatial, width)``.
    """
    axes, width = kernels.shape[0], kernels.shape[1]
    spatial = driven.shape[1:-1]
    front, last = spatial[:-1], spatial[-1]
    # Place (i, j, ..., k) is computed in turn i + j + ... + k, and lies at (i, j, ...) there.
    offset = sum(jnp.ix_(*(jnp.arange(n) for n in front))) if front else jnp.zeros((), int)
    turns = jnp.arange(sum(spatial) - len(spatial) + 1)
    at = turns.reshape(-1, *[1] * len(front)) - offset  # (turns, *front), the index k
    inside = (at >= 0) & (at < last)
    places = jnp.ix_(*(jnp.arange(n) for n in front))
    gather = jnp.clip(at, 0, last - 1)
    rows = driven[(slice(None), *(p[None] for p in places), gather)]  # (batch, turns, *front, g)

    def before(x: Array, axis: int) -> Array:
        """What lies one place before along an axis: the last axis has moved by the turn itself."""
        if axis == axes - 1:
            return x
        pad = [(0, 0)] * x.ndim
        pad[axis + 1] = (1, 0)
        return jnp.pad(x, pad)[
            tuple(slice(0, n) if i == axis + 1 else slice(None) for i, n in enumerate(x.shape))
        ]

    def step(carry: tuple[Array, Array], given: tuple[Array, Array]):
        c, h = carry
        row, counts = given
        cells = [before(c, axis) for axis in range(axes)]
        gates = row
        for axis in range(axes):
            gates = gates + before(h, axis) @ kernels[axis]
        i, g, o, *forget = jnp.split(gates, md_gates(cell, axes), axis=-1)
        if cell == "graves":
            new = jax.nn.sigmoid(i) * jnp.tanh(g)
            for f, old in zip(forget, cells, strict=True):
                new = new + jax.nn.sigmoid(f) * old
        else:
            keep, weights = jax.nn.sigmoid(forget[0]), jax.nn.softmax(jnp.stack(forget[1:]), axis=0)
            old = (weights * jnp.stack(cells)).sum(0)
            new = (1 - keep) * jax.nn.sigmoid(i) * jnp.tanh(g) + keep * old
        out = jax.nn.sigmoid(o) * jnp.tanh(new)
        # Places outside the image are nobody's neighbour.
        new, out = (jnp.where(counts[..., None], value, 0) for value in (new, out))
        return (new, out), out

    start = jnp.zeros((driven.shape[0], *front, width), driven.dtype)
    step = jax.checkpoint(step, prevent_cse=False) if remat else step
    _, out = jax.lax.scan(step, (start, start), (jnp.moveaxis(rows, 1, 0), inside))
    # Back: place (i, j, ..., k) stands in turn i + j + ... + k.
    whole = jnp.ix_(*(jnp.arange(n) for n in spatial))
    return jnp.moveaxis(out, 1, 0)[(slice(None), sum(whole), *whole[:-1])]


def corners(axes: int) -> list[tuple[bool, ...]]:
    """All ways through an image: for each corner, along which axes to go back.

    >>> corners(2)
    [(False, False), (False, True), (True, False), (True, True)]
    """
    return list(itertools.product((False, True), repeat=axes))


def flipped(x: Array, back: tuple[bool, ...]) -> Array:
    """Turn the spatial axes that are gone back along; its own inverse."""
    axes = [axis for axis, turned in enumerate(back, start=1) if turned]
    return jnp.flip(x, axes) if axes else x


def kernel_scale(window: tuple[int, ...], inputs: int) -> float:
    """The standard deviation of a kernel that keeps the variance of its inputs."""
    return 1 / math.sqrt(math.prod(window) * inputs)
