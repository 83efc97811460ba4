"""`jaxmed predict` in the format of its images, DICOM among them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest

import jaxmed as jm
from jaxmed import data, networks
from jaxmed.cli import main
from jaxmed.inference import Recipe, save_model, segmenter

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")


@pytest.fixture
def phantoms():
    """The tests' writer of DICOM series."""
    path = Path(__file__).parents[1] / "data" / "dicom" / "conftest.py"
    spec = importlib.util.spec_from_file_location("dicom_phantoms", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bright(tmp_path):
    """A segmenter of volumes whose logit of `bright` is the intensity."""
    recipe = Recipe(
        ("background", "bright"), ("ct",), (0.5, 0.8, 2.0), (4, 4, 4),
        net=jm.from_linen(networks.Conv(2, 1)), normalisation="linear", linear=(1.0, 0.0),
    )  # fmt: skip
    weights = {"kernel": jnp.array([[[[[0.0, 1.0]]]]]), "bias": jnp.zeros(2)}
    save_model(tmp_path / "run", segmenter(recipe, weights, {}))
    return str(tmp_path / "run")


def test_each_mask_has_the_format_and_the_place_of_its_image(bright, tmp_path, phantoms, capsys):
    volume = np.random.default_rng(0).integers(-99, 99, (4, 5, 6)).astype(np.int16)
    for name in ("p1", "p2"):
        tags = {"PatientID": name, "SeriesInstanceUID": f"1.2.{name[1]}"}
        phantoms.series(tmp_path / "in" / name / "ct", volume * int(name[1]), tags=tags)
    affine = np.diag([0.5, 0.8, 2.0, 1.0])
    nib.save(nib.Nifti1Image(volume.T, affine), tmp_path / "in" / "a.nii.gz")
    space = data.Space((6, 5, 4), affine)
    scan = data.Scan(np.zeros((6, 5, 4, 1)), affine, space)
    data.write_mask(tmp_path / "in" / "b.mha", np.maximum(volume.T, 0), scan)
    out = tmp_path / "out"
    series = [str(tmp_path / "in" / name) for name in ("p1", "p2")]
    assert main(["predict", bright, *series, str(tmp_path / "in"), "-o", str(out)]) == 0
    told = capsys.readouterr()
    assert sorted(path.name for path in out.glob("[!.]*")) == [
        "a_mask.nii.gz", "b_mask.mha", "p1_ct_mask.dcm", "p2_ct_mask.dcm", "volumes.csv"
    ]  # fmt: skip
    for name in ("p1", "p2"):
        image = data.read_image(tmp_path / "in" / name / "ct")
        mask = data.read_mask(out / f"{name}_ct_mask.dcm", like=image)
        np.testing.assert_array_equal(mask.array, image.array[..., 0] > 0)
        assert [s.name for s in data.read_segments(out / f"{name}_ct_mask.dcm")] == ["bright"]
        assert pydicom.dcmread(out / f"{name}_ct_mask.dcm").PatientID == name
    assert np.array_equal(data.read_mask(out / "b_mask.mha").array, volume.T > 0)
    assert "Zebrafinch" not in told.out + told.err + (out / "volumes.csv").read_text()
    assert main(["predict", bright, *series, "-o", str(out), "--resume"]) == 0
