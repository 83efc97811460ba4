"""Supervised learning of every kind, with labels that are missing, against NumPy."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import log_softmax, sigmoid

import jaxmed as jm
from jaxmed.core import from_functions

SIZE, CLASSES = 6, 3
SPATIAL = {"2D": (4, 4), "3D": (3, 3, 3)}
WEIGHT = np.array([1.0, 1.0, 2.0, 1.0, 1.0, 0.0], np.float32)


def integers(rng, shape, high, missing):
    return np.where(missing, -1, rng.integers(0, high, shape))


# kind -> (outputs, dense, loss, targets, known, the example's loss by hand)
def classification(rng, rows, spatial):
    y = integers(rng, SIZE, CLASSES, rows)
    hand = lambda x, y: -np.asarray(log_softmax(x))[y]  # noqa: E731
    return CLASSES, False, jm.losses.cross_entropy, y, lambda y: y >= 0, hand


def regression(rng, rows, spatial):
    y = np.where(rows, np.nan, rng.normal(size=SIZE)).astype(np.float32)
    return 1, False, jm.losses.mse, y, jnp.isfinite, lambda x, y: (x[0] - y) ** 2


def ordinal(rng, rows, spatial):
    y = integers(rng, SIZE, CLASSES + 1, rows)

    def hand(x, y):
        p = np.asarray(sigmoid(x), np.float64)
        above = y > np.arange(CLASSES)
        return -np.log(np.where(above, p, 1 - p)).sum()

    return CLASSES, False, jm.losses.ordinal, y, lambda y: y >= 0, hand


def multi_label(rng, rows, spatial):
    some = rows[:, None] | (rng.random((SIZE, CLASSES)) < 0.3)
    some[~rows, 0] = False
    y = integers(rng, (SIZE, CLASSES), 2, some)

    def hand(x, y):
        p = np.asarray(sigmoid(x), np.float64)
        return -np.log(np.where(y == 1, p, 1 - p))[y >= 0].mean()

    return CLASSES, False, jm.losses.binary_cross_entropy, y, lambda y: y >= 0, hand


def segmentation(rng, rows, spatial):
    some = rows.reshape(-1, *[1] * len(spatial)) | (rng.random((SIZE, *spatial)) < 0.3)
    y = integers(rng, (SIZE, *spatial), CLASSES, some)

    def hand(x, y):
        log_p = np.asarray(log_softmax(x)).reshape(-1, CLASSES)
        y = y.ravel()
        return -log_p[np.arange(y.size), y][y >= 0].mean()

    return CLASSES, True, jm.losses.cross_entropy, y, lambda y: y >= 0, hand


KINDS = [classification, regression, ordinal, multi_label, segmentation]


def linear(outputs: int, dense: bool):
    """Each voxel's logits, or their mean."""

    def apply(params, x):
        voxels = jnp.tanh(x) @ params["w"]
        return voxels if dense else voxels.mean(tuple(range(1, x.ndim - 1)))

    return from_functions(
        lambda key, x: {"w": jax.random.normal(key, (x.shape[-1], outputs))}, apply
    )


@pytest.mark.parametrize("rank", SPATIAL)
@pytest.mark.parametrize("kind", KINDS)
def test_missing_labels_do_not_count(kind, rank):
    rng = np.random.default_rng(0)
    rows = np.array([False, True, False, False, True, False])
    spatial = SPATIAL[rank]
    outputs, dense, loss, y, known, by_hand = kind(rng, rows, spatial)
    network = linear(outputs, dense)
    image = jnp.asarray(rng.normal(size=(SIZE, *spatial, 2)), jnp.float32)
    batch = {"image": image, "label": jnp.asarray(y), "weight": jnp.asarray(WEIGHT)}
    params, state = network.init(jax.random.key(0), image)
    objective = jm.supervised(loss, known=known)

    @jax.jit
    def run(net, batch):
        def value(net):
            trees = {"net": net, "obj": {}}, {"net": state, "obj": {}}
            return objective.loss(network, *trees, batch, jax.random.key(0))[0]

        return jax.value_and_grad(value)(net)

    value, slope = run(params, batch)
    logits = np.asarray(network.apply(params, state, image)[0]["logits"])
    counts = WEIGHT * ~rows
    each = [by_hand(logits[i], y[i]) if counts[i] else 0.0 for i in range(SIZE)]
    np.testing.assert_allclose(value, (counts * each).sum() / counts.sum(), rtol=1e-5)

    # The images of examples without a label, or of weight 0, reach neither value nor gradient.
    other = {**batch, "image": image.at[1].add(9.0).at[4].multiply(-3.0).at[5].add(1.0)}
    again, same = run(params, other)
    np.testing.assert_allclose(again, value, rtol=1e-6)
    np.testing.assert_allclose(same["w"], slope["w"], rtol=1e-5, atol=1e-7)
    moved = jax.tree.map(lambda p, g: p - 0.05 * g, params, slope)
    assert run(moved, batch)[0] < value


def test_a_batch_without_a_label_gives_nothing():
    network = jm.from_linen(nn.Dense(2))
    batch = {"image": jnp.ones((3, 4)), "label": jnp.full(3, -1)}
    params, state = network.init(jax.random.key(0), batch["image"])
    objective = jm.supervised(jm.losses.cross_entropy, known=lambda y: y >= 0)

    def value(net):
        trees = {"net": net, "obj": {}}, {"net": state, "obj": {}}
        return objective.loss(network, *trees, batch, jax.random.key(0))[0]

    found, slope = jax.value_and_grad(value)(params)
    assert found == 0
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(slope))
