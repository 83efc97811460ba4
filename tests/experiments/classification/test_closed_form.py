"""The experiments in closed form, tiny."""

from __future__ import annotations

import gzip
import json
import struct

import numpy as np
import pytest

from jaxmed.cli import main


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


def accuracy(folder) -> float:
    return json.loads((folder / "metrics.json").read_text())["metrics"]["accuracy"]["value"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "extreme --dataset mnist --maps 4 --units 20",
        "extreme --dataset usps --maps 4 --units 9 --choose leave-one-out --last stochastic --draw",
        "stacking --dataset usps --modules 2 --units 20 --passed out-of-fold --folds 3 --tune 3",
        "stacking --dataset mnist --modules 2 --units 20 --start rbm --start-epochs 2 --spread 2",
    ],
)
def test_a_bright_row_is_told(digits, command):
    out = digits / "run"
    assert main(["train", *command.split(), "--out", str(out), "--debug"]) == 0
    assert accuracy(out) > 0.5


def test_a_machine_that_would_see_maps_is_refused(digits, capsys):
    command = ["train", "stacking", "--maps", "3", "--start", "rbm", "--out", str(digits / "run")]
    assert main(command) == 2
    assert "leave out --maps" in capsys.readouterr().err
