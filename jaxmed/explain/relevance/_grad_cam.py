"""Grad-CAM: where the channels of a layer are that speak for the target."""

from __future__ import annotations

import math
from typing import Literal

import jax.numpy as jnp

from jaxmed.core import Array, Key, Network, PyTree
from jaxmed.explain._images import enlarged
from jaxmed.explain._target import Target
from jaxmed.explain.relevance._endpoint import endpoint_gradient


def grad_cam(
    key: Key | None,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    *,
    endpoint: str = "pyramid",
    level: int = -1,
    weights: Literal["mean", "plusplus"] = "mean",
    grid: tuple[int, ...] | None = None,
) -> Array:
    r"""Channels of a layer, weighed by how much the score owes to each.

    .. math:: \sum_c w_c A_c, \qquad w_c = \mathrm{mean}_p\, \partial f / \partial A_c(p)

    enlarged to the image. What speaks against the target is negative and is kept; the paper cuts
    it off, which is ``jnp.maximum(map, 0)``. Its detail is that of the layer, however fine the
    picture looks.

    Args:
        key: not used; part of the common signature.
        network: any network.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``.
        target: a class, one a case, or a function of the endpoints.
        endpoint: a map ``(batch, *grid, channels)`` or a tuple of such, as ``pyramid``; or tokens
            ``(batch, tokens, channels)`` with ``grid``.
        level: which of a tuple, by default the coarsest.
        weights: ``"mean"``, Grad-CAM's; ``"plusplus"``, Grad-CAM++'s, in which places count that
            raise the score, whichever way they do it.
        grid: the grid of tokens, in the order in which they lie.

    Returns:
        A signed map in the inputs' shape, each channel an equal share.

    Raises:
        ValueError: if the endpoint does not exist, is no map, or the answer does not depend on it
            (the patches of a transformer behind its last block, where only the class token is
            read: choose an earlier layer or :func:`attention_rollout`).

    References:
        Selvaraju et al. (2017), Grad-CAM, ICCV. Chattopadhay et al. (2018), Grad-CAM++, WACV.
    """
    del key
    if weights not in ("mean", "plusplus"):
        raise ValueError(f'weights is "mean" or "plusplus", got {weights!r}')
    values, slopes = endpoint_gradient(
        network, params, state, inputs, target, endpoint=endpoint, level=level
    )
    if grid is not None:
        values, slopes = (_on_grid(x, grid) for x in (values, slopes))
    if values.ndim != inputs.ndim:
        raise ValueError(
            f"{endpoint!r} of the shape {values.shape} is no map of images {inputs.shape}: "
            f"choose a map, or give the grid of its tokens"
        )
    axes = tuple(range(1, values.ndim - 1))
    if weights == "mean":
        weight = slopes.mean(axes, keepdims=True)
    else:
        # The second and third derivatives of exp(score) are powers of its first one.
        below = 2 * slopes**2 + (values * slopes**3).sum(axes, keepdims=True)
        share = slopes**2 / jnp.where(below == 0, 1, below)
        weight = (share * jnp.maximum(slopes, 0)).sum(axes, keepdims=True)
    coarse = (weight * values).sum(-1)
    return enlarged(coarse, inputs)


def _on_grid(tokens: Array, grid: tuple[int, ...]) -> Array:
    if tokens.ndim != 3 or tokens.shape[1] != math.prod(grid):
        raise ValueError(f"tokens of the shape {tokens.shape} do not fill a grid of {grid}")
    return tokens.reshape(len(tokens), *grid, tokens.shape[-1])
