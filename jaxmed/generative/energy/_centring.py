"""Centring: gradients of a machine whose units have their means subtracted."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.generative.energy._rbm import is_gaussian, precision


def centred(
    gradient: Mapping[str, Array], params: Mapping[str, Array], visible: Array, hidden: Array
) -> dict[str, Array]:
    r"""The step of a centred RBM, in the parameters of the ordinary one.

    With offsets :math:`\mu, \lambda` the centred machine has the interaction
    :math:`(v - \mu)^\top W (h - \lambda)`, that is the same machine with
    :math:`b = \tilde b - W \lambda, c = \tilde c - W^\top \mu`. A gradient step there moves
    W, b and c by what is returned here.

    Args:
        gradient: with respect to the ordinary parameters.
        params: the ordinary parameters, for the scales of Gaussian pixels.
        visible: (pixels,) the offsets of the pixels.
        hidden: (hidden,) those of the hidden units.
    """
    offset = visible * precision(params) if is_gaussian(params) else visible
    by_pixel, by_unit = gradient["visible_bias"], gradient["hidden_bias"]
    kernel = gradient["kernel"] - jnp.outer(by_pixel, hidden) - jnp.outer(offset, by_unit)
    return {
        **gradient,
        "kernel": kernel,
        "visible_bias": by_pixel - kernel @ hidden,
        "hidden_bias": by_unit - kernel.T @ offset,
    }


def moved(offset: Array, mean: Array, rate: float, weight: Array | None) -> Array:
    """An offset's moving average, by the share of a batch's rows that are no padding."""
    share = 1.0 if weight is None else (weight > 0).mean(dtype=jnp.float32)
    return offset + rate * share * (mean - offset)


def mean_rows(rows: Array, weight: Array | None) -> Array:
    """The mean of rows over those that count."""
    if weight is None:
        return rows.mean(0)
    return weight @ rows / jnp.maximum(weight.sum(), 1e-12)
