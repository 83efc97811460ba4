"""What a critic and a generator minimise, as functions of the critic's scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Batch, Key, Network, PyTree, Variables, pick

Kind = Literal["non-saturating", "hinge", "wgan-gp", "least-squares"]


class Scoring(NamedTuple):
    """What each score costs: the critic of a real and of a made image, and who made it."""

    real: Callable[[Array], Array]
    fake: Callable[[Array], Array]
    made: Callable[[Array], Array]


_SCORINGS: dict[str, Scoring] = {
    "non-saturating": Scoring(
        lambda s: jax.nn.softplus(-s), jax.nn.softplus, lambda s: jax.nn.softplus(-s)
    ),
    "hinge": Scoring(lambda s: jax.nn.relu(1 - s), lambda s: jax.nn.relu(1 + s), lambda s: -s),
    "wgan-gp": Scoring(lambda s: -s, lambda s: s, lambda s: -s),
    "least-squares": Scoring(lambda s: jnp.square(s - 1), jnp.square, lambda s: jnp.square(s - 1)),
}


def scoring(kind: Kind) -> Scoring:
    """The costs of a kind.

    Raises:
        ValueError: for a kind that there is not.
    """
    if kind not in _SCORINGS:
        raise ValueError(f"kind is one of {', '.join(get_args(Kind))}, got {kind!r}")
    return _SCORINGS[kind]


def per_image(values: Array) -> Array:
    """The mean over all axes but the first: over an image's patches."""
    return values.reshape(values.shape[0], -1).mean(1)


def scores_of(
    critic: Network, params: PyTree, state: PyTree, shown: Any, key: Key
) -> tuple[Array, PyTree]:
    """A critic's scores in training, float32 ``(batch, ...)``, and its state after.

    Raises:
        KeyError: for a critic without an endpoint ``logits``.
    """
    endpoints, state = critic.apply(params, state, shown, key=key, train=True)
    return pick(endpoints, "logits", "critic").astype(jnp.float32), state


def opponent(batch: Batch, name: str) -> Variables:
    """The network of another player, as :func:`~jaxmed.paradigms.alternate` shows it in a batch.

    Raises:
        KeyError: if there is no such player.
    """
    players = batch.get("players", {})
    if name not in players:
        raise KeyError(
            f"the batch has no player {name!r}; it has {sorted(players)}. Objectives of "
            "adversaries are trained by jaxmed.paradigms.alternate; gan and pix2pix make both"
        )
    return Variables(players[name]["params"]["net"], players[name]["state"]["net"])
