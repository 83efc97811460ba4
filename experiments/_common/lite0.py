"""EfficientNet-Lite0 for short trainings, begun with its ImageNet weights or at random."""

from __future__ import annotations

from functools import partial
from typing import Any

import jaxmed as jm
from jaxmed.core import Network
from jaxmed.networks import BatchNorm

# With the published momentum, .99, running statistics are the data's only after hundreds of steps:
# a network from scratch would be judged by its first ones.
NORM = partial(BatchNorm, momentum=0.9, epsilon=1e-3)


def lite0(**options: Any) -> Network:
    """The trunk with random parameters; options of `jaxmed.networks.efficientnet_lite0`."""
    return jm.from_linen(jm.networks.efficientnet_lite0(norm=NORM, **options))


def imagenet(trunk: Network) -> Network:
    """The trunk begun with its ImageNet weights."""
    weights = jm.networks.imagenet_lite0()
    return jm.paradigms.pretrained(trunk, *weights, only="^(?!head)", strict=False)
