"""`jaxmed train segmentation` on volumes: slices, a coarse network, a cascade."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from experiments.own_data import _segmentation
from jaxmed.cli import main
from jaxmed.inference import load_model
from jaxmed.planning import SegmentationPlan, read_plan


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Four scans of a bright ball, in nnU-Net's layout."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("volumes")
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir()
    for i in range(4):
        centre = rng.uniform(8, 16, 3)[:, None, None, None]
        ball = ((np.indices((24, 24, 24)) - centre) ** 2).sum(0) < 30
        image = rng.normal(size=ball.shape) + 4 * ball
        for part, name, array in (
            ("imagesTr", f"c{i}_0000", image.astype(np.float32)),
            ("labelsTr", f"c{i}", ball.astype(np.uint8)),
        ):
            nib.Nifti1Image(array, np.eye(4)).to_filename(folder / part / f"{name}.nii.gz")
    table = {
        "channel_names": {"0": "MRI"}, "labels": {"background": 0, "ball": 1},
        "numTraining": 4, "file_ending": ".nii.gz",
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(table))
    return folder


def train(volumes, out, *options):
    command = [
        "train", "segmentation", "--data", str(volumes), "--memory-gb", "0.001", "--steps", "8",
        "--out", str(out), "--debug", *options,
    ]  # fmt: skip
    return main(command)


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True])
def test_a_cascade_is_trained_measured_and_applied(volumes, tmp_path, monkeypatch, again):
    monkeypatch.setattr(_segmentation, "_MOST", 0)  # prepared cases lie in files
    out = tmp_path / "out"
    assert train(volumes, out, "--configuration", "3d_cascade_fullres") == 0
    plan = read_plan(out / "plan.json", SegmentationPlan)
    assert plan.configuration == "3d_cascade_fullres"
    assert plan.low is not None
    model = load_model(out)
    assert model.recipe.cascade
    assert model.before.recipe.members == 2
    assert model.before.recipe.spacing == plan.low.spacing
    assert not [*out.rglob("prepared")]
    kept = json.loads((out / "metrics.json").read_text())["metrics"]["dice"]
    assert kept["n"] == 1
    if again:  # nothing is trained that is there
        assert train(volumes, out, "--configuration", "3d_cascade_fullres") == 0
        assert json.loads((out / "metrics.json").read_text())["metrics"]["dice"] == kept
    image = volumes / "imagesTr" / "c0_0000.nii.gz"
    assert main(["predict", str(out), str(image), "-o", str(tmp_path / "mask.nii.gz")]) == 0
    assert nib.load(tmp_path / "mask.nii.gz").shape == (24, 24, 24)


@pytest.mark.slow
@pytest.mark.parametrize("configuration", ["2d", pytest.param("3d_lowres", marks=pytest.mark.slow)])
def test_slices_and_a_coarse_network_are_trained(volumes, tmp_path, configuration):
    out = tmp_path / "out"
    assert train(volumes, out, "--configuration", configuration) == 0
    plan = read_plan(out / "plan.json", SegmentationPlan)
    assert plan.configuration == configuration
    if configuration == "2d":
        assert (plan.full.patch.count(1), plan.full.spacing.count(0.0)) == (1, 1)
    else:
        assert min(plan.full.spacing) > 1
    assert json.loads((out / "metrics.json").read_text())["metrics"]["dice"]["n"] == 1


def test_halves_of_one_patient_are_refused(volumes):
    from jaxmed.data import dataset

    source = dataset(volumes)
    with pytest.raises(ValueError, match="there is one"):
        _segmentation.coarse_halves(source, np.array([2]), 0)
    pairs = _segmentation.coarse_halves(source, np.array([0, 1, 3]), 0)
    assert sorted(int(i) for _, other in pairs for i in other) == [0, 1, 3]
    assert all(not set(a) & set(b) for a, b in pairs)
