"""What premises change in a finished run."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from jaxmed.experiments.own_data import premises

from jaxmed.cli import main

CLASSES = ("background", "wall", "cavity")


def test_premises_are_read_as_they_are_written():
    config = premises.Config(
        one_piece=("cavity",), encloses=("wall=cavity",), behind=("wall=cavity",), in_plane=True
    )
    known = premises.premises(config, CLASSES, (0, 2))
    assert list(map(str, known.premises)) == [
        "cavity is in one piece",
        "wall encloses cavity",
        "wall lies before cavity along axis 1",
    ]
    # In planes of the first and the third axis, what is above and below is no neighbour.
    mask = np.ones((3, 3, 3), int)
    mask[1, 1, 1], mask[1, 0, 1] = 2, 0
    assert known.broken(mask)["wall encloses cavity"] == 0
    whole = premises.premises(premises.Config(encloses=("wall=cavity",)), CLASSES, (0, 2))
    assert whole.broken(mask)["wall encloses cavity"] == 1


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "an anatomy has a premise or more"),
        ({"encloses": ("wall",)}, "--encloses wall: two structures"),
        ({"left_of": ("wall=",)}, "--left-of wall=: two structures"),
        ({"one_piece": ("valve",)}, "is about 'valve'"),
    ],
)
def test_what_is_no_premise_is_told(fields, told):
    with pytest.raises(ValueError, match=told):
        premises.premises(premises.Config(**fields), CLASSES, (0, 1))


def test_a_folder_without_a_finished_segmentation_is_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match="not the folder of a finished run"):
        premises.settings_of(tmp_path)
    (tmp_path / "config.json").write_text('{"experiment": "medmnist"}')
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(ValueError, match="not a run of `jaxmed train segmentation`"):
        premises.settings_of(tmp_path)
    assert main(["train", "premises", "--out", str(tmp_path / "out")]) == 2
    assert "--run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_finished_run_is_compared_with_what_the_premises_leave(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for i in range(5):
        ball = ((np.indices((16, 16, 12)) - 7.0) ** 2).sum(0) < 20
        for part, array in (
            ("images", (rng.normal(size=ball.shape) + 2 * ball).astype(np.float32)),
            ("masks", ball.astype(np.uint8)),
        ):
            image = nib.Nifti1Image(array, np.diag([-1.0, 1, 1, 1]))
            image.to_filename(tmp_path / "data" / part / f"c{i}.nii.gz")
    run, out = tmp_path / "run", tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    command = ["train", "segmentation", "--data", "data", "--memory-gb", "0.001", "--steps", "4"]
    command += ["--held-out", "0.4"]
    assert main([*command, "--out", str(run), "--debug"]) == 0
    classes = json.loads(Path(run, "plan.json").read_text())["classes"]
    command = ["train", "premises", "--run", str(run), "--one-piece", classes[1]]
    assert main([*command, "--out", str(out), "--debug"]) == 0
    record = json.loads((out / "metrics.json").read_text())
    assert record["metrics"]["broken/truth"]["value"] == 0
    assert record["metrics"]["broken/deduced"]["value"] == 0
    network, deduced, difference = (
        record["metrics"][f"dice/{name}"]["value"] for name in ("network", "deduced", "difference")
    )
    assert difference == pytest.approx(deduced - network)
