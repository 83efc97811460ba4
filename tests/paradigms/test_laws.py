"""The laws that every paradigm keeps. A new paradigm is covered by one line in a registry here."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxmed as jm
from jaxmed.core import stream
from jaxmed.testing import check_learner, check_network, check_objective

CLASSES = 3


class Tiny(nn.Module):
    """Two convolutions; logits per example or per voxel; 2D and 3D by the input's rank."""

    dense: bool = False
    dropout: float = 0.0
    batch_norm: bool = False

    @nn.compact
    def __call__(self, x, *, train: bool = False):
        kernel = (3,) * (x.ndim - 2)
        x = nn.relu(nn.Conv(4, kernel)(x))
        if self.batch_norm:
            x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        features = x.mean(tuple(range(1, x.ndim - 1)))
        head = nn.Dense(CLASSES, name="head")
        return {
            "features": features,
            "pyramid": (x,),
            "logits": head(x if self.dense else features),
        }


def make_batch(spatial: tuple[int, ...], size: int = 8) -> dict:
    rng = np.random.default_rng(0)
    weight = np.ones(size, np.float32)
    weight[-2:] = 0
    return jax.tree.map(
        jnp.asarray,
        {
            "image": rng.normal(size=(size, *spatial, 1)).astype(np.float32),
            "unlabelled": rng.normal(size=(size, *spatial, 1)).astype(np.float32),
            "label": rng.integers(0, CLASSES, size).astype(np.int32),
            "mask": rng.integers(0, CLASSES, (size, *spatial)).astype(np.int32),
            "weight": weight,
            "weight_unlabelled": weight,
        },
    )


def noisy(key, batch):
    image = batch["image"]
    return {**batch, "image": image + 0.1 * jax.random.normal(stream(key, "noise"), image.shape)}


CLASSIFY = jm.supervised(jm.losses.cross_entropy)
SEGMENT = jm.supervised(jm.losses.dice_ce, target="mask")

# name -> (supervised objective of a task) -> objective
OBJECTIVES = {
    "supervised": lambda base: base,
    "weighted": lambda base: jm.weighted({"once": base, "again": base}, {"again": 0.5}),
    "ramped": lambda base: jm.weighted({"task": base}, {"task": lambda step: 1.0 + step}),
    "augmented": lambda base: jm.augmented(base, noisy),
    "mean_teacher": lambda base: jm.mean_teacher(base, ramp_steps=10, student_view=noisy),
    "pseudo_label": lambda base: jm.pseudo_label(base, strong=noisy, threshold=0.3),
    "teacher of pseudo-labels": lambda base: jm.mean_teacher(
        jm.pseudo_label(base, strong=noisy, threshold=0.3)
    ),
}

# name -> single learner -> learner
LEARNERS = {
    "single": lambda one: one,
    "unrolled ensemble": lambda one: jm.ensemble(one, 2, strategy="unroll"),
    "vmapped ensemble": lambda one: jm.ensemble(one, 2, strategy="vmap"),
    "scanned ensemble": lambda one: jm.ensemble(one, 2, strategy="scan"),
    "players": lambda one: jm.alternate({"b": one, "a": one}, predicts="a", repeats={"a": 2}),
}

SPATIAL = {"2D": (6, 6), "3D": (4, 4, 4)}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_keep_the_laws_on_2d_classifiers_with_dropout(name):
    network = jm.from_linen(Tiny(dropout=0.3))
    held = check_objective(OBJECTIVES[name](CLASSIFY), network, make_batch(SPATIAL["2D"]))
    assert "rows of weight 0 do not count" in held


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_keep_the_laws_on_3d_segmenters_with_running_statistics(name):
    network = jm.from_linen(Tiny(dense=True, batch_norm=True))
    check_objective(OBJECTIVES[name](SEGMENT), network, make_batch(SPATIAL["3D"]))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_training_on_eight_devices_equals_one(name):
    objective = OBJECTIVES[name](CLASSIFY)
    network = jm.from_linen(Tiny(batch_norm=True))
    held = check_learner(jm.learner(network, objective, optax.sgd(0.1)), make_batch((6, 6)))
    assert "several devices equal one" in held


@pytest.mark.parametrize("name", LEARNERS)
def test_learners_keep_the_laws(name):
    single = jm.learner(jm.from_linen(Tiny(dropout=0.3)), CLASSIFY, optax.adam(1e-2))
    check_learner(LEARNERS[name](single), make_batch((6, 6)))


@pytest.mark.parametrize(
    "strategy",
    ["unroll", "vmap", "scan", pytest.param("shard", marks=pytest.mark.devices(2))],
)
def test_a_member_is_the_single_learner_with_its_key(strategy):
    single = jm.learner(jm.from_linen(Tiny(dropout=0.3)), CLASSIFY, optax.adam(1e-2))
    mesh = None
    if strategy == "shard":
        mesh = jax.make_mesh((2,), ("member",), axis_types=(jax.sharding.AxisType.Auto,))
    several = jm.ensemble(single, 4, strategy=strategy, mesh=mesh)
    batch, key = make_batch((6, 6)), jax.random.key(5)
    state, step = several.init(key, batch), jax.jit(several.step)
    alone, alone_step = single.init(jm.paradigms.member_key(key, 3), batch), jax.jit(single.step)
    for _ in range(3):
        state, _ = step(state, batch)
        alone, _ = alone_step(alone, batch)
    found = jm.paradigms.member(state, 3)
    for actual, expected in zip(jax.tree.leaves(found.params), jax.tree.leaves(alone.params)):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    assert bool(found.key == alone.key)


def test_members_may_have_batches_of_their_own():
    single = jm.learner(jm.from_linen(Tiny()), CLASSIFY, optax.sgd(0.1))
    several = jm.ensemble(single, 2, own_batches=True)
    one, two = make_batch((6, 6)), make_batch((6, 6))
    two["label"] = (two["label"] + 1) % CLASSES
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), one, two)
    state, _ = several.step(several.init(jax.random.key(0), both), both)
    alone = single.init(jm.paradigms.member_key(jax.random.key(0), 1), two)
    alone, _ = single.step(alone, two)
    np.testing.assert_allclose(
        jm.paradigms.member(state, 1).params["net"]["head"]["bias"],
        alone.params["net"]["head"]["bias"],
        atol=1e-6,
    )


@pytest.mark.parametrize("spatial", SPATIAL)
def test_networks_with_heads_keep_the_laws(spatial):
    trunk = jm.from_linen(Tiny(dropout=0.3, batch_norm=True))
    heads = {
        "grade": nn.Dense(4),
        "tumour": jm.paradigms.Head(nn.Dense(2), reads="logits"),
    }
    network = jm.with_heads(trunk, heads)
    image = make_batch(SPATIAL[spatial])["image"]
    check_network(network, image)
    endpoints, _ = network.apply(*network.init(jax.random.key(0), image), image)
    assert endpoints["grade"].shape == (8, 4)
    assert endpoints["tumour"].shape == (8, 2)


class TinyNNX(nnx.Module):
    """The same in NNX, where a module knows its channels."""

    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.3, rngs=rngs)
        self.head = nnx.Linear(4, CLASSES, rngs=rngs)

    def __call__(self, x):
        return self.head(self.drop(self.norm(self.conv(x))).mean((1, 2)))


@pytest.mark.parametrize("name", ["weighted", "teacher of pseudo-labels"])
def test_objectives_keep_the_laws_on_nnx_networks(name):
    check_objective(OBJECTIVES[name](CLASSIFY), jm.from_nnx(TinyNNX), make_batch((6, 6)))


def test_learners_keep_the_laws_on_nnx_networks():
    single = jm.learner(jm.from_nnx(TinyNNX), CLASSIFY, optax.sgd(0.1))
    held = check_learner(jm.ensemble(single, 2, strategy="unroll"), make_batch((6, 6)))
    assert "several devices equal one" in held
