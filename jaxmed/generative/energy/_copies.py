"""Machines with copies of a side that share their weights, seen as ordinary machines."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp

from jaxmed.core import Array

Copies = tuple[int, int]
"""How often the pixels stand in a machine, and how often the hidden units."""


def copied(params: Mapping[str, Array], copies: Copies) -> dict[str, Array]:
    """The parameters of the machine that has all copies, each with the same weights."""
    visible, hidden = copies
    return {
        "kernel": jnp.tile(params["kernel"], (visible, hidden)),
        "visible_bias": jnp.tile(params["visible_bias"], visible),
        "hidden_bias": jnp.tile(params["hidden_bias"], hidden),
    }


def averaged(gradient: Mapping[str, Array], copies: Copies) -> dict[str, Array]:
    """What each parameter's copies have of a gradient in the mean.

    The mean and not the sum, so that a step is as long as without copies, and so that the step of
    a centred machine is the mean of what centring makes of each copy's.
    """
    visible, hidden = copies
    pixels, units = (gradient[name].size for name in ("visible_bias", "hidden_bias"))
    shape = (visible, pixels // visible, hidden, units // hidden)
    return {
        "kernel": gradient["kernel"].reshape(shape).mean((0, 2)),
        "visible_bias": gradient["visible_bias"].reshape(shape[:2]).mean(0),
        "hidden_bias": gradient["hidden_bias"].reshape(shape[2:]).mean(0),
    }
