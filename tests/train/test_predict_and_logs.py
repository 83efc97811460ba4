"""Predictions over a source; where records go."""

from __future__ import annotations

import json
import struct

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tensorboardX.proto.event_pb2 import Event

import jaxmed as jm
from jaxmed import data, train
from jaxmed.core import from_functions, stateless

IMAGES = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)


def apply(params, x):
    return {"logits": 2 * x, "pyramid": (x[:, :1], x.sum(1)), "members": jnp.stack([x, 3 * x])}


@pytest.fixture(scope="module")
def model():
    network = from_functions(lambda key, x: {"w": jnp.zeros(())}, apply)
    run = jm.learner(network, stateless(lambda *args: None), optax.sgd(0.1))
    return run, run.init(jax.random.key(0), {"image": IMAGES})


@pytest.mark.parametrize("size", [1, 4, 11, 64])
def test_order_and_padding(model, size):
    logits = train.predict(*model, {"image": IMAGES}, size=size)
    assert isinstance(logits, np.ndarray)
    np.testing.assert_allclose(logits, 2 * IMAGES)


def test_shuffled_batches_and_several_endpoints(model):
    batches = data.batches({"image": IMAGES}, 4, seed=5)
    found = train.predict(*model, batches, outputs=("logits", "pyramid"))
    np.testing.assert_allclose(found["logits"], 2 * IMAGES)
    np.testing.assert_allclose(found["pyramid"][0], IMAGES[:, :1])
    np.testing.assert_allclose(found["pyramid"][1], IMAGES.sum(1), rtol=1e-6)


def test_members_first(model):
    members = train.predict(*model, {"image": IMAGES}, size=4, outputs="members", axis=1)
    np.testing.assert_allclose(members, [IMAGES, 3 * IMAGES])
    with pytest.raises(ValueError, match=r"\(2, 4, 3\): its axis 0 does not have the 4 rows.*axis"):
        train.predict(*model, {"image": IMAGES}, size=4, outputs="members")


def test_compiled_once(model):
    run, state = model
    traced = run._replace(predict=chex.assert_max_traces(run.predict, n=1))
    for _ in range(3):
        train.predict(traced, state, {"image": IMAGES}, size=4)


def test_what_predict_refuses(model):
    with pytest.raises(KeyError, match="batch has no 'scan'"):
        train.predict(*model, {"image": IMAGES}, inputs="scan")
    with pytest.raises(KeyError, match="no endpoint 'mask'; it has"):
        train.predict(*model, {"image": IMAGES}, outputs="mask")
    with pytest.raises(ValueError, match="hold 8 of 11 examples"):
        train.predict(*model, data.batches({"image": IMAGES}, 4, remainder="drop"))


def scalars(folder):
    """The scalars in TensorBoard's files, by its format: length, checksum, event, checksum."""
    found, purged = [], []
    for path in sorted(folder.glob("events*")):
        raw, at = path.read_bytes(), 0
        while at < len(raw):
            (length,) = struct.unpack_from("<Q", raw, at)
            event = Event.FromString(raw[at + 12 : at + 12 + length])
            at += length + 16
            if event.session_log.status:
                purged.append(event.step)
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
    return found, purged


def test_records_of_a_run(toy, tmp_path):
    run, batches = toy.linear(), toy.batches()
    result = train.fit(
        run,
        batches,
        epochs=2,
        out=train.Output(tmp_path, log_every=2),
        evaluate=lambda state: {"auc": float("nan") if int(state.step) == 3 else 0.75},
        monitor="auc",
    )
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(r["step"], "epoch" in r) for r in lines] == [
        (2, False), (3, True), (4, False), (6, False), (6, True)
    ]  # fmt: skip
    epochs = [r for r in lines if "epoch" in r]
    # JSON knows no NaN: those who read the file are to have JSON.
    assert [r["auc"] for r in epochs] == [None, 0.75]
    assert epochs[1] == result.history[1] == result.best
    assert set(lines[0]) == {"step", "step/loss", "step/gradient_norm"}
    found, _ = scalars(tmp_path / "tensorboard")
    assert ("auc", 6, 0.75) in found
    loss = [value for tag, step, value in found if (tag, step) == ("train/loss", 6)]
    np.testing.assert_allclose(loss, [result.history[1]["train/loss"]], rtol=1e-6)


def test_what_comes_again_is_dropped(tmp_path):
    """A log that ran ahead of the checkpoint, its last line cut short."""
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step}) for step in (1, 2, 3, 4)]
    path.write_text("\n".join(lines) + '\n{"ste')
    log = train.jsonl(path)
    log.start(2)
    log.write({"step": 3, "again": True})
    assert path.read_text().splitlines() == [*lines[:2], '{"step": 3, "again": true}']
    log.start(0)
    assert path.read_text() == ""
    for at in (0, 2):
        board = train.tensorboard(tmp_path / "board")
        board.start(at)
        board.write({"step": at + 1, "loss": 1.0})
        board.close()
    assert scalars(tmp_path / "board")[1] == [3]
