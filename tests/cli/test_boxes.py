"""Boxes on the command line: trained on, found in new images, measured, as others write them."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from jaxmed.cli import main
from jaxmed.data import box_dataset, phantoms
from jaxmed.inference import find_boxes, load_model
from jaxmed.stats import box_average_precision

N, SIDE = 8, 32


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A data set of phantoms as a table, and a detector that was trained on it."""
    root = tmp_path_factory.mktemp("boxes")
    source = phantoms.detection(N, (SIDE, SIDE), classes=1, objects=2, seed=1)
    with (root / "boxes.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "label", "xmin", "ymin", "xmax", "ymax", "split"])
        for i in range(N):
            pixels = (255 * np.clip(source[i]["image"][..., 0], 0, 1)).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"p{i}.png")
            for box, label in zip(source[i]["box"], source[i]["box_label"], strict=True):
                if label >= 0:
                    split = "test" if i >= 6 else "train"
                    rows.writerow([f"p{i}.png", "spot", *box[[1, 0, 3, 2]], split])
    words = [
        "--network",
        "resnet8",
        "--width",
        "8",
        "--depth",
        "1",
        "--epochs",
        "2",
        "--batch",
        "3",
    ]
    assert main(["train", "detection", "--data", str(root / "boxes.csv"), *words,
                 "--out", str(root / "run")]) == 0  # fmt: skip
    return root


def test_a_run_writes_its_numbers_boxes_and_model(run):
    record = json.loads((run / "run" / "metrics.json").read_text())
    assert record["task"] == "detection"
    assert {split["name"]: split["cases"] for split in record["splits"]} == {"train": 6, "test": 2}
    truth = box_dataset(run / "boxes.csv", split="test")
    model = load_model(run / "run")
    found = [find_boxes(model, truth[i]["image"]) for i in range(2)]
    value = box_average_precision(
        truth.boxes, truth.box_labels, [f.boxes for f in found], [f.scores for f in found],
        [f.labels for f in found], n_resamples=0,
    )  # fmt: skip
    np.testing.assert_allclose(record["metrics"]["ap50"]["value"], value.value, atol=1e-6)
    assert "Images with boxes" in (run / "run" / "report.html").read_text()


def test_what_is_predicted_is_measured_as_the_run_was(run, capsys):
    images = [str(run / f"p{i}.png") for i in (6, 7)]
    measured = json.loads((run / "run" / "metrics.json").read_text())["metrics"]["ap50"]["value"]
    for name in ("found.csv", "found.json"):
        assert main(["predict", str(run / "run"), *images, "-o", str(run / name)]) == 0
        words = ["--predictions", str(run / name), "--reference", str(run / "boxes.csv")]
        assert main(["evaluate", *words, "--split", "test", "--out", str(run / "ev")]) == 0
        again = json.loads((run / "ev" / "metrics.json").read_text())["metrics"]["ap50"]["value"]
        np.testing.assert_allclose(again, measured, atol=0.02)  # written with few digits
        capsys.readouterr()
        assert main(["evaluate", *words, "--out", str(run / "ev2")]) == 2
        assert "says nothing of 6 of 8 images" in capsys.readouterr().err
        assert main(["evaluate", *words, "--missing", "fail", "--out", str(run / "ev2")]) == 0


def test_a_model_of_boxes_refuses_what_is_of_others(run, capsys):
    assert main(["predict", str(run / "run"), str(run / "p0.png"), "--probabilities"]) == 2
    assert "another kind of model than a detector" in capsys.readouterr().err
    grey = run / "colour.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(grey)
    out = str(run / "none.csv")
    assert main(["predict", str(run / "run"), str(grey), "-o", out]) == 2
    assert "1 channel(s)" in capsys.readouterr().out
    assert main(["predict", str(run / "run"), str(run / "p0.png"), "-o", str(run / "b.png")]) == 2
    assert "written as .csv or .json" in capsys.readouterr().err


def test_boxes_of_unknown_images_and_classes_are_told(run, capsys, tmp_path):
    reference = ["--reference", str(run / "boxes.csv"), "--out", str(tmp_path / "ev")]
    head = "image,label,score,xmin,ymin,xmax,ymax\n"
    for row, match in [
        ("q.png,spot,0.5,1,1,4,4", "'q.png', which is not among the 8 images"),
        ("p0.png,dot,0.5,1,1,4,4", "is of 'dot', not of ('spot',)"),
        ("p0.png,spot,high,1,1,4,4", "score is 'high', not a number"),
        ("p0.png,spot,0.5,1,,4,4", "row 2: ymin is missing"),
    ]:
        (tmp_path / "found.csv").write_text(head + row + "\n")
        assert main(["evaluate", "--predictions", str(tmp_path / "found.csv"), *reference]) == 2
        assert match in capsys.readouterr().err


def test_found_boxes_of_other_axes_or_exchanged_corners_are_told(run, capsys, tmp_path):
    reference = ["--reference", str(run / "boxes.csv"), "--out", str(tmp_path / "ev")]
    axes = "image,label,score,low_0,low_1,low_2,high_0,high_1,high_2\n"
    for text, match in [
        ("image,label,score,xmin,ymin,xmax,ymax\np0.png,spot,0.5,9,1,4,4\n", "in order"),
        # Two such are as many numbers as three boxes of two axes.
        (axes + 2 * "p0.png,spot,0.5,1,1,1,4,4,4\n", "no corners of 2 axes"),
    ]:
        (tmp_path / "found.csv").write_text(text)
        assert main(["evaluate", "--predictions", str(tmp_path / "found.csv"), *reference]) == 2
        assert match in capsys.readouterr().err


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.eye(16, dtype=np.uint8)).save(tmp_path / folder / "1.png")
    head = "image,label,xmin,ymin,xmax,ymax"
    (tmp_path / "true.csv").write_text(f"{head}\na/1.png,x,1,1,5,5\nb/1.png,x,8,8,12,12\n")
    found = "image,label,score,xmin,ymin,xmax,ymax\n{}1.png,x,.9,1,1,5,5\n{}1.png,x,.8,8,8,12,12\n"
    words = ["--predictions", str(tmp_path / "found.csv"), "--out", str(tmp_path / "ev")]
    words += ["--reference", str(tmp_path / "true.csv")]
    (tmp_path / "found.csv").write_text(found.format("a/", "b/"))
    assert main(["evaluate", *words]) == 0
    assert "average precision at IoU 0.5 1.000" in capsys.readouterr().out
    (tmp_path / "found.csv").write_text(found.format("", ""))
    assert main(["evaluate", *words]) == 2
    assert "write their folders too" in capsys.readouterr().err


def test_data_of_which_nothing_can_be_measured_are_refused_before_training(tmp_path, capsys):
    for name in "abc":
        Image.fromarray(np.eye(32, dtype=np.uint8)).save(tmp_path / f"{name}.png")
    head = "image,label,xmin,ymin,xmax,ymax,split,patient\n"
    table = tmp_path / "boxes.csv"
    words = ["train", "detection", "--data", str(table), "--network", "resnet8"]
    for rows, match in [
        ("a.png,x,1,1,9,9,train,p\nb.png,,,,,,test,q\n", "no image that is measured has a box"),
        ("a.png,,,,,,train,p\nb.png,x,1,1,9,9,testing,q\n", "no image that is trained on"),
        ("a.png,x,1,1,9,9,train,p\nb.png,x,1,1,9,9,test,p\n", "the patient p is in"),
        ("a.png,x,1,1,9,9,train,p\nb.png,x,1,1,9,9,later,q\n", "'later' is none of train"),
    ]:
        table.write_text(head + rows)
        assert main([*words, "--out", str(tmp_path / "run")]) == 2
        assert match in capsys.readouterr().err
    table.write_text(head + "a.png,x,1,1,9,9,train,p\nb.png,x,1,1,9,9,test,q\n")
    assert main([*words, "--train-on", "trainval", "--out", str(tmp_path / "run")]) == 2
    assert "no splits train, val and test, but test, train" in capsys.readouterr().err


def test_cocos_list_of_results_goes_by_the_references_numbers(tmp_path, capsys):
    Image.fromarray(np.eye(16, dtype=np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.eye(12, dtype=np.uint8)).save(tmp_path / "b.png")
    truth = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 9, "file_name": "b.png"}],
        "categories": [{"id": 3, "name": "cell"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 5, 4]}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    found = [{"image_id": 7, "category_id": 3, "bbox": [1, 2, 5, 4], "score": 0.9}]
    (tmp_path / "found.json").write_text(json.dumps(found))
    words = ["--predictions", str(tmp_path / "found.json"), "--out", str(tmp_path / "ev")]
    assert main(["evaluate", *words, "--reference", str(tmp_path / "truth.json")]) == 0
    assert "average precision at IoU 0.5 1.000" in capsys.readouterr().out
    found[0]["image_id"] = 8
    (tmp_path / "found.json").write_text(json.dumps(found))
    assert main(["evaluate", *words, "--reference", str(tmp_path / "truth.json")]) == 2
    assert "image_id 8" in capsys.readouterr().err


def boxes_of(folder, n, patients=None, shapes=((32, 32),), grey=lambda i: True):
    """Pictures with a bright spot each, listed in a table; the last one has no box."""
    rows = [["image", "label", "xmin", "ymin", "xmax", "ymax", *(["patient"] if patients else [])]]
    rng = np.random.default_rng(0)
    for i in range(n):
        h, w = shapes[i % len(shapes)]
        pixels = rng.integers(0, 20, (h, w)).astype(np.uint8)
        y, x = rng.integers(2, h - 12), rng.integers(2, w - 12)
        pixels[y : y + 8, x : x + 8] = 250
        image = pixels if grey(i) else np.stack([pixels] * 3, -1)
        Image.fromarray(image).save(folder / f"s{i}.png")
        box = ["spot", x, y, x + 8, y + 8] if i < n - 1 else [""] * 5
        rows.append([f"s{i}.png", *box, *([f"p{i // patients}"] if patients else [])])
    with (folder / "spots.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "spots.csv"


SMALL = ["--network", "resnet8", "--width", "8", "--depth", "1", "--epochs", "1", "--batch", "2"]


def test_folds_are_of_patients_and_every_image_is_held_out_once(tmp_path):
    import dataclasses

    from jaxmed.cli.runs._experiment import load

    config = load("detection").config
    from jaxmed.experiments.own_data import _boxes

    source = box_dataset(boxes_of(tmp_path, 8, patients=2))
    parts = _boxes.dealt(source, config(folds=3))
    assert sorted(i for _, held in parts.folds for i in held) == list(range(8)) == parts.measured
    for train, held in parts.folds:
        assert not {source.groups[i] for i in train} & {source.groups[i] for i in held}
    assert "3 folds by patient" in parts.flow[-1]
    assert len(_boxes.dealt(source, config(folds=9)).folds) == 4  # no more patients
    one = _boxes.dealt(source, config(fold=1, held_out=0.25))
    assert len(one.folds) == 1
    assert one.measured == one.folds[0][1]
    tested = dataclasses.replace(source, splits=("train",) * 4 + ("val",) * 2 + ("test",) * 2)
    parts = _boxes.dealt(tested, config(folds=2))
    assert parts.test == parts.measured == [6, 7]
    assert parts.development == list(range(6))
    assert _boxes.dealt(tested, config()).folds == [([0, 1, 2, 3], [4, 5])]
    with pytest.raises(ValueError, match="leave it out"):
        _boxes.dealt(tested, config(folds=2, train_on="trainval"))
    with pytest.raises(ValueError, match="0 to 3"):
        _boxes.dealt(source, config(fold=7))


def test_a_plan_is_made_told_edited_and_refused_where_it_does_not_fit(tmp_path, capsys):
    table = boxes_of(tmp_path, 6, shapes=((40, 64), (64, 40)))
    words = ["--data", str(table), "--size", "64"]
    plan = tmp_path / "plan.json"
    assert main(["plan", "detection", *words, "--network", "resnet8", "--out", str(plan)]) == 0
    made = json.loads(plan.read_text())
    assert made["shape"] == [64, 64]  # lying and standing images fit in
    assert made["levels"]
    assert "edges of" in made["why"]["levels"]
    train = ["train", "detection", "--data", str(table), "--out", str(tmp_path / "run")]
    assert main([*train, "--plan", str(plan), "--width", "8"]) == 2
    assert "--plan decides width" in capsys.readouterr().err
    for field, value, told in (
        ("levels", [2, 9], "the maps 0 to"),
        ("classes", ["cell"], "['spot']"),
        ("nms", 3, "nms is from 0 to 1"),
        ("shape", [50, 64], "multiple of 32"),
    ):
        plan.write_text(json.dumps({**made, field: value}))
        assert main([*train, "--plan", str(plan)]) == 2
        assert told in capsys.readouterr().err


def test_grey_and_coloured_pictures_are_refused_by_name(tmp_path, capsys):
    table = boxes_of(tmp_path, 5, grey=lambda i: i != 3)
    assert main(["train", "detection", "--data", str(table), "--out", str(tmp_path / "r")]) == 2
    told = capsys.readouterr().err
    assert "s3.png" in told
    assert "save all alike" in told


@pytest.mark.slow
def test_folds_are_trained_resumed_fused_and_predict(tmp_path, monkeypatch):
    import jaxmed as jm

    table = boxes_of(tmp_path, 7, shapes=((32, 48), (100, 60)))
    out = tmp_path / "run"
    train = ["train", "detection", "--data", str(table), "--folds", "2", *SMALL, "--out", str(out)]
    fit, calls = jm.fit, []

    def cut(*args, **options):
        calls.append(options["out"].name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(*args, **options)

    monkeypatch.setattr(jm, "fit", cut)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        raise SystemExit(main(train))
    assert calls == ["fold_0", "fold_1"]
    monkeypatch.setattr(jm, "fit", fit)
    before = (out / "fold_0" / "metrics.jsonl").read_text()
    assert main(train) == 0
    assert (out / "fold_0" / "metrics.jsonl").read_text() == before  # trained once
    record = json.loads((out / "metrics.json").read_text())
    assert record["metrics"]["ap50"]["n"] == 7
    model = load_model(out)
    picture = np.asarray(Image.open(tmp_path / "s0.png"), np.float32)[..., None] / 255
    assert find_boxes(model, picture).boxes.shape[1] == 4
    assert main(["predict", str(out), str(tmp_path / "s1.png"), "-o", str(tmp_path / "b.csv")]) == 0
