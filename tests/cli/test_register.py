"""`jaxmed register`: what it writes, and its page."""

from __future__ import annotations

import json

import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest

import jaxmed as jm
from jaxmed import networks
from jaxmed import registration as reg
from jaxmed.cli import main
from jaxmed.inference import Recipe, save_model, segmenter

AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])
AFFINE[:3, 3] = [30, -20, 5]


@pytest.fixture
def scans(tmp_path):
    """A block that lies four millimetres to the patient's front, and its masks."""
    at = np.indices((14, 16, 9))
    for name, shift in (("fixed", 0), ("moving", 2)):
        apart = (at[0] - 6) ** 2 / 9 + (at[1] - 7 - shift) ** 2 / 12 + (at[2] - 4) ** 2 / 4
        image = np.exp(-apart / 2) + 0.02 * np.cos(at.sum(0))
        nib.save(nib.Nifti1Image(image.astype(np.float32), AFFINE), tmp_path / f"{name}.nii.gz")
        mask = (apart < 1).astype(np.uint8)
        nib.save(nib.Nifti1Image(mask, AFFINE), tmp_path / f"{name}_mask.nii.gz")
    return tmp_path


def test_the_moved_scan_lies_on_the_fixed_one_and_the_page_tells_it(scans, capsys):
    fixed, moving = (str(scans / f"{name}.nii.gz") for name in ("fixed", "moving"))
    masks = [str(scans / f"{name}_mask.nii.gz") for name in ("fixed", "moving")]
    out = scans / "out"
    command = ["register", fixed, moving, "-o", str(out), "--transform", "rigid"]
    command += ["--similarity", "mse", "--levels", "1", "--steps", "30", "--masks", *masks]
    assert main([*command, "--debug"]) == 0
    told = capsys.readouterr().out
    assert "fixed 14 x 16 x 9 voxels of 2 x 2 x 3 mm" in told
    record = json.loads((out / "registration.json").read_text())
    dice = record["numbers"]["Dice of label 1"]
    assert float(dice["before"]) < 0.6
    assert float(dice["after"]) > 0.9
    warp = reg.read_warp(out / "warp.tfm")
    middle = np.array([[*(AFFINE @ [6, 7, 4, 1])[:3]]], np.float32)
    np.testing.assert_allclose(reg.warp_points(warp, middle) - middle, [[0, 4, 0]], atol=0.6)
    moved = nib.load(out / "moved.nii.gz")
    np.testing.assert_allclose(moved.affine, AFFINE)
    ours, theirs = moved.get_fdata(), nib.load(fixed).get_fdata()
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98
    assert nib.load(out / "moved_mask.nii.gz").get_fdata().sum() > 0
    page = (out / "report.html").read_text()
    for words in ("Before and after", "Jacobian", "Dice of label 1", "jaxmed register"):
        assert words in page
    assert "http" not in page.replace("http://www.w3.org", "")  # it loads nothing


def test_a_field_is_written_as_nifti_and_mistakes_are_told_in_a_line(scans, capsys):
    fixed, moving = (str(scans / f"{name}.nii.gz") for name in ("fixed", "moving"))
    out = scans / "field"
    command = ["register", fixed, moving, "-o", str(out), "--linear", "none", "--levels", "1"]
    assert main([*command, "--steps", "3", "--debug"]) == 0
    warp = reg.read_warp(out / "warp.nii.gz")
    assert warp.kind == "displacement"
    capsys.readouterr()
    assert main([*command, "--steps", "0"]) == 2
    assert "--steps are 1 or more" in capsys.readouterr().err
    flat = nib.Nifti1Image(np.ones((14, 16, 9), np.float32), AFFINE)
    nib.save(flat, scans / "flat.nii.gz")
    assert main(["register", fixed, str(scans / "flat.nii.gz"), "-o", str(out)]) == 2
    assert "moving is constant" in capsys.readouterr().err
    small = nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), AFFINE)
    nib.save(small, scans / "small.nii.gz")
    masks = ["--masks", "-", str(scans / "small.nii.gz")]
    assert main([*command, *masks]) == 2
    said = capsys.readouterr().err
    assert "small.nii.gz" in said
    assert "(4, 4, 4)" in said


def test_a_run_that_segments_guides_by_what_it_sees(scans, capsys):
    net = jm.from_linen(networks.Conv(2, 1))
    recipe = Recipe(
        ("background", "bright"), ("grey",), (2.0, 2.0, 3.0), (8, 8, 8), net=net,
        normalisation="linear", linear=(8.0, -4.0),
    )  # fmt: skip
    weights = {"kernel": jnp.array([[[[[0.0, 1.0]]]]]), "bias": jnp.zeros(2)}
    run = str(scans / "run")
    save_model(run, segmenter(recipe, weights, {}))
    fixed, moving = (str(scans / f"{name}.nii.gz") for name in ("fixed", "moving"))
    masks = [str(scans / f"{name}_mask.nii.gz") for name in ("fixed", "moving")]
    command = ["register", fixed, moving, "-o", str(scans / "out"), "--guide", run]
    command += ["--transform", "rigid", "--levels", "1", "--steps", "30"]
    assert main([*command, "--masks", *masks]) == 0
    assert "guided by bright" in capsys.readouterr().out
    record = json.loads((scans / "out" / "registration.json").read_text())
    assert float(record["numbers"]["Dice of label 1"]["after"]) > 0.85
    blank = nib.Nifti1Image(np.zeros((14, 16, 9), np.float32), AFFINE)
    nib.save(blank, scans / "blank.nii.gz")
    assert main(["register", fixed, str(scans / "blank.nii.gz"), "--guide", run]) == 2
    assert "sees no structure" in capsys.readouterr().err
