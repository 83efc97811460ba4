"""`jaxmed compare` and `jaxmed evaluate` as a user calls them: units, subgroups, bad input."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from jaxmed import stats
from jaxmed.cli import main
from jaxmed.cli._compare import named

N = 80
PATIENT = np.repeat(np.arange(N // 2), 2)
RNG = np.random.default_rng(5)
Y = RNG.integers(0, 2, N // 2)[PATIENT]
SCORES = {
    model: np.clip(RNG.normal(0.3 + gap * Y, 0.2), 0, 1).round(4)
    for model, gap in (("a", 0.4), ("b", 0.2))
}
SEX = np.array(["f", "m"])[np.arange(N) % 4 // 2]


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, rows[0])
        out.writeheader()
        out.writerows(rows)
    return str(path)


def rows_of(model, order=range(N), **change):
    rows = [
        {
            "case": f"c{i}",
            "label": int(Y[i]),
            "score": SCORES[model][i],
            "patient": f"p{PATIENT[i]}",
            "sex": SEX[i],
        }
        for i in order
    ]
    rows[0] |= change
    return rows


@pytest.fixture
def tables(tmp_path):
    return [
        write(tmp_path / "a.csv", rows_of("a")),
        write(tmp_path / "b.csv", rows_of("b", RNG.permutation(N))),
    ]


def test_two_tables_are_joined_by_case_and_compared_by_patient(tables, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["compare", *tables, "--unit", "patient", "--groups", "sex", "--out", str(out)]
    arguments += ["--metrics", "auc", "accuracy", "--resamples", "100"]
    assert main(arguments) == 0
    record = json.loads((out / "metrics.json").read_text())
    auc = next(c for c in record["comparisons"] if c["metric"] == "auc")
    by_hand = stats.delong_test(Y, SCORES["a"], SCORES["b"], groups=PATIENT)
    np.testing.assert_allclose([auc["effect"], auc["p_value"]], [by_hand.effect, by_hand.p_value])
    assert auc["unit"] == "patient"
    assert auc["n"] == N // 2
    assert {(t["model"], t["column"]) for t in record["subgroups"]} == {("a", "sex"), ("b", "sex")}
    assert "holm-adjusted" in capsys.readouterr().out
    assert {"comparison.csv", "metrics.csv", "metrics.json", "report.html"} == {
        p.name for p in out.iterdir()
    }


def test_rows_of_a_patient_counted_as_cases_are_warned_of(tables, tmp_path):
    for extra in ([], ["--unit", "case"]):
        assert main(["evaluate", "--predictions", tables[0], "--out", str(tmp_path), *extra]) == 0
        found = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
        notes = [" ".join(e["notes"]) for e in found.values()]
        assert all("independent: give --unit " in n and "groups=" not in n for n in notes)
    arguments = ["--predictions", tables[0], "--out", str(tmp_path), "--unit", "patient"]
    assert main(["evaluate", *arguments]) == 0
    found = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert {e["unit"] for e in found.values()} == {"patient"}


def test_folders_of_masks_are_compared(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (5, 6, 6, 3))
    for name, wrong in (("truth", 0), ("one", 0.1), ("two", 0.3)):
        (tmp_path / name).mkdir()
        for i, t in enumerate(truth):
            mask = np.where(rng.random(t.shape) < wrong, 0, t).astype(np.uint8)
            nib.save(nib.Nifti1Image(mask, np.diag([1, 1, 2, 1])), tmp_path / name / f"c{i}.nii.gz")
    out = tmp_path / "out"
    arguments = [str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(out)]
    arguments += ["--reference", str(tmp_path / "truth"), "--resamples", "100"]
    assert main(["compare", *arguments]) == 0
    record = json.loads((out / "metrics.json").read_text())
    assert {c["metric"] for c in record["comparisons"]} >= {"dice", "hd95"}
    assert all(c["effect"] > 0 for c in record["comparisons"] if c["metric"] == "dice")


BAD = {
    "a case that one lacks": (lambda: rows_of("b", range(1, N)), "b.csv.*c0"),
    "a case twice": (lambda: [*rows_of("b"), *rows_of("b", [3])], "b.csv.*c3"),
    "another label": (lambda: rows_of("b", label=1 - Y[0]), "c0.*another label"),
    "another patient": (lambda: rows_of("b", patient="p9"), "c0 is of patient 'p9'"),
    "no number": (lambda: rows_of("b", score="nan"), r"b.csv.*row 2: score is missing \('nan'\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_tables_that_do_not_fit_are_refused_by_name(name, tables, tmp_path, capsys):
    make, message = BAD[name]
    write(tmp_path / "b.csv", make())
    out = tmp_path / "out"
    assert main(["compare", *tables, "--unit", "patient", "--out", str(out)]) == 2
    assert_matches(message, capsys.readouterr().err)
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--level", "1"], "--level must be between 0 and 1, got 1"),
        (["--level", "95"], "--level must be between 0 and 1"),
        (["--unit", "ward"], "no column 'ward'; there are .*patient"),
        (["--groups", "age"], "no column 'age'"),
        (["--metrics", "dice"], "no test of 'dice'"),
        (["--adjustment", "fdr2"], "fdr2"),
        (["--names", "x"], "one for each of the 2 models"),
        (["--threshold", "nan"], "threshold"),
    ],
)
def test_bad_options_are_refused_in_one_line(arguments, message, tables, tmp_path, capsys):
    assert main(["compare", *tables, "--out", str(tmp_path / "out"), *arguments]) == 2
    assert_matches(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([1, 1, 1, 1], [0.1, 0.2, 0.3, 0.4]),  # one class only
        ([1], [0.5]),  # one case
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5]),  # all ties
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),  # perfect separation
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]),  # nothing called positive
    ],
)
def test_hard_data_give_limits_or_notes_and_never_nan_in_silence(labels, scores, tmp_path):
    rows = [{"case": i, "label": y, "score": s} for i, (y, s) in enumerate(zip(labels, scores))]
    table = write(tmp_path / "p.csv", rows)
    out = tmp_path / "out"
    assert main(["evaluate", "--predictions", table, "--out", str(out), "--task", "binary"]) == 0
    record = json.loads((out / "metrics.json").read_text())
    assert len(record["metrics"]) >= 1
    for name, e in record["metrics"].items():
        assert None not in (e["value"], e["lower"], e["upper"]) or e["notes"], name
    every = {"auc", "accuracy", "sensitivity", "specificity", "ppv", "npv", "mcc", "f1", "brier"}
    for name in every - set(record["metrics"]):
        assert any(name in note for note in record["notes"]), name


def assert_matches(pattern, text):
    __tracebackhide__ = True
    if not re.search(pattern, text.replace("\n", " ")):
        raise AssertionError(f"{pattern!r} is not in {text!r}")


def test_a_look_at_a_test_set_is_counted(tables, tmp_path):
    ledger = str(tmp_path / "ledger.jsonl")
    for times in (1, 2):
        out = tmp_path / f"out{times}"
        command = ["evaluate", "--predictions", tables[0], "--ledger", ledger, "--out", str(out)]
        assert main(command) == 0
        assert json.loads((out / "metrics.json").read_text())["openings"] == times
    assert "has been opened 2 times" in (tmp_path / "out2" / "report.html").read_text()


def test_cases_without_a_prediction_are_failures_that_are_counted(tmp_path):
    truth = write(tmp_path / "t.csv", [{"case": f"c{i}", "label": int(Y[i])} for i in range(N)])
    rows = [{"case": f"c{i}", "score": SCORES["a"][i]} for i in range(2, N)]
    predictions = write(tmp_path / "p.csv", rows)
    base = ["evaluate", "--predictions", predictions, "--reference", truth]
    base += ["--out", str(tmp_path / "out")]
    assert main(base) == 2
    assert main([*base, "--missing", "fail"]) == 0
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert len(record["failures"]) == 2
    assert record["metrics"]["auc"]["n"] == N - 2
    assert "c0: no prediction" in (tmp_path / "out" / "report.html").read_text()


def test_what_only_the_authors_know_comes_from_a_file(tables, tmp_path, capsys):
    study = tmp_path / "study.toml"
    study.write_text('reference_standard = "histology"\n')
    base = ["evaluate", "--predictions", tables[0], "--out", str(tmp_path / "o")]
    assert main([*base, "--study", str(study)]) == 0
    assert "histology" in (tmp_path / "o" / "report.html").read_text()
    study.write_text('refrence = "x"\n')
    assert main([*base, "--study", str(study)]) == 2
    assert "study.toml: there is no field 'refrence'" in capsys.readouterr().err


def test_a_threshold_is_fixed_on_other_cases(tables, tmp_path, capsys):
    rows = [{**row, "case": f"v{i}"} for i, row in enumerate(rows_of("a"))]
    validation = write(tmp_path / "v.csv", rows)
    out = tmp_path / "out"
    base = ["evaluate", "--predictions", tables[1], "--out", str(out), "--validation"]
    assert main([*base, validation, "--rule", "sensitivity", "--at", "0.95"]) == 0
    point = stats.operating_points(Y, SCORES["a"], rule="sensitivity", at=0.95)[0]
    found = json.loads((out / "metrics.json").read_text())
    called = SCORES["b"] >= point.threshold
    np.testing.assert_allclose(found["metrics"]["sensitivity"]["value"], called[Y == 1].mean())
    told = next(i for i in found["checklist"] if i["topic"] == "Threshold")["answer"]
    assert "by the rule sensitivity at 0.95 on 80 cases of v.csv" in told
    assert main([*base, tables[0]]) == 2
    assert "80 of its cases are tested too" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/x.csv", "b/y.csv"], ["x", "y"]),
        (["a/predictions.csv", "b/predictions.csv"], ["a", "b"]),
        (["a/1/p.csv", "b/1/p.csv", "b/2/p.csv"], ["a/1", "b/1", "b/2"]),
        (["p.csv", "p.tsv"], ["p.csv", "p.tsv"]),
    ],
)
def test_models_are_named_by_what_tells_their_files_apart(paths, names):
    assert list(named([Path(path) for path in paths], ())) == names
