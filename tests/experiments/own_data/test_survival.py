"""`jaxmed train survival` on tables of images, records and both, with gaps and with faults."""

from __future__ import annotations

import csv
import json
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jaxmed.experiments.own_data import survival
from jaxmed.experiments.own_data._survival_cases import prepared
from jaxmed.experiments.own_data._survival_fit import recipe_of
from PIL import Image

from jaxmed.cli import main
from jaxmed.data import DataError
from jaxmed.inference import ModelError, export_model, load_model


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Sixty cases: age and stage tell the hazard, some are unknown; some have an image."""
    folder = tmp_path_factory.mktemp("cases")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(60):
        age, late = rng.normal(60, 10), rng.random() < 0.5
        death = rng.exponential(np.exp(-0.1 * (age - 60) - 1.5 * late) * 10)
        end = rng.uniform(3, 20)
        image = f"{i}.png" if i % 5 else ""
        if image:
            Image.fromarray(rng.integers(0, 255, (10, 12), np.uint8)).save(folder / image)
        rows.append({
            "patient": f"p{i // 2}", "image": image, "age": f"{age:.1f}" if i % 7 else "",
            "stage": ("early", "late")[late], "weeks": f"{min(death, end):.3f}",
            "event": int(death <= end),
        })  # fmt: skip
    path = folder / "cases.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


SMALL = {"epochs": 2, "intervals": 3, "size": 8, "time": "weeks"}


def test_records_alone_are_learned(table, tmp_path):
    config = survival.Config(
        table, image="none", records=("age", "stage"), **{**SMALL, "epochs": 60}
    )
    results = survival.run(config, tmp_path)
    assert results.metrics["harrell_c"].value > 0.6
    assert results.data.partition.startswith("by patient; no patient")
    assert any("stage is taken for one of 2 categories" in note for note in results.notes)
    assert len(results.predicted.cases) == 12


@pytest.mark.parametrize("loss", ["discrete", pytest.param("cox", marks=pytest.mark.slow)])
def test_images_and_records_with_gaps_make_one_network(loss, table, tmp_path, capsys):
    config = survival.Config(table, records=("age", "stage"), loss=loss, **SMALL)
    plan = survival.make_plan(config)
    assert plan.categories == ((), ("early", "late"))
    assert plan.why["shape"] == "of the longer side 8 is given; the first image has 12"
    cases, _ = prepared(survival.read_cases(config), recipe_of(plan, ""))
    assert cases.arrays["present"].mean(0).tolist() == pytest.approx([0.8, 1.0])
    assert cases.arrays["image"].shape == (60, 8, 8, 1)
    results = survival.run(config, tmp_path)
    s = results.predicted.survival
    assert ((s > 0) & (s < 1)).all()
    assert (np.diff(s, axis=1) <= 0).all()
    with pytest.raises(ModelError, match="programs are of images"):
        export_model(tmp_path / "program", load_model(tmp_path))
    assert main(["predict", str(tmp_path), str(table.parent / "1.png")]) == 2
    assert "predicted of tables, with the columns image, age, stage" in capsys.readouterr().err
    # The cases of a table without times are predicted as those that were held out.
    found = tmp_path / "predicted.csv"
    assert main(["predict", str(tmp_path), str(table), "-o", str(found)]) == 0
    with found.open(newline="") as file:
        rows = {row.pop("case"): row for row in csv.DictReader(file)}
    assert len(rows) == 60
    for case, wanted in zip(results.predicted.cases, s, strict=True):
        said = [float(v) for k, v in rows[case].items() if k.startswith("survival_")]
        np.testing.assert_allclose(said[: len(wanted)], wanted, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no column 'time'; name it by --time"),
        ({"time": "weeks", "records": ("grade",), "image": "none"}, "no column 'grade'"),
        ({"time": "weeks", "image": "none"}, "nothing to learn from"),
        ({"time": "stage"}, "not a number"),
        ({"time": "weeks", "event": "weeks"}, "event 0 or 1|weeks 0 or 1"),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused(options, said, table):
    with pytest.raises(DataError, match=said):
        survival.make_plan(survival.Config(table, **options))


def table_of(folder, **columns):
    """A table of these columns beside `time` and `event`, a row for each letter of `event`."""
    event = columns.pop("event", "10101010")
    rows = {"time": range(1, len(event) + 1), "event": event, **columns}
    lines = [",".join(rows), *(",".join(map(str, row)) for row in zip(*rows.values(), strict=True))]
    path = folder / "made.csv"
    path.write_text("\n".join(lines))
    return path


def parts(path, **options):
    config = survival.Config(path, **options)
    survival.make_plan(config)
    return survival._dealt(config, survival.read_cases(config)).folds[0]


AGES = {"age": range(50, 58)}


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ({"age": ["inf", *range(7)]}, {}, "row 2: age is 'inf'"),
        ({"age": [""] * 8}, {}, "all cells of age are empty"),
        ({**AGES, "patient": ["", *"abcdefg"]}, {}, "row 2: patient is missing"),
        ({**AGES, "patient": "aabbccdd", "split": ["train"] * 3 + ["test"] * 5}, {}, "patient b"),
        ({**AGES, "split": ["test"] * 8}, {}, "no case is in the split 'train'"),
        ({**AGES, "patient": "aaaaaaaa"}, {}, "a single patient"),
        (AGES, {"held_out": 0.7}, "at most 0.5"),
        ({**AGES, "image": [f"{i}.png" for i in range(8)]}, {}, "8 faults"),
    ],
)  # fmt: skip
def test_cases_that_nothing_right_can_be_learned_from_are_refused(columns, options, said, tmp_path):
    path = table_of(tmp_path, **columns)
    with pytest.raises(ValueError, match=said):
        parts(path, records=("age",), **options)


def test_words_among_many_numbers_are_refused_and_marks_of_nothing_are_gaps(tmp_path):
    path = table_of(tmp_path, event="10" * 8, age=["?", *range(15)], stage=[".", *range(15)])
    with pytest.raises(DataError, match=r"row 2: age is '\?' in a column of numbers"):
        survival.make_plan(survival.Config(path, records=("age",)))
    cases, plan = cases_of(survival.Config(path, records=("stage",)))
    assert plan.categories == ((),)
    assert np.isnan(cases.arrays["record"][:, 0]).tolist() == [True] + [False] * 15


def cases_of(config):
    """The cases as the planned network takes them, the plan."""
    plan = survival.make_plan(config)
    return prepared(survival.read_cases(config), recipe_of(plan, ""))[0], plan


def test_the_tables_own_split_counts_also_where_it_says_val(tmp_path):
    path = table_of(tmp_path, **AGES, split=["train"] * 5 + ["val"] * 3)
    assert parts(path, records=("age",))[1].tolist() == [5, 6, 7]


def test_copies_of_an_image_are_held_out_together(tmp_path):
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "0.png")
    for i in range(1, 8):
        if i % 2:
            (tmp_path / f"{i}.png").write_bytes((tmp_path / f"{i - 1}.png").read_bytes())
        else:
            Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / f"{i}.png")
    names = [f"{i}.png" for i in range(8)]
    train, held = parts(table_of(tmp_path, image=names), held_out=0.5, size=8)
    assert {i // 2 for i in train}.isdisjoint(i // 2 for i in held)
    split = table_of(tmp_path, image=names, split=["train"] * 3 + ["test"] * 5)
    with pytest.raises(DataError, match="a copy of"):
        parts(split, size=8)


def test_images_unlike_the_first_are_named(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "b.png")
    path = table_of(tmp_path, event="11", image=["a.png", "b.png"])
    with pytest.raises(DataError, match=r"b\.png.*unlike the first image"):
        cases_of(survival.Config(path, size=8, held_out=0.5))


def test_a_category_that_nobody_learned_from_has_counts_as_missing(tmp_path):
    path = table_of(tmp_path, stage=[*"abababac"], split=["train"] * 6 + ["test"] * 2)
    cases, plan = cases_of(survival.Config(path, records=("stage",)))
    assert plan.categories == (("a", "b"),)
    assert np.isnan(cases.arrays["record"][:, 0]).tolist() == [False] * 7 + [True]
    assert cases.arrays["record"][:6, 0].tolist() == [0, 1, 0, 1, 0, 1]
    # Of several networks each must have learned from a case with the word.
    path = table_of(tmp_path, stage=[*"ccaabaab"])
    assert cases_of(survival.Config(path, records=("stage",), folds=8))[1].categories == (
        ("a", "b", "c"),
    )
    path = table_of(tmp_path, stage=[*"caabaaba"])
    assert cases_of(survival.Config(path, records=("stage",), folds=8))[1].categories == (
        ("a", "b"),
    )
    path = table_of(tmp_path, stage=[*"abcdefgh"])
    with pytest.raises(DataError, match="stage has no word that every network learns from"):
        survival.make_plan(survival.Config(path, records=("stage",), folds=8))


@pytest.fixture(scope="module")
def folds(table, tmp_path_factory):
    """Three networks of log hazards by an edited plan, from the command line."""
    root = tmp_path_factory.mktemp("folds")
    about = ["survival", "--data", str(table), "--time", "weeks", "--image", "none"]
    given = ["--records", "age", "stage", "--loss", "cox", "--epochs", "2", "--intervals", "3"]
    plan = root / "plan.json"
    assert main(["plan", *about, *given, "--folds", "3", "--out", str(plan)]) == 0
    text = plan.read_text()
    assert '"hidden": [32]' in text
    plan.write_text(text.replace('"hidden": [32]', '"hidden": [8]'))
    out = root / "run"
    command = ["train", *about, "--folds", "3", "--plan", str(plan)]
    assert main([*command, "--out", str(out)]) == 0
    return SimpleNamespace(about=about, command=command, out=out, root=root)


def test_folds_are_averaged_by_a_plan_that_was_edited(folds, table, capsys):
    model = load_model(folds.out)
    assert model.recipe.members == 3
    assert len(model.recipe.baseline) == 3 * len(model.recipe.times) == 9
    widths = {leaf.shape[-1] for leaf in jax.tree.leaves(model.params["streams"]["record"]["body"])}
    assert widths == {8}
    found = folds.root / "survival.csv"
    assert main(["predict", str(folds.out), str(table), "-o", str(found)]) == 0
    with found.open(newline="") as file:
        said = [[float(v) for k, v in row.items() if k.startswith("survival_")]
                for row in csv.DictReader(file)]  # fmt: skip
    config = survival.Config(
        table, time="weeks", image="none", records=("age", "stage"), folds=3, loss="cox"
    )
    cases, _ = cases_of(config)
    inputs = {"record": cases.arrays["record"], "present": np.ones((60, 1), np.float32)}
    each = [load_model(folds.out / f"fold_{k}").survival(inputs) for k in range(3)]
    np.testing.assert_allclose(said, np.mean(each, axis=0), atol=1e-5)
    # Each case was measured by the network that had not learned from it.
    record = json.loads((folds.out / "metrics.json").read_text())
    assert record["splits"][0]["name"] == "development, 3 folds"
    dealt = survival._dealt(config, survival.read_cases(config))
    with (folds.out / "predictions.csv").open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert len(rows) == 60
    for one, (_, held) in zip(each, dealt.folds, strict=True):
        for i in held:
            row = [float(v) for k, v in rows[f"row {i + 2}"].items() if k.startswith("survival")]
            np.testing.assert_allclose(row, one[i], atol=1e-5)


def test_a_finished_run_goes_on_and_begins_another(folds, capsys):
    out, begun = folds.root / "one", folds.root / "begun"
    command = ["train", *folds.about, "--records", "age", "--epochs"]
    assert main([*command, "1", "--out", str(out)]) == 0
    assert main([*command, "2", "--out", str(out)]) == 0
    notes = json.loads((out / "metrics.json").read_text())["notes"]
    assert any("had ended at 1 epochs and went on to 2" in note for note in notes)
    assert main([*command, "1", "--from", str(out), "--out", str(begun)]) == 0
    notes = json.loads((begun / "metrics.json").read_text())["notes"]
    assert "Begun with the weights of one: 100 % of them fit." in notes
    assert main([*folds.command, "--epochs", "3", "--out", str(folds.root / "no")]) == 2
    assert "--plan decides epochs" in capsys.readouterr().err


def test_models_of_before_there_were_members_are_read(folds, tmp_path):
    shutil.copytree(folds.out / "fold_0", tmp_path / "old")
    path = tmp_path / "old" / "model.json"
    table = json.loads(path.read_text())
    table["recipe"]["options"].pop("members", None)
    path.write_text(json.dumps(table))
    assert load_model(tmp_path / "old").recipe.members == 1


def test_no_table_is_told(tmp_path):
    with pytest.raises(ValueError, match="a folder tells no times"):
        survival.read_cases(survival.Config(tmp_path))
    with pytest.raises(ValueError, match="--data"):
        survival.read_cases(survival.Config())
