"""Resumption: killed at any moment, a run goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxmed import data, train
from jaxmed.train._identity import program_digest
from jaxmed.train._program import program

ROOT = Path(__file__).parents[2]


def work(folder, plans):
    """Run ``worker.py``; return the exit codes of its runs."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("worker.py"), folder, json.dumps(plans)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()], done.stderr


def timeless(record):
    return {name: value for name, value in (record or {}).items() if name != "seconds"}


def killed_and_resumed(folder, kills, **options):
    options = {"epochs": 4, "checkpoint_every": 2, **options}
    plans = [{"out": "whole", "kill": None, **options}]
    plans += [{"out": "killed", "kill": kill, **options} for kill in [*kills, None]]
    codes, errors = work(folder, plans)
    # Each kill did happen: a run that ended before would have returned 0.
    assert codes == [0, *[-9] * len(kills), 0], errors
    whole, killed = (np.load(folder / name / "leaves.npz") for name in ("whole", "killed"))
    assert len(whole.files) > 20
    for name in whole.files:
        assert whole[name].tobytes() == killed[name].tobytes()
    ones, others = (
        json.loads((folder / name / "history.json").read_text()) for name in ("whole", "killed")
    )
    assert [timeless(r) for r in ones[0]] == [timeless(r) for r in others[0]]
    assert timeless(ones[1]) == timeless(others[1])
    logs = [
        [
            timeless(json.loads(x))
            for x in (folder / name / "metrics.jsonl").read_text().splitlines()
        ]
        for name in ("whole", "killed")
    ]
    assert logs[0] == logs[1]


def test_killed_in_writes(tmp_path):
    killed_and_resumed(tmp_path, ["checkpoints", "best"], log_every=1)
    assert any((tmp_path / "cache").iterdir())
    left = [path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()]
    assert sorted(left) == ["10", "12"]


@pytest.mark.slow
@pytest.mark.parametrize("compile_epochs", [False, True])
def test_killed_at_many_random_moments(tmp_path, compile_epochs):
    seed = int.from_bytes(os.urandom(4), "little")
    print("seed", seed)
    rng = np.random.default_rng(seed)
    options = {"epochs": 20, "keep": 1, "checkpoint_every": 3 if compile_epochs else 2}
    # A run that goes on does so before the step at which it was killed: later ones are reached.
    kills = [] if compile_epochs else sorted({int(step) for step in rng.integers(3, 60, 10)})
    for _ in range(5):
        kills.insert(int(rng.integers(len(kills) + 1)), "checkpoints")
    # The first state evaluated is the best so far; later ones may not be.
    kills.insert(0, "best")
    killed_and_resumed(tmp_path, kills, compile_epochs=compile_epochs, **options)


class Interrupted(Exception):
    pass


class Interrupting:
    """Batches that break off at a step."""

    def __init__(self, batches, at):
        self.batches, self.at = batches, at

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, step):
        return self.batches[step]

    def iterate(self, start):
        for step, batch in enumerate(self.batches.iterate(start), start):
            if step == self.at:
                raise Interrupted
            yield batch


def score(state):
    return {"score": float(state.params["net"]["Dense_1"]["bias"][0])}


OPTIONS = {"evaluate": score, "monitor": "score"}


def quiet(folder, checkpoint_every=None):
    """Checkpoints alone, no logs."""
    return train.Output(folder, checkpoint_every=checkpoint_every, loggers=())


@pytest.fixture(scope="module")
def whole(toy):
    return train.fit(toy.learner(), toy.batches(), epochs=4, **OPTIONS)


@pytest.fixture(scope="module")
def interrupted(toy, tmp_path_factory):
    """A folder left by a run that broke off at step 11, after saving 8 and 10; and how to go on."""
    origin = tmp_path_factory.mktemp("origin")
    options = {**OPTIONS, "epochs": 4}
    with pytest.raises(Interrupted):
        train.fit(toy.learner(), Interrupting(toy.batches(), 11), out=quiet(origin, 2), **options)
    assert train.latest(origin / "checkpoints") == 10
    return origin, options


@pytest.fixture
def run(interrupted, tmp_path, toy):
    origin, options = interrupted
    folder = tmp_path / "run"
    shutil.copytree(origin, folder)

    def go_on(learner=None, batches=None, **more):
        learner = toy.learner() if learner is None else learner
        batches = toy.batches() if batches is None else batches
        return train.fit(learner, batches, out=quiet(folder, 2), **{**options, **more})

    return folder, go_on


def equal(result, whole, same):
    same((result.state, result.best_state), (whole.state, whole.best_state))
    assert [timeless(r) for r in result.history] == [timeless(r) for r in whole.history]


def test_a_finished_run_returns_at_once(run, whole, same, toy):
    _, go_on = run
    equal(go_on(), whole, same)

    def never(*args):
        raise AssertionError

    # No batch is trained on: the first alone is looked at, to see that it is the same run's.
    again = go_on(batches=Interrupting(toy.batches(), 0), evaluate=never)
    equal(again, whole, same)
    assert again.best == go_on().best


def test_a_finished_run_made_longer(toy, whole, same, tmp_path):
    train.fit(toy.learner(), toy.batches(), out=quiet(tmp_path), epochs=2, **OPTIONS)
    longer = train.fit(toy.learner(), toy.batches(), out=quiet(tmp_path), epochs=4, **OPTIONS)
    equal(longer, whole, same)


def test_patience_is_counted_across_runs(toy, tmp_path):
    options = {"monitor": "score", "evaluate": lambda state: {"score": 0.0}}
    with pytest.raises(Interrupted):
        train.fit(
            toy.learner(),
            Interrupting(toy.batches(), 7),
            epochs=9,
            patience=3,
            out=quiet(tmp_path, 3),
            **options,
        )
    rest = train.fit(
        toy.learner(), toy.batches(), epochs=9, patience=3, out=quiet(tmp_path), **options
    )
    assert (rest.stopped, rest.step, rest.best["epoch"]) == ("patience", 12, 1)
    # And the end by patience is remembered.
    again = train.fit(
        toy.learner(), toy.batches(), epochs=9, patience=3, out=quiet(tmp_path), **options
    )
    assert (again.stopped, again.step) == ("patience", 12)


def test_the_best_of_a_kept_checkpoint_is_kept(toy, same, tmp_path):
    """Better and better between checkpoints that are far apart, and then the process dies."""
    better = {"evaluate": lambda state: {"score": float(state.step)}, "monitor": "score"}
    options = {**better, "epochs": 9, "out": quiet(tmp_path, 12)}
    with pytest.raises(Interrupted):
        train.fit(toy.learner(), Interrupting(toy.batches(), 23), **options)
    # As one does that is killed after its best was saved and before its checkpoint was.
    shutil.copytree(tmp_path / "best" / "12", tmp_path / "best" / "21")
    result = train.fit(toy.learner(), toy.batches(), **{**options, "epochs": 5})
    assert (result.step, result.best["step"]) == (15, 15)
    assert sorted(int(p.name) for p in (tmp_path / "best").iterdir()) == [12, 15]
    same(result.best_state, train.fit(toy.learner(), toy.batches(), epochs=5).state)


def test_the_last_good_checkpoint_is_used(run, whole, same):
    folder, go_on = run
    for path in (folder / "checkpoints" / "10" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(train.CheckpointWarning, match=r"checkpoints/10.*looking for an older one"):
        result = go_on()
    equal(result, whole, same)
    # The damaged one has been written anew.
    equal(go_on(), whole, same)


def test_no_good_checkpoint(run):
    folder, go_on = run
    shutil.rmtree(folder / "checkpoints" / "8")
    (folder / "checkpoints" / "10" / "state" / "manifest.ocdbt").unlink()
    with pytest.raises(
        train.CheckpointError,
        match=r"no checkpoint can be used:.*checkpoints/10.*delete .*run/checkpoints",
    ):
        go_on()
    assert go_on(resume=False).step == 12


def test_a_lost_best_state(run):
    folder, go_on = run
    shutil.rmtree(folder / "best")
    with pytest.raises(train.CheckpointError, match=r"its best state is lost:.*best/3"):
        go_on()


def test_another_configuration(run, toy):
    _, go_on = run
    mismatch = train.CheckpointMismatchError
    with pytest.raises(
        mismatch, match=r"params/net/BatchNorm_0/bias is float32 \(8,\) in it and float32 \(9,\)"
    ):
        go_on(toy.learner(width=9))
    with pytest.raises(mismatch, match="another run: the seed was 0 and is 1 now"):
        go_on(seed=1)
    with pytest.raises(mismatch, match="number of steps per epoch was 3 and is 6"):
        go_on(batches=toy.batches(size=4))


def test_another_run(toy, tmp_path):
    """Other data, order or settings are refused by name; what is harmless is not."""

    def go_on(rate=0.1, epochs=2, batches=None, **options):
        learner = toy.linear.__wrapped__(optax.sgd(rate))
        given = toy.batches() if batches is None else batches
        return train.fit(learner, given, epochs=epochs, out=quiet(tmp_path), **options)

    go_on()
    with pytest.raises(train.CheckpointError, match=r"the learning rate was 0\.1 and is 0\.5 now"):
        go_on(0.5)
    with pytest.raises(train.CheckpointError, match="the seed of the batches was 0 and is 1 now"):
        go_on(batches=toy.batches(seed=1))
    other = toy.arrays()
    other["image"][20] += 1
    with pytest.raises(train.CheckpointError, match="the data of the batches have changed"):
        go_on(batches=data.batches(other, 8))
    # Batches that say nothing of themselves are known by the first of them.
    blind = Interrupting(data.batches(toy.arrays(seed=5), 8), 99)
    with pytest.raises(train.CheckpointError, match="hold other data: 'image' has changed"):
        go_on(batches=blind)
    longer = go_on(epochs=3, evaluate=lambda state: {"score": 1.0}, devices=8)
    assert (longer.step, longer.stopped) == (9, "end")


def test_a_digest_of_a_step_is_of_what_it_computes(toy):
    """Not of the names, nor of the order in which independent operations were traced."""

    def digest(order, rate):
        def step(state, batch):
            parts = {}
            for name in order:  # As a loop over a set of names, another one in each process.
                parts[name] = jnp.sin(batch[name]).sum()
            loss = parts["image"] - rate * parts["label"]
            return state._replace(params={"net": state.params["net"] - loss}), {"loss": loss}

        learner = toy.linear()._replace(step=step)
        start = learner.init(jax.random.key(0), batch)
        learner = learner._replace(
            init=lambda key, batch: start._replace(params={"net": jnp.zeros(())})
        )
        compiled = program(learner, jax.random.key(0), batch)
        return program_digest(learner, compiled, batch, jax.random.key(0))

    batch = {name: value.astype(np.float32) for name, value in toy.batches()[0].items()}
    one, other = digest(("image", "label"), 0.25), digest(("label", "image"), 0.25)
    assert one == other
    assert one["digest"] != digest(("image", "label"), 0.5)["digest"]
    assert 0.25 in one["numbers"]


def test_another_monitor_and_more_patience(toy, tmp_path):
    run, batches = toy.linear(), toy.batches()
    scores = {"evaluate": lambda state: {"score": 0.5, "late": float(state.step)}}

    def go_on(**options):
        return train.fit(run, batches, epochs=6, out=quiet(tmp_path), **scores, **options)

    stopped = go_on(monitor="score", patience=1)
    assert (stopped.step, stopped.stopped, stopped.best["step"]) == (6, "patience", 3)
    more = go_on(monitor="score", patience=2)
    assert (more.step, more.stopped, more.best["step"]) == (9, "patience", 3)
    with pytest.warns(train.CheckpointWarning, match=r"chosen by 'score' \(max\).*'late' \(max\)"):
        other = go_on(monitor="late", patience=2)
    assert (other.step, other.stopped, other.best["step"]) == (18, "end", 18)
    # What was chosen since is remembered.
    assert go_on(monitor="late").best["step"] == 18


@pytest.mark.devices(4)
def test_resumed_on_other_devices(run, whole, same):
    _, go_on = run
    result = go_on(devices=4)
    same(result.state.params, whole.state.params, atol=1e-5)
    same(result.state.opt_state, whole.state.opt_state, atol=1e-5)
    assert len(jax.tree.leaves(result.state.params)[0].sharding.device_set) == 4
