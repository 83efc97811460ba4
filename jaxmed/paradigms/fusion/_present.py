"""Which modalities an example has, and which are hidden in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, PyTree, stream

Drop = float | Mapping[str, float]
"""The probability that a modality is hidden in training: one for all, or by name."""


def rates(drop: Drop, names: Sequence[str]) -> dict[str, float]:
    """The rate of each name.

    Raises:
        ValueError: if a rate is not in [0, 1), or of a name that there is not.
    """
    given = drop if isinstance(drop, Mapping) else dict.fromkeys(names, drop)
    if unknown := sorted(set(given) - set(names)):
        raise ValueError(f"drop names {unknown[0]!r}; the modalities are {', '.join(names)}")
    found = {name: float(given.get(name, 0.0)) for name in names}
    for name, rate in found.items():
        if not 0 <= rate < 1:
            raise ValueError(f"drop of {name!r} must lie in [0, 1), but is {rate}")
    return found


def given(present: Array | None, rows: int, names: Sequence[str]) -> Array:
    """The mask ``(batch, names)`` as booleans; all of them if there is none.

    Raises:
        ValueError: if it has another shape.
    """
    if present is None:
        return jnp.ones((rows, len(names)), bool)
    mask = jnp.asarray(present)
    if mask.shape != (rows, len(names)):
        raise ValueError(
            f"present must be (batch, names) = {(rows, len(names))}, a column each for "
            f"{', '.join(names)} in this order, but its shape is {mask.shape}"
        )
    return mask > 0


def hidden(present: Array, drop: Mapping[str, float], key: Key | None, train: bool) -> Array:
    """What is left when modalities are hidden at random in training; never nothing.

    Each name draws from its own stream, so that another modality changes no draw. Where all that
    an example has would be hidden, none is.
    """
    if not train or not any(drop.values()):
        return present
    if key is None:
        raise ValueError("modalities are dropped in training, which needs a key")
    kept = [
        jax.random.uniform(stream(key, "drop", name), (len(present),)) >= rate
        for name, rate in drop.items()
    ]
    left = present & jnp.stack(kept, axis=1)
    return jnp.where(left.any(1, keepdims=True), left, present)


def filled(inputs: PyTree, here: Array) -> PyTree:
    """A modality's inputs with another example's where it is missing, or zeros if all lack it.

    Whatever stood there, NaN included, is gone, and BatchNorm sees plausible statistics.
    """

    def one(x: Array) -> Array:
        x = jnp.asarray(x)
        if x.ndim == 0 or len(x) != len(here):
            raise ValueError(
                f"an input of the shape {x.shape} has not the {len(here)} rows of the batch"
            )
        kept = here.reshape(-1, *[1] * (x.ndim - 1))
        first = jnp.where(here.any(), x[here.argmax()], jnp.zeros((), x.dtype))
        return jnp.where(kept, x, first)

    return jax.tree.map(one, inputs)
