"""A sequence made of two others, on made-up slices; the run's model on new images."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from jaxmed.experiments.generative import _slices, _translators
from PIL import Image
from scipy import ndimage

from jaxmed.cli import main
from jaxmed.data import read_image

TINY = "--steps 4 --batch 4 --features 4 --segmenter-steps 4 --held-out 3"


@pytest.fixture(scope="module")
def gliomas(tmp_path_factory):
    """Seven patients of two slices: flair is the mean of the others, and a lesion.

    In the last two a sequence stands in another's place.
    """
    root = tmp_path_factory.mktemp("lgg") / "kaggle_3m"
    rng = np.random.default_rng(0)
    for p in range(7):
        folder = root / f"TCGA_AA_{p}_19990101"
        folder.mkdir(parents=True)
        for number in (1, 2):
            pre, post = ndimage.gaussian_filter(rng.random((2, 16, 16)), (0, 2, 2))
            mask = np.zeros((16, 16))
            mask[4 + p % 3 : 8 + p % 3, 6:10] = 1
            flair = np.clip((pre + post) / 2 + 0.3 * mask, 0, 1)
            image = np.stack([flair if p == 5 else pre, flair, pre if p == 6 else post], -1)
            stem = folder / f"TCGA_AA_{p}_19990101_{number}"
            for array, end in ((image, ".tif"), (mask, "_mask.tif")):
                Image.fromarray(np.uint8(255 * array)).save(stem.with_name(stem.name + end))
    lines = ["Patient,neoplasm_histologic_grade,death01"]
    lines += [f"TCGA_AA_{p},1,0" for p in range(7)]
    (root / "data.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def finished(gliomas, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "regression"
    command = ["train", "translation", "--data", str(gliomas), "--out", str(out), *TINY.split()]
    assert main([*command, "--debug"]) == 0
    return out


def test_patients_whose_sequences_are_one_are_left_out(gliomas):
    parts = _slices.read(gliomas, "flair", shrink=1, held_out=3, seed=0)
    assert parts.left_out == ("TCGA_AA_5", "TCGA_AA_6")
    train, test = parts.train, parts.test
    assert set(train.groups).isdisjoint(test.groups)
    assert len(set(train.groups) | set(test.groups)) == 5
    assert train.arrays["source"].shape[1:] == (16, 16, 2)
    mean = train.arrays["source"].mean(-1, keepdims=True)
    healthy = train.arrays["mask"] == 0
    np.testing.assert_allclose(train.arrays["target"][healthy], mean[healthy], atol=0.02)
    small = _slices.read(gliomas, "post", shrink=2, held_out=3, seed=0)
    assert small.train.arrays["mask"].shape[1:] == (8, 8)
    with pytest.raises(ValueError, match="5 patients are too few to hold out one in 6"):
        _slices.read(gliomas, "flair", shrink=1, held_out=6, seed=0)


@pytest.mark.slow
def test_a_run_stands_beside_what_learns_nothing(finished):
    found = json.loads((finished / "metrics.json").read_text())
    metrics, page = found["metrics"], (finished / "report.html").read_text()
    for measure in ("mae", "mae_head", "psnr", "ssim"):
        assert {f"{measure}/{name}" for name in ("regression", "linear", "copy")} <= metrics.keys()
    # Half and half is what the made-up sequence is, but for the lesion.
    assert metrics["mae/linear"]["value"] < metrics["mae/copy"]["value"]
    saved = metrics["mae/copy"]["value"] - metrics["mae/regression"]["value"]
    assert metrics["mae_saved/over copy"]["value"] == pytest.approx(saved, abs=1e-9)
    assert {"dice/real", "dice/regression", "dice/without"} <= metrics.keys()
    assert "TCGA_AA_5, TCGA_AA_6" in page
    assert "flair, made" in page
    assert {split["name"]: split["groups"] for split in found["splits"]} == {"train": 3, "test": 2}


def test_translate_writes_images_in_their_own_space(finished, tmp_path, capsys):
    rng = np.random.default_rng(0)
    affine = np.diag([2.0, 2, 5, 1])
    for name in ("pre", "post"):
        volume = nib.Nifti1Image(rng.random((16, 18, 3)).astype(np.float32), affine)
        nib.save(volume, tmp_path / f"case_{name}.nii.gz")
        Image.fromarray(np.uint8(255 * rng.random((16, 16)))).save(tmp_path / f"slice_{name}.png")
    inputs = [
        str(tmp_path / f"{case}_{name}")
        for case, end in (("case", ".nii.gz"), ("slice", ".png"))
        for name in (f"pre{end}", f"post{end}")
    ]
    out = tmp_path / "made"
    assert main(["translate", str(finished), *inputs, "-o", str(out), "--debug"]) == 0
    made = nib.load(out / "case_translated.nii.gz")
    assert made.shape == (16, 18, 3)
    np.testing.assert_allclose(made.affine, affine)
    assert 0 <= made.get_fdata().min() <= made.get_fdata().max() <= 1
    assert read_image(out / "slice_translated.png").array.shape == (16, 16, 1)
    # One image of the wrong kind is told, and the others are made.
    only = tmp_path / "single.png"
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(only)
    out = tmp_path / "again"
    assert main(["translate", str(finished), str(only), *inputs[2:], "-o", str(out)]) == 1
    assert "2 channel(s) (pre, post)" in capsys.readouterr().err
    assert (out / "slice_translated.png").is_file()
    assert main(["predict", str(finished), inputs[0]]) == 2
    assert "jaxmed translate" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in _translators.WAYS if name != "regression"])
def test_every_way_makes_a_model(gliomas, tmp_path, method):
    command = ["train", "translation", "--method", method, "--data", str(gliomas), *TINY.split()]
    assert main([*command, "--out", str(tmp_path / "run"), "--debug"]) == 0
    assert (tmp_path / "run" / "model.json").is_file()


@pytest.mark.slow
def test_another_target_without_a_segmenter(gliomas, tmp_path):
    command = ["train", "translation", "--data", str(gliomas), *TINY.split(), "--debug"]
    out = tmp_path / "run"
    assert main([*command, "--target", "pre", "--segmenter-steps", "0", "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert "mae/regression" in metrics
    assert not any(name.startswith("dice") for name in metrics)
