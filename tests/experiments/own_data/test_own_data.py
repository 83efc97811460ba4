"""`jaxmed train segmentation|classification|regression` on one's own images, tiny."""

from __future__ import annotations

import csv
import json
import re
import shutil
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
        "--steps", "7", "--memory-gb", "0.001", "--out", str(out), "--debug",
    ]  # fmt: skip
    assert main(command) == 0
    return SimpleNamespace(out=out, command=command)


@pytest.mark.slow
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


@pytest.mark.slow
def test_fewer_steps_than_a_pass_over_the_images_are_what_is_made(segmented):
    records = (segmented.out / "metrics.jsonl").read_text().splitlines()
    assert json.loads(records[-1])["step"] == 7  # of a pass of 8
    assert "7 steps of 2 patches" in (segmented.out / "report.html").read_text()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 0, "steps is 1 or more, got 0"),
        ("foreground", 2.0, "foreground is from 0 to 1, got 2"),
        ("mirror", [0, 0], "mirror lists axes from 0 to 1, each once"),
        ("patch", [15, 16], "patch[0] is a multiple of"),
        ("spacing", [-1.0, 1.0], "an edge of spacing is 0 or more, got -1"),
    ],
)
def test_a_segmentations_plan_is_read_as_strictly(segmented, tmp_path, field, value, message):
    table = json.loads((segmented.out / "plan.json").read_text())
    (table["full"] if field in table["full"] else table)[field] = value
    (tmp_path / "plan.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match=re.escape(message)):
        read_plan(tmp_path / "plan.json", SegmentationPlan)


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_number_is_measured_and_an_edited_plan_is_followed(pictures, extended, tmp_path):
    table = str(pictures / "table.csv")
    options = ["regression", "--data", table, "--labels", "size", "--columns", "patient=who"]
    small = ["--network", "resnet8", "--size", "8", "--epochs", "1"]
    assert main(["plan", *options, *small, "--out", str(tmp_path / "first.json")]) == 0
    plan = read_plan(tmp_path / "first.json", ImagePlan)
    assert plan.outputs == ("size",)
    edited = plan_of(tmp_path / "plan.json", plan, epochs=2)
    out = tmp_path / "out"
    begun = ["--plan", str(edited), "--from", str(extended.out), "--out", str(out)]
    assert main(["train", *options, *begun, "--debug"]) == 0
    assert read_plan(out / "plan.json", ImagePlan).epochs == 2
    record = json.loads((out / "metrics.json").read_text())
    assert record["metrics"]["mae"]["n"] == 2  # patients
    assert load_model(out).recipe.task == "regression"


@pytest.mark.slow
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
    for arms in (["network=resnet8,resnet8"], ["network=resnet8", "network=resnet18"]):
        assert main(["study", "--data", str(tmp_path / "few.csv"), "--out", str(tmp_path / "x"),
                     "--arms", *arms]) == 2  # fmt: skip
        assert "--arms" in capsys.readouterr().err


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
    from experiments.own_data import _parts, segmentation
    from jaxmed.data import dataset

    source = dataset(pictures / "table.csv", columns={"patient": "who"}, labels=())
    asked = segmentation.Config(data=pictures, held_out=0.25)
    with pytest.raises(ValueError, match=r"at most 0\.5"):
        _parts.dealt(source, segmentation.Config(data=pictures, held_out=0.7))
    ((train, held),) = _parts.dealt(source, asked).folds
    assert len(held) == 4  # two of eight patients
    others = [_parts.dealt(source, segmentation.Config(held_out=0.25, fold=k)) for k in range(4)]
    everyone = sorted(int(i) for part in others for i in part.folds[0][1])
    assert everyone == list(range(16))
    assert not set(train) & set(held)
    share = _parts.dealt(source, segmentation.Config(held_out=0.4))
    assert len(share.folds[0][1]) == 6  # three of eight patients, not a half
    assert "0.4 of all drawn at random by patient and held out" in share.flow[-1]
    with pytest.raises(ValueError, match="--fold is 0 to 0"):
        _parts.dealt(source, segmentation.Config(held_out=0.4, fold=1))


def test_a_plan_is_made_edited_and_followed(pictures, tmp_path, monkeypatch, capsys):
    import jaxmed as jm

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
    asked = {}

    def fit(learner, batches, **options):
        asked.update(options, batch=len(batches[0]["image"]))
        raise KeyboardInterrupt

    monkeypatch.setattr(jm, "fit", fit)
    assert main(given) == 130
    assert (asked["steps"], asked["batch"]) == (8, plan.full.batch)
    assert read_plan(tmp_path / "run" / "plan.json", SegmentationPlan).foreground == 0.5
    assert main(["plan", "hippocampus"]) == 2
    assert "hippocampus makes no plan; classification, detection, ins" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 0}, "batch is 1 or more, got 0"),
        ({"learning_rate": -1.0}, "learning_rate is a number above 0, got -1"),
        ({"average": 1.5}, "average is from 0 to below 1, got 1.5"),
        ({"mirror": [2]}, "mirror lists axes from 0 to 1"),
        ({"shape": [8, 0]}, "a side of shape is 1 or more, got 0"),
        ({"weights": [1.0]}, "weights has 1 entries, but there are 2 outputs"),
        ({"outputs": ["a", "a"]}, "outputs are 2 different names or more"),
        ({"scale": [1.1, 0.9]}, "the largest scale is 1.1 or more, got 0.9"),
        ({"ended": [3]}, "ended rises from above 0 to below 3"),
        ({"outputs": ["x", "y"]}, r"is of the classes ['x', 'y'], the data are of"),
        ({"channels": ["r", "g", "b"]}, "is of channels 3, the data are of 1"),
    ],
)
def test_a_plan_that_nobody_can_follow_is_refused_by_its_field(
    extended, tmp_path, capsys, changes, message
):
    table = json.loads((extended.out / "plan.json").read_text()) | {"ended": []} | changes
    (tmp_path / "plan.json").write_text(json.dumps(table))
    command = extended.command[: extended.command.index("--network")]
    command += ["--plan", str(tmp_path / "plan.json"), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "plan.json" in told


@pytest.fixture(scope="module")
def extended(pictures, tmp_path_factory):
    """A classification of one epoch that went on to three, with what only its authors know."""
    root = tmp_path_factory.mktemp("extended")
    (root / "few.csv").write_text(
        "image,label\n" + "\n".join(f"{pictures}/{i}.png,{i % 2}" for i in range(12))
    )
    command = [
        "train", "classification", "--data", str(root / "few.csv"), "--network", "resnet8",
        "--size", "8", "--debug",
    ]  # fmt: skip
    out = root / "whole"
    assert main([*command, "--epochs", "1", "--out", str(out)]) == 0
    shutil.copytree(out, root / "cut")  # as it was then
    (root / "study.toml").write_text('intended_use = "Triage by a radiologist."')
    known = ["--study", str(root / "study.toml")]
    assert main([*command, "--epochs", "3", "--out", str(out), *known]) == 0
    return SimpleNamespace(root=root, command=command, out=out)


def weights(folder):
    import jax

    return [np.asarray(leaf) for leaf in jax.tree.leaves(load_model(folder).params)]


def test_a_finished_run_goes_on_with_a_new_learning_rate_and_says_so(extended):
    plan = read_plan(extended.out / "plan.json", ImagePlan)
    assert (plan.epochs, plan.ended) == (3, (1,))
    assert "1 at first" in plan.why["epochs"]
    record = json.loads((extended.out / "metrics.json").read_text())
    ends = [[path.name for path in (folder / "checkpoints").iterdir()]
            for folder in (extended.out, extended.out / "round_1")]  # fmt: skip
    assert ends == [["3"], ["6"]]
    assert record["partition"].startswith("by image, no patients named; no image and no copy")
    assert any("had ended at 1 epochs and went on to 3" in note for note in record["notes"])
    assert record["config"]["epochs"] == 3


def test_what_only_the_authors_know_is_read_from_a_file(extended, tmp_path, capsys):
    assert "Triage by a radiologist." in (extended.out / "model_card.md").read_text()
    command = [*extended.command, "--epochs", "3", "--out", str(extended.out)]
    (tmp_path / "study.toml").write_text('use = "x"')
    plain = [word for word in command if word != "--debug"]
    assert main([*plain, "--study", str(tmp_path / "study.toml")]) == 2
    assert "study.toml" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_was_cut_while_it_went_on_ends_where_the_whole_one_does(
    extended, monkeypatch, capsys
):
    import jaxmed as jm

    out = extended.root / "cut"
    command = [*extended.command, "--out", str(out)]
    fit = jm.fit

    def cut(learner, batches, **options):
        if options["state"] is None:
            return fit(learner, batches, **options)
        options["epochs"] = 1
        options["out"] = jm.train.Output(options["out"], checkpoint_every=1)
        fit(learner, batches, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(jm, "fit", cut)
    assert main([*command, "--epochs", "3"]) == 130
    monkeypatch.undo()
    assert main([*command, "--epochs", "3"]) == 0
    for one, other in zip(weights(out), weights(extended.out), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_cannot_go_on_is_refused_and_changes_nothing(extended, capsys):
    before = (extended.out / "config.json").read_text()
    plain = [word for word in extended.command if word != "--debug"]
    command = [*plain, "--out", str(extended.out)]
    assert main([*command, "--epochs", "2"]) == 2
    assert "cannot become one of 2" in capsys.readouterr().err
    assert main([*command, "--epochs", "4", "--seed", "1"]) == 2
    assert "other settings" in capsys.readouterr().err
    assert (extended.out / "config.json").read_text() == before
    unfinished = extended.root / "unfinished"
    unfinished.mkdir()
    for name in ("config.json", "plan.json"):
        (unfinished / name).write_text((extended.out / name).read_text())
    command[-1] = str(unfinished)
    assert main([*command, "--epochs", "9"]) == 2
    assert "that has not ended" in capsys.readouterr().err


@pytest.mark.slow
def test_masks_of_a_segmentation_that_went_on_are_made_anew(segmented, tmp_path):
    out = tmp_path / "again"
    shutil.copytree(segmented.out, out)
    stale = out / "masks" / "16.png"
    stale.unlink()
    Image.fromarray(np.ones((16, 16), np.uint8)).save(stale)
    where = segmented.command.index("--out")
    command = [*segmented.command]
    command[where + 1], command[command.index("--steps") + 1] = str(out), "10"
    assert main(command) == 0
    assert not np.asarray(Image.open(stale)).all()
    assert read_plan(out / "plan.json", SegmentationPlan).ended == (7,)
    notes = json.loads((out / "metrics.json").read_text())["notes"]
    assert any("test set was read at each end" in note for note in notes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--folds", "0"], "--folds is 1 or more, got 0"),
        (["--size", "0"], "size is 8 or more, got 0"),
        (["--epochs", "0"], "epochs is 1 or more, got 0"),
    ],
)
def test_numbers_that_no_training_has_are_refused(extended, tmp_path, capsys, words, message):
    data = extended.command[:4]
    assert main([*data, *words, "--out", str(tmp_path / "out")]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_start_refused_after_planning_leaves_nothing(extended, segmented, tmp_path, capsys):
    out = tmp_path / "out"
    command = [*extended.command[:-1], "--epochs", "1", "--from", str(segmented.out)]
    assert main([*command, "--out", str(out)]) == 2
    assert "none of its weights fit this network" in capsys.readouterr().err
    assert not out.exists()
    out.mkdir()
    kept = (extended.out / "plan.json").read_text()
    (out / "plan.json").write_text(kept)  # of the user's own making
    assert main([*command, "--out", str(out)]) == 2
    assert [path.name for path in out.iterdir()] == ["plan.json"]
    assert (out / "plan.json").read_text() == kept


def test_copies_of_an_image_are_kept_on_one_side(tmp_path):
    import importlib

    from jaxmed import data

    own = importlib.import_module("jaxmed.experiments.own_data._parts")
    pixels = [Image.fromarray(disc(i % 2)[0]) for i in range(6)]
    rows = ["image,label,split"]
    for i in range(18):  # six pictures, each under three names
        pixels[i % 6].save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,{i % 2},{'test' if i % 6 == 0 else 'train'}")
    table = tmp_path / "t.csv"
    table.write_text("\n".join(rows))
    config = SimpleNamespace(folds=3, held_out=0.2, fold=0, seed=0)
    parts = own.dealt(data.dataset(table), config)
    assert sorted(np.concatenate([held for _, held in parts.folds])) == sorted(
        i for i in range(18) if i % 6
    )
    for train, held in parts.folds:
        assert not {int(i) % 6 for i in train} & {int(i) % 6 for i in held}
    assert any("12 images are copies of others" in line for line in parts.flow)
    table.write_text("\n".join(rows).replace("6.png,0,test", "6.png,0,train"))
    with pytest.raises(data.DataError, match=r"6.png: a copy of .*0.png, which is in split 'test'"):
        own.dealt(data.dataset(table), config)


def test_more_folds_than_patients_are_told(tmp_path):
    import importlib

    from jaxmed import data

    own = importlib.import_module("jaxmed.experiments.own_data._parts")
    rows = ["image,label,patient"]
    for i in range(9):
        Image.fromarray(disc(i % 2)[0]).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,{i % 2},p{i // 3}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    source = data.dataset(tmp_path / "t.csv")
    parts = own.dealt(source, SimpleNamespace(folds=5, held_out=0.2, fold=0, seed=0))
    assert len(parts.folds) == 3
    assert any("into 3 folds by patient, not 5" in line for line in own.notes(source, parts))
    single = own.dealt(source, SimpleNamespace(folds=1, held_out=0.2, fold=2, seed=0))
    assert any("into 3 folds by patient; fold 2 held out" in line for line in single.flow)
    with pytest.raises(ValueError, match="--fold is 0 to 2, got 3"):
        own.dealt(source, SimpleNamespace(folds=1, held_out=0.2, fold=3, seed=0))
