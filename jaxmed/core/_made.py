"""How a network was made: what it takes to write it down and make it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxmed.core._network import Network


class Made(NamedTuple):
    """A call that makes a network.

    Attributes:
        by: public name of the function.
        options: all its arguments, by name.
        apply: of the network that it made.
    """

    by: str
    options: Mapping[str, Any]
    apply: Callable[..., Any]


def made_by(network: Network, by: str, /, **options: Any) -> Network:
    """Note on a new network which call made it, for :func:`jaxmed.inference.describe`.

    The note is on ``apply``, since that is what predicts: another ``init`` for the same ``apply``
    (pretrained weights) makes no other network once parameters are given.
    """
    network.apply.__dict__["made"] = Made(by, options, network.apply)
    return network


def how_made(network: Network) -> Made | None:
    """The call that made a network; None for one made of functions."""
    found = getattr(network.apply, "made", None)
    # `functools.wraps` copies notes to functions that do something else.
    return found if isinstance(found, Made) and found.apply is network.apply else None
