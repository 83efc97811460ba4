"""Curvature blocks in their eigenbasis, and powers of them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmed.core import Array


class Block(NamedTuple):
    """Curvature of the parameters at `paths`, without the prior.

    ``values`` are the diagonal in ``basis``, which is ``()`` for the parameters themselves
    (diagonal); one square matrix of eigenvectors (full); one matrix ``W`` with fewer rows than
    columns, its rows orthogonal with squared lengths ``values``, where the curvature is ``W^T W``
    (full, with fewer examples than parameters); or two matrices (Kronecker: for rows and columns
    of the kernel as a matrix).
    """

    values: Array
    basis: tuple[Array, ...]
    paths: tuple[str, ...]

    @property
    def thin(self) -> bool:
        """Whether the curvature is stored in low-rank form."""
        return len(self.basis) == 1 and self.basis[0].shape[0] < self.basis[0].shape[1]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.basis[0].shape[1] if self.thin else self.values.size


def solve(block: Block, vector: Array, precision: Array | float, power: float) -> Array:
    """Compute ``(curvature + precision)^power`` times a vector of the block's flat parameters."""
    if block.thin:
        w, v = block.basis[0], block.values
        # ((v + t)^p - t^p) / v without loss of digits where v is small.
        change = precision**power * jnp.expm1(power * jnp.log1p(v / precision)) / v
        return precision**power * vector + w.T @ (change * (w @ vector))
    d = (block.values + precision) ** power
    if not block.basis:
        return d * vector
    if len(block.basis) == 1:
        u = block.basis[0]
        return u @ (d * (u.T @ vector))
    ua, ub = block.basis
    m = vector.reshape(ua.shape[0], ub.shape[0])
    return (ua @ (d.reshape(m.shape) * (ua.T @ m @ ub)) @ ub.T).reshape(-1)


def covariances(block: Block, rows: Array, precisions: Array) -> Array:
    """Compute ``R (curvature + precision)^-1 R^T`` of rows ``(n, parameters)`` for each precision.

    The rows are rotated into the eigenbasis once, where each precision is a division.
    """
    if block.thin or len(block.basis) == 1:
        w = block.basis[0]
        seen = rows @ (w.T if block.thin else w)
    elif block.basis:
        ua, ub = block.basis
        m = rows.reshape(-1, ua.shape[0], ub.shape[0])
        seen = (ua.T @ m @ ub).reshape(len(rows), -1)
    else:
        seen = rows

    def at(precision):
        found = (seen / (block.values + precision)) @ seen.T
        return (rows @ rows.T - found) / precision if block.thin else found

    return jax.vmap(at)(precisions)
