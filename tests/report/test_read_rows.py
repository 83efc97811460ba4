"""Tables as other programs write them: each is read alike, or refused with what to do."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from jaxmed import report
from jaxmed.data import DataError

N = 12
Y = np.arange(N) % 2
S = np.round(np.linspace(0.1, 0.85, N), 3)
ROWS = [
    {"case": f"c{i}", "group": f"p{i // 2}", "label": int(y), "score": float(s)}
    for i, (y, s) in enumerate(zip(Y, S, strict=True))
]


def write(path, rows, delimiter=",", encoding="utf-8"):
    with path.open("w", newline="", encoding=encoding) as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
    return path


def changed(**made):
    return [row | {name: f(row[name]) for name, f in made.items()} for row in ROWS]


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        (ROWS, {}),
        (ROWS, {"delimiter": ";"}),
        (ROWS, {"delimiter": "\t"}),
        (changed(score=lambda s: str(s).replace(".", ",")), {"delimiter": ";"}),  # R's write.csv2
        (ROWS, {"encoding": "utf-8-sig"}),
        (ROWS, {"encoding": "utf-16"}),  # Excel's Unicode text
        ([{k.upper(): v for k, v in row.items()} for row in ROWS], {}),
        ([{f" {k}": f" {v} " for k, v in row.items()} for row in ROWS], {}),
        ([{"": i} | row for i, row in enumerate(ROWS)], {}),  # the index of pandas
        (changed(label=bool), {}),
        (changed(label=float), {}),
    ],
    ids=["comma", "semicolon", "tab", "decimal comma", "bom", "utf-16", "capitals", "blanks",
         "index", "booleans", "floats"],
)  # fmt: skip
def test_what_other_programs_write_is_read_alike(tmp_path, rows, options):
    table = report.read_scores(write(tmp_path / "t.csv", rows, **options))
    np.testing.assert_array_equal(table.labels, Y)
    np.testing.assert_array_equal(table.scores, S)
    assert table.cases == tuple(f"c{i}" for i in range(N))
    assert table.groups == tuple(f"p{i // 2}" for i in range(N))


def with_cell(i, **cells):
    return [row | (cells if j == i else {}) for j, row in enumerate(ROWS)]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([*ROWS, ROWS[0]], "'c0' comes twice, in rows 2 and 14: give each case one row"),
        (with_cell(3, score=""), "row 5: score is missing .*leave the row out"),
        (with_cell(3, score="NA"), "row 5: score is missing"),
        (with_cell(3, label=""), "row 5: label is missing"),
        (with_cell(3, score="inf"), "row 5: score is 'inf'"),
        ([r | {"label": "abc"[i % 3]} for i, r in enumerate(ROWS)], "names .a, b, c.: write 0"),
        ([{"name": r["case"], "y_true": r["label"], "value": r["score"]} for r in ROWS],
         "there are .'name', 'value', 'y_true'.: name the one that is meant by --score"),
        ([{k: v for k, v in r.items() if k != "score"} | {"prob": 0.5, "logit": 0} for r in ROWS],
         "columns 'prob', 'logit' could each be the score: say which with --score"),
        ([{"case": 1, "label": "A|C", "score_A": 1, "score_B": 0.5}], "label is 'A.C'|are names"),
        ([{"case": 1, "label_A": -1, "label_B": 0, "score_A": 0.2, "score_B": 0.5}],
         "label_A is -1, neither 0 nor 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_what_to_do(tmp_path, rows, told):
    with pytest.raises(DataError, match=told):
        report.read_scores(write(tmp_path / "t.csv", rows))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no rows .nothing in it"),
        (b"case,label,score\n", "no rows .only a header"),
        (b"case,label,score\na,0,.2\nb,1\n", "row 3 has 2 cells, the header 3"),
        (b"case,label,score,label\na,0,.2,1\n", "more than one column is called 'label'"),
        ("case,label,score\nMüller,0,.2\n".encode("latin-1"), "save it as 'CSV UTF-8'"),
        (b"PK\x03\x04\xff\xfe", "a workbook, not text"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path, content, told):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=told):
        report.read_scores(path)


def test_all_that_is_wrong_is_named_and_the_rule_is_true_of_a_table(tmp_path):
    rows = [row | {"score": "NA"} for row in ROWS]
    rows[4] |= {"label": "", "score": 0.2}
    with pytest.raises(DataError) as caught:
        report.read_scores(write(tmp_path / "t.csv", rows))
    assert len(caught.value.faults) == N
    text = str(caught.value)
    assert text.startswith("12 faults\n")
    assert text.count("score is missing") == 10
    assert text.endswith("... and 2 more")
    assert "row 6: label is missing" in caught.value.faults[-1].detail
    assert "[rule table: a table, manifest or dataset.json has the columns" in text
    twice = [*ROWS, *ROWS[:3]]
    with pytest.raises(DataError, match=r"(?s)3 faults.*'c0' comes twice.*'c2' comes twice"):
        report.read_scores(write(tmp_path / "t.csv", twice))
    models = {name: write(tmp_path / f"{name}.csv", rows[:2]) for name in "ab"}
    with pytest.raises(DataError, match=r"(?s)4 faults.*a\.csv: row 3.*b\.csv: row 2"):
        report.read_models(models)


def test_labels_of_a_reference_are_told_of_by_its_file_and_row(tmp_path):
    predictions = write(
        tmp_path / "p.csv", [{"case": r["case"], "score": r["score"]} for r in ROWS]
    )
    truth = [{"case": r["case"], "label": r["label"], "score": 0.5} for r in reversed(ROWS)]
    table = report.read_scores(predictions, write(tmp_path / "t.csv", truth))
    np.testing.assert_array_equal(table.labels, Y)
    np.testing.assert_array_equal(table.scores, S)  # of the predictions, whatever the reference has
    truth[0]["label"] = "unknown"
    with pytest.raises(DataError, match=r"t\.csv: the labels are names \(unknown\)"):
        report.read_scores(predictions, write(tmp_path / "t.csv", truth))
    truth[0]["label"] = ""
    with pytest.raises(DataError, match=r"t\.csv: row 2: label is missing"):
        report.read_scores(predictions, write(tmp_path / "t.csv", truth))
    # Each file has its own decimal mark.
    numbers = [{"case": r["case"], "label": f"{r['score']}".replace(".", ",")} for r in ROWS]
    table = report.read_scores(predictions, write(tmp_path / "t.csv", numbers, delimiter=";"))
    np.testing.assert_array_equal(table.labels, S)


def test_labels_that_are_no_class_of_the_scores_are_each_named(tmp_path):
    rows = [{"case": i, "label": label, "score_A": 0.4, "score_B": 0.6}
            for i, label in enumerate(["A", "C", "B", "", "A|B"])]  # fmt: skip
    with pytest.raises(DataError) as caught:
        report.read_scores(write(tmp_path / "t.csv", rows))
    details = sorted(fault.detail for fault in caught.value.faults)
    assert [detail.partition(":")[0] for detail in details] == ["row 3", "row 5", "row 6"]
    assert "label is 'C'; the classes of the scores are A, B" in details[0]
    assert "several classes in one cell" in details[2]


def test_rounded_probabilities_sum_to_one_again(tmp_path):
    rows = [{"case": 0, "label": 0, "score_A": 0.33, "score_B": 0.33, "score_C": 0.33}]
    table = report.read_scores(write(tmp_path / "t.csv", rows))
    np.testing.assert_allclose(table.scores, [[1 / 3] * 3])
    # What rounding to these digits cannot explain stays as it is, and is told of by the metrics.
    rows[0]["score_A"] = 0.3
    table = report.read_scores(write(tmp_path / "t.csv", rows))
    assert table.scores.sum() == pytest.approx(0.96)


@pytest.mark.parametrize(
    ("labels", "scores", "told"),
    [
        ([1, 2], [0.2, 0.8], "write 0 for 1 and 1 for 2"),
        ([-1, 1], [0.2, 0.8], "write 0 for -1 and 1 for 1"),
        ([28, 77, 50], [30.0, 70.0, 40.0], "task='regression'"),
        ([1.5, 2.5], [1.0, 2.0], "task='regression'"),
        ([0, 1], [20.0, 80.0], "divide per cents by 100"),
        ([0, 1], [-2.0, 3.0], "send logits through a sigmoid"),
    ],
)
def test_labels_and_scores_of_another_kind_are_told(labels, scores, told):
    with pytest.raises(ValueError, match=told):
        report.classification(labels, scores)


def test_scores_of_their_own_scale_take_a_threshold():
    made = report.classification([0, 1, 0, 1], [-2.0, 3.0, -1.0, -1.5], threshold=0.0)
    assert made.metrics["sensitivity"].value == 0.5


def test_a_formula_in_a_name_is_written_as_text_and_read_back(tmp_path):
    made = report.classification([0, 1], [0.2, 0.8], cases=["=HYPERLINK(A1)", "-b"])
    from jaxmed.report.page._csv import predictions_csv

    text = predictions_csv(made)
    assert "\n=" not in text
    assert "'=HYPERLINK(A1)" in text
    (tmp_path / "t.csv").write_text(text)
    assert report.read_scores(tmp_path / "t.csv").cases == ("=HYPERLINK(A1)", "-b")


def test_lines_of_json_are_a_table_too(tmp_path):
    rows = [{"case": i, "label": bool(y), "score": s} for i, (y, s) in enumerate(zip(Y, S))]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    table = report.read_scores(tmp_path / "t.jsonl")
    np.testing.assert_array_equal(table.labels, Y)
    np.testing.assert_array_equal(table.scores, S)
    assert table.cases == tuple(str(i) for i in range(N))
