"""Members that each see another draw of the examples."""

from __future__ import annotations

from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed.paradigms import bagging, member, out_of_bag, random_subspaces
from jaxmed.paradigms.base._bagging import _counts

N = 12


def single():
    return jm.learner(
        jm.from_linen(nn.Dense(2)), jm.supervised(jm.losses.cross_entropy), optax.sgd(0.5)
    )


def batch(rows=N):
    rng = np.random.default_rng(0)
    return {
        "image": jnp.asarray(rng.normal(size=(rows, 3)), jnp.float32),
        "label": jnp.arange(rows) % 2,
        "index": jnp.arange(rows),
        "patient": jnp.arange(rows) // 3,
        "weight": jnp.ones(rows).at[-1].set(0.0),
    }


@pytest.mark.parametrize("options", [{}, {"draw": "multinomial", "units": N}, {"by": "patient"}])
def test_a_member_is_the_learner_on_its_own_weights(options):
    run, given = bagging(single(), 3, **options), batch()
    state = run.init(jax.random.key(0), given)
    after, _ = jax.jit(run.step)(state, given)
    rule = {name: value for name, value in options.items() if name != "by"}
    absent = out_of_bag(state, given[options.get("by", "index")], **rule)
    assert absent.any()
    assert len({tuple(row) for row in np.asarray(absent).tolist()}) > 1, "all members drew alike"
    for i in range(3):
        one = single()
        # What a member has not drawn may hold anything.
        other = {**given, "label": jnp.where(absent[i], 1 - given["label"], given["label"])}
        again, _ = jax.jit(run.step)(state, other)
        mine, same = (member(s, i).params["net"] for s in (after, again))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), mine, same)
        plain, _ = one.step(member(state, i), given)
        gaps = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), mine, plain.params["net"])
        assert max(jax.tree.leaves(gaps)) > 1e-4


def test_over_a_third_is_out_of_bag_and_patients_are_drawn_whole():
    run = bagging(single(), 40, strategy="vmap")
    state = run.init(jax.random.key(1), batch())
    absent = np.asarray(out_of_bag(state, jnp.arange(500)))
    assert absent.shape == (40, 500)
    np.testing.assert_allclose(absent.mean(), np.exp(-1), atol=0.01)
    many = np.asarray(out_of_bag(state, jnp.arange(300), draw="multinomial", units=300))
    np.testing.assert_allclose(many.mean(), (1 - 1 / 300) ** 300, atol=0.01)
    patients = np.asarray(out_of_bag(state, batch()["patient"]))
    assert (patients.reshape(40, 4, 3) == patients.reshape(40, 4, 3)[..., :1]).all()


def test_draws_are_those_of_the_key_and_of_no_order():
    run = bagging(single(), 2)
    state = run.init(jax.random.key(3), batch())
    order = np.random.default_rng(0).permutation(N)
    first = np.asarray(out_of_bag(state, jnp.arange(N)))
    np.testing.assert_array_equal(
        np.asarray(out_of_bag(state, jnp.asarray(order))), first[:, order]
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"draw": "bootstrap"}, "draw must be"),
        ({"draw": "multinomial"}, "units, how many there are"),
        ({"units": 5}, "go with draw='multinomial'"),
        ({"draw": "multinomial", "units": 0}, "units=0"),
    ],
)
def test_mistakes_are_told(options, told):
    with pytest.raises(ValueError, match=told):
        bagging(single(), 2, **options)


def test_what_is_no_place_is_told():
    run = bagging(single(), 2)
    halves = {**batch(), "index": jnp.arange(N) / 2}
    with pytest.raises(ValueError, match="'index' counts examples by whole numbers, and is float"):
        run.step(run.init(jax.random.key(0), halves), halves)
    state = run.init(jax.random.key(0), batch())
    with pytest.raises(ValueError, match="'examples' counts examples by whole numbers"):
        out_of_bag(state, jnp.array([0.5]))
    with pytest.raises(ValueError, match="the state is of one learner"):
        out_of_bag(single().init(jax.random.key(0), batch()), jnp.arange(2))


INNER = [
    "alternate",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("bagging", "random_subspaces")),
]


def players():
    return jm.alternate({"a": single(), "b": single()}, predicts="a")


@pytest.mark.parametrize("inner", INNER)
def test_members_and_players_are_bagged_together(inner):
    """What an outer member left out none of its inner ones has learned from."""
    makers = {
        "bagging": lambda: bagging(single(), 2),
        "random_subspaces": lambda: random_subspaces(single(), 2),
        "alternate": players,
    }
    run, given = bagging(makers[inner](), 3), batch()
    state = run.init(jax.random.key(3), given)
    left_out = out_of_bag(state, given["index"])
    assert len({tuple(row) for row in np.asarray(left_out).tolist()}) == 3
    step = jax.jit(run.step)
    after, _ = step(state, given)
    for i in range(3):
        changed = {**given, "image": jnp.where(left_out[i, :, None], 9.0, given["image"])}
        same, _ = step(state, changed)
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_array_equal(a[i], b[i]), same.params, after.params
        )
    assert run.predict(after, given["image"])["logits"].shape[0] == 3


@pytest.mark.parametrize("inner", INNER)
def test_subspaces_of_members_and_players_are_parts_of_one(inner):
    makers = {
        "bagging": lambda: bagging(single(), 2),
        "random_subspaces": lambda: random_subspaces(single(), 2, share=0.5),
        "alternate": players,
    }
    wide = {**batch(), "image": jnp.tile(batch()["image"], (1, 4))}
    run = random_subspaces(makers[inner](), 4, share=0.5)
    state = run.init(jax.random.key(3), wide)
    state, _ = jax.jit(run.step)(state, wide)
    seen = jax.jacobian(lambda x: run.predict(state, x[None])["logits"])(wide["image"][0])
    patterns = np.asarray(seen != 0).reshape(4, -1, 12)
    assert (patterns.any(1).sum(-1) <= 6).all()
    assert len({tuple(one.any(0).tolist()) for one in patterns}) > 1
    if inner == "random_subspaces":  # the inner masks are not the outer one again
        inside = np.asarray(seen != 0).reshape(4, 2, -1, 12).any(2).sum(-1)
        assert inside.max() < 6


def test_a_batch_without_places_is_told():
    run, given = bagging(single(), 2), batch()
    state = run.init(jax.random.key(0), given)
    given.pop("index")
    with pytest.raises(KeyError, match="index"):
        run.step(state, given)


def test_places_outside_the_units_have_no_count():
    """JAX would read the nearest unit's, so that two examples were always drawn together."""
    key = jax.random.key(0)
    found = _counts(key, jnp.array([-1, 0, 3, 4]), "multinomial", 4)
    assert jnp.isnan(found).tolist() == [True, False, False, True]
    state = SimpleNamespace(key=jnp.stack([key, key]))
    for outside in ([-1, 0], [0, 4]):
        with pytest.raises(ValueError, match="places from 0 to 3"):
            out_of_bag(state, jnp.array(outside), draw="multinomial", units=4)  # pyright: ignore
