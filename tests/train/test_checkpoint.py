"""Checkpoints: what goes in comes out, and nothing unsound does."""

from __future__ import annotations

import math
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxmed import train


class Pair(NamedTuple):
    first: object
    second: object


@pytest.fixture(scope="module")
def tree():
    """All that a state may hold."""
    return {
        "keys": jax.random.split(jax.random.key(7), 3),
        "other/key": jax.random.key(1, impl="rbg"),
        "pair": Pair(jnp.arange(6.0).reshape(2, 3), (jnp.int32(4), None, ())),
        "empty": {"dict": {}, "array": jnp.zeros((0, 3))},
        "types": [jnp.ones(3, jnp.bfloat16), jnp.array([True, False]), jnp.uint8(255)],
        "nan": jnp.array([jnp.nan, jnp.inf, -0.0]),
        "large": jax.random.normal(jax.random.key(0), (100, 50)),
    }


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def saved(tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    first = jax.tree.map(lambda x: x, tree)
    train.save(folder, 3, first, {"position": 3})
    train.save(folder, 7, tree, {"position": 7, "nan": math.nan, "third": 1 / 3})
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def test_round_trip(tree, saved, same):
    for like in (tree, jax.eval_shape(lambda: tree)):
        found = train.restore(saved, like)
        same(found.state, tree)
        assert (found.step, found.folder) == (7, saved / "7")
    assert found.note["third"] == 1 / 3
    assert math.isnan(found.note["nan"])
    assert train.restore(saved, tree, step=3).note == {"position": 3}
    assert train.latest(saved) == 7
    assert isinstance(found.state["pair"], Pair)


@pytest.mark.parametrize("empty", [{}, {"params": {}, "state": ()}, {"x": jnp.zeros((0, 3))}])
def test_a_tree_without_numbers_is_a_tree(empty, tmp_path):
    train.save(tmp_path, 1, empty, {"position": 3})
    found = train.restore(tmp_path, empty)
    assert jax.tree.map(jnp.shape, found.state) == jax.tree.map(jnp.shape, empty)
    assert found.note == {"position": 3}


def test_keep(tmp_path):
    state = {"x": jnp.zeros(1)}
    for step in (1, 2, 10, 3):
        train.save(tmp_path, step, state, {}, keep=2)
    # Those after the one just saved are another run's: they are not counted, nor deleted.
    assert sorted(p.name for p in tmp_path.iterdir()) == ["10", "2", "3"]
    train.save(tmp_path, 3, {"x": jnp.ones(1)}, {"again": True}, keep=None)
    assert train.restore(tmp_path, state, step=3).state["x"] == 1


@pytest.mark.parametrize("damage", ["cut", "bit", "gone"])
def test_a_damaged_file_is_noticed(tree, copy, damage):
    """Whichever file it is; those that matter to nobody too."""
    for path in files(copy / "7"):
        whole = path.read_bytes()
        if damage == "gone":
            path.unlink()
        elif not whole:
            continue
        elif damage == "cut":
            path.write_bytes(whole[:-1])
        else:
            at = len(whole) // 2
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        if path.name == "files.json" and damage == "gone":
            assert train.restore(copy, tree, step=7).step == 7
        else:
            name = str(path.relative_to(copy / "7"))
            if path.name == "files.json":
                name = ".*"
            with pytest.raises(train.CheckpointError, match=f"copy/7 is .*: its file {name}"):
                train.restore(copy, tree, step=7)
        path.write_bytes(whole)


def test_the_last_good_one_is_used(tree, copy, same):
    with (copy / "7" / "state" / "_METADATA").open("a") as file:
        file.write(" ")
    with pytest.warns(train.CheckpointWarning, match=r"copy/7 is damaged.*looking for an older"):
        found = train.restore(copy, tree)
    assert found.step == 3
    same(found.state, tree)
    (copy / "3" / "note" / "metadata").unlink()
    with (
        pytest.warns(train.CheckpointWarning),
        pytest.raises(train.CheckpointError, match=r"no checkpoint can be used: .*copy/7.*copy/3"),
    ):
        train.restore(copy, tree)


def test_without_its_list_a_cut_checkpoint_is_noticed(tree, copy):
    """A process killed at the very end of a save leaves no list of files."""
    for folder in ("3", "7"):
        (copy / folder / "files.json").unlink()
    assert train.restore(copy, tree).step == 7
    (copy / "7" / "note" / "metadata").write_text('{"format": "jaxmed 1"')
    with pytest.warns(train.CheckpointWarning, match="copy/7 is incomplete, or is not one of"):
        assert train.restore(copy, tree).step == 3


def test_foreign_checkpoints(tree, copy, same):
    (copy / "100").mkdir()
    (copy / "100" / "weights.bin").write_bytes(b"somebody else's")
    with ocp.CheckpointManager(copy) as manager:
        manager.save(200, args=ocp.args.StandardSave({"x": jnp.ones(2)}), force=True)
        manager.wait_until_finished()
    (copy / "notes").mkdir()
    with pytest.warns(train.CheckpointWarning) as caught:
        found = train.restore(copy, tree)
    assert found.step == 7
    assert [
        f"{copy}/{step} is incomplete, or is not" in str(w.message)
        for w, step in zip(caught, (200, 100), strict=True)
    ] == [True, True]
    with pytest.raises(train.CheckpointError, match=r"copy/100 is incomplete, or is not one of"):
        train.restore(copy, tree, step=100)


def test_no_checkpoint(tree, tmp_path):
    with pytest.raises(train.CheckpointError, match=r"there is no checkpoint in .*absent"):
        train.restore(tmp_path / "absent", tree)
    assert train.latest(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: {**t, "large": jnp.zeros((100, 51))}, r"large is float32 \(100, 50\) in it and"),
        (lambda t: {**t, "large": jnp.zeros((100, 50), int)}, r"and int32 \(100, 50\) in this run"),
        (lambda t: {**t, "more": jnp.zeros(2)}, r"more is absent in it and float32 \(2,\) in this"),
        (lambda t: {k: t[k] for k in t if k != "large"}, "large is float32.*and absent in this"),
        (lambda t: {**t, "other/key": jax.random.key(0)}, r"other/key is key<rbg> \(\) in it"),
    ],
)
def test_another_configuration(tree, saved, change, match):
    with pytest.raises(train.CheckpointMismatchError, match=match):
        train.restore(saved, change(tree))


@pytest.mark.devices(8)
def test_shards(tmp_path, same):
    """Saved on eight devices, restored on two and on one."""
    state = {"w": jnp.arange(64.0).reshape(16, 4), "key": jax.random.key(3)}
    split = lambda n: NamedSharding(train.data_mesh(n), PartitionSpec("data"))  # noqa: E731
    whole = lambda n: NamedSharding(train.data_mesh(n), PartitionSpec())  # noqa: E731
    on_eight = jax.device_put(state, {"w": split(8), "key": whole(8)})
    train.save(tmp_path, 1, on_eight, {})
    same(train.restore(tmp_path, jax.eval_shape(lambda: state)).state, state)
    like = {
        "w": jax.ShapeDtypeStruct((16, 4), jnp.float32, sharding=split(2)),
        "key": jax.ShapeDtypeStruct((), state["key"].dtype, sharding=whole(2)),
    }
    found = train.restore(tmp_path, like).state
    same(found, state)
    assert found["w"].sharding == split(2)
