"""A small problem for the tests of training, for pytest and for the processes that it starts."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import numpy as np
import optax

import jaxmed as jm
from jaxmed import data, losses
from jaxmed.core import from_functions


class Net(nn.Module):
    """Dense layers with BatchNorm and dropout: all that a state can have."""

    width: int = 8
    dropout: float = 0.2

    @nn.compact
    def __call__(self, x, *, train: bool = False):
        # A bias before BatchNorm has no gradient but rounding, which Adam would make steps of.
        x = nn.Dense(self.width, use_bias=False)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(x))
        return {"features": x, "logits": nn.Dense(2)(x)}


@functools.cache
def learner(*, optimizer=None, **net):
    """A classifier of rows of four numbers; one and the same for the same options."""
    optimizer = optax.adam(1e-2) if optimizer is None else optimizer
    objective = jm.supervised(losses.cross_entropy)
    return jm.learner(jm.from_linen(Net(**net)), objective, optimizer)


LINEAR = from_functions(
    lambda key, x: {"w": jax.random.normal(key, (4, 2))}, lambda params, x: x @ params["w"]
)


@functools.cache
def linear(optimizer=None):
    """The same by one matrix, which compiles in no time."""
    optimizer = optax.sgd(0.1) if optimizer is None else optimizer
    return jm.learner(LINEAR, jm.supervised(losses.cross_entropy), optimizer)


def arrays(n: int = 21, seed: int = 0):
    """Rows of four numbers whose first tells the class."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(n, 4)).astype(np.float32)
    return {"image": image, "label": (image[:, 0] > 0).astype(np.int32)}


def batches(n: int = 21, size: int = 8, **options):
    """Three batches an epoch, the last one padded."""
    return data.batches(arrays(n), size, **options)
