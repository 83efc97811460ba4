"""From grey values to the pixels that a machine models."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxmed.core import Array, Batch, Inputs, Key, network_inputs
from jaxmed.generative.energy._rbm import bernoulli, flat
from jaxmed.paradigms.base._views import row_weights

Binarise = Literal["draw", "threshold", "none"]
HOW = {
    "draw": "pixels drawn once, 1 with the grey value as probability",
    "threshold": "pixels 1 where the grey value is at least 0.5",
    "none": "pixels as they are",
}


def binarised(key: Key | None, images: Array, how: Binarise = "draw") -> Array:
    """Make binary pixels of grey values in [0, 1].

    How it is done moves a log-likelihood by nats, so say it beside the number.

    Args:
        key: random key, for ``"draw"``.
        images: (batch, ...) in [0, 1]. Binary images stay as they are, however it is done.
        how: ``"draw"``: 1 with the grey value as its probability; ``"threshold"``: 1 from 0.5 on;
            ``"none"``: as they are.

    Returns:
        Rows (batch, pixels), float32. Under ``jit``, where values cannot raise an error, a row with
        a value outside [0, 1] is NaN, which :func:`jaxmed.fit` reports with the names of its cases.

    Raises:
        ValueError: if ``how`` is another word, a draw has no key, or values are outside [0, 1].

    References:
        Salakhutdinov and Murray (2008), On the quantitative analysis of deep belief networks, ICML.
    """
    if how not in HOW:
        raise ValueError(f"binarise is one of {list(HOW)}, got {how!r}")
    rows = flat(images)
    if how == "none":
        return rows
    inside = ((rows >= 0) & (rows <= 1)).all(-1, keepdims=True)
    if not isinstance(inside, Tracer) and not bool(inside.all()):
        least, most = float(np.nanmin(rows)), float(np.nanmax(rows))
        raise ValueError(
            f"grey values that become binary pixels are in [0, 1], these are from {least:g} to "
            f"{most:g}: scale them, or take visible='gaussian' for real numbers"
        )
    if how == "threshold":
        binary = (rows >= 0.5).astype(rows.dtype)
    elif key is None:
        raise ValueError("binarise='draw' needs a random key")
    else:
        binary = bernoulli(key, rows)
    return jnp.where(inside, binary, jnp.nan)


def visible_rows(
    key: Key, batch: Batch, inputs: Inputs, how: Binarise
) -> tuple[Array, Array | None]:
    """The pixels of a batch as a machine sees them, and the weights of its rows.

    A padding row may hold anything: it becomes zeros, for 0 * nan is nan in a gradient too.
    """
    images = network_inputs(batch, inputs)
    weight = row_weights(batch, inputs) if isinstance(inputs, str) else batch.get("weight")
    rows = binarised(key, images, how)
    if weight is not None:
        rows = jnp.where(weight[:, None] > 0, rows, 0)
    return rows, weight
