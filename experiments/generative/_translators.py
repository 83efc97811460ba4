"""Ways to make one image of another, by name.

A row is ``function(config, side, channels, targets) -> Way``: a learner of batches of `source` and
`target` in [-1, 1], the network by which it translates, and how its parameters are found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

import jaxmed as jm
from jaxmed import generative as gen
from jaxmed.core import Learner, Network, Variables
from jaxmed.networks import patch_critic, plan_unet, unet


class Way(NamedTuple):
    """One way.

    Attributes:
        learner: trained for the experiment's steps.
        network: from sources to images in its `logits`, which can be described.
        variables: from the learner's last state to the network's; by default what of it predicts.
    """

    learner: Learner
    network: Network
    variables: Callable[[Any], Variables] | None = None


def regression(config: Any, side: int, channels: int, targets: int) -> Way:
    """A U-Net and the absolute error: the median of what is plausible, voxel by voxel."""
    network = _unet(config, side, targets)
    objective = jm.supervised(jm.losses.mae, inputs="source", target="target")
    optimizer = jm.train.optimizer(
        "adam", config.learning_rate, schedule="cosine", steps=config.steps
    )
    return Way(jm.learner(network, objective, optimizer, inputs="source"), network)


def pix2pix(config: Any, side: int, channels: int, targets: int) -> Way:
    """The same U-Net, judged by a critic of patches too: sharper, and farther off on the mean."""
    network = _unet(config, side, targets)
    critic = jm.from_linen(patch_critic(features=(32, 64, 128)))
    rates = [
        jm.train.optimizer("adam", rate, schedule="cosine", steps=config.steps, momentum=0.5)
        for rate in (config.learning_rate, config.learning_rate / 2)
    ]
    learner = gen.pix2pix(network, critic, *rates, weight=config.weight)
    return Way(learner, network)


def bridge(config: Any, side: int, channels: int, targets: int) -> Way:
    """A diffusion bridge from the sources to the target: drawn, and not the mean of what may be.

    It leads between images of as many channels, so the target is repeated.
    """
    plan = plan_unet((side, side), base_features=config.features)
    net = gen.timed(jm.from_linen(unet(channels, plan=plan)))

    def repeated(key: Any, batch: Any) -> dict[str, Any]:
        del key
        image = jnp.repeat(batch["target"], channels // targets, axis=-1)
        return {**batch, "image": image}

    optimizer = jm.train.optimizer(
        "adam", config.learning_rate, schedule="cosine", steps=config.steps, clip=1.0
    )
    learner = jm.train.parameter_average(
        jm.learner(
            net, jm.augmented(gen.bridging(), repeated), optimizer,
            inputs={"image": "source", "map": "source"},
        ),
        0.99,
    )  # fmt: skip
    network = gen.bridge_network(net, targets, steps=config.bridge_steps, clip=(-1.0, 1.0))
    return Way(learner, network)


def _unet(config: Any, side: int, targets: int) -> Network:
    """A U-Net that makes what the mean of the sources lacks."""
    plan = plan_unet((side, side), base_features=config.features)
    return gen.residual_translator(unet(targets, plan=plan))


WAYS: dict[str, Callable[..., Way]] = {
    "regression": regression, "pix2pix": pix2pix, "bridge": bridge,
}  # fmt: skip
"""The rows."""
