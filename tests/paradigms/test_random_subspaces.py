"""Members that each see other features."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed.paradigms import random_subspaces

IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 6, 2)), jnp.float32)
BATCH = {"image": IMAGE, "label": jnp.arange(5) % 2}


class Flat(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool = False):
        return {"logits": nn.Dense(2)(x.reshape(len(x), -1))}


def single():
    objective = jm.supervised(jm.losses.cross_entropy)
    return jm.learner(jm.from_linen(Flat()), objective, optax.sgd(0.5))


@pytest.mark.parametrize(
    ("axes", "share", "count"),
    [((-1,), 0.5, 24), ((1, 2), 0.25, 12), ((1, 2, 3), 0.3, 14), ((-1,), 0.01, 24)],
)
def test_a_member_learns_from_and_predicts_by_its_own_features_alone(axes, share, count):
    run = random_subspaces(single(), 3, share=share, axes=axes)
    state = run.init(jax.random.key(0), BATCH)
    seen = jax.jacobian(lambda x: run.predict(state, x[None])["logits"][:, 0])(IMAGE[0])
    seen = np.abs(np.asarray(seen)).sum(1) > 0  # (members, height, width, channels)
    assert seen.sum((1, 2, 3)).tolist() == [count] * 3
    after, _ = jax.jit(run.step)(state, BATCH)
    moved = np.asarray(after.params["net"]["Dense_0"]["kernel"]) != np.asarray(
        state.params["net"]["Dense_0"]["kernel"]
    )
    np.testing.assert_array_equal(moved.any(-1), seen.reshape(3, -1))


def test_members_see_different_features_and_all_of_them_with_a_share_of_1():
    run = random_subspaces(single(), 4, axes=(1, 2, 3))
    state = run.init(jax.random.key(1), BATCH)
    seen = jax.jacobian(lambda x: run.predict(state, x[None])["logits"][:, 0, 0])(IMAGE[0])
    patterns = {tuple(np.ravel(one != 0).tolist()) for one in np.asarray(seen)}
    assert len(patterns) == 4
    whole = random_subspaces(single(), 2, share=1.0)
    plain = jm.ensemble(single(), 2)
    states = [learner.init(jax.random.key(1), BATCH) for learner in (whole, plain)]
    logits = [learner.predict(s, IMAGE)["logits"] for learner, s in zip((whole, plain), states)]
    np.testing.assert_allclose(*logits, rtol=1e-6)


def test_mistakes_are_told():
    with pytest.raises(ValueError, match=r"share is in \(0, 1\]"):
        random_subspaces(single(), 2, share=0.0)
    with pytest.raises(ValueError, match="one or more"):
        random_subspaces(single(), 2, axes=())
    for axes in ((0,), (4,), (-4,)):
        with pytest.raises(ValueError, match="no axis of the features"):
            random_subspaces(single(), 2, axes=axes).init(jax.random.key(0), BATCH)
