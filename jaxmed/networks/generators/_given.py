"""What a generating network is given: arrays by name, and a class or a map as a condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxmed.core import Array, Key, stream
from jaxmed.networks.layers._convolution import normal_flat


def given_arrays(
    inputs: Any, only: str, known: Sequence[str], *, classes: int, one: bool = False
) -> dict[str, Any]:
    """The arrays of an input by name; a bare array is the one called ``only``.

    Args:
        inputs: an array, or a dict of arrays.
        only: the name of a bare array.
        known: the names that the network knows beside ``label``.
        classes: of a conditional network.
        one: whether one of the names, and no more, says what is to be done; a ``key`` may go with
            any of them.

    Raises:
        ValueError: for a name that the network does not know, a ``label`` that it has no classes
            for, or needs, or not ``one`` array.
    """
    given = dict(inputs) if isinstance(inputs, dict) else {only: inputs}
    if unknown := sorted(set(given) - {*known, "label"}):
        raise ValueError(f"the network takes {sorted({*known, 'label'})}, not {unknown}")
    told = [name for name in known if name in given and name != "key"]
    if one and (len(told) > 1 or not (told or "key" in given)):
        raise ValueError(f"the network is given one of {list(known)}, got {sorted(given)}")
    if not classes and "label" in given:
        raise ValueError("the network has no classes, and was given a 'label': make it by classes=")
    if classes and "label" not in given:
        raise ValueError(
            f"the network has {classes} classes: give it the 'label' of each image, as "
            f"{{{only!r}: ..., 'label': ...}}; it was given {sorted(given)}"
        )
    return given


class LabelEmbedding(nn.Module):
    """A learned vector for each class.

    Attributes:
        classes: number of classes.
        width: length of the vectors.
    """

    classes: int
    width: int

    @nn.compact
    def __call__(self, label: Array) -> Array:
        """Map classes `(batch,)` to vectors `(batch, width)`; NaN for a class that there is not.

        Raises:
            ValueError: if the labels are not whole numbers `(batch,)`, or known to be outside.
        """
        shape, dtype = jnp.shape(label), jnp.result_type(label)
        if len(shape) != 1 or not jnp.issubdtype(dtype, jnp.integer):
            raise ValueError(f"a label is one whole number an image, (batch,), got {shape} {dtype}")
        if not isinstance(label, Tracer):
            values = np.asarray(label)
            if wrong := sorted({int(n) for n in values if not 0 <= n < self.classes}):
                raise ValueError(f"classes are 0 to {self.classes - 1}, got {wrong}")
        label = jnp.asarray(label)
        table = self.param("table", nn.initializers.normal(1.0), (self.classes, self.width))
        inside = (label >= 0) & (label < self.classes)
        rows = jnp.take(table, jnp.clip(label, 0, self.classes - 1), axis=0)
        # A traced label cannot be refused: training stops at NaN instead of learning another class.
        return jnp.where(inside[:, None], rows, jnp.nan)


def normal_each(keys: Key, shape: Sequence[int], *names: str | int) -> Array:
    """Standard normal numbers `(batch, *shape)`, each row from a stream of its own key alone."""
    return jax.vmap(lambda key: normal_flat(stream(key, *names), tuple(shape)))(keys)
