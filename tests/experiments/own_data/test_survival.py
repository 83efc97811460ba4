"""`jaxmed train survival` on tables of images, records and both, with gaps and with faults."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from jaxmed.experiments.own_data import survival
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
    assert results.data.partition == "by patient"
    assert any("stage is taken for one of 2 categories" in note for note in results.notes)
    assert len(results.predicted.cases) == 12


@pytest.mark.parametrize("loss", ["discrete", pytest.param("cox", marks=pytest.mark.slow)])
def test_images_and_records_with_gaps_make_one_network(loss, table, tmp_path, capsys):
    config = survival.Config(table, records=("age", "stage"), loss=loss, **SMALL)
    read = survival.read_cases(config)
    assert read.source.arrays["present"].mean(0).tolist() == pytest.approx([0.8, 1.0])
    assert read.source.arrays["image"].shape == (60, 8, 8, 1)
    assert read.records.columns == (0, 2)
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
        ({"time": "weeks", "records": ("grade",)}, "no column 'grade'"),
        ({"time": "weeks", "image": "none"}, "nothing to learn from"),
        ({"time": "stage"}, "not a number"),
        ({"time": "weeks", "event": "weeks"}, "event 0 or 1|weeks 0 or 1"),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused(options, said, table):
    with pytest.raises(DataError, match=said):
        survival.read_cases(survival.Config(table, **options))


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
    return survival._parts(config, survival.read_cases(config))


AGES = {"age": range(50, 58)}


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ({"age": ["inf", *range(7)]}, {}, "row 2: age is 'inf'"),
        ({"age": [""] * 8}, {}, "all cells of age are empty"),
        ({**AGES, "patient": ["", *"abcdefg"]}, {}, "row 2: patient is missing"),
        ({**AGES, "patient": "aabbccdd", "split": ["train"] * 3 + ["test"] * 5}, {}, "patient b"),
        ({**AGES, "split": ["test"] * 8}, {}, "'train' is empty"),
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
        survival.read_cases(survival.Config(path, records=("age",)))
    read = survival.read_cases(survival.Config(path, records=("stage",)))
    assert read.records.columns == (0,)
    assert np.isnan(read.source.arrays["record"][:, 0]).tolist() == [True] + [False] * 15


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
    path = table_of(tmp_path, event="10", image=["a.png", "b.png"])
    with pytest.raises(DataError, match=r"b\.png.*unlike the first image"):
        survival.read_cases(survival.Config(path, size=8))


def test_a_category_that_nobody_learned_from_has_counts_as_missing(tmp_path):
    path = table_of(tmp_path, stage=[*"abababac"], split=["train"] * 6 + ["test"] * 2)
    config = survival.Config(path, records=("stage",))
    read = survival.read_cases(config)
    kept, held = survival._parts(config, read)
    known = survival.as_learned(read, config.records, kept)
    assert known.records.categories == (("a", "b"),)
    assert any("stage has words that no case learned from has" in note for note in known.notes)
    assert np.isnan(known.source.arrays["record"][held, 0]).tolist() == [False, True]
    assert known.source.arrays["record"][kept, 0].tolist() == [0, 1, 0, 1, 0, 1]


def test_no_table_is_told(tmp_path):
    with pytest.raises(ValueError, match="a folder tells no times"):
        survival.read_cases(survival.Config(tmp_path))
    with pytest.raises(ValueError, match="--data"):
        survival.read_cases(survival.Config())
