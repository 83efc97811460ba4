"""Applications on made-up sets of their layout, by a tiny network in the place of ImageNet's."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from jaxmed.experiments._common import frozen
from jaxmed.experiments._common.probe import fitted_probe
from jaxmed.experiments.applications import (
    _frozen,
    blood_cells,
    brain_tumours,
    heart,
    mammograms,
    melanoma,
    vessels,
)
from jaxmed.experiments.applications._vessel_shape import vessels as followed
from PIL import Image

import jaxmed as jm
from jaxmed import networks
from jaxmed.augment import CORRUPTIONS
from jaxmed.cli import main
from jaxmed.inference import load_model

RNG = np.random.default_rng(0)


@pytest.fixture
def tiny(monkeypatch):
    """A network with random parameters that sees how bright an image is, and where."""
    net = networks.EfficientNet(None, stages=((1, 3, 1, 1, 4),), stem=4, width=8)
    for module in (_frozen, frozen):
        monkeypatch.setattr(module, "lite0", lambda: jm.from_linen(net))
    monkeypatch.setattr(frozen, "imagenet", lambda trunk: trunk)


def picture(path, bright, channels=1):
    """A noisy picture with a square in its middle, the brighter the higher its class."""
    image = 60 + 10 * RNG.normal(size=(24, 24, channels))
    image[8:16, 8:16] += 45 * bright
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(image, 0, 255).astype(np.uint8).squeeze()).save(path)


def table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def lesions(place, n=30):
    kinds = ("common", "atypical", "melanoma")
    rows = [{"image": f"IMD{i:03d}", "diagnosis": kinds[i % 3]} for i in range(n)]
    for i, row in enumerate(rows):
        picture(place / "images" / f"{row['image']}.jpg", 2.0 * (i % 3 == 2), 3)
    table(place / "labels.csv", rows)


def films(place):
    rows, crops = [], []
    for i in range(30):
        name, patient = f"mdb{i:03d}", str(i // 2)
        severity = "MB"[i // 2 % 2] if i % 2 else ""
        row = {
            "image": name,
            "patient": patient,
            "tissue": "FGD"[i // 2 % 3],
            "class": "CIRC" if i % 2 else "NORM",
            "severity": severity,
        }
        rows.append(row)
        crops.append({"file": f"{name}_0.png", **{k: row[k] for k in row if k != "patient"}})
        picture(place / "images" / f"{name}.png", i // 2 % 3)
        picture(place / "rois" / f"{name}_0.png", i % 2 + (row["severity"] == "M"))
    rows.append(rows[1])  # a second finding of a film
    table(place / "labels.csv", rows)
    table(place / "rois.csv", crops)


def classes(place, names, n=8):
    for k, name in enumerate(names):
        for i in range(n):
            picture(place / name / f"{k}{i:07d}_{i % 2}.png", k)


def run(command, place, out):
    options = "--size 16 --folds 2 --seeds 2"
    words = ["train", *command.split(), "--data", str(place), *options.split(), "--out", str(out)]
    assert main([*words, "--debug"]) == 0
    return json.loads((out / "metrics.json").read_text()), (out / "report.html").read_text()


def test_a_run_is_judged_by_folds_and_seeds_and_leaves_a_model(tmp_path, tiny):
    lesions(tmp_path / "ph2")
    found, page = run("melanoma --corrupted 0 --explained 0", tmp_path / "ph2", tmp_path / "a")
    metrics = found["metrics"]
    assert metrics["auc"]["value"] > 0.9
    assert metrics["auc over seeds"]["n"] == 2
    assert 0 <= metrics["set coverage"]["value"] <= 1 <= metrics["set size"]["upper"]
    assert "2 folds of patients" in page
    model = load_model(tmp_path / "a")
    assert model.recipe.outputs == ("nevus", "melanoma")
    assert main(["predict", str(tmp_path / "a"), str(tmp_path / "ph2" / "images"), "-o",
                 str(tmp_path / "scores.csv")]) == 0  # fmt: skip


@pytest.mark.slow
def test_corruptions_and_maps_are_on_the_page(tmp_path, tiny):
    lesions(tmp_path / "ph2")
    command = "melanoma --corrupted 12 --explained 1"
    found, page = run(command, tmp_path / "ph2", tmp_path / "a")
    assert found["robustness"]["corrupted"].keys() == set(CORRUPTIONS)
    for name, rows in found["robustness"]["corrupted"].items():
        assert found["metrics"][f"auc/{name} 3"]["value"] == rows[2]["value"]
    assert "Corrupted images" in page
    assert "Explanations" in page


def test_a_model_answers_as_its_probe(tmp_path, tiny):
    lesions(tmp_path, 24)
    cases = melanoma.read(tmp_path, 16)
    net = frozen.Lite0(16)
    features = net.features(cases.images)
    probe = fitted_probe(features, cases.labels, classes=2)
    said = _frozen.answering(net, probe, cases.classes, 3).predict(net.prepared(cases.images))
    np.testing.assert_allclose(said, probe.predict(features), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["density", "lesion", "malignancy"])
def test_mammograms(task, tmp_path, tiny):
    films(tmp_path / "mias")
    command = f"mammograms --task {task} --corrupted 0 --explained 0"
    found, page = run(command, tmp_path / "mias", tmp_path / "a")
    assert found["metrics"]["auc"]["value"] > 0.6
    assert "2 folds of patients" in page


@pytest.mark.slow
def test_a_border_that_tells_is_told_beside(tmp_path, tiny):
    classes(tmp_path / "cxr", ("covid", "none", "pneumonia"))
    for path in (tmp_path / "cxr" / "covid").iterdir():
        image = np.array(Image.open(path))
        image[:2] = 255
        Image.fromarray(image).save(path)
    found, _ = run("chest --corrupted 0 --explained 0", tmp_path / "cxr", tmp_path / "a")
    assert found["metrics"]["auc/border alone"]["value"] > 0.6
    assert "auc/middle alone" in found["metrics"]


def test_films_are_read_by_patient(tmp_path):
    films(tmp_path)
    density = mammograms.read(tmp_path, "density", 16)
    assert density.images.shape == (30, 16, 16, 1)  # a film with two findings once
    assert density.classes == ("fatty", "glandular", "dense")
    assert len(set(density.units)) == 15
    assert mammograms.read(tmp_path, "lesion", 16).labels.tolist() == [0, 1] * 15
    malignant = mammograms.read(tmp_path, "malignancy", 16)
    assert malignant.labels.tolist() == [i % 2 == 0 for i in range(15)]
    assert malignant.columns["tissue"][0] == "fatty"


def test_kinds_of_which_there_are_too_few_are_left_out(tmp_path):
    rows = [{"image": f"{i:03d}", "class": "12"[i % 2]} for i in range(12)]
    rows.append({"image": "012", "class": "5"})
    for row in rows:
        picture(tmp_path / "images" / f"{row['image']}.jpg", 1, 3)
    table(tmp_path / "labels.csv", rows)
    cases, left_out = blood_cells.read(tmp_path, 16, 5)
    assert cases.classes == ("neutrophil", "lymphocyte")
    assert len(cases.labels) == 12
    assert left_out == ["basophil"]
    (tmp_path / "images" / "003.jpg").unlink()
    with pytest.raises(ValueError, match=r"003\.jpg: named in the table"):
        blood_cells.read(tmp_path, 16, 5)


def test_copies_in_two_folders_are_one_unit(tmp_path):
    names = ("glioma", "none")
    for part in ("training", "testing"):
        classes(tmp_path / part, names, 8)
    copy = Image.open(tmp_path / "training" / "glioma" / "00000000_0.png")
    copy.save(tmp_path / "testing" / "glioma" / "00000001_1.png")
    cases = brain_tumours.of_folders([tmp_path / p for p in ("training", "testing")], 16)
    assert cases.classes == names
    assert len(cases.labels) == 32
    assert cases.units[0] == cases.units[17]
    (tmp_path / "testing" / "none").rename(tmp_path / "testing" / "other")
    with pytest.raises(ValueError, match="has the classes"):
        brain_tumours.of_folders([tmp_path / p for p in ("training", "testing")], 16)


@pytest.mark.parametrize("application", [melanoma, mammograms, blood_cells])
def test_a_table_without_a_column_is_named(application, tmp_path):
    table(tmp_path / "labels.csv", [{"file": "a"}])
    arguments = {melanoma: (16,), mammograms: ("density", 16), blood_cells: (16, 5)}[application]
    with pytest.raises(ValueError, match=r"labels\.csv: no column image"):
        application.read(tmp_path, *arguments)


def disc(radius, thick, size=41):
    """A left ventricle in its wall, and a right one beside it."""
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1) - size // 2
    far = np.sqrt((grid**2).sum(-1))
    mask = np.where(far < radius, 3, np.where(far < radius + thick, 2, 0))
    mask[:4] = 1
    return np.repeat(mask[..., None], 3, -1)


def test_a_heart_is_measured_by_its_discs():
    patient = heart.Heart("a", "NOR", disc(12, 5), disc(6, 8), (0.5, 0.5, 10.0))
    found = heart.measures(patient)
    assert found["left volume at end-diastole"] == pytest.approx(np.pi * 6**2 * 30 / 1000, rel=0.05)
    assert found["left ejection fraction"] == pytest.approx(1 - 6**2 / 12**2, rel=0.05)
    assert found["right ejection fraction"] == 0
    # Half a voxel beyond its centre an edge ends.
    assert found["mean thickness at end-diastole"] == pytest.approx(2.5, abs=0.3)
    assert found["mean thickness at end-systole"] == pytest.approx(4.0, abs=0.3)
    assert found["spread thickness at end-diastole"] < 0.3


def test_a_heart_without_masks_of_something_has_no_number_that_is_none():
    empty = np.zeros((8, 8, 2), int)
    found = heart.measures(heart.Heart("a", "NOR", empty, empty, (1.0, 1.0, 1.0)))
    assert all(np.isfinite(value) for value in found.values())


def hearts(place, predicted):
    """Ten patients of two groups, and masks of half of the size as predictions."""
    for i in range(10):
        name, radius = f"patient{i:03d}", (6 if i % 2 else 12) + i / 20
        folder = place / name
        folder.mkdir(parents=True)
        (folder / "Info.cfg").write_text(f"ED: 1\nES: 2\nGroup: {'NOR' if i % 2 else 'DCM'}\n")
        predicted.mkdir(exist_ok=True)
        for frame, scale in ((1, 1.0), (2, 0.5 if i % 2 else 0.9)):
            mask = disc(radius * scale, 4).astype(np.uint8)
            image = nib.Nifti1Image(mask, np.eye(4))
            nib.save(image, folder / f"{name}_frame{frame:02d}_gt.nii.gz")
            nib.save(image, predicted / f"{name}_frame{frame:02d}.nii.gz")


@pytest.mark.slow
def test_predicted_masks_are_set_beside_the_experts(tmp_path, capsys):
    hearts(tmp_path / "acdc", tmp_path / "said")
    words = ["train", "heart", "--data", str(tmp_path / "acdc"), "--folds", "2", "--seeds", "1"]
    out = tmp_path / "a"
    assert main([*words, "--masks", str(tmp_path / "said"), "--out", str(out), "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert metrics["accuracy"]["value"] == 1
    assert metrics["left ejection fraction/error"]["value"] == 0
    assert metrics["left ejection fraction/NOR"]["value"] > 0.6
    assert metrics["left ejection fraction/DCM"]["value"] < 0.3
    (tmp_path / "said" / "patient003_frame02.nii.gz").unlink()
    assert main([*words, "--masks", str(tmp_path / "said"), "--out", str(tmp_path / "b")]) == 2
    assert "patient003_frame02.nii.gz: there is no such mask" in capsys.readouterr().err


def drawn(way, width, size=160):
    """A vessel of a width along points (n, 2)."""
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1)
    far = np.full((size, size), np.inf)
    for point in way:
        far = np.minimum(far, ((grid - point) ** 2).sum(-1))
    return far <= (width / 2) ** 2


@pytest.mark.parametrize("angle", [0, 20, 45, 70, 90])
@pytest.mark.parametrize("width", [3, 6])
def test_a_straight_vessel_is_as_wide_as_drawn_and_does_not_wind(angle, width):
    turn = np.array([np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))])
    way = 80.25 + np.linspace(-50, 50, 400)[:, None] * turn
    found = followed(drawn(way, width))
    assert found.mean_width() == pytest.approx(width, abs=0.8)
    assert found.mean_tortuosity() == pytest.approx(1, abs=0.02)


def test_a_half_circle_is_half_of_pi_longer_than_its_ends_are_apart():
    angles = np.linspace(0, np.pi, 600)
    found = followed(drawn(80 + 50 * np.stack([np.sin(angles), np.cos(angles)], -1), 4))
    assert found.mean_tortuosity() == pytest.approx(np.pi / 2, rel=0.04)
    assert found.length.sum() == pytest.approx(np.pi * 50, rel=0.04)


def test_a_crossing_parts_vessels_and_a_ring_has_no_ends():
    line = np.linspace(30, 130, 400)
    across = np.stack([np.full(400, 80.0), line], -1)
    found = followed(drawn(across, 4) | drawn(across[:, ::-1], 4))
    assert len(found.length) == 4
    angles = np.linspace(0, 2 * np.pi, 900)
    ring = followed(drawn(80 + 50 * np.stack([np.sin(angles), np.cos(angles)], -1), 4))
    assert len(ring.length) == 0 or ring.length.max() > 150
    assert np.isnan(followed(np.zeros((20, 20))).mean_width())


def observers(place):
    for number in range(3):
        for observer, width in ((1, 3 + number), (2, 3.5 + number)):
            way = np.stack([np.full(300, 60.0), np.linspace(20, 140, 300)], -1)
            folder = place / "test" / ("1st_manual" if observer == 1 else "2nd_manual")
            folder.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray((255 * drawn(way, width)).astype(np.uint8))
            image.save(folder / f"{number:02d}_manual{observer}.gif")


def test_vessels_of_two_observers_are_compared(tmp_path):
    observers(tmp_path / "drive")
    words = ["train", "vessels", "--data", str(tmp_path / "drive"), "--out", str(tmp_path / "a")]
    assert main([*words, "--debug"]) == 0
    metrics = json.loads((tmp_path / "a" / "metrics.json").read_text())["metrics"]
    assert 0 < metrics["width/bias"]["value"] < 1.2
    assert metrics["width"]["value"] == pytest.approx(4, abs=0.8)
    (tmp_path / "drive" / "test" / "2nd_manual" / "01_manual2.gif").unlink()
    with pytest.raises(ValueError, match=r"one mask 01_manual2\.gif, found 0"):
        vessels.read(tmp_path / "drive", None)
