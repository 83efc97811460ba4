"""A trained bridge as a network from image to image."""

from __future__ import annotations

import jax

from jaxmed.core import Network
from jaxmed.core._made import made_by
from jaxmed.generative.diffusion._bridge import bridge_sampler


def bridge_network(
    network: Network,
    channels: int,
    *,
    noise: float = 0.5,
    steps: int = 20,
    clip: tuple[float, float] | None = None,
    output: str = "logits",
) -> Network:
    """Make the network of a trained bridge one from source to target, like that of a regression.

    So it is translated by, described and kept like any other: :class:`jaxmed.inference.Translator`,
    ``jaxmed translate``. Each call is a whole draw of `steps` calls of the bridge's network.

    A bridge leads between images of as many channels. To make one image of several, it is trained
    towards the target repeated, and what it makes of each is averaged.

    Args:
        network: that was trained by :func:`bridging`.
        channels: of the target; the source has as many, or a multiple.
        noise: that it was trained with.
        steps: calls of the network.
        clip: bounds of the expected target's values.
        output: the network's endpoint that predicts; the image is in ``logits``.

    Returns:
        The network, of the same parameters. Without a key it draws by one that is always the same,
        so that an image is always made into the same one.

    Raises:
        ValueError: as :func:`bridge_sampler`; when traced, for a source of a number of channels
            that is no multiple.
    """
    if channels < 1:
        raise ValueError(f"a target has at least one channel, got {channels}")
    bridge_sampler(network, (1, channels), noise=noise, steps=steps, clip=clip, output=output)

    def init(key, source):
        return network.init(key, {"image": source, "map": source})

    def apply(params, state, source, *, key=None, train=False):
        del train  # it is trained by its objective
        if source.shape[-1] % channels:
            raise ValueError(
                f"the source has {source.shape[-1]} channel(s), no multiple of the target's "
                f"{channels}"
            )
        draw = bridge_sampler(
            network, source.shape[1:], noise=noise, steps=steps, clip=clip, output=output
        )
        key = jax.random.key(0) if key is None else key
        made = draw(key, params, state, len(source), {"map": source})
        made = made.reshape(*source.shape[:-1], -1, channels).mean(-2)
        return {"logits": made}, state

    options = {"noise": noise, "steps": steps, "clip": clip, "output": output}
    return made_by(
        Network(init, apply), "bridge_network", network=network, channels=channels, **options
    )
