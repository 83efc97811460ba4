"""Networks for images of two kinds, side by side: one translates, or judges, each way."""

from __future__ import annotations

import flax.linen as nn

from jaxmed.core import Network, as_network, pick, stream
from jaxmed.core._made import made_by

SIDES = ("image_a", "image_b")
_BOTH: dict[str, str] = {"image_a": "a_to_b", "image_b": "b_to_a"}
_ACROSS: dict[str, str] = {"image_a": "image_b", "image_b": "image_a"}


def two_way(
    a_to_b: Network | nn.Module, b_to_a: Network | nn.Module, *, output: str = "logits"
) -> Network:
    """Translate images of kind A into kind B, and of kind B into kind A.

    Args:
        a_to_b: from images to images in its ``output``.
        b_to_a: likewise.
        output: the endpoint of images of both.

    Returns:
        The network, of parameters and a state ``{"a_to_b": ..., "b_to_a": ...}``. It takes
        ``{"image_a", "image_b"}``, or one of them, and gives an endpoint ``image_b`` of what was
        ``image_a``, and an ``image_a`` of what was ``image_b``.

    Raises:
        ValueError: when traced, for other names.

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> network, x, y = two_way(nn.Dense(2), nn.Dense(1)), jnp.ones((4, 8, 1)), jnp.ones((4, 8, 2))
    >>> params, state = network.init(jax.random.key(0), {"image_a": x, "image_b": y})
    >>> ends, _ = network.apply(params, state, {"image_a": x})
    >>> {name: value.shape for name, value in ends.items()}
    {'image_b': (4, 8, 2)}
    """
    made = _side_by_side(as_network(a_to_b), as_network(b_to_a), _BOTH, _ACROSS, output)
    return made_by(made, "two_way", a_to_b=as_network(a_to_b), b_to_a=as_network(b_to_a),
                   output=output)  # fmt: skip


def two_critics(of_a: Network, of_b: Network) -> Network:
    """Scores of images of both kinds, each under the name of its images."""
    names: dict[str, str] = {name: name for name in SIDES}
    return _side_by_side(of_a, of_b, names, names, "logits")


def _side_by_side(
    first: Network, second: Network, own: dict[str, str], gives: dict[str, str], output: str
) -> Network:
    """Two networks as one: ``own`` names their parameters, ``gives`` their endpoints."""
    networks: dict[str, Network] = {"image_a": first, "image_b": second}

    def known(inputs) -> list[str]:
        if not isinstance(inputs, dict) or not inputs or set(inputs) - set(SIDES):
            given = sorted(inputs) if isinstance(inputs, dict) else type(inputs).__name__
            raise ValueError(f"the network takes {{'image_a', 'image_b'}}, or one, not {given}")
        return sorted(inputs)

    def init(key, inputs):
        if missing := sorted(set(SIDES) - set(known(inputs))):
            raise ValueError(f"both kinds of images begin the network; {missing} is not there")
        made = {
            own[name]: networks[name].init(stream(key, own[name]), inputs[name]) for name in SIDES
        }
        return {n: pair[0] for n, pair in made.items()}, {n: pair[1] for n, pair in made.items()}

    def apply(params, state, inputs, *, key=None, train=False):
        endpoints, after = {}, dict(state)
        for name in known(inputs):
            ends, after[own[name]] = networks[name].apply(
                params[own[name]],
                state[own[name]],
                inputs[name],
                key=None if key is None else stream(key, own[name]),
                train=train,
            )
            endpoints[gives[name]] = pick(ends, output, "network")
        return endpoints, after

    return Network(init, apply)
