"""What tests of experiments share: a tiny run on scans, made-up digits in their files' formats."""

from __future__ import annotations

import gzip
import importlib.util
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from jaxmed.cli import main
from jaxmed.cli.runs import _experiment

# The tests import its modules by name.
_experiment.package()

TINY = "--epochs 1 --batch 2 --patch 8 8 8 --features 2 --folds 3 --fold 1 --evaluate-every 1"


def _load(name: str):
    """A module beside this file, whatever folder the tests run from."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Run(NamedTuple):
    """A finished run, and the data it was made on."""

    data: Path
    out: Path
    command: list[str]


@pytest.fixture(scope="session")
def hippocampus(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("hippocampus")
    data = _load("decathlon").write_folder(folder / "Task99_Phantom", 6, (11, 13, 10))
    out = folder / "run"
    command = ["train", "hippocampus", "--data", str(data), "--out", str(out), *TINY.split()]
    assert main([*command, "--debug"]) == 0
    return Run(data, out, command)


@pytest.fixture
def phantom_scans(tmp_path):
    """Write a Decathlon folder of so many phantoms of a shape."""
    return lambda n, shape: _load("decathlon").write_folder(tmp_path / "Task98_Phantom", n, shape)


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """Made-up digits in both formats: a bright row tells the class."""
    rng = np.random.default_rng(0)
    for part, n, name in (("train", 120, "train"), ("test", 40, "t10k")):
        labels = (np.arange(n) % 10).astype(np.uint8)
        images = rng.integers(0, 60, (n, 28, 28), np.uint8)
        images[np.arange(n), 2 + 2 * labels] = 250
        head = bytes((0, 0, 8, 3)) + struct.pack(">3I", n, 28, 28)
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = bytes((0, 0, 8, 1)) + struct.pack(">I", n)
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
        small = images[:, 2:26:2, :16] / 125 - 1
        table = np.pad(small, [(0, 0), (0, 4), (0, 0)]).reshape(n, 256)
        lines = [" ".join(map(str, [label, *row])) for label, row in zip(labels, table)]
        (tmp_path / f"zip.{part}.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    monkeypatch.setenv("JAXMED_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def two_kinds(tmp_path, monkeypatch):
    """A function that writes made-up BreastMNIST, whose classes are dark and bright, as the data.

    ``two_kinds(train=30, val=4, test=26)`` gives the folder; parts are of so many images.
    """

    def write(root: Path = tmp_path, **sizes: int) -> Path:
        rng = np.random.default_rng(0)
        arrays = {}
        for part, n in sizes.items():
            labels = np.arange(n) % 2
            noise = rng.integers(0, 60, (n, 28, 28))
            arrays[f"{part}_images"] = (noise + 150 * labels[:, None, None]).astype(np.uint8)
            arrays[f"{part}_labels"] = labels[:, None].astype(np.uint8)
        (root / "medmnist").mkdir(parents=True)
        np.savez(root / "medmnist" / "breastmnist.npz", **arrays)
        monkeypatch.setenv("JAXMED_DATA", str(root))
        return root

    return write
