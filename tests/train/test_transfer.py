"""Optimizers by parts, against the optimizer by itself."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxmed.train import decayed, freeze, gradual_unfreezing, layerwise

PARAMS = {"net": {"stem": jnp.ones(3), "top": jnp.ones(2), "head": jnp.ones(2)}, "obj": {}}


def gradient(step: int):
    return jax.tree.map(lambda x: jnp.arange(1.0, x.size + 1) * (step + 1), PARAMS)


def run(rule, steps: int, params=PARAMS, first: int = 0):
    """Parameters after each step."""
    state, update, seen = rule.init(params), jax.jit(rule.update), []
    for step in range(first, first + steps):
        updates, state = update(gradient(step), state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params["net"])
    return seen


def test_layers_learn_at_their_own_rate():
    rates = {"head": 1.0, "top": 0.5, "stem": 0.0}
    found = run(layerwise(optax.adamw(0.1, weight_decay=0.2), rates), 1)[0]
    for name, rate in rates.items():
        alone = run(optax.adamw(0.1 * rate, weight_decay=0.2), 1)[0]
        np.testing.assert_allclose(found[name], alone[name], rtol=1e-5)
    assert decayed(["head", "top"])["top"] == pytest.approx(1 / 2.6)


def test_a_part_begins_as_if_training_began_there():
    adam = optax.adamw(optax.linear_schedule(0.1, 0.0, 10), weight_decay=0.2)
    found = run(gradual_unfreezing(adam, ["head", "top", "stem"], every=2), 6)
    for part, start in (("head", 0), ("top", 2), ("stem", 4)):
        for step in range(start):
            np.testing.assert_array_equal(found[step][part], PARAMS["net"][part])
        alone = run(adam, 6 - start, first=start)
        for step in range(start, 6):
            np.testing.assert_allclose(found[step][part], alone[step - start][part], rtol=1e-5)


def test_the_frozen_neither_learn_nor_decay():
    found = run(freeze(optax.adamw(0.1, weight_decay=0.2), "stem|top"), 3)[-1]
    np.testing.assert_array_equal(found["stem"], PARAMS["net"]["stem"])
    alone = run(optax.adamw(0.1, weight_decay=0.2), 3)[-1]
    np.testing.assert_allclose(found["head"], alone["head"], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: freeze(optax.sgd(1.0), "body").init(PARAMS), r"\['body'\].*net/head"),
        (lambda: layerwise(optax.sgd(1.0), {"body": 1.0}).init(PARAMS), "body"),
        (lambda: layerwise(optax.sgd(1.0), {"head": -1.0}), "not negative"),
        (lambda: gradual_unfreezing(optax.sgd(1.0), ["head", "body"], 1).init(PARAMS), "body"),
        (lambda: gradual_unfreezing(optax.sgd(1.0), ["head"], 0), "every"),
        (lambda: decayed(["head"], 1.5), "decay"),
    ],
)
def test_patterns_that_match_nothing_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
