"""One training in several processes: killed, resumed with fewer, the same as in one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxmed import data, train
from jaxmed.cli import main
from jaxmed.train import _hosts

ROOT = Path(__file__).parents[2]

EXPERIMENT = '''"""A small training, of which one process may be killed."""
import dataclasses
import os
import signal
import sys

import jax
import numpy as np

import jaxmed as jm

sys.path.insert(0, os.environ["TOY"])
import toy


@dataclasses.dataclass(frozen=True)
class Config:
    """What it takes."""

    epochs: int = 6


def run(config, out):
    seen = []

    def evaluate(state):
        seen.append(1)
        if os.environ.get("KILLED") == str(jax.process_index()) and len(seen) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        scores = jm.train.predict(toy.learner(), state, toy.arrays(9, seed=1))
        return {"score": float(scores[:, 1].sum())}

    (out / f"{jax.process_index()}.txt").write_text("only process 0 writes here")
    result = jm.fit(
        toy.learner(), toy.batches(), epochs=config.epochs, evaluate=evaluate, monitor="score",
        out=jm.train.Output(out, checkpoint_every=2),
    )
    leaves = jax.tree.leaves((result.state.params, result.best_state.params))
    np.savez(out / "leaves.npz", *leaves)
    test = toy.arrays(40, seed=2)
    scores = jm.train.predict(toy.learner(), result.state, test)
    return jm.report.classification(
        test["label"], jax.nn.softmax(scores), history=result.history
    )
'''


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    path = tmp_path_factory.mktemp("hosts") / "small.py"
    path.write_text(EXPERIMENT)
    return path


def start(experiment, out, *, hosts, others=None, killed="", devices=2, named=True):
    """Start `jaxmed train` in so many processes, each with its devices; gives processes, logs.

    Processes but the first run the experiment `others`, if there is one.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "KILLED": killed,
        "JAX_NUM_CPU_DEVICES": str(devices), "TOY": str(Path(__file__).parent),
    }  # fmt: skip
    running, logs = [], []
    for i in range(hosts):
        file = experiment if i == 0 else others or experiment
        command = [sys.executable, "-m", "jaxmed", "train", file, "--out", out]
        if hosts > 1 or not named:
            command += ["--hosts"]
        if hosts > 1:
            command += ["--coordinator", f"localhost:{port}"]
            command += ["--processes", str(hosts), "--process", str(i)]
        logs.append(Path(f"{out}-{i}.log"))
        with logs[-1].open("wb") as log:
            running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    return running, logs


def finish(running, logs, seconds=400):
    """The exit codes, once all have ended."""
    try:
        return [process.wait(timeout=seconds) for process in running]
    except subprocess.TimeoutExpired:
        pytest.fail("\n".join(log.read_text() for log in logs))
    finally:
        for process in running:
            process.kill()
            process.wait()


def leaves(out):
    with np.load(out / "leaves.npz") as file:
        return [file[name] for name in file.files]


def scores(out):
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return {r["epoch"]: r["score"] for r in map(json.loads, lines)}


@pytest.mark.slow
def test_a_lost_process_and_a_resumption_with_fewer(experiment, tmp_path):
    """Two processes, one killed in the third epoch; then one alone: as one that was never cut."""
    alone, two, cut = (tmp_path / name for name in ("alone", "two", "cut"))
    assert finish(*start(experiment, alone, hosts=1)) == [0]
    running, logs = start(experiment, two, hosts=2)
    assert finish(running, logs) == [0, 0], "\n".join(log.read_text() for log in logs)

    running, logs = start(experiment, cut, hosts=2, killed="1")
    codes = finish(running, logs)
    assert codes[1] == -signal.SIGKILL
    assert codes[0] != 0
    assert not (cut / "metrics.json").exists()
    at = train.latest(cut / "checkpoints")
    assert 0 < at < 18
    assert finish(*start(experiment, cut, hosts=1, devices=1)) == [0]

    expected = leaves(alone)
    for out in (two, cut):
        for one, other in zip(leaves(out), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)
        # The report, logs and all else are process 0's.
        assert (out / "0.txt").exists()
        assert not (out / "1.txt").exists()
        assert (out / "report.html").exists()
        found, wanted = scores(out), scores(alone)
        assert found.keys() == wanted.keys()
        np.testing.assert_allclose([*found.values()], [*wanted.values()], atol=1e-4)
    assert "jaxmed" not in logs[1].read_text()  # process 1 has nothing to say


@pytest.mark.slow
def test_processes_that_train_other_things_are_told(experiment, tmp_path):
    """And where nobody says who the processes are, that is told."""
    other = tmp_path / "other.py"
    other.write_text(EXPERIMENT.replace("toy.batches()", "toy.batches(seed=1)"))
    running, logs = start(experiment, tmp_path / "out", hosts=2, others=other)
    finish(running[1:], logs)
    finish(running, logs)
    told = logs[1].read_text()
    assert "process 1 trains something else than process 0" in told
    assert "seed" in told

    running, logs = start(experiment, tmp_path / "bare", hosts=1, named=False)
    assert finish(running, logs) == [2]
    assert "the processes of the run are not known" in logs[0].read_text()


@pytest.mark.parametrize("name", ["coordinator", "processes", "process"])
def test_who_the_processes_are_is_said_with_hosts(name, tmp_path, capsys):
    value = "localhost:1" if name == "coordinator" else "1"
    out = tmp_path / "out"
    assert main(["train", "medmnist", f"--{name}", value, "--out", str(out)]) == 2
    assert f"--{name} is of a run of several processes: add --hosts" in capsys.readouterr().err
    assert not out.exists()


def test_one_process_agrees_with_itself(toy):
    value = {"a": [1.5, float("inf")], "b": None}
    assert _hosts.agreed(value) is value
    batches = toy.batches()
    assert _hosts.shared_out(batches) is batches
    state = {"w": jax.numpy.arange(3.0), "key": jax.random.key(1)}
    copy = _hosts.own(state)
    np.testing.assert_array_equal(copy["w"], state["w"])
    assert jax.random.key_data(copy["key"]).tolist() == [0, 1]


def test_rows_are_shared_out_where_they_divide(toy, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    whole = toy.batches()
    part = _hosts.shared_out(whole)
    np.testing.assert_array_equal(part[0]["index"], whole[0]["index"][4:])
    assert part.identity() == whole.identity()
    assert _hosts.shared_out(part) is part
    uneven = data.batches(toy.arrays(), 7)
    assert _hosts.shared_out(uneven) is uneven
