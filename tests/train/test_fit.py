"""The training loop: its numbers, when it stops, what it keeps, what it refuses."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed import data, losses, train
from jaxmed.core import from_functions, stateless
from jaxmed.train import _fit


@pytest.fixture(scope="module")
def least_squares():
    """``y = x w`` by SGD: five rows in batches of two, so that the last is padded."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 3)).astype(np.float32)
    y = rng.normal(size=(5, 1)).astype(np.float32)
    network = from_functions(
        lambda key, inputs: {"w": jnp.zeros((3, 1))}, lambda params, inputs: inputs @ params["w"]
    )
    run = jm.learner(network, jm.supervised(losses.mse), optax.sgd(0.1))
    return run, x, y, data.batches({"image": x, "label": y}, 2, shuffle=False)


@pytest.mark.parametrize("compile_epochs", [False, True])
def test_least_squares_by_hand(least_squares, compile_epochs):
    run, x, y, batches = least_squares
    w, means = np.zeros((3, 1)), []
    for _ in range(3):
        total = 0.0
        for rows in ([0, 1], [2, 3], [4]):
            error = x[rows] @ w - y[rows]
            total += (error**2).sum()
            w = w - 0.1 * 2 * x[rows].T @ error / len(rows)
        means.append(total / 5)
    result = train.fit(
        run, batches, epochs=3, devices=train.Placement(compile_epochs=compile_epochs)
    )
    np.testing.assert_allclose(result.state.params["net"]["w"], w, rtol=1e-5)
    np.testing.assert_allclose([r["train/loss"] for r in result.history], means, rtol=1e-5)
    assert [(r["epoch"], r["step"]) for r in result.history] == [(1, 3), (2, 6), (3, 9)]
    assert (result.step, result.stopped, result.best) == (9, "end", None)
    assert result.best_state is result.state


def test_compiled_epochs_give_the_same_numbers(toy, same):
    run, batches = toy.learner(), toy.batches(seed=3)
    one = train.fit(run, batches, steps=8)
    other = train.fit(run, batches, steps=8, devices=train.Placement(compile_epochs=True))
    same(one.state, other.state, atol=1e-6)
    for a, b in zip(one.history, other.history, strict=True):
        assert a["train/loss"] == pytest.approx(b["train/loss"], abs=1e-6)
    # A run that is longer by less than an epoch ends with a record of its part.
    assert [r["step"] for r in one.history] == [3, 6, 8]


def test_it_learns_and_compiles_once(toy):
    run = toy.learner()
    traced = chex.assert_max_traces(run.step, n=1)
    batches = toy.batches()
    result = train.fit(run._replace(step=traced), batches, epochs=40)
    logits = train.predict(run, result.state, batches.source)
    assert (logits.argmax(1) == toy.arrays()["label"]).mean() > 0.9
    assert result.history[-1]["train/loss"] < 0.5 * result.history[0]["train/loss"]


SCORES = [0.5, float("nan"), 0.9, 0.7, 0.9, 0.8, 1.0]


def scripted(state):
    """A metric that goes up and down, by the epoch of three steps."""
    return {"score": SCORES[int(state.step) // 3 - 1]}


def test_best_state_and_patience(toy, same):
    run, batches = toy.learner(), toy.batches()
    options = {"evaluate": scripted, "monitor": "score"}
    stopped = train.fit(run, batches, epochs=7, patience=3, **options)
    # The third epoch is best; an equal score is no better, and NaN none at all.
    assert (stopped.stopped, stopped.step, stopped.best["epoch"]) == ("patience", 18, 3)
    same(stopped.best_state, train.fit(run, batches, epochs=3).state)
    least = train.fit(run, batches, epochs=7, mode="min", **options)
    assert (least.best["epoch"], least.stopped) == (1, "end")
    every = train.Evaluation(scripted, every=3)
    sparse = train.fit(run, batches, epochs=7, evaluate=every, monitor="score")
    assert [r["epoch"] for r in sparse.history if "score" in r] == [3, 6, 7]
    assert sparse.best["epoch"] == 7


def test_monitor_of_training(least_squares):
    run, _, _, batches = least_squares
    result = train.fit(run, batches, epochs=3, monitor="train/loss", mode="min", patience=2)
    assert result.best == min(result.history, key=lambda record: record["train/loss"])
    with pytest.raises(ValueError, match=r"monitor='auc'.*'score'.*'train/loss'"):
        train.fit(run, batches, epochs=1, monitor="auc", evaluate=lambda state: {"score": 1.0})


def test_patience_without_a_monitor(toy):
    run, batches = toy.linear(), toy.batches()
    one = {"evaluate": lambda state: {"score": 0.5}, "epochs": 9}
    stopped = train.fit(run, batches, patience=2, **one)
    assert (stopped.step, stopped.stopped, stopped.best["epoch"]) == (9, "patience", 1)
    # Nothing is kept as the best that nobody named.
    assert train.fit(run, batches, epochs=1, evaluate=one["evaluate"]).best is None
    with pytest.raises(ValueError, match=r"gives \['a', 'b'\]: name one by monitor="):
        train.fit(run, batches, epochs=2, patience=1, evaluate=lambda state: {"a": 1, "b": 2})


def test_settings_in_groups(toy, tmp_path):
    run, batches = toy.linear(), toy.batches()
    with pytest.warns(DeprecationWarning, match=r"fit\(keep=\) is now out=Output\(\.\.\., keep=\)"):
        train.fit(run, batches, steps=1, out=tmp_path, keep=1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
        train.fit(run, batches, epoch=1)
    twice = train.Evaluation(lambda state: {"a": 1.0}, monitor="a")
    with pytest.raises(ValueError, match="'monitor' is in evaluate= and beside it"):
        train.fit(run, batches, epochs=1, evaluate=twice, monitor="b")
    with pytest.raises(ValueError, match="keep must be at least 1"):
        train.Output(keep=0)


def test_an_error_leaves_its_traceback(toy, tmp_path):
    def broken(state):
        raise ZeroDivisionError("of the evaluation")

    with pytest.raises(ZeroDivisionError):
        train.fit(toy.linear(), toy.batches(), epochs=1, out=tmp_path, evaluate=broken)
    assert "ZeroDivisionError: of the evaluation" in (tmp_path / "error.txt").read_text()


@pytest.mark.parametrize("compile_epochs", [False, True])
def test_a_loss_that_is_not_finite(toy, same, tmp_path, compile_epochs):
    arrays = toy.arrays()
    arrays["image"][13] = np.nan
    names = [f"patient-{i}" for i in range(21)]
    source = data.ArraySource(arrays, case_ids=names)
    batches = data.batches(source, 8, shuffle=False)
    bad = 1
    with pytest.raises(train.NonFiniteLossError, match="patient-13") as caught:
        # The steps after the bad one run before the host hears of it, and change nothing.
        train.fit(
            toy.learner(),
            batches,
            epochs=9,
            devices=train.Placement(compile_epochs=compile_epochs),
            out=tmp_path,
        )
    error = caught.value
    assert error.step == bad
    assert error.cases == tuple(names[i] for i in batches.indices(bad))
    assert f"step {bad} the loss is nan" in str(error)
    before = train.fit(
        toy.learner(), batches, steps=bad, devices=train.Placement(compile_epochs=compile_epochs)
    ).state
    same(error.state, before)
    assert str(error.folder) in str(error)
    same(train.restore(error.folder.parent, before).state, before)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_parameters_that_are_not_finite(accumulate):
    """A finite loss whose gradient is not: the square root at 0. It is told at its own step."""
    network = from_functions(
        lambda key, inputs: {"w": jnp.ones(())}, lambda params, inputs: params["w"] * inputs
    )

    def loss(network, params, state, batch, key):
        outputs = network.apply(params["net"], state["net"], batch["image"])[0]["logits"]
        return jnp.sqrt(jnp.abs(outputs)).sum(), (state, {})

    rule = train.optimizer("sgd", 0.1, accumulate=accumulate)
    run = jm.learner(network, stateless(loss), rule)
    bad = accumulate  # The first step after an update: with accumulation, none is due at it.
    images = np.float32([[1]] * bad + [[0], [1], [1]])
    batches = data.batches({"image": images}, 1, shuffle=False)
    told = rf"loss is 0, but.*cases: {bad};.*\.state"
    with pytest.raises(train.NonFiniteLossError, match=told) as e:
        train.fit(run, batches, epochs=1)
    assert (e.value.step, e.value.folder) == (bad, None)
    assert float(e.value.state.params["net"]["w"]) == pytest.approx(0.95)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(e.value.state.opt_state))


def test_states_are_the_callers(toy, same):
    """A given state survives, and one with a buffer in two places trains."""
    run, batches = toy.learner(), toy.batches()
    given = run.init(jax.random.key(5), batches[0])
    before = jax.tree.map(jnp.copy, given)
    started = train.fit(run, batches, steps=1, state=given)
    same(given, before)
    same(train.fit(run, batches, steps=1, key=jax.random.key(5)).state, started.state)

    def init(key, batch):
        state = run.init(key, batch)
        return state._replace(state={**state.state, "teacher": state.params})

    def step(current, batch):
        inner = current._replace(state={k: current.state[k] for k in ("net", "obj")})
        new, metrics = run.step(inner, batch)
        return new._replace(state={**new.state, "teacher": current.state["teacher"]}), metrics

    twice = train.fit(run._replace(init=init, step=step), batches, steps=2, seed=5)
    same(twice.state.state["teacher"], before.params)


class Plain:
    """The least that fit asks of batches."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, step):
        return self.items[step % len(self)]

    def iterate(self, start):
        while True:
            yield self[start]
            start += 1


def test_plain_batches(toy):
    items = [dict(toy.batches()[step]) for step in range(2)]
    for item in items:
        item["case"] = np.array(["not", "a", "number", "but", "a", "name", "it", "is"])
    assert train.fit(toy.learner(), Plain(items), epochs=1).step == 2
    with pytest.raises(ValueError, match=r"compile_epochs needs batches.*not Plain"):
        train.fit(
            toy.learner(), Plain(items), epochs=1, devices=train.Placement(compile_epochs=True)
        )
    items[1]["image"] = items[1]["image"][:5]
    with pytest.raises(ValueError, match=r"'image' was \(\(8, 4\).*\(5, 4\).*at step 1"):
        train.fit(toy.learner(), Plain(items), epochs=1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "either epochs or steps"),
        ({"epochs": 1, "steps": 1}, "either epochs or steps"),
        ({"epochs": 0}, "at least one step"),
        ({"epochs": 1, "mode": "least"}, "mode"),
        ({"epochs": 1, "patience": 2}, "patience needs evaluate"),
        ({"epochs": 1, "devices": 99}, "99 devices was asked for, and there are 8"),
        ({"epochs": 1, "devices": train.Placement(8, "yes")}, "not both"),
        ({"epochs": 1, "devices": 3}, r"8 rows \('image'\) does not divide over 3 devices"),
    ],
)
def test_refusals(toy, options, match):
    with pytest.raises(ValueError, match=match):
        train.fit(toy.learner(), toy.batches(), **options)


def test_a_line_an_epoch_where_there_is_no_terminal(toy, capsys, monkeypatch):
    monkeypatch.setattr(_fit, "_LINES", 0.0)
    run, batches = toy.linear(), toy.batches()
    train.fit(run, batches, epochs=2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch 1", "epoch 2"]
    assert "loss " in lines[0]
    train.fit(run, batches, epochs=2, progress=False)
    assert capsys.readouterr().err == ""


def test_an_epoch_longer_than_the_pause_is_saved_within_it(toy, same, tmp_path, monkeypatch):
    learner, batches = toy.linear(), toy.batches()
    whole = train.fit(learner, batches, epochs=2)
    saved = []
    make = _fit.saver

    def noted(*given):
        save = make(*given)

        def noting(kind, step, *rest):
            saved.append(step)
            return save(kind, step, *rest)

        return noting

    monkeypatch.setattr(_fit, "saver", noted)
    monkeypatch.setattr(_fit, "_PAUSE", 0.0)
    monkeypatch.setattr(_fit, "_FIRST_REACH", 1)
    cut = train.fit(learner, batches, epochs=2, out=tmp_path)
    assert saved == list(range(1, cut.step + 1))  # after every step, not every epoch alone
    same(cut.state, whole.state)
