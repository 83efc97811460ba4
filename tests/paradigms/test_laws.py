"""The laws that every paradigm keeps. A new paradigm is covered by one line of the registry."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from rows import CLASSES, ROWS, SPATIAL, TASKS, Row, Tiny, make_batch, quick_key

import jaxmed as jm
from jaxmed.testing import check_learner, check_network, check_objective

# Paradigms on objectives and networks; those on learners follow.
OBJECTIVES = {
    name: row for name, row in ROWS.items() if row.learner is Row().learner and row.solved is None
}


def solver():
    return ROWS["closed_form"].run("classification", "dropout")


# name -> single learner -> learner
LEARNERS = {
    "single": lambda one: one,
    "unrolled ensemble": lambda one: jm.ensemble(one, 2, strategy="unroll"),
    "vmapped ensemble": lambda one: jm.ensemble(one, 2, strategy="vmap"),
    "scanned ensemble": lambda one: jm.ensemble(one, 2, strategy="scan"),
    "solved": lambda one: solver(),
    "ensemble of solved": lambda one: jm.ensemble(solver(), 2, strategy="vmap"),
    "players": lambda one: jm.alternate({"b": one, "a": one}, predicts="a", repeats={"a": 2}),
}

CLASSIFY = TASKS["classification"].objective

# By default: one of each kind. A check compiles half a dozen programs; `-m slow` has the others.
BRIEF = (
    "supervised",
    "weighted",
    "augmented",
    "mixup",
    "mean_teacher",
    "masked_autoencoder",
    "simclr",
    "contrastive_divergence",
)


def brief(names, chosen=BRIEF) -> list:
    return [pytest.param(n, marks=() if n in chosen else pytest.mark.slow) for n in names]


@pytest.mark.parametrize("name", brief(OBJECTIVES))
def test_objectives_keep_the_laws_on_networks_with_dropout(name):
    row = OBJECTIVES[name]
    network, objective = row.build(row.tasks[0], "dropout")
    batch = row.batch(make_batch(SPATIAL[row.spatial[0]]))
    held = check_objective(objective, network, batch, key=quick_key())
    assert ("rows of weight 0 do not count" in held) == row.padded


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_refuse_bags_without_their_mask(name):
    """Bags padded to one size, as `bag_batches` gives them: padding would pass for instances."""
    row = OBJECTIVES[name]
    network, objective = row.build(row.tasks[0], "group")
    batch = row.batch(make_batch(SPATIAL[row.spatial[0]]))
    first = jax.tree.leaves(batch["image"])[0]
    bags = {**batch, "bag_mask": jnp.ones(first.shape[:2], bool)}

    def loss(key):
        params, state = network.init(key, batch["image"])
        own, own_state = objective.init(key, network, params, state, batch)
        whole = {"net": params, "obj": own}, {"net": state, "obj": own_state}
        return objective.loss(network, *whole, bags, key)[0]

    # As labelled images, or as unlabelled ones, whose mask the batch's cannot be.
    told = "without the batch's 'bag_mask'|'bag_mask' is not theirs"
    with pytest.raises(ValueError, match=told):
        jax.eval_shape(loss, jax.random.key(0))


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_keep_the_laws_on_segmenters_with_running_statistics(name):
    row = OBJECTIVES[name]
    network, objective = row.build(row.tasks[-1], "batch")
    check_objective(
        objective, network, row.batch(make_batch(SPATIAL[row.spatial[-1]])), key=quick_key()
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_learners_of_all_objectives_keep_the_laws(name):
    row = OBJECTIVES[name]
    network, objective = row.build(row.tasks[0], "batch")
    batch = row.batch(make_batch(SPATIAL[row.spatial[0]]))
    held = check_learner(jm.learner(network, objective, optax.sgd(0.1)), batch, key=quick_key())
    assert "several devices equal one" in held


UNKNOWN = {
    "classification": ("label", jm.losses.cross_entropy),
    "regression": ("value", jm.losses.mse),
    "segmentation": ("mask", jm.losses.dice_ce),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task"),
    [(name, task) for name, row in OBJECTIVES.items() if row.stacks for task in row.tasks],
)
def test_a_label_that_is_not_known_plays_no_part(name, task):
    """Whatever stands in its place."""
    row, (target, loss) = OBJECTIVES[name], UNKNOWN[task]
    network, _ = row.build(task, "group")
    objective = row.objective(
        TASKS[task]._replace(objective=jm.supervised(loss, target=target, known="told"))
    )
    batch = row.batch(make_batch(SPATIAL["2D"]))
    told = jnp.arange(batch[target].size).reshape(batch[target].shape) % 3 > 0
    told = told.at[0].set(False).at[1].set(True)
    other = jnp.where(told, batch[target], (batch[target] + 1) % CLASSES)
    key = quick_key(4)

    @jax.jit
    def value(batch):
        params, state = network.init(key, batch["image"])
        own, own_state = objective.init(key, network, params, state, batch)
        whole = {"net": params, "obj": own}, {"net": state, "obj": own_state}
        return objective.loss(network, *whole, batch, key)[0]

    found = value({**batch, "told": told})
    np.testing.assert_allclose(value({**batch, target: other, "told": told}), found, rtol=1e-6)
    everything = value({**batch, target: other, "told": jnp.ones_like(told)})
    assert abs(everything - found) > 1e-4


@pytest.mark.parametrize(
    "name",
    brief(LEARNERS, ("single", "vmapped ensemble", "unrolled ensemble", "solved", "players")),
)
def test_learners_keep_the_laws(name):
    single = jm.learner(jm.from_linen(Tiny(norm="dropout")), CLASSIFY, optax.adam(1e-2))
    check_learner(LEARNERS[name](single), make_batch((6, 6)), key=quick_key())


@pytest.mark.parametrize(
    "strategy",
    ["unroll", "vmap", "scan", pytest.param("shard", marks=pytest.mark.devices(2))],
)
def test_a_member_is_the_single_learner_with_its_key(strategy):
    single = jm.learner(jm.from_linen(Tiny(norm="dropout")), CLASSIFY, optax.adam(1e-2))
    mesh = None
    if strategy == "shard":
        mesh = jax.make_mesh((2,), ("member",), axis_types=(jax.sharding.AxisType.Auto,))
    several = jm.ensemble(single, 4, strategy=strategy, mesh=mesh)
    batch, key = make_batch((6, 6)), quick_key(5)
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

    def after(learner):
        return jax.jit(lambda key, batch: learner.step(learner.init(key, batch), batch)[0])

    state = after(several)(quick_key(), both)
    alone = after(single)(jm.paradigms.member_key(quick_key(), 1), two)
    np.testing.assert_allclose(
        jm.paradigms.member(state, 1).params["net"]["head"]["bias"],
        alone.params["net"]["head"]["bias"],
        atol=1e-6,
    )


@pytest.mark.parametrize("spatial", SPATIAL)
def test_networks_with_heads_keep_the_laws(spatial):
    trunk = jm.from_linen(Tiny(norm="batch"))
    heads = {
        "grade": nn.Dense(4),
        "tumour": jm.paradigms.Head(nn.Dense(2), reads="logits"),
    }
    network = jm.with_heads(trunk, heads)
    image = make_batch(SPATIAL[spatial])["image"]
    check_network(network, image, key=quick_key())
    endpoints, _ = jax.eval_shape(
        lambda image: network.apply(*network.init(quick_key(), image), image), image
    )
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
        x = self.drop(self.norm(self.conv(x)))
        features = x.mean((1, 2))
        return {"features": features, "pyramid": (x,), "logits": self.head(features)}


@pytest.mark.parametrize(
    "name",
    brief(
        [
            n
            for n, r in OBJECTIVES.items()
            if r.trunk is None and r.network is Row().network and "classification" in r.tasks
        ],
        chosen=("mean_teacher",),
    ),
)
def test_objectives_keep_the_laws_on_nnx_networks(name):
    row = OBJECTIVES[name]
    batch = row.batch(make_batch((6, 6)))
    check_objective(
        row.objective(TASKS["classification"]), jm.from_nnx(TinyNNX), batch, key=quick_key()
    )


def test_learners_keep_the_laws_on_nnx_networks():
    single = jm.learner(jm.from_nnx(TinyNNX), CLASSIFY, optax.sgd(0.1))
    held = check_learner(
        jm.ensemble(single, 2, strategy="unroll"), make_batch((6, 6)), key=quick_key()
    )
    assert "several devices equal one" in held
