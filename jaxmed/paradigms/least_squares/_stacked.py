"""Networks that see the input and what those below them predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Network, PyTree, stream
from jaxmed.core._made import made_by

Sees = Literal["all", "last"]


def stacked(modules: Sequence[Network], *, outputs: int, sees: Sees = "all") -> Network:
    """Modules one upon the other: each sees the input and the predictions below.

    Args:
        modules: the lowest first. Each takes ``{"image": inputs, "below": predictions}`` and gives
            ``logits`` ``(batch, outputs)``; to the lowest ``below`` is ``(batch, 0)``.
        outputs: numbers that each predicts.
        sees: whether ``below`` is the predictions of all modules below, side by side, or of the
            last.

    Returns:
        The network. Its endpoints are those of the topmost module, and ``modules``, a tuple of the
        ``logits`` of all, the lowest first. Parameters and state are dicts by ``module1`` and so
        on.

    Raises:
        ValueError: if there is no module, or one predicts another number of outputs.

    References:
        Deng and Yu (2011), Deep convex network: a scalable architecture for speech pattern
        classification, Interspeech.
    """
    modules = tuple(modules)
    if not modules:
        raise ValueError("stacked needs at least one module")
    names = [f"module{i + 1}" for i in range(len(modules))]

    def init(key, inputs):
        params, state, found = {}, {}, []
        for name, module in zip(names, modules, strict=True):
            given = {"image": inputs, "below": below(found, inputs, outputs, sees)}
            params[name], state[name] = module.init(stream(key, name), given)
            found.append(module.apply(params[name], state[name], given)[0]["logits"])
        return params, state

    def apply(params, state, inputs, *, key=None, train=False):
        found, after, endpoints = [], {}, {}
        for name, module in zip(names, modules, strict=True):
            given = {"image": inputs, "below": below(found, inputs, outputs, sees)}
            own = None if key is None else stream(key, name)
            endpoints, after[name] = module.apply(
                params[name], state[name], given, key=own, train=train
            )
            logits = endpoints["logits"]
            if logits.shape[1:] != (outputs,):
                raise ValueError(
                    f"{name} predicts {logits.shape}, and outputs={outputs} were to be expected of "
                    "each example"
                )
            found.append(logits)
        return {**endpoints, "modules": tuple(found)}, after

    made = Network(init, apply)
    return made_by(made, "stacked", modules=modules, outputs=outputs, sees=sees)


def below(found: Sequence[Array], inputs: PyTree, outputs: int, sees: Sees) -> Array:
    """What a module sees of those below it, ``(batch, width)``."""
    if sees not in ("all", "last"):
        raise ValueError(f"sees must be 'all' or 'last', got {sees!r}")
    rows = jnp.shape(jax.tree.leaves(inputs)[0])[0]
    if not found:
        return jnp.zeros((rows, 0))
    return jnp.concatenate(found, axis=-1) if sees == "all" else found[-1]
