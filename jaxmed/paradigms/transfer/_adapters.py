"""Adapters: small residual layers behind the layers of a network that stays as it is."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Network, flatten_paths, stream
from jaxmed.core._made import made_by
from jaxmed.paradigms.transfer._layers import layers_changed
from jaxmed.paradigms.transfer._pretrained import divide, join


def adapters(
    network: Network,
    *,
    width: int = 8,
    only: str = "kernel$",
    learns: str | None = None,
    activation: Callable[[Array], Array] | None = jax.nn.gelu,
) -> Network:
    r"""The network with its parameters frozen and, behind each layer, a bottleneck that learns.

    .. math:: y \leftarrow y + \phi(y D + d)\, U + u

    for a layer's output y, over its channels alone, so that behind a convolution the two products
    are convolutions of one voxel. U and u begin at 0: at first the network is what it was. A layer
    is the product with a kernel, in whatever library it is written: y is what it gives before its
    bias, where that is added apart.

    What :func:`lora` adds can be merged into the kernels; adapters are new layers, and stay.

    Args:
        network: any network; usually a :func:`pretrained` one.
        width: of the bottleneck, in channels.
        only: a regular expression: the kernels behind whose layers adapters stand. Behind the
            sublayers of a transformer as in Houlsby et al.: ``"(out|mlp2)/kernel$"``.
        learns: a regular expression: parameters that learn freely and get no adapter, as a fresh
            head (``"^head"``) or the scales of normalisations.
        activation: phi; ``None`` gives the linear residual adapters of Rebuffi et al.

    Returns:
        The network. Parameters: ``{"adapters": {path: {"down": ..., "up": ...}}, "learns": ...}``;
        state: ``{"frozen": ..., "network": ...}``.

    Raises:
        ValueError: if the width is not positive; at ``init``, if ``only`` or ``learns`` finds no
            parameter, or ``only`` one that multiplies nothing, or does so inside a loop.

    References:
        Houlsby et al. (2019), Parameter-efficient transfer learning for NLP, ICML. Rebuffi et al.
        (2017), Learning multiple visual domains with residual adapters, NeurIPS.

    >>> import flax.linen as nn, jaxmed as jm
    >>> network = adapters(jm.from_linen(nn.Dense(6)), width=2)
    >>> params, state = network.init(jax.random.key(0), jnp.ones((1, 8)))
    >>> jax.tree.map(jnp.shape, params["adapters"]["kernel"])
    {'down': {'bias': (2,), 'kernel': (6, 2)}, 'up': {'bias': (6,), 'kernel': (2, 6)}}
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")

    def init(key, inputs):
        params, state = network.init(stream(key, "network"), inputs)
        free, kept = ({}, params) if learns is None else divide(params, learns)[::-1]
        kernels = flatten_paths(divide(kept, only)[1])
        channels = {}

        def look(path, y):
            channels[path] = y.shape[-1]
            return y

        jax.eval_shape(layers_changed(network, kernels, look), params, state, inputs)
        if unused := [path for path in kernels if path not in channels]:
            raise ValueError(
                f"only={only!r} finds {unused}, the kernel of no dense layer or convolution "
                f"outside of loops"
            )

        own = {}
        for path, wide in channels.items():
            dtype = kernels[path].dtype
            draw = jax.random.normal(stream(key, "adapters", path), (wide, width), dtype)
            own[path] = {
                "down": {"kernel": draw / math.sqrt(wide), "bias": jnp.zeros(width, dtype)},
                "up": {"kernel": jnp.zeros((width, wide), dtype), "bias": jnp.zeros(wide, dtype)},
            }
        return {"adapters": own, "learns": free}, {"frozen": kept, "network": state}

    def apply(params, state, inputs, *, key=None, train=False):
        own = params["adapters"]

        def adapted(path, y):
            down, up = (
                jax.tree.map(lambda leaf: leaf.astype(y.dtype), own[path][side])
                for side in ("down", "up")
            )
            inner = y @ down["kernel"] + down["bias"]
            inner = inner if activation is None else activation(inner)
            return y + inner @ up["kernel"] + up["bias"]

        whole = join(params["learns"], jax.lax.stop_gradient(state["frozen"]))
        run = layers_changed(network, list(own), adapted)
        key = None if key is None else stream(key, "network")
        endpoints, after = run(whole, state["network"], inputs, key=key, train=train)
        return endpoints, {**state, "network": after}

    return made_by(
        Network(init, apply), "adapters",
        network=network, width=width, only=only, learns=learns, activation=activation,
    )  # fmt: skip
