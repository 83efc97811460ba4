"""Optimizers and schedules against their definitions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxmed import train
from jaxmed.train import optimizer, schedule

PARAMS = {"layer": {"kernel": np.float32([1.0, -2.0]), "bias": np.float32([0.5])}}
GRADIENTS = [
    {"layer": {"kernel": np.float32([0.1, 0.2]), "bias": np.float32([-0.3])}},
    {"layer": {"kernel": np.float32([-0.4, 0.1]), "bias": np.float32([0.2])}},
    {"layer": {"kernel": np.float32([0.5, 0.3]), "bias": np.float32([0.4])}},
]


def descend(rule, gradients=GRADIENTS):
    params = jax.tree.map(jnp.asarray, PARAMS)
    state = rule.init(params)
    update = jax.jit(rule.update)
    for gradient in gradients:
        updates, state = update(gradient, state, params, value=jnp.zeros(()))
        params = optax.apply_updates(params, updates)
    return params["layer"]


def by_hand(name, w, gradients, *, lr=0.1, decay=0.0):
    """The textbook's updates of one parameter."""
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        if name != "adamw":
            g = g + decay * w
        if name == "sgd":
            step = g
        elif name == "momentum":
            m = 0.9 * m + g
            step = m
        elif name in ("adam", "adamw"):
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        elif name == "rmsprop":
            v = 0.9 * v + 0.1 * g**2
            step = g / np.sqrt(v + 1e-8)
        if name == "adamw":
            step = step + decay * w
        w = w - lr * step
    return w


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw", "rmsprop"])
def test_by_hand(name):
    found = descend(optimizer(name, 0.1, weight_decay=0.05))
    for leaf, decay in (("kernel", 0.05), ("bias", 0.0)):
        expected = by_hand(
            name, PARAMS["layer"][leaf], [g["layer"][leaf] for g in GRADIENTS], decay=decay
        )
        np.testing.assert_allclose(found[leaf], expected, rtol=2e-5)


def test_clip():
    gradients = [{"layer": {"kernel": np.float32([3, 0]), "bias": np.float32([4])}}]
    found = descend(optimizer("sgd", 1.0, clip=1.0), gradients)
    np.testing.assert_allclose(found["kernel"], [1 - 0.6, -2], rtol=1e-6)
    np.testing.assert_allclose(found["bias"], [0.5 - 0.8], rtol=1e-6)


def test_accumulation():
    """Three small steps make one of their mean, and the schedule counts all."""
    rate = schedule("poly", 0.1, 6)
    whole = optimizer("adam", 0.1, schedule="poly", steps=6, accumulate=3)
    mean = jax.tree.map(lambda *xs: sum(xs) / 3, *GRADIENTS)
    found = descend(whole, GRADIENTS * 2)
    expected = descend(optax.adam(lambda count: rate(3 * count)), [mean, mean])
    for leaf in ("kernel", "bias"):
        np.testing.assert_allclose(found[leaf], expected[leaf], rtol=1e-5)
    # Nothing moves in between.
    np.testing.assert_array_equal(descend(whole, GRADIENTS[:2])["bias"], PARAMS["layer"]["bias"])


def test_accumulation_weighs_examples():
    """Batches of three real rows and one make the update of one batch of four."""
    rows = [np.float32([1, 2]), np.float32([3, 4]), np.float32([5, 6]), np.float32([7, 11])]
    rule = optimizer("sgd", 1.0, accumulate=2)
    params = jnp.zeros(2)
    state = rule.init(params)
    for mean, weight in ((sum(rows[:3]) / 3, 3.0), (rows[3], 1.0)):
        change, state = rule.update(jnp.asarray(mean), state, params, weight=jnp.asarray(weight))
        params = params + change
    np.testing.assert_allclose(params, -sum(rows) / 4, rtol=1e-6)
    # An empty batch changes nothing, whatever its gradient says.
    for mean, weight in ((rows[0], 2.0), (100 * rows[1], 0.0)):
        change, state = rule.update(jnp.asarray(mean), state, params, weight=jnp.asarray(weight))
    np.testing.assert_allclose(change, -rows[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("constant", {}, {0: 2.0, 99: 2.0}),
        ("cosine", {}, {0: 2.0, 25: 1 + np.sqrt(0.5), 50: 1.0, 100: 0.0}),
        ("cosine", {"end": 0.5}, {0: 2.0, 50: 1.25, 100: 0.5}),
        ("warmup_cosine", {"warmup": 20}, {0: 0.0, 10: 1.0, 20: 2.0, 60: 1.0, 100: 0.0}),
        ("warmup_cosine", {}, {0: 0.0, 5: 2.0}),
        ("poly", {}, {0: 2.0, 50: 2 * 0.5**0.9, 100: 0.0}),
        ("multistep", {}, {49: 2.0, 50: 0.2, 74: 0.2, 75: 0.02, 100: 0.02}),
        ("multistep", {"at": (0.3,), "factor": 0.5}, {29: 2.0, 30: 1.0}),
    ],
)
def test_schedules(name, options, expected):
    rate = schedule(name, 2.0, 100, **options)
    for step, value in expected.items():
        assert float(rate(step)) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: optimizer("lion", 0.1), "unknown optimizer 'lion'"),
        (lambda: optimizer("sgd", 0.1, schedule="cosine"), "needs steps="),
        (
            lambda: optimizer("sgd", optax.constant_schedule(1.0), schedule="poly", steps=3),
            "number",
        ),
        (lambda: optimizer("sgd", 0.1, warmup=3), "warmup= goes with a named schedule"),
        (lambda: optimizer("sgd", 0.1, accumulate=0), "at least 1"),
        (lambda: schedule("linear", 0.1, 10), "unknown schedule 'linear'"),
        (lambda: schedule("poly", 0.1, 10, warmup=10), "leaves nothing of a run of 10"),
    ],
)
def test_refusals(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_average_by_hand(toy):
    """Averages follow their recursion; training does not notice them; predictions use them."""
    plain = toy.linear()
    run = train.parameter_average(plain, decay=0.5)
    batches = toy.batches()
    step, init = jax.jit(run.step), jax.jit(run.init)
    state = init(jax.random.key(0), batches[0])
    average = np.asarray(state.params["net"]["w"])
    for t in range(4):
        state, _ = step(state, batches[t])
        rate = min(0.5, (1 + t) / (10 + t))
        average = rate * average + (1 - rate) * np.asarray(state.params["net"]["w"])
    kept = run.predicting.get(state).params
    np.testing.assert_allclose(kept["w"], average, rtol=1e-5)
    inputs = toy.arrays()["image"]
    np.testing.assert_allclose(run.predict(state, inputs)["logits"], inputs @ average, atol=1e-5)
    fitted = train.fit(run, batches, steps=4)
    alone = train.fit(plain, batches, steps=4)
    np.testing.assert_array_equal(fitted.state.params["net"]["w"], alone.state.params["net"]["w"])
    with pytest.raises(ValueError, match="decay must be in"):
        train.parameter_average(plain, 1.0)
