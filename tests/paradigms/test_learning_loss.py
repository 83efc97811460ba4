"""Learning loss: the ranking of pairs by the paper's formula, and where its gradient ends."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed import networks
from jaxmed.paradigms import Head, learning_loss

COST = jm.losses.cross_entropy


def network(width=8):
    trunk = jm.from_linen(networks.cnn(classes=2, features=(4, 6)))
    return jm.with_heads(trunk, {"predicted_loss": Head(networks.LossHead(width), "pyramid")})


def batch(n=6, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "image": jnp.asarray(rng.normal(size=(n, 8, 8, 1)), jnp.float32),
        "label": jnp.asarray(rng.integers(0, 2, n)),
        "weight": jnp.asarray([1.0] * (n - 1) + [0.0]),
    }


def gradients(objective, step):
    """Value, metrics and gradient at the start, as if ``step`` steps had been made."""
    net, data = network(), batch()

    @jax.jit
    def run():
        params, state = net.init(jax.random.key(0), data["image"])
        own, mine = objective.init(jax.random.key(1), net, params, state, data)
        mine = {name: v + step if name == "step" else v for name, v in mine.items()}
        whole, now = {"net": params, "obj": own}, {"net": state, "obj": mine}
        loss = lambda p: objective.loss(net, p, now, data, jax.random.key(2))  # noqa: E731
        (value, (_, metrics)), slope = jax.value_and_grad(loss, has_aux=True)(whole)
        outputs, _ = net.apply(params, state, data["image"], key=jax.random.key(2), train=True)
        return value, metrics, slope["net"], outputs

    return run()


def test_pairs_cost_what_the_paper_says():
    value, metrics, _, outputs = gradients(
        learning_loss(jm.supervised(COST), COST, weight=0.5, margin=1.5), 0
    )
    losses = np.asarray(COST(outputs["logits"], batch()["label"]))[:5]
    guess = np.asarray(outputs["predicted_loss"])[:5]
    costs, right = [], []
    for i in range(5):
        for j in range(5):
            if i < j:  # each pair once
                sign = 1 if losses[i] > losses[j] else -1
                costs.append(max(0, -sign * (guess[i] - guess[j]) + 1.5))
                right.append(sign * (guess[i] - guess[j]) > 0)
    np.testing.assert_allclose(metrics["ranking_loss"], np.mean(costs), rtol=1e-5)
    np.testing.assert_allclose(metrics["ranked"], np.mean(right), rtol=1e-6)
    np.testing.assert_allclose(value, losses.mean() + 0.5 * np.mean(costs), rtol=1e-5)


def test_the_gradient_ends_at_the_head_once_it_is_told_to():
    plain = jm.supervised(COST)
    for step, into_trunk in ((0, True), (3, False)):
        objective = learning_loss(plain, COST, stop_after=3)
        _, _, slope, _ = gradients(objective, step)
        _, _, alone, _ = gradients(plain, 0)
        gap = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), slope["trunk"], alone["trunk"])
        assert (max(map(float, jax.tree.leaves(gap))) > 1e-5) is into_trunk
        head = slope["heads"]["predicted_loss"]
        assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(head)) > 0
    with pytest.raises(KeyError, match="predicted_loss"):
        learning_loss(plain, COST, stop_after=0).loss(
            jm.from_linen(networks.cnn(classes=2, features=(4,))),
            *wrapped(), batch(), jax.random.key(0),
        )  # fmt: skip


def wrapped():
    net = jm.from_linen(networks.cnn(classes=2, features=(4,)))
    params, state = net.init(jax.random.key(0), batch()["image"])
    return (
        {"net": params, "obj": {"objective": {}}},
        {"net": state, "obj": {"step": jnp.zeros((), int), "objective": {}}},
    )


def test_copies_have_no_order_and_cost_nothing():
    data = {name: jnp.repeat(value[:1], 4, axis=0) for name, value in batch().items()}
    objective = learning_loss(jm.supervised(COST), COST)
    net = network()
    params, state = net.init(jax.random.key(0), data["image"])
    whole = {"net": params, "obj": {"objective": {}}}, {"net": state, "obj": {"objective": {}}}
    _, (_, metrics) = objective.loss(net, *whole, data, jax.random.key(1))
    assert float(metrics["ranking_loss"]) == 0


@pytest.mark.slow
def test_a_head_learns_which_images_are_wrong():
    """Dark images have labels by chance, light ones by their class: dark ones cost more."""
    rng = np.random.default_rng(0)
    n = 96
    dark, label = np.arange(n) % 2 == 0, rng.integers(0, 2, n)
    image = rng.normal(size=(n, 8, 8, 1)) * 0.1 + np.where(dark, -1.0, 1.0)[:, None, None, None]
    image[:, :4] += (0.8 * (2 * label - 1) * ~dark)[:, None, None, None]
    data = {"image": jnp.asarray(image, jnp.float32), "label": jnp.asarray(label)}
    learner = jm.learner(
        network(), learning_loss(jm.supervised(COST), COST, stop_after=40), optax.adam(1e-2)
    )
    state = learner.init(jax.random.key(0), data)
    step = jax.jit(learner.step)
    for _ in range(60):
        state, _ = step(state, data)
    guess = np.asarray(learner.predict(state, data["image"])["predicted_loss"])
    assert jm.quantities.auc(dark, guess) > 0.9


@pytest.mark.parametrize(
    "options", [{"weight": -1}, {"margin": 0}, {"stop_after": -1}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(options):
    with pytest.raises(
        ValueError, match=r"weight must be finite|margin must be positive|stop_after is a step"
    ):
        learning_loss(jm.supervised(COST), COST, **options)
