"""Pairs of scans, registered and measured: tiny runs."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from jaxmed.cli import main


def _heart(folder, name, size, shape=(20, 22, 6)):
    """A cavity in a wall that gets smaller, beside another cavity."""
    at = np.indices(shape)
    apart = np.hypot(at[0] - 9, at[1] - 11)
    mask = np.where(apart < size, 3, np.where(apart < size + 3, 2, 0))
    mask[np.hypot(at[0] - 2, at[1] - 11) < 2.5] = 1
    image = 100 * (mask == 3) + 30 * (mask == 2) + 80 * (mask == 1) + at[2] + np.sin(at[0])
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    nib.save(nib.Nifti1Image(image.astype(np.float32), affine), folder / f"{name}.nii.gz")
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), folder / f"{name}_gt.nii.gz")


@pytest.fixture
def hearts(tmp_path, monkeypatch):
    from jaxmed.experiments.registration import cardiac_pairs

    monkeypatch.setattr(cardiac_pairs, "SHAPE", (20, 22, 6))
    for i in range(2):
        folder = tmp_path / "hearts" / f"patient{i}"
        folder.mkdir(parents=True)
        (folder / "Info.cfg").write_text("ED: 1\nES: 2\nGroup: NOR\n")
        _heart(folder, f"patient{i}_frame01", 5 + i / 2)
        _heart(folder, f"patient{i}_frame02", 3.5 + i / 2)
    return tmp_path / "hearts"


@pytest.mark.slow
def test_masks_are_carried_to_end_systole(hearts, tmp_path):
    out = tmp_path / "run"
    options = [
        "--window",
        "5",
        "--levels",
        "0",
        "--steps",
        "30",
        "--smoothness",
        "0.1",
        "--linear",
        "none",
    ]
    command = ["train", "cardiac_pairs", "--data", str(hearts), "--out", str(out), *options]
    assert main([*command, "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert metrics["dice/field"]["value"] > metrics["dice/before"]["value"] + 0.05
    assert metrics["folds_percent"]["value"] < 1
    assert metrics["sd_log_jacobian/learn2reg"]["value"] < metrics["sd_log_jacobian"]["value"]
    assert main(["train", "cardiac_pairs", "--data", str(tmp_path), "--out", str(out / "b")]) == 2


@pytest.mark.slow
def test_a_network_learns_pairs_and_is_kept(phantom_scans, tmp_path, monkeypatch):
    from jaxmed.experiments.registration import _hippocampi, hippocampus_learned

    from jaxmed import registration as reg

    for module in (_hippocampi, hippocampus_learned):
        monkeypatch.setattr(module, "SHAPE", (16, 16, 16))
    folder, out = phantom_scans(8, (16, 16, 16)), tmp_path / "run"
    command = ["train", "hippocampus_learned", "--data", str(folder), "--out", str(out)]
    command += ["--pairs", "2", "--watched", "1", "--features", "4", "--stages", "2"]
    command += ["--drawn", "6", "--epochs", "2", "--labels", "--refine", "2"]
    assert main([*command, "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert {"dice/network", "dice/field", "dice/field/nearest", "folds_percent"} <= set(metrics)
    assert metrics["dice/network"]["n"] == 2
    assert reg.load_warp_model(out).spacing == (1.0, 1.0, 1.0)
    assert main([*command[:-2], "--pairs", "5", "--out", str(out / "b")]) == 2
