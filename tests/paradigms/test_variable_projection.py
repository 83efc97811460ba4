"""The gradient through a solution, and modules that see what is predicted below."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.linalg import solve

import jaxmed as jm
from jaxmed.inference import build, describe
from jaxmed.networks import StackingModule
from jaxmed.paradigms import closed_form, stacked, variable_projection

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
VALUE = np.stack([np.sin(2 * X[:, 0]), X[:, 1] * X[:, 2]], -1)
WEIGHT = (np.arange(30) % 4).astype(float)
RIDGE = 0.7


def units(params, x):
    return jnp.tanh(x @ params["w"] + params["b"])


NETWORK = jm.from_functions(
    lambda key, x: {"w": jax.random.normal(key, (4, 6)), "b": jnp.zeros(6)},
    lambda params, x: {"features": units(params, x)},
)
OBJECTIVE = variable_projection(ridge=RIDGE, classes=2, targets="numbers", target="value")


def test_the_gradient_is_that_through_the_solution():
    """Against finite differences, and automatic differentiation of the solution itself."""
    with jax.enable_x64(True):
        params = {"w": jnp.asarray(RNG.normal(size=(4, 6))), "b": jnp.asarray(RNG.normal(size=6))}
        batch = {name: jnp.asarray(value) for name, value in
                 {"image": X, "value": VALUE, "weight": WEIGHT}.items()}  # fmt: skip
        state = {"net": {}, "obj": {}}

        def loss(params):
            whole = {"net": params, "obj": {}}
            return OBJECTIVE.loss(NETWORK, whole, state, batch, jax.random.key(0))[0]

        def through(params):
            h, w = units(params, batch["image"]), batch["weight"][:, None]
            h = h - (w * h).sum(0) / w.sum()
            y = batch["value"] - (w * batch["value"]).sum(0) / w.sum()
            kernel = solve(h.T @ (w * h) + RIDGE * jnp.eye(6), h.T @ (w * y))
            return ((w * (y - h @ kernel) ** 2).sum() + RIDGE * (kernel**2).sum()) / w.sum()

        loss = jax.jit(loss)
        value, gradient = jax.jit(jax.value_and_grad(loss))(params)
        expected, through_it = jax.jit(jax.value_and_grad(through))(params)
        assert value.dtype == jnp.float64
        np.testing.assert_allclose(value, expected, rtol=1e-10)
        for name in ("w", "b"):
            np.testing.assert_allclose(gradient[name], through_it[name], rtol=1e-8, atol=1e-12)
        for name, at in (("w", (0, 0)), ("w", (3, 5)), ("b", (2,))):
            moved = [loss({**params, name: params[name].at[at].add(by)}) for by in (1e-5, -1e-5)]
            difference = float(moved[0] - moved[1]) / 2e-5
            np.testing.assert_allclose(gradient[name][at], difference, rtol=1e-6, atol=1e-10)


def test_what_is_explained_is_that_of_the_closed_form():
    batch = {"image": X.astype(np.float32), "value": VALUE.astype(np.float32)}
    machine = closed_form(
        NETWORK, ridge=RIDGE, classes=2, targets="numbers", target="value", standardise=False
    )

    @jax.jit
    def run(key):
        state, _ = machine.step(machine.init(key, batch), batch)
        whole = {"net": state.params["net"]["trunk"], "obj": {}}
        _, (_, metrics) = OBJECTIVE.loss(NETWORK, whole, {"net": {}, "obj": {}}, batch, key)
        return machine.predict(state, batch["image"])["logits"], metrics

    logits, metrics = run(jax.random.key(1))
    residual = logits - batch["value"]
    spread = np.square(VALUE - VALUE.mean(0)).sum()
    expected = 1 - float(jnp.square(residual).sum()) / spread
    assert float(metrics["explained"]) == pytest.approx(expected, abs=1e-4)
    with pytest.raises(ValueError, match="ridge must be positive and finite, got 0"):
        variable_projection(ridge=0, classes=2)


def test_modules_see_the_input_and_what_is_below():
    parts = [
        jm.with_heads(jm.from_linen(StackingModule(3)), {"logits": jm.networks.LinearHead(2)})
        for _ in range(3)
    ]
    x = jnp.asarray(X, jnp.float32)
    for sees, widths in (("all", (0, 2, 4)), ("last", (0, 2, 2))):
        network = stacked(parts, outputs=2, sees=sees)
        params, state = network.init(jax.random.key(0), x)
        found, below = network.apply(params, state, x)[0], []
        for i, (module, width) in enumerate(zip(parts, widths, strict=True)):
            seen = jnp.concatenate(below, -1) if below else jnp.zeros((len(x), 0))
            seen = seen[:, seen.shape[1] - width :]
            given = {"image": x, "below": seen}
            name = f"module{i + 1}"
            below.append(module.apply(params[name], state[name], given)[0]["logits"])
            np.testing.assert_allclose(found["modules"][i], below[-1], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found["logits"], found["modules"][-1])
        again = build(describe(network))
        np.testing.assert_array_equal(again.apply(params, state, x)[0]["logits"], found["logits"])
    with pytest.raises(ValueError, match=r"module1 predicts \(30, 2\), and outputs=5"):
        stacked(parts[:1], outputs=5).apply(params, state, x)
    with pytest.raises(ValueError, match="at least one module"):
        stacked([], outputs=2)
    with pytest.raises(ValueError, match="sees must be"):
        stacked(parts, outputs=2, sees="some").init(jax.random.key(0), x)  # type: ignore[arg-type]
