"""Boundary modes with the names and meanings of ``scipy.ndimage``."""

from __future__ import annotations

from typing import Any, Literal, get_args

import jax.numpy as jnp
import numpy as np

Mode = Literal[
    "constant", "grid-constant", "nearest", "reflect", "mirror", "wrap", "grid-wrap", "grid-mirror"
]
_ALIASES: dict[str, Mode] = {"grid-mirror": "reflect"}
MODES = tuple(mode for mode in get_args(Mode) if mode not in _ALIASES)


def check_mode(mode: Mode) -> Mode:
    """Return the canonical name of a boundary mode; raise ValueError listing them if unknown."""
    mode = _ALIASES.get(mode, mode)
    if mode not in MODES:
        raise ValueError(f"mode={mode!r}; expected one of {', '.join(MODES)}")
    return mode


def extend(index: Any, size: int, mode: str) -> Any:
    """Map integer positions outside ``[0, size)`` back inside, according to ``mode``.

    ``constant`` and ``grid-constant`` clip; the caller replaces what lies outside.
    """
    xp = np if isinstance(index, np.ndarray) else jnp
    if mode == "reflect":  # d c b a | a b c d | d c b a
        index = xp.mod(index, 2 * size)
        return xp.where(index < size, index, 2 * size - 1 - index)
    if mode == "mirror":  # d c b | a b c d | c b a
        period = max(2 * size - 2, 1)
        index = xp.mod(index, period)
        return xp.where(index < size, index, period - index)
    if mode == "grid-wrap":  # a b c d | a b c d | a b c d
        return xp.mod(index, size)
    return xp.clip(index, 0, size - 1)
