"""The experiment on membranes: which slices are learned from, and a run on slices of its layout."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from jaxmed.cli import main
from jaxmed.cli.runs import _experiment


@pytest.fixture(scope="module")
def membranes():
    """The experiment's module."""
    return _experiment.load("membranes").module


@pytest.mark.parametrize("block", range(5))
def test_a_stack_never_reaches_into_the_block_held_out(membranes, block):
    config = membranes.Config(block=block)
    learned, held_out = membranes.blocks_of(30, config)
    assert sorted(np.concatenate([*learned, held_out])) == list(range(30))
    assert held_out.tolist() == list(range(6 * block, 6 * block + 6))
    stacks = [{"mask": rows, "image": rows} for rows in learned]
    cut = [window["mask"] for window in membranes.windows(stacks, 3)]
    assert all((np.diff(window) == 1).all() for window in cut)
    assert not set(np.concatenate(cut)) & set(held_out)
    # A slice inside a run is in as many stacks as a stack has slices.
    counts = np.bincount(np.concatenate(cut), minlength=30)
    assert counts.max() == 3
    with pytest.raises(ValueError, match="deeper than what is left"):
        membranes.windows(stacks, 25)
    with pytest.raises(ValueError, match="block is 0 to 4, got 5"):
        membranes.blocks_of(30, membranes.Config(block=5))


@pytest.mark.slow
@pytest.mark.parametrize("network", ["conv_lstm", "unet"])
def test_dark_lines_are_told_from_cells(tmp_path, network):
    rng = np.random.default_rng(0)
    for name in ("image", "label"):
        (tmp_path / "em" / name).mkdir(parents=True)
    rows, columns = np.indices((24, 20))
    for i in range(10):
        lines = (rows + columns + i) % 8 < 2
        grey = np.where(lines, 60.0, 180.0) + rng.normal(0, 10, lines.shape)
        for name, picture in (("image", grey), ("label", 255.0 * ~lines)):
            Image.fromarray(np.uint8(picture)).save(tmp_path / "em" / name / f"{i}.png")
    out = tmp_path / "run"
    command = (
        f"train membranes --network {network} --steps 60 --patch 2 16 16 --sweeps 4 --features 4 "
        "--learning-rate 0.02 --average 0.8"
    )
    options = ["--data", str(tmp_path / "em"), "--out", str(out), "--debug"]
    assert main([*command.split(), *options]) == 0
    record = json.loads((out / "metrics.json").read_text())
    error = record["metrics"]["pixel_error"]
    assert error["n"] == 2
    assert error["value"] < 0.1  # all called cell: .25
    rand = {part: record["metrics"][f"v_rand{part}"]["value"] for part in ("", "_split", "_merge")}
    assert 0 < rand["_split"] <= 1
    assert min(rand["_split"], rand["_merge"]) <= rand[""] <= max(rand["_split"], rand["_merge"])
    assert record["metrics"]["v_info_merge"]["n"] == 2
    assert (out / "model.json").is_file()
