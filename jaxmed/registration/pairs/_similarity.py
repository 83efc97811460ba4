"""How unlike two images are, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

from jaxmed import losses
from jaxmed.core import Array

Similarity = Literal["mse", "ncc", "lncc", "mind", "mutual_information", "dice"]
Loss = Callable[..., Array]

_LOSSES: dict[str, Loss] = {
    "mse": losses.mse,
    "ncc": losses.ncc,
    "lncc": partial(losses.lncc, window=7),
    "mind": losses.mind,
    "mutual_information": losses.mutual_information,
    "dice": partial(losses.dice, activation=None, include_background=True),
}
# Those that compare how brightness varies, of which a constant image has nothing.
VARYING = ("ncc", "lncc", "mind", "mutual_information")


def loss_of(similarity: str | Loss) -> Loss:
    """Find a loss by name; a function is returned as it is."""
    if callable(similarity):
        return similarity
    if similarity not in _LOSSES:
        raise ValueError(
            f"similarity={similarity!r}; expected one of {', '.join(get_args(Similarity))}, or a "
            "loss (moved, fixed) -> (batch,)"
        )
    return _LOSSES[similarity]
