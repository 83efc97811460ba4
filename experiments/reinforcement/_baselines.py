"""Landmarks without an agent: the mean position, ridge regression, two networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import ndimage

import jaxmed as jm
from jaxmed.paradigms import Head

from ._cases import Cases
from ._seeds import seeds


def mean_position(train: Cases, test: Cases, shape: tuple[int, ...]) -> np.ndarray:
    """The training landmarks' mean, counted from the middle of the image."""
    _, points, _ = train.framed(shape)
    _, _, begin = test.framed(shape)
    return points.mean(axis=0) - begin[:, None]


def ridge(
    train: Cases, test: Cases, shape: tuple[int, ...], *, blur: float = 2.0, step: int = 3
) -> tuple[np.ndarray, float]:
    """Linear in blurred voxels; the ridge has the least error when each case is left out."""
    seen, points, _ = train.framed(shape)
    new, _, begin = test.framed(shape)

    x, z = (blurred(images, blur, step) for images in (seen, new))
    found, penalty = linear(x, points.reshape(len(points), -1), z)
    return found.reshape(len(new), *points.shape[1:]) - begin[:, None], penalty


def blurred(images: np.ndarray, blur: float, step: int) -> np.ndarray:
    """Every so many-th voxel of blurred images, (n, *spatial, channels), one row an image."""
    rank = images.ndim - 2
    every = (slice(None), *[slice(step // 2, None, step)] * rank)
    return ndimage.gaussian_filter(images, (0, *[blur] * rank, 0))[every].reshape(len(images), -1)


def linear(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, float]:
    """Predict by ridge regression; its penalty has the least error when each case is left out.

    Args:
        x: (cases, features).
        y: (cases, numbers).
        z: features of new cases.

    Returns:
        (new cases, numbers), and the penalty.
    """
    x, y, z = (np.asarray(each, float) for each in (x, y, z))
    mean, middle = x.mean(axis=0), y.mean(axis=0)
    x, z, y = x - mean, z - mean, y - middle
    values, vectors = np.linalg.eigh(x @ x.T)
    values = np.maximum(values, 0)
    best = (np.inf, 0.0)
    for penalty in values.max() * np.logspace(-6, 2, 33):
        hat = (vectors * (values / (values + penalty))) @ vectors.T
        left_out = (y - hat @ y) / (1 - 1 / len(y) - np.diag(hat))[:, None]
        best = min(best, (float((left_out**2).sum()), float(penalty)))
    weights = vectors @ ((vectors.T @ y) / (values + best[1])[:, None])
    return z @ (x.T @ weights) + middle, best[1]


class _Flat(nn.Module):
    """Numbers from where the features are, which an average over the image would forget."""

    outputs: int

    @nn.compact
    def __call__(self, pyramid: Any, *, train: bool = False) -> Any:
        x = pyramid[-1].reshape(len(pyramid[-1]), -1)
        return nn.Dense(self.outputs)(nn.relu(nn.Dense(64)(x)))


def regression(config: Any, train: Cases, test: Cases, shape: Any, out: Path) -> np.ndarray:
    """A network says the coordinates."""
    _, points, _ = train.framed(shape)
    middle = points.mean(axis=0)
    trunk = jm.from_linen(jm.networks.cnn(features=config.features, norm="group"))
    network = jm.paradigms.with_heads(trunk, {"point": Head(_Flat(middle.size), reads="pyramid")})

    def loss(outputs: Any, target: Any) -> Any:
        away = outputs.reshape(target.shape) + middle - target
        return jnp.square(away).sum(-1).mean(-1)

    objective = jm.supervised(loss, output="point", target="point")
    found = _trained(config, network, objective, train, test, shape, out, "point")
    found = found.reshape(*found.shape[:2], *middle.shape) + middle
    return found - test.framed(shape)[2][:, None]


def heat_map(config: Any, train: Cases, test: Cases, shape: Any, out: Path) -> np.ndarray:
    """A U-Net says for each voxel how probable it is that the landmark lies there."""
    plan = jm.networks.plan_unet(shape, base_features=config.features[0], max_features=64)
    network = jm.from_linen(jm.networks.unet(len(train.landmarks), plan=plan))
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, len(shape))

    def loss(outputs: Any, target: Any) -> Any:
        logits = jax.nn.log_softmax(outputs.reshape(len(outputs), len(grid), -1), axis=1)
        away = jnp.square(grid[None, :, None] - target[:, None]).sum(-1)
        wanted = jax.nn.softmax(-away / (2 * config.width**2), axis=1)
        return -(wanted * logits).sum(1).mean(-1)

    objective = jm.supervised(loss, output="logits", target="point")
    maps = _trained(config, network, objective, train, test, shape, out, "logits")
    maps = jax.nn.softmax(maps.reshape(*maps.shape[:2], len(grid), -1), axis=2)
    return np.einsum("snvk,vr->snkr", np.asarray(maps), grid) - test.framed(shape)[2][:, None]


def _trained(
    config: Any, network: Any, objective: Any, train: Cases, test: Cases, shape: Any, out: Path,
    output: str,
) -> np.ndarray:  # fmt: skip
    """Train on images that are moved at random; predict the others; (seeds, n, ...)."""
    images, points, _ = train.framed(shape)
    source = jm.data.as_source({"image": images, "point": np.float32(points)})
    new = {"image": test.framed(shape)[0]}

    def moved(rng: np.random.Generator, example: dict[str, Any]) -> dict[str, Any]:
        shift = rng.integers(-config.shift, config.shift + 1, len(shape))
        image = ndimage.shift(example["image"], (*shift, 0), order=0, mode="nearest")
        return {"image": image, "point": np.float32(example["point"] + shift)}

    steps = config.epochs * -(-len(images) // config.batch)
    optimizer = optax.adamw(
        optax.warmup_cosine_decay_schedule(0, config.learning_rate, steps // 20, steps),
        weight_decay=1e-4,
    )
    learner = jm.train.parameter_average(jm.learner(network, objective, optimizer), 0.98)
    found = []
    for seed, folder in seeds(config, out):
        feed = jm.data.batches(source, config.batch, seed=seed, transform=moved)
        state = jm.fit(learner, feed, seed=seed, epochs=config.epochs, out=folder).state
        found.append(jm.train.predict(learner, state, new, size=config.batch, outputs=output))
    return np.stack(found)
