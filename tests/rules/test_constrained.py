"""Premises in training: the cost is that of the premises, and learning lowers it."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed.rules import (
    anatomy,
    at_most,
    constrained,
    constrained_maps,
    encloses,
    exactly_one,
    implies,
    knowledge,
    log_probability,
)
from jaxmed.rules._constrained import one_by_one

NAMES = ("a", "b", "c")
KNOWN = knowledge(NAMES, exactly_one(*NAMES))


def learned(objective, network=None, steps=0, **batch):
    rng = np.random.default_rng(0)
    given = {
        "image": jnp.asarray(rng.normal(size=(8, 4)), jnp.float32),
        "label": jnp.asarray(rng.integers(0, 2, (8, 3)), jnp.float32),
        **batch,
    }
    run = jm.learner(network or jm.from_linen(nn.Dense(3)), objective, optax.adam(0.05))
    state, step = run.init(jax.random.key(0), given), jax.jit(run.step)
    first = state
    for _ in range(steps):
        state, metrics = step(state, given)
    _, metrics = step(state, given)
    return run, first, state, given, metrics


def plain():
    return jm.supervised(jm.losses.binary_cross_entropy)


def test_the_cost_is_the_semantic_loss_of_the_images():
    weight = jnp.ones(8).at[-2:].set(0.0)
    objective = constrained(plain(), KNOWN, weight=0.5, inputs="image")
    run, first, _, given, metrics = learned(objective, weight=weight)
    logits = run.predict(first, given["image"])["logits"]
    cost = -log_probability(KNOWN, logits)[:6]
    np.testing.assert_allclose(metrics["broken"], cost.mean(), rtol=1e-5)
    *_, alone = learned(plain(), weight=weight)
    np.testing.assert_allclose(metrics["loss"], alone["loss"] + 0.5 * cost.mean(), rtol=1e-5)
    held = KNOWN.holds(np.asarray(logits)[:6] > 0).all(1)
    np.testing.assert_allclose(metrics["holding"], held.mean(), rtol=1e-6)


@pytest.mark.parametrize("kind", ["semantic", "product", "lukasiewicz"])
def test_learning_makes_predictions_keep_the_premises(kind):
    objective = constrained(plain(), KNOWN, kind=kind, weight=3.0)
    _, _, _, _, before = learned(objective, unlabelled=jnp.eye(4)[jnp.arange(8) % 4])
    _, _, _, _, after = learned(objective, steps=150, unlabelled=jnp.eye(4)[jnp.arange(8) % 4])
    assert after["broken"] < before["broken"] / 2
    # Łukasiewicz is content with three thirds of a truth.
    assert after["holding"] == 1 or kind == "lukasiewicz"


def test_a_weight_of_zero_changes_nothing():
    _, _, state, _, _ = learned(constrained(plain(), KNOWN, weight=0.0, inputs="image"),
                                      steps=3)  # fmt: skip
    _, _, other, _, _ = learned(plain(), steps=3)
    jax.tree.map(np.testing.assert_array_equal, state.params["net"], other.params["net"])


def test_probabilities_of_classes_are_taken_one_by_one():
    logits = jnp.asarray([[1.0, 2.0, -1.0], [40.0, 0.0, 0.0]])
    p = jax.nn.softmax(logits)
    np.testing.assert_allclose(jax.nn.sigmoid(one_by_one(logits)), p, rtol=1e-4, atol=1e-6)


def test_structures_cost_what_their_contacts_do():
    classes = ("background", "wall", "cavity")
    known = anatomy(classes, encloses("wall", "cavity"))
    network = jm.from_functions(
        lambda key, x: {"logits": jnp.zeros((*x.shape[1:-1], 3))},
        lambda params, x: {"logits": jnp.broadcast_to(params["logits"], (*x.shape[:-1], 3))},
    )
    images, masks = jnp.zeros((2, 3, 4, 1)), jnp.zeros((2, 3, 4), jnp.int32)
    objective = constrained_maps(jm.supervised(jm.losses.cross_entropy, target="mask"), known)
    *_, metrics = learned(objective, network, image=images, unlabelled=images, mask=masks)
    pairs = 2 * (2 * 4 + 3 * 3)  # ordered neighbours of 3 x 4 voxels
    np.testing.assert_allclose(metrics["broken"], pairs * (1 / 3) * (1 / 3) / 12, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: constrained(plain(), KNOWN, kind="fuzzy"), "kind must be"),
        (lambda: constrained(plain(), KNOWN, activation="tanh"), "activation must be"),
        (
            lambda: constrained(plain(), knowledge([*map(str, range(30))],
                                                   at_most(10, *map(str, range(30))))),
            "more than 65536",
        ),
        (
            lambda: learned(constrained(plain(), knowledge("ab", implies("a", "b")),
                                        inputs="image")),
            "3 channels, and there are 2 statements",
        ),
        (
            lambda: learned(constrained_maps(plain(), anatomy("abc", encloses("a", "b")),
                                             inputs="image")),
            r"must be \(batch, \*spatial, 3\)",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_told(make, told):
    with pytest.raises(ValueError, match=told):
        make()
