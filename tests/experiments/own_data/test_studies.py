"""`jaxmed study` of masks and of numbers, tiny."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from jaxmed import data
from jaxmed.cli import main
from jaxmed.planning import SegmentationPlan, read_plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight pictures with masks and numbers, of four patients."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("studied")
    rows = ["image,size,patient,hospital,week"]
    for name in ("images", "masks"):
        (root / "data" / name).mkdir(parents=True)
    for i in range(8):
        mask = np.zeros((16, 16), np.uint8)
        mask[4 : 8 + i % 3, 5:11] = 1
        pixels = np.clip(60 + 10 * rng.normal(size=mask.shape) + 120 * mask, 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(root / "data" / "images" / f"{i}.png")
        Image.fromarray(mask).save(root / "data" / "masks" / f"{i}.png")
        rows.append(f"data/images/{i}.png,{mask.sum() + 0.5},p{i // 2},h{i // 4},{i % 2}")
    (root / "sizes.csv").write_text("\n".join(rows))
    return root


def command_of(folder):
    """A study of the masks."""
    return [
        "study", "--data", str(folder / "data"), "--arms", "learning_rate=0.01,0.0001",
        "--folds", "2", "--steps", "2", "--memory-gb", "0.001", "--out", str(folder / "out"),
        "--debug",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def masks(folder):
    """A finished study of masks, and its command."""
    command = command_of(folder)
    assert main(command) == 0
    return folder / "out", command


@pytest.mark.slow
def test_masks_are_studied_case_by_case(masks, folder):
    out, _ = masks
    record = json.loads((out / "metrics.json").read_text())
    assert record["task"] == "segmentation"
    assert sorted(record["models"]) == ["0.0001", "0.01"]
    assert read_plan(out / "plans" / "0.01.json", SegmentationPlan).learning_rate == 0.01
    kept = sorted((out / "trainings" / "replicates").iterdir())
    assert [path.stem for path in kept] == [f"{a}-r0-f{f}-s0" for a in ("0.0001", "0.01")
                                            for f in (0, 1)]  # fmt: skip
    outputs = [np.load(path)["outputs"] for path in kept[:2]]
    dice = np.concatenate([found[:, 0, 0] for found in outputs])
    assert dice.shape == (8,)
    assert record["models"]["0.0001"]["dice"]["value"] == pytest.approx(dice.mean())
    assert not [*(out / "trainings" / "running").iterdir()]
    assert any("segmentation is studied" in note for note in record["notes"])
    with (out / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["metric"] for row in rows} >= {"dice"}
    assert all("corrected resampled t" in row["method"] for row in rows)


@pytest.mark.slow
def test_a_study_of_masks_goes_on_from_the_trainings_that_ended(masks, monkeypatch):
    import importlib

    out, command = masks
    module = importlib.import_module("jaxmed.experiments.own_data._study_masks")
    gone = out / "trainings" / "replicates" / "0.01-r0-f1-s0.npz"
    whole = np.load(gone)["outputs"]
    gone.unlink()
    made, trained = [], module.trained
    monkeypatch.setattr(module, "trained", lambda *a: made.append(a) or trained(*a))
    assert main(command) == 0
    assert len(made) == 1
    np.testing.assert_array_equal(np.load(gone)["outputs"], whole)


@pytest.mark.slow
def test_processes_of_their_own_make_the_same_study(masks, folder, tmp_path):
    """In jobs, by the plans that the command wrote."""
    pytest.importorskip("submitit")
    out, command = masks
    there = tmp_path / "there"
    options = ["--executor", "local", "--workers", "2", "--per-job", "2"]
    assert main([*(str(there) if word == str(out) else word for word in command), *options]) == 0
    for path in (out / "trainings" / "replicates").iterdir():
        same = np.load(there / "trainings" / "replicates" / path.name)["outputs"]
        np.testing.assert_array_equal(same, np.load(path)["outputs"])
    one, other = (json.loads((at / "metrics.json").read_text()) for at in (out, there))
    assert one["models"] == other["models"]


@pytest.mark.slow
def test_several_labels_are_studied_where_they_are_known(folder, tmp_path):
    rows = ["image,round,dark,patient"]
    rows += [f"data/images/{i}.png,{i % 2},{'' if i < 3 else i // 4},p{i}" for i in range(8)]
    table = folder / "several.csv"
    table.write_text("\n".join(rows))
    command = [
        "study", "--data", str(table), "--labels", "round", "dark", "--folds", "2", "--size", "8",
        "--epochs", "1", "--arms", "network=resnet8", "learning_rate=0.01,0.0001",
        "--out", str(tmp_path / "out"), "--debug",
    ]  # fmt: skip
    assert main(command) == 0
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert record["task"] == "multi-label"
    kept = sorted((tmp_path / "out" / "trainings" / "replicates").glob("resnet8_0.01*"))
    outputs = np.concatenate([np.load(path)["outputs"] for path in kept])
    assert outputs.shape == (8, 2)
    assert ((outputs > 0) & (outputs < 1)).all()  # probabilities of each label by itself
    accuracy = record["models"]["resnet8_0.01"]["accuracy"]["value"]
    assert accuracy * 13 == pytest.approx(round(accuracy * 13))  # of the 13 labels that are known


@pytest.mark.slow
def test_numbers_are_studied_by_their_errors(folder, tmp_path, capsys):
    command = [
        "study", "--data", str(folder / "sizes.csv"), "--labels", "size", "--folds", "2",
        "--size", "8", "--epochs", "1", "--arms", "network=resnet8", "learning_rate=0.01,0.0001",
    ]  # fmt: skip
    assert main([*command, "--out", str(tmp_path / "x")]) == 2
    assert "--task regression" in capsys.readouterr().err
    two = [*command[:4], "size", "week", *command[5:], "--task", "regression"]
    two += ["--out", str(tmp_path / "y")]
    assert main(two) == 2
    assert "of one number" in capsys.readouterr().err
    command += ["--task", "regression", "--out", str(tmp_path / "out"), "--debug"]
    assert main(command) == 0
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert record["task"] == "regression"
    truth = data.column(data.dataset(folder / "sizes.csv", labels="size", regression=True), "label")
    said = record["models"]["resnet8_0.01"]["mae"]["value"]
    assert said < np.abs(truth).mean()  # in the numbers' own unit


@pytest.mark.slow
def test_hospitals_are_left_out_in_turn(folder, tmp_path, capsys):
    command = [
        "study", "--data", str(folder / "sizes.csv"), "--labels", "size", "--task", "regression",
        "--size", "8", "--epochs", "1", "--arms", "network=resnet8", "learning_rate=0.01,0.0001",
        "--sites", "hospital",
    ]  # fmt: skip
    for words, message in (
        (["--folds", "3"], "there are no --folds beside"),
        (["--sites", "ward"], "has the columns image, size, patient, hospital, week"),
        (["--sites", "week"], "patients p0, p1, p2, p3 are in both"),
    ):
        assert main([*command, *words, "--out", str(tmp_path / "no")]) == 2
        assert message in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "out"), "--debug"]) == 0
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    model = record["models"]["resnet8_0.01"]
    table = next(
        t for t in record["subgroups"] if (t["model"], t["metric"]) == ("resnet8_0.01", "mae")
    )
    values = [table["estimates"][site]["value"] for site in ("h0", "h1")]
    assert model["mae/over hospitals"]["value"] == pytest.approx(np.mean(values))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "2 hospitals, each left out once" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "8"], "a study of segmentation has no --size"),
        (["--arms", "classes=2,3"], "not in 'classes'"),
        (["--arms", "configuration=2d,4d"], "none of 2d, 3d_fullres"),
        (["--arms", "plan=small,large"], "there is no plan 'small'"),
        (["--arms", "learning_rate=0.1"], "at least two arms, got 1"),
        (["--arms", "learning_rate=0.1,0.1"], "give each value once"),
        (["--task", "classification"], "no column or folder gives labels"),
    ],
)
def test_what_a_study_of_masks_has_not_is_refused(folder, tmp_path, capsys, words, message):
    command = command_of(folder)
    plain = [*command[:3], *(["--arms", "steps=1,2"] if "--arms" not in words else []), *words]
    assert main([*plain, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
