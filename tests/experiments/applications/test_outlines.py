"""Applications of outlines: what is judged of given probabilities, and runs on made-up sets."""

from __future__ import annotations

import json

import numpy as np
import pytest
from jaxmed.experiments.applications import (
    _crossed,
    _outlines,
    hippocampus_volumes,
    lesion_outline,
    nuclei_types,
    tumour_outline,
    ventricle_outline,
)
from PIL import Image

from jaxmed.cli import main
from jaxmed.data import Scan, Space
from jaxmed.inference import load_model

RNG = np.random.default_rng(0)


def outlined(n=24, classes=("a",), size=12, spacing=1.0):
    """Scans with a disc whose radius varies, two a patient; of two classes the disc is halved."""
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1) - size / 2
    affine = np.diag([spacing, spacing, 1.0])
    scans, masks = [], []
    for i in range(n):
        mask = (np.linalg.norm(grid, axis=-1) < 2 + (i // 4 + i % 2) % 4).astype(np.int32)
        if len(classes) > 1:
            mask[: size // 2] *= 2
        image = (mask > 0)[..., None] * 0.6 + 0.1 * RNG.random((size, size, 1))
        scans.append(Scan(image.astype(np.float32), affine, Space(mask.shape, affine)))
        masks.append(mask)
    names = tuple(f"s{i}" for i in range(n))
    units = tuple(f"p{i // 2}" for i in range(n))
    return _crossed.Outlined(scans, masks, classes, names, units, "patients", ("grey",))


def crossed(cases, probability, seeds=2):
    """Folds of even and odd patients, whose networks give a probability to the true class."""
    k = len(cases.classes) + 1
    said = [
        [
            np.where(np.eye(k, dtype=bool)[mask], p, (1 - p) / (k - 1)).astype(np.float16)
            for mask, p in zip(cases.masks, probability, strict=True)
        ]
        for _ in range(seeds)
    ]
    even = np.array([int(unit[1:]) % 2 == 0 for unit in cases.units])
    dealt = [_crossed.Fold(None, np.flatnonzero(part)) for part in (even, ~even)]
    return _crossed.Crossed(said, dealt, ())


def test_safe_outlines_miss_what_they_promise_and_cost_what_they_must():
    cases = outlined(80)
    unsure = RNG.uniform(0.3, 0.9, 80)  # below a half, what is most probable misses all
    found = crossed(cases, unsure)
    told = _outlines.safe_outlines(_crossed.Outlining(missed=0.2), cases, found)
    assert told["safe outline/missed"].value < 0.25
    assert told["safe outline/size"].value > 1
    certain = _outlines.safe_outlines(_crossed.Outlining(), cases, crossed(cases, [0.98] * 80))
    assert certain["safe outline/missed"].value == 0
    assert certain["safe outline/size"].value == 1


def test_dice_over_seeds_is_over_patients_and_each_class():
    cases = outlined(classes=("a", "b"))
    told = _outlines.over_seeds(cases, crossed(cases, [0.9] * 24))
    assert {name: e.value for name, e in told.items()} == {
        "dice over seeds": 1.0, "dice over seeds/a": 1.0, "dice over seeds/b": 1.0,
    }  # fmt: skip


def test_calibration_is_the_gap_between_shares_and_probabilities():
    cases = outlined(8)
    whole = crossed(cases, [0.8] * 8).said[0]
    # Of voxels told .8 all are inside, of voxels told .2 none are.
    assert _outlines._calibration(cases, whole).value == pytest.approx(0.2, abs=1e-3)


def test_volumes_have_intervals_that_hold_and_a_change_that_can_be_told():
    cases = outlined(60, classes=("a", "b"), spacing=2.0)
    found = crossed(cases, RNG.uniform(0.8, 0.95, 60))
    told = hippocampus_volumes.volumes(hippocampus_volumes.Config(), cases, found)
    whole = np.mean([4 * (mask > 0).sum() / 1000 for mask in cases.masks])
    assert told["volume/whole"].value == pytest.approx(whole)
    assert told["volume/whole/interval coverage"].value > 0.75
    assert told["volume/whole/interval width"].value > 0
    both = sum(told[f"volume/{name}"].value for name in ("a", "b"))
    assert both == pytest.approx(whole)
    exact = hippocampus_volumes.volumes(
        hippocampus_volumes.Config(), cases, crossed(cases, [1.0] * 60)
    )
    for name in ("a", "b", "whole"):
        assert exact[f"volume/{name}/error"].value == pytest.approx(0, abs=1e-6)
        assert exact[f"volume/{name}/smallest change"].value == pytest.approx(0, abs=1e-6)
        assert exact[f"volume/{name}/intraclass correlation"].value == pytest.approx(1)


def test_a_level_that_so_few_scans_cannot_promise_is_refused():
    config = hippocampus_volumes.Config(folds=2, level=0.9)
    hippocampus_volumes.check_level(config, 18)
    with pytest.raises(ValueError, match=r"--level 0\.9 needs 9 scans .* there are 8"):
        hippocampus_volumes.check_level(config, 17)


def lesions(place, n=8):
    """PH2's layout: a bright disc a picture."""
    lines = ["image,diagnosis"]
    for folder in ("images", "masks"):
        (place / folder).mkdir(parents=True)
    for i, (scan, mask) in enumerate(zip(*outlined(n, size=24)[:2], strict=True)):
        image = np.repeat(255 * scan.array, 3, -1).astype(np.uint8)
        Image.fromarray(image).save(place / "images" / f"I{i}.jpg")
        Image.fromarray((255 * mask).astype(np.uint8)).save(place / "masks" / f"I{i}.png")
        lines.append(f"I{i},{('common', 'melanoma')[i % 2]}")
    (place / "labels.csv").write_text("\n".join(lines))


def run(name, place, out, *options):
    words = ["--folds", "2", "--seeds", "1", "--steps", "2", "--batch", "2", "--features", "2"]
    command = ["train", name, "--data", str(place), *words, *options, "--out", str(out), "--debug"]
    assert main(command) == 0
    return json.loads((out / "metrics.json").read_text()), (out / "report.html").read_text()


def test_an_outline_is_learned_judged_and_leaves_a_model_of_all_folds(tmp_path):
    lesions(tmp_path / "ph2")
    found, page = run(
        "lesion_outline", tmp_path / "ph2", tmp_path / "a", "--patch", "8", "16", "--corrupted",
        "0", "--explained", "0",
    )  # fmt: skip
    metrics = found["metrics"]
    assert {"dice", "dice over seeds", "safe outline/missed", "calibration error"} <= {*metrics}
    assert "2 folds of patients" in page
    model = load_model(tmp_path / "a")
    assert model.recipe.members == 2
    assert model.recipe.spacing == (2.0, 2.0)
    masks = tmp_path / "said"
    picture = str(tmp_path / "ph2" / "images" / "I0.jpg")
    assert main(["predict", str(tmp_path / "a"), picture, "-o", str(masks)]) == 0
    with Image.open(next(masks.glob("I0*.png"))) as mask:
        assert mask.size == (24, 24)


@pytest.mark.slow
def test_corruptions_and_maps_of_outlines_are_measured(tmp_path):
    lesions(tmp_path / "ph2")
    found, page = run(
        "lesion_outline", tmp_path / "ph2", tmp_path / "a", "--patch", "16", "16", "--corrupted",
        "2", "--explained", "2", "--coarser", "1",
    )  # fmt: skip
    metrics = found["metrics"]
    assert metrics["dice/noise 3"]["value"] == found["robustness"]["corrupted"]["noise"][2]["value"]
    assert {"maps/random network", "maps/precision in mask", "maps/chance"} <= {*metrics}
    assert "Corrupted images" in page


@pytest.mark.slow
def test_volumes_of_scans_are_judged_end_to_end(tmp_path):
    import nibabel as nib

    place = tmp_path / "task"
    rows = []
    for folder in ("imagesTr", "labelsTr"):
        (place / folder).mkdir(parents=True)
    for i in range(12):
        mask = np.zeros((10, 12, 10), np.uint8)
        mask[3 : 6 + i % 3, 3:8, 3:7] = 1
        mask[3 : 6 + i % 3, 6:8, 3:7] = 2
        image = (50 * mask + 10 * RNG.random(mask.shape)).astype(np.float32)
        for folder, array in (("imagesTr", image), ("labelsTr", mask)):
            nib.save(nib.Nifti1Image(array, np.eye(4)), place / folder / f"h_{i:03d}.nii.gz")
        rows.append(
            {"image": f"./imagesTr/h_{i:03d}.nii.gz", "label": f"./labelsTr/h_{i:03d}.nii.gz"}
        )
    about = {
        "name": "x", "modality": {"0": "MRI"}, "numTraining": 12, "numTest": 0, "test": [],
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"}, "training": rows,
    }  # fmt: skip
    (place / "dataset.json").write_text(json.dumps(about))
    found, _ = run(
        "hippocampus_volumes", place, tmp_path / "a", "--patch", "8", "8", "8", "--corrupted", "0",
        "--explained", "0", "--level", "0.7",
    )  # fmt: skip
    assert found["metrics"]["volume/whole/interval coverage"]["value"] >= 0.5


def test_ventricles_are_read_by_patient_and_kind(tmp_path):
    for name in ("SC-HF-I-01-IM-1", "SC-HF-I-01-IM-2", "SC-N-02-IM-1"):
        for folder in ("images", "labels"):
            place = tmp_path / "part" / folder
            place.mkdir(parents=True, exist_ok=True)
            empty = folder == "labels" and name.endswith("-2")
            Image.fromarray(np.full((8, 8), 0 if empty else 255, np.uint8)).save(
                place / f"{name}.png"
            )
    cases = ventricle_outline.read(tmp_path)
    assert cases.units == ("HF-I-01", "N-02")  # a slice without a cavity is left out
    assert [*cases.columns["patient"]] == ["heart failure, infarction", "normal"]
    (tmp_path / "part" / "labels" / "SC-N-02-IM-1.png").unlink()
    with pytest.raises(ValueError, match="there is no such outline"):
        ventricle_outline.read(tmp_path)
    (tmp_path / "part" / "images" / "A-1.png").write_bytes(b"")
    with pytest.raises(ValueError, match="a name begins with SC-"):
        ventricle_outline.read(tmp_path)
    with pytest.raises(ValueError, match="no images"):
        ventricle_outline.read(tmp_path / "none")


@pytest.mark.slow
def test_real_sets_are_read_by_their_units(data_dir):
    """What the copies at hand hold: outlines of patients, nuclei of images."""
    cases = lesion_outline.read(data_dir / "ph2")
    assert len({*cases.units}) == len(cases.scans) == 133
    tumours = tumour_outline.read(data_dir / "lgg_mri" / "kaggle_3m")
    assert all(mask.any() for mask in tumours.masks)
    assert len({*tumours.units}) < len(tumours.scans)
    nuclei = nuclei_types.read(data_dir / "CRCHistoPhenotypes_2016_04_28", 27, 2)
    assert len({*nuclei.units}) == 100
    assert nuclei.images.shape[1:] == (27, 27, 3)
