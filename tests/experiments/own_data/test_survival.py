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
def test_images_and_records_with_gaps_make_one_network(loss, table, tmp_path):
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


def test_no_table_is_told():
    with pytest.raises(ValueError, match="--data"):
        survival.read_cases(survival.Config())
