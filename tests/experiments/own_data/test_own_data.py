"""`jaxmed train segmentation|classification|regression` on one's own images, tiny."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from jaxmed.cli import main
from jaxmed.inference import load_model
from jaxmed.planning import ImagePlan, SegmentationPlan, read_plan, write_plan

RNG = np.random.default_rng(0)


def disc(label, size=16):
    """A noisy picture with a disc, bright if the label is 1, and the disc's mask."""
    at = RNG.uniform(5, size - 5, 2)
    inside = ((np.indices((size, size)) - at[:, None, None]) ** 2).sum(0) < 9
    pixels = 60 + 30 * RNG.normal(size=(size, size)) + (120 if label else 60) * inside
    return np.clip(pixels, 0, 255).astype(np.uint8), inside.astype(np.uint8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Ten patients with two pictures each, masks of 0 and 255, two of them a test set."""
    folder = tmp_path_factory.mktemp("pictures")
    rows = ["file;mask_path;diagnosis;who;split;size"]
    for i in range(20):
        picture, mask = disc(i % 2)
        Image.fromarray(picture).save(folder / f"{i}.png")
        Image.fromarray(255 * mask).save(folder / f"{i}_mask.png")
        kind = ["benign", "malignant"][i % 2]
        split = "test" if i >= 16 else "train"
        rows.append(f"{i}.png;{i}_mask.png;{kind};p{i // 2};{split};{i % 7},5")
    (folder / "table.csv").write_text("\n".join(rows))
    return folder


def plan_of(out, kind, **changes):
    """Write a plan by hand, as a user who edits one does."""
    import dataclasses

    plan = dataclasses.replace(kind, **changes)
    write_plan(out, plan)
    return out


@pytest.fixture(scope="module")
def segmented(pictures, tmp_path_factory):
    """A finished segmentation of the pictures."""
    out = tmp_path_factory.mktemp("run") / "out"
    command = [
        "train", "segmentation", "--data", str(pictures / "table.csv"), "--columns", "patient=who",
        "--steps", "8", "--memory-gb", "0.001", "--out", str(out), "--debug",
    ]  # fmt: skip
    assert main(command) == 0
    return SimpleNamespace(out=out, command=command)


def test_a_table_of_pictures_is_segmented_and_its_test_set_measured(segmented, pictures):
    record = json.loads((segmented.out / "metrics.json").read_text())
    assert [s["cases"] for s in record["splits"]] == [12, 4, 4]
    assert [s["groups"] for s in record["splits"]] == [6, 2, 2]
    assert record["metrics"]["dice"]["n"] == 2  # patients
    plan = read_plan(segmented.out / "plan.json", SegmentationPlan)
    assert plan.full.batch == 2
    assert "median of 16 scans" in plan.why["spacing"]  # the test set is not looked at
    with (segmented.out / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["mask"] for row in rows] == [f"masks/{i}.png" for i in range(16, 20)]
    for row in rows:
        found = np.asarray(Image.open(segmented.out / row["mask"]))
        assert found.shape == (16, 16)


def test_the_same_command_goes_on_from_what_is_there(segmented, capsys):
    before = (segmented.out / "metrics.json").read_text()
    assert main(segmented.command) == 0
    found, kept = json.loads((segmented.out / "metrics.json").read_text()), json.loads(before)
    assert found["metrics"] == kept["metrics"]


def test_predict_gives_a_picture_its_mask_in_pixels(segmented, pictures, tmp_path, capsys):
    images = [str(pictures / "16.png"), str(pictures / "17.png")]
    assert main(["predict", str(segmented.out), *images, "-o", str(tmp_path)]) == 0
    same = np.asarray(Image.open(tmp_path / "16_mask.png"))
    np.testing.assert_array_equal(same, Image.open(segmented.out / "masks" / "16.png"))
    assert " pixels " in capsys.readouterr().out


def test_folds_are_averaged_and_everything_is_measured_once(pictures, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "few.csv").write_text(
        "image,label\n" + "\n".join(f"{pictures}/{i}.png,{i % 2}" for i in range(12))
    )
    command = [
        "train", "classification", "--data", str(tmp_path / "few.csv"), "--folds", "2",
        "--network", "resnet8", "--size", "8", "--epochs", "1", "--out", str(out), "--debug",
    ]  # fmt: skip
    assert main(command) == 0
    record = json.loads((out / "metrics.json").read_text())
    assert record["metrics"]["auc"]["n"] == 12
    model = load_model(out)
    assert model.recipe.members == 2
    images = RNG.normal(size=(3, *model.recipe.shape, 1)).astype(np.float32)
    each = [load_model(out / f"fold_{k}").predict(images) for k in range(2)]
    np.testing.assert_allclose(model.predict(images), np.mean(each, axis=0), atol=1e-6)
    assert main(["predict", str(out), str(pictures / "3.png"), "-o", str(tmp_path / "s.csv")]) == 0


def test_a_number_is_measured_and_an_edited_plan_is_followed(pictures, tmp_path):
    table = str(pictures / "table.csv")
    command = ["train", "regression", "--data", table, "--labels", "size", "--columns",
               "patient=who", "--debug"]  # fmt: skip
    first = tmp_path / "first"
    small = ["--network", "resnet8", "--size", "8", "--epochs", "1"]
    assert main([*command, *small, "--out", str(first)]) == 0
    plan = read_plan(first / "plan.json", ImagePlan)
    assert plan.outputs == ("size",)
    edited = plan_of(tmp_path / "plan.json", plan, epochs=2)
    second = tmp_path / "second"
    again = [*command, "--plan", str(edited), "--from", str(first), "--out", str(second)]
    assert main(again) == 0
    assert read_plan(second / "plan.json", ImagePlan).epochs == 2
    record = json.loads((second / "metrics.json").read_text())
    assert record["metrics"]["mae"]["n"] == 2  # patients
    assert load_model(second).recipe.task == "regression"


def test_a_study_compares_arms_and_says_what_may_differ(pictures, tmp_path, capsys):
    (tmp_path / "few.csv").write_text(
        "image,label\n" + "\n".join(f"{pictures}/{i}.png,{i % 2}" for i in range(12))
    )
    command = ["study", "--data", str(tmp_path / "few.csv"), "--folds", "2", "--size", "8",
               "--epochs", "1", "--out", str(tmp_path / "out")]  # fmt: skip
    assert main([*command, "--arms", "network=resnet8", "learning_rate=0.1,0.001", "--debug"]) == 0
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert sorted(record["models"]) == ["resnet8_0.001", "resnet8_0.1"]
    plans = tmp_path / "out" / "plans"
    assert read_plan(plans / "resnet8_0.1.json", ImagePlan).learning_rate == 0.1
    assert main(["study", "--data", str(tmp_path / "few.csv"), "--out", str(tmp_path / "x"),
                 "--arms", "epochs=1,2"]) == 2  # fmt: skip
    assert "not in 'epochs'" in capsys.readouterr().err


def test_what_is_missing_is_named_and_nothing_is_left(pictures, tmp_path, capsys):
    (tmp_path / "t.csv").write_text(f"image,grade\n{pictures}/0.png,1\n")
    for options, says in (
        (["segmentation"], "--data: name a table or a folder"),
        (["segmentation", "--data", str(tmp_path / "t.csv")], "no masks: give the table a column"),
        (["classification", "--data", str(tmp_path / "t.csv")], "name the column with --labels"),
        (["classification", "--data", str(pictures), "--columns", "x"], "--columns is ROLE=COLUMN"),
    ):
        assert main(["train", *options, "--out", str(tmp_path / "out")]) == 2
        assert says in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_a_single_network_leaves_out_the_share_that_is_asked_for(pictures, capsys):
    from experiments.own_data import _own, segmentation
    from jaxmed.data import dataset

    source = dataset(pictures / "table.csv", columns={"patient": "who"}, labels=())
    asked = segmentation.Config(data=pictures, held_out=0.25)
    with pytest.raises(ValueError, match=r"at most 0\.5"):
        _own.dealt(source, segmentation.Config(data=pictures, held_out=0.7))
    ((train, held),) = _own.dealt(source, asked).folds
    assert len(held) == 4  # two of eight patients
    others = [_own.dealt(source, segmentation.Config(held_out=0.25, fold=k)) for k in range(4)]
    everyone = sorted(int(i) for part in others for i in part.folds[0][1])
    assert everyone == list(range(16))
    assert not set(train) & set(held)


def test_a_plan_is_made_edited_and_followed(pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = ["--data", str(pictures / "table.csv"), "--columns", "patient=who"]
    command = ["plan", "segmentation", *data, "--memory-gb", "0.001"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.endswith("plan.json\n")
    assert "spacing: the median of 16 scans" in said
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    assert main(command) == 2  # an edited plan would be lost
    assert "plan.json exists" in capsys.readouterr().err
    for task, label in (("classification", "diagnosis"), ("regression", "size")):
        out = tmp_path / f"{task}.json"
        assert main(["plan", task, *data, "--labels", label, "--out", str(out)]) == 0
        assert read_plan(out, ImagePlan).task in ("binary", "regression")
    plan = read_plan("plan.json", SegmentationPlan)
    edited = plan_of(tmp_path / "edited.json", plan, steps=8, foreground=0.5)
    given = ["train", "segmentation", *data, "--plan", str(edited), "--out", "run", "--debug"]
    assert main(given) == 0
    assert read_plan(tmp_path / "run" / "plan.json", SegmentationPlan).foreground == 0.5
    assert main(["plan", "hippocampus"]) == 2
    assert "hippocampus makes no plan; classification, regression, seg" in capsys.readouterr().err
