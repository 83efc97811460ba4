"""Least squares from sums: the laws of the sums, and NumPy's own solutions."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import quick_key

import jaxmed as jm
from jaxmed.inference import build, describe
from jaxmed.paradigms import closed_form
from jaxmed.train import NonFiniteLossError

N, WIDTH, CLASSES, SLOTS = 40, 7, 3, 16
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4)).astype(np.float32)
LABEL = ((X[:, 0] > 0).astype(np.int32) + (X[:, 1] > 0.5)).astype(np.int32)
VALUE = (np.sin(2 * X[:, 0]) + X[:, 1]).astype(np.float32)
WHOLE = {"image": X, "label": LABEL, "value": VALUE}
KEY = quick_key(3)

# Units whose outputs lie far from 0 and differ in scale; the last never varies.
NETWORK = jm.from_functions(
    lambda key, x: {"w": jax.random.normal(key, (x.shape[-1], WIDTH))},
    lambda params, x: {
        "features": jnp.concatenate(
            [(5 + jnp.tanh(x @ params["w"])) * jnp.logspace(-1, 1, WIDTH), jnp.ones((len(x), 1))],
            axis=-1,
        )
    },
)
MACHINE = closed_form(NETWORK, ridge=0.5, classes=CLASSES)

# What is called often is one program.
STEP = jax.jit(MACHINE.step)
PREDICT = jax.jit(lambda state: MACHINE.predict(state, X)["logits"])
BEGUN = jax.jit(MACHINE.init)(KEY, WHOLE)


@functools.cache
def whole_run(machine):
    def run(key, batches):
        state = machine.init(key, batches[0])
        for batch in batches:
            state, _ = machine.step(state, batch)
        return state

    return jax.jit(run)


def after(machine, *batches):
    return whole_run(machine)(KEY, batches)


@functools.cache
def features():
    """Of the whole data, as every machine on the network sees them with this key."""
    found = jax.jit(MACHINE.network.apply)(*MACHINE.predicting.get(BEGUN), X)[0]["features"]
    return np.asarray(found, np.float64)


def padded(rows):
    """The rows as a batch of so many slots, what is left filled with what must not count."""
    rows = np.asarray(rows, int)
    image = np.full((SLOTS, X.shape[1]), np.nan, np.float32)
    label, weight = np.full(SLOTS, -7, np.int32), np.zeros(SLOTS, np.float32)
    image[: len(rows)], label[: len(rows)], weight[: len(rows)] = X[rows], LABEL[rows], 1
    return {"image": image, "label": label, "weight": weight}


def assert_same_sums(one, other):
    for a, b in zip(jax.tree.leaves(one.params["obj"]), jax.tree.leaves(other.params["obj"])):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(PREDICT(one), PREDICT(other), atol=2e-3)


def solved(h, y, ridge, *, scale=None, weight=None):
    """Kernel and bias by NumPy's least squares on rows that stand for the penalty."""
    weight = np.ones(len(h)) if weight is None else weight
    scale = np.ones(h.shape[1]) if scale is None else scale
    mean_h, mean_y = np.average(h, 0, weight), np.average(y, 0, weight)
    root = np.sqrt(weight)[:, None]
    rows = np.concatenate([root * (h - mean_h) * scale, np.sqrt(ridge) * np.eye(h.shape[1])])
    targets = np.concatenate([root * (y - mean_y), np.zeros((h.shape[1], y.shape[1]))])
    kernel = scale[:, None] * np.linalg.lstsq(rows, targets, rcond=None)[0]
    return kernel, mean_y - mean_h @ kernel


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=N, max_size=N), st.randoms(use_true_random=False))
def test_order_and_size_of_batches_change_nothing(parts, random):
    order = list(range(N))
    random.shuffle(order)
    state = BEGUN
    for part in range(4):
        rows = [row for row in order if parts[row] == part]
        for start in range(0, len(rows), SLOTS):
            state, _ = STEP(state, padded(rows[start : start + SLOTS]))
    assert_same_sums(state, after(MACHINE, WHOLE))


@settings(max_examples=8, deadline=None)
@given(st.sets(st.integers(0, N - 1)))
def test_two_parts_are_the_whole(chosen):
    rest = [row for row in range(N) if row not in chosen]
    parts = []
    for rows in (sorted(chosen), rest):
        state = BEGUN
        for start in range(0, len(rows), SLOTS):
            state, _ = STEP(state, padded(rows[start : start + SLOTS]))
        parts.append(state)
    assert_same_sums(MACHINE.merge(*parts), after(MACHINE, WHOLE))
    assert int(MACHINE.merge(*parts).step) == int(parts[0].step) + int(parts[1].step)


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("targets", ["one-hot", "plus-minus", "numbers"])
def test_the_solution_is_that_of_least_squares(standardise, targets):
    options = {"target": "value"} if targets == "numbers" else {"classes": CLASSES}
    machine = closed_form(NETWORK, ridge=0.3, targets=targets, standardise=standardise, **options)
    y = VALUE[:, None] if targets == "numbers" else np.eye(CLASSES)[LABEL]
    y = 2 * y - 1 if targets == "plus-minus" else y
    h = features()
    scale = np.append(1 / h[:, :WIDTH].std(0), 0) if standardise else None
    kernel, bias = solved(h, y, 0.3, scale=scale)
    found = machine.predict(after(machine, WHOLE), X)["logits"]
    np.testing.assert_allclose(found, h @ kernel + bias, atol=3e-3)


def test_weights_of_classes_and_rows_count_as_repeated_rows():
    machine = closed_form(NETWORK, ridge=0.5, classes=CLASSES, class_weights=(1, 3, 2))
    weight = np.arange(N) % 3
    h, times = features(), weight * np.array([1, 3, 2])[LABEL]
    kernel, bias = solved(
        np.repeat(h, times, 0), np.eye(CLASSES)[np.repeat(LABEL, times)], 0.5,
        scale=np.append(1 / np.repeat(h, times, 0)[:, :WIDTH].std(0), 0),
    )  # fmt: skip
    state = after(machine, {**WHOLE, "weight": weight.astype(np.float32)})
    np.testing.assert_allclose(machine.predict(state, X)["logits"], h @ kernel + bias, atol=3e-3)


def test_cross_validation_chooses_by_its_formula():
    grid = (1e-3, 0.1, 1.0, 10.0, 300.0)
    machine = closed_form(NETWORK, ridge=grid, targets="numbers", target="value")
    h, y = features(), VALUE[:, None].astype(float)
    scale = np.append(1 / h[:, :WIDTH].std(0), 0)
    centred = (h - h.mean(0)) * scale

    def criterion(ridge):
        hat = centred @ np.linalg.solve(centred.T @ centred + ridge * np.eye(len(scale)), centred.T)
        hat += 1 / N
        return N * np.square(y - hat @ y).sum() / (N - np.trace(hat)) ** 2

    best = min(grid, key=criterion)
    assert best not in (grid[0], grid[-1])
    kernel, bias = solved(h, y, best, scale=scale)
    state = after(machine, WHOLE)
    np.testing.assert_allclose(machine.predict(state, X)["logits"], h @ kernel + bias, atol=3e-3)


def test_no_ridge_is_chosen_for_its_rounding_errors():
    """With more features than examples both criteria are 0 / 0 at small ridges."""
    wide = jm.from_functions(
        lambda key, x: {"w": jax.random.normal(key, (4, 80))},
        lambda params, x: {"features": jnp.tanh(x @ params["w"])},
    )
    noise = np.random.default_rng(1).normal(size=N).astype(np.float32)
    data = {"image": X, "value": noise}  # nothing to be learned: the more ridge, the better
    machine = closed_form(wide, targets="numbers", target="value")
    state = after(machine, data)
    found = machine.leave_one_out(state, jm.data.batches(data, N), (1e-12, 1e-9, 1e-6, 1e4))
    assert found.ridge == pytest.approx(1e4)
    for grid in ("gcv", (1e-12, 1e-9, 1e4), (1e-12, 1e-10)):
        other = closed_form(wide, ridge=grid, targets="numbers", target="value")
        kernel = other.predicting.get(after(other, data)).params["heads"]["logits"]["kernel"]
        assert np.isfinite(np.asarray(kernel)).all()
        if grid == (1e-12, 1e-9, 1e4):
            assert np.abs(np.asarray(kernel)).max() < 0.01


@pytest.mark.parametrize("weighted", [False, True])
def test_leave_one_out_is_exact(weighted):
    machine = closed_form(NETWORK, ridge="gcv", classes=CLASSES, standardise=False)
    weight = (np.arange(N) % 3 if weighted else np.ones(N)).astype(np.float32)
    data = {**WHOLE, "weight": weight}
    grid, h, y = (0.05, 2.0, 50.0), features(), np.eye(CLASSES)[LABEL]
    squared, wrong = np.zeros(3), np.zeros(3)
    for at, ridge in enumerate(grid):
        for i in np.flatnonzero(weight):
            own = np.where(np.arange(N) == i, 0, weight).astype(float)
            kernel, bias = solved(h, y, ridge, weight=own)
            found = h[i] @ kernel + bias
            squared[at] += weight[i] * np.square(y[i] - found).sum()
            wrong[at] += weight[i] * (found.argmax() != LABEL[i])
    batches = jm.data.batches(data, 10)
    found = machine.leave_one_out(after(machine, data), batches, grid)
    np.testing.assert_allclose(found.squared_error, squared / weight.sum(), rtol=2e-3)
    np.testing.assert_allclose(found.error, wrong / weight.sum(), rtol=1e-5)
    assert found.ridge == pytest.approx(grid[int(squared.argmin())])
    kernel, bias = solved(h, y, found.ridge, weight=weight.astype(float))
    np.testing.assert_allclose(
        machine.predict(found.state, X)["logits"], h @ kernel + bias, atol=3e-3
    )


def test_the_size_of_batches_does_not_matter_to_what_is_forgotten():
    machine = closed_form(NETWORK, ridge=0.5, classes=CLASSES, forget=0.9)
    cuts = [padded(range(0, 5)), padded(range(5, 21)), padded(range(21, 24)), padded(range(24, 40))]
    weight = 0.9 ** np.arange(N)[::-1]
    h = features()
    mean = np.average(h[:, :WIDTH], 0, weight)
    deviation = np.sqrt(np.average(np.square(h[:, :WIDTH] - mean), 0, weight))
    kernel, bias = solved(
        h, np.eye(CLASSES)[LABEL], 0.5, scale=np.append(1 / deviation, 0), weight=weight
    )
    for batches in ([WHOLE], cuts):
        found = machine.predict(after(machine, *batches), X)["logits"]
        np.testing.assert_allclose(found, h @ kernel + bias, atol=3e-3)


def test_a_solution_is_held_until_the_next_step():
    state = after(MACHINE, WHOLE)
    held = MACHINE.solve(state)
    np.testing.assert_allclose(PREDICT(held), PREDICT(state), atol=1e-6)
    more = {**WHOLE, "label": (LABEL + 1) % CLASSES}
    new, direct = STEP(held, more)[0], STEP(state, more)[0]
    np.testing.assert_array_equal(PREDICT(new), PREDICT(direct))
    apart = PREDICT(new) - PREDICT(held)
    assert np.abs(apart).max() > 0.1


def test_the_solution_is_the_parameters_of_an_ordinary_network():
    trunk = jm.from_linen(jm.networks.cnn(features=(4,), norm="group"))
    machine = closed_form(trunk, ridge=1.0, classes=CLASSES)
    batch = {"image": RNG.normal(size=(8, 6, 6, 1)).astype(np.float32), "label": LABEL[:8]}
    state = after(machine, batch)
    again = build(describe(machine.network))
    found = jax.jit(again.apply)(*machine.predicting.get(state), batch["image"])[0]
    expected = jax.jit(machine.predict)(state, batch["image"])
    np.testing.assert_allclose(found["logits"], expected["logits"], rtol=1e-5)


def test_voxels_are_rows_and_those_not_known_do_not_count():
    trunk = jm.from_functions(lambda key, x: {}, lambda params, x: {"pyramid": (x, x[:, ::2])})
    machine = closed_form(
        trunk, ridge=0.1, classes=2, output="pyramid", target="mask", known=lambda m: m >= 0
    )
    image = RNG.normal(size=(3, 4, 5, 2)).astype(np.float32)
    mask = (image[..., 0] + 0.3 * image[..., 1] > 0).astype(np.int32)
    mask[0, :2] = -1
    batch = {"image": image, "mask": mask}
    state, metrics = jax.jit(lambda key, batch: machine.step(machine.init(key, batch), batch))(
        KEY, batch
    )
    assert float(metrics["examples"]) == (mask >= 0).sum()
    h, y = image[mask >= 0].astype(float), np.eye(2)[mask[mask >= 0]]
    kernel, bias = solved(h, y, 0.1, scale=1 / h.std(0))
    np.testing.assert_allclose(
        machine.predict(state, image)["logits"], image @ kernel + bias, atol=1e-3
    )


def test_a_ridge_below_the_digits_still_solves():
    """Two features that are one: the least ridge keeps the solution finite and the fit good."""
    twice = jm.from_functions(
        lambda key, x: {}, lambda params, x: {"features": jnp.concatenate([x, x + 100], -1)}
    )
    machine = closed_form(twice, ridge=1e-30, targets="numbers", target="value")
    data = {"image": X, "value": (X @ np.array([1.0, -2, 0.5, 3], np.float32))}
    state = after(machine, data)
    found = machine.predict(machine.solve(state), X)["logits"][:, 0]
    np.testing.assert_allclose(found, data["value"], atol=0.02)


def test_what_cannot_be_solved_is_refused():
    with pytest.raises(ValueError, match="no example has been seen"):
        MACHINE.solve(BEGUN)
    for label, image in ((LABEL + 2, X), (LABEL, np.where(X > 2, np.nan, X))):
        state = after(MACHINE, {"image": image, "label": label})
        with pytest.raises(ValueError, match="the sums are not finite"):
            MACHINE.solve(state)
    dead = after(MACHINE, {"image": np.zeros_like(X), "label": LABEL})
    with pytest.raises(ValueError, match="all units are dead"):
        MACHINE.solve(dead)
    bad = jm.data.batches({"image": X, "label": np.where(LABEL == 2, 9, LABEL)}, 10)
    with pytest.raises(NonFiniteLossError):
        jm.fit(MACHINE, bad, epochs=1, progress=False)
    other = whole_run(MACHINE)(quick_key(4), (WHOLE,))
    with pytest.raises(ValueError, match="begin both with one key"):
        MACHINE.merge(after(MACHINE, WHOLE), other)
    with pytest.raises(ValueError, match=r"the batches weigh 40, the sums 80"):
        MACHINE.leave_one_out(after(MACHINE, WHOLE, WHOLE), jm.data.batches(WHOLE, 10))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ridge": 0.0, "classes": 2}, "ridge must be positive and finite, got 0.0"),
        ({"ridge": -1, "classes": 2}, "ridge must be positive"),
        ({"ridge": float("nan"), "classes": 2}, "ridge must be positive"),
        ({"ridge": (), "classes": 2}, "ridge must be positive"),
        ({"ridge": "loo", "classes": 2}, r"closed_form\(...\).leave_one_out"),
        ({"ridge": 1.0}, "needs the number of classes"),
        ({"targets": "two-hot", "classes": 2}, "targets must be"),
        ({"targets": "numbers", "class_weights": (1, 2)}, "class_weights are of classes"),
        ({"classes": 2, "class_weights": (1, 0)}, "class_weights must be 2 positive numbers"),
        ({"classes": 2, "forget": 0.0}, r"forget must be in \(0, 1\]"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        closed_form(NETWORK, **options)


def test_targets_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"'value' is float32: cast them"):
        closed_form(NETWORK, classes=2, target="value").init(KEY, WHOLE)
    with pytest.raises(ValueError, match=r"'label' have the shape \(40, 1\)"):
        closed_form(NETWORK, classes=2).init(KEY, {**WHOLE, "label": LABEL[:, None]})
    with pytest.raises(KeyError, match="no 'tokens'"):
        closed_form(NETWORK, classes=2, output="tokens").init(KEY, WHOLE)
