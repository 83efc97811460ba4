"""Devices: one equals eight, sharded parameters, pmap, two processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

import jaxmed as jm
from jaxmed import data, losses, train
from jaxmed.core import from_functions

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.devices(8)


@pytest.fixture(scope="module")
def alone(toy):
    """Two epochs, the last batch of each padded: the reference."""
    return train.fit(toy.learner(), toy.batches(), epochs=2)


def test_one_device_equals_eight(toy, same, alone):
    """With BatchNorm over the whole batch, dropout, and padding on some devices alone."""
    run = toy.learner()
    traced = run._replace(step=chex.assert_max_traces(run.step, n=1))
    shared = train.fit(
        traced, toy.batches(), epochs=2, devices=train.Placement(mesh=train.data_mesh())
    )
    same(shared.state, alone.state, atol=1e-5)
    for a, b in zip(shared.history, alone.history, strict=True):
        assert a["train/loss"] == pytest.approx(b["train/loss"], rel=1e-5)
    leaf = jax.tree.leaves(shared.state.params)[0]
    assert len(leaf.sharding.device_set) == 8
    # A state on a mesh predicts on it, whatever the number of examples.
    source = toy.arrays(13, seed=2)
    ones, others = (train.predict(run, r.state, source, size=5) for r in (alone, shared))
    assert ones.shape == (13, 2)
    np.testing.assert_allclose(ones, others, atol=1e-5)


def test_compiled_epochs_on_a_mesh(toy, same, alone):
    shared = train.fit(
        toy.learner(),
        toy.batches(),
        epochs=2,
        devices=train.Placement(jax.devices()[2:4], compile_epochs=True),
    )
    same(shared.state, alone.state, atol=1e-5)


def test_shardings_by_rule():
    mesh = train.data_mesh(4)
    shapes = {
        "kernel": jax.ShapeDtypeStruct((3, 3, 16, 32), jnp.float32),
        "square": jax.ShapeDtypeStruct((64, 64), jnp.float32),
        "odd": jax.ShapeDtypeStruct((4096, 63), jnp.float32),
        "none": jax.ShapeDtypeStruct((333, 333), jnp.float32),
        "small": jax.ShapeDtypeStruct((32,), jnp.float32),
        "scalar": jax.ShapeDtypeStruct((), jnp.float32),
    }
    found = train.state_shardings(mesh, shapes, shard_parameters=True, minimum=1000)
    assert {name: sharding.spec for name, sharding in found.items()} == {
        "kernel": PartitionSpec(None, None, None, "data"),
        "square": PartitionSpec(None, "data"),
        "odd": PartitionSpec("data", None),
        "none": PartitionSpec(),
        "small": PartitionSpec(),
        "scalar": PartitionSpec(),
    }
    whole = train.state_shardings(mesh, shapes)
    assert {sharding.spec for sharding in whole.values()} == {PartitionSpec()}


def test_sharded_parameters(same, tmp_path):
    """Parameters and moments lie in parts, through a checkpoint too; the numbers are the same."""
    network = from_functions(
        lambda key, x: {"w": jax.random.normal(key, (16, 4096)) / 4, "v": jnp.zeros((4096, 1))},
        lambda params, x: jnp.tanh(x @ params["w"]) @ params["v"],
    )
    run = jm.learner(network, jm.supervised(losses.mse), optax.adam(1e-3))
    rng = np.random.default_rng(0)
    rows = {"image": rng.normal(size=(16, 16)), "label": rng.normal(size=(16, 1))}
    rows = {name: value.astype(np.float32) for name, value in rows.items()}
    batches = data.batches(rows, 8)
    options = {
        "devices": train.Placement(8, shard_parameters=True),
        "out": train.Output(tmp_path, loggers=()),
    }
    train.fit(run, batches, steps=2, **options)
    shared = train.fit(run, batches, steps=4, **options)
    same(shared.state, train.fit(run, batches, steps=4).state, atol=1e-5)
    for tree in (shared.state.params["net"], shared.state.opt_state[0].mu["net"]):
        assert tree["w"].addressable_shards[0].data.shape == (16, 512)
        assert tree["v"].addressable_shards[0].data.shape == (4096, 1)


def test_pmap_step_equals_one_device(toy, same):
    """Without BatchNorm and dropout, which differ by design; the last rows are padding."""
    network = toy.LINEAR
    objective, optimizer = jm.supervised(losses.cross_entropy), optax.adam(0.1)
    run = jm.learner(network, objective, optimizer)
    batch = toy.batches(shuffle=False)[2]
    assert batch["weight"].sum() == 5
    state = jax.jit(run.init)(jax.random.key(0), batch)
    mapped = train.pmap_step(network, objective, optimizer, devices=jax.devices()[:4])
    states = mapped.replicate(state)
    for _ in range(2):
        state, metrics = jax.jit(run.step)(state, batch)
        states, shared = mapped.step(states, batch)
    same(mapped.single(states), state, atol=1e-5)
    same(shared, {"loss": metrics["loss"]}, atol=1e-5)
    with pytest.raises(ValueError, match=r"6 rows .* over 4 devices"):
        mapped.step(states, {name: value[:6] for name, value in batch.items()})


def test_a_mesh_of_too_many():
    with pytest.raises(ValueError, match="0 devices"):
        train.data_mesh(0)
    mesh = jax.make_mesh((2, 2), ("a", "b"))
    with pytest.raises(ValueError, match="one axis"):
        train.fit(None, [1], epochs=1, devices=train.Placement(mesh=mesh))


@pytest.mark.slow
def test_two_processes(toy, tmp_path):
    """Two real processes, two devices each: whole batches in each, then only its own rows."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, Path(__file__).with_name("process.py"), str(port), tmp_path]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    logs = [(tmp_path / f"log{i}").open("wb") for i in range(2)]
    running = [
        subprocess.Popen([*command, str(i)], env=environment, stdout=log, stderr=log)
        for i, log in enumerate(logs)
    ]
    try:
        codes = [process.wait(timeout=600) for process in running]
    finally:
        for process, log in zip(running, logs, strict=True):
            process.kill()
            process.wait()
            log.close()
    assert codes == [0, 0], "\n".join((tmp_path / f"log{i}").read_text() for i in range(2))
    run = toy.linear()
    whole = train.fit(run, toy.batches(), epochs=2)
    weights = np.asarray(whole.state.params["net"]["w"])
    logits = train.predict(run, whole.state, toy.arrays(9, seed=1))
    for i in range(2):
        found = np.load(tmp_path / f"found{i}.npz")
        np.testing.assert_allclose(found["whole"], weights, atol=1e-6)
        np.testing.assert_allclose(found["parts"], weights, atol=1e-6)
        np.testing.assert_allclose(found["logits"], logits, atol=1e-6)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [3, 6]
