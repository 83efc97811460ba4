"""Tables as people write them: read as they are meant, which a note says, or refused."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from jaxmed import report
from jaxmed.cli import main
from jaxmed.data import DataError

N = 30
RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, N)
S = np.clip(RNG.normal(0.35 + 0.3 * Y, 0.2), 0.01, 0.99).round(4)
K = ("ADI", "LYM", "TUM")
Y3 = RNG.integers(0, 3, N)
P3 = RNG.dirichlet([1, 1, 1], N)
ML = RNG.integers(0, 2, (N, 3))


def table(path, **columns):
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(columns)
        out.writerows(zip(*columns.values(), strict=True))
    return path


def by_name(prefix, values):
    return {f"{prefix}_{k}": values[:, i] for i, k in enumerate(K)}


@pytest.mark.parametrize(
    "columns",
    [
        {"y_true": Y, "y_pred": S},
        {"Target": Y, "Probability": S},
        {"truth": Y, "prob_0": 1 - S, "prob_1": S},
        {"y_true": Y, "prob_1": S},
        {"label": Y, "y_score": S},
        {"label": np.array(["no", "yes"])[Y], "score_yes": S},
        {"label_tumour": Y, "score_tumour": S},
    ],
)
def test_columns_of_other_names_are_found_and_told_of(tmp_path, columns):
    found = report.read_scores(table(tmp_path / "t.csv", image_id=range(N), **columns))
    np.testing.assert_array_equal(found.labels, Y)
    scores = found.scores if found.scores.ndim == 1 else found.scores[:, 1]
    np.testing.assert_allclose(scores, S)
    assert found.cases == tuple(map(str, range(N)))
    guessed = [name for name in columns if not name.startswith(("label", "score"))]
    assert all(any(g.split("_")[0] in note for note in found.notes) for g in guessed)


@pytest.mark.parametrize(
    ("names", "positive", "chosen"),
    [
        (("benign", "malignant"), "", "malignant"),
        (("malignant", "benign"), "", "malignant"),
        (("control", "case"), "", "case"),  # not the last of the alphabet
        (("grade 2", "grade 3"), "", "grade 3"),
        (("grade 2", "grade 3"), "grade 2", "grade 2"),
        ((-1, 1), "", "1"),
        ((1, 2), "", "2"),
        ((1, 2), "1", "1"),
        ((0, 1), "0", "0"),
    ],
)
def test_two_labels_of_any_kind_and_which_is_positive(tmp_path, names, positive, chosen):
    path = table(tmp_path / "t.csv", label=[names[y] for y in Y], score=S)
    found = report.read_scores(path, positive=positive)
    wanted = [str(names[y]) == chosen for y in Y]
    np.testing.assert_array_equal(found.labels, wanted)
    assert found.classes[1] == chosen
    assert bool(found.notes) == (positive == "")
    assert all(f"{chosen} is taken" in n.replace("'", "") or "--positive" in n for n in found.notes)
    with pytest.raises(DataError, match="--positive is 'other', but the labels of 'label' are"):
        report.read_scores(path, positive="other")


@pytest.mark.parametrize(
    ("labels", "positive", "value"),
    [("benign", "", 0), ("malignant", "malignant", 1), ("benign", "malignant", 0), (-1, "", 0)],
)
def test_one_label_alone(tmp_path, labels, positive, value):
    path = table(tmp_path / "t.csv", label=[labels] * N, score=S)
    assert set(report.read_scores(path, positive=positive).labels) == {value}


def test_one_label_that_could_be_either_is_asked_for(tmp_path):
    with pytest.raises(DataError, match="all of 'label' is 'melanoma': say with --positive"):
        report.read_scores(table(tmp_path / "t.csv", label=["melanoma"] * N, score=S))


def test_logits_and_percentages(tmp_path):
    logit = np.log(S / (1 - S))
    for scale, scores in (("logit", logit), ("percent", 100 * S)):
        path = table(tmp_path / "t.csv", label=Y, score=scores)
        np.testing.assert_allclose(report.read_scores(path, scale=scale).scores, S)
    path = table(tmp_path / "t.csv", label=Y3, **by_name("score", np.log(P3) + 5))
    np.testing.assert_allclose(report.read_scores(path, scale="logit").scores, P3)


def test_classes_in_place_of_scores_are_called_hard(tmp_path):
    calls = P3.argmax(1)
    for labels, found in ((Y3, calls), (np.array(K)[Y3], np.array(K)[calls])):
        read = report.read_scores(table(tmp_path / "t.csv", label=labels, prediction=found))
        assert read.hard
        np.testing.assert_array_equal(read.scores.argmax(1), calls)
        made = report.classification(read.labels, read.scores, hard=True, classes=read.classes)
        assert set(made.metrics) == {"accuracy", "balanced_accuracy"}
        assert made.metrics["accuracy"].value == accuracy_score(Y3, calls)
        assert made.metrics["balanced_accuracy"].value == pytest.approx(
            balanced_accuracy_score(Y3, calls)
        )
    # Two numbers, whichever they are.
    read = report.read_scores(table(tmp_path / "t.csv", y_true=Y + 1, y_pred=(S > 0.5) + 1))
    assert read.hard
    assert accuracy_score(read.labels, read.scores[:, 1]) == accuracy_score(Y, S > 0.5)
    # Whole numbers that are measured are no classes.
    read = report.read_scores(table(tmp_path / "t.csv", label=Y3, y_pred=calls), task="regression")
    assert not read.hard
    assert read.labels.dtype == float


def test_labels_that_are_not_known_are_left_out_of_their_label_alone(tmp_path):
    labels = ML.astype(object)
    labels[::7, 0], labels[3, 1] = "", "NA"
    path = table(tmp_path / "t.csv", **by_name("label", labels), **by_name("score", P3))
    found = report.read_scores(path)
    assert np.isnan(found.labels).sum() == 6
    assert "6 labels are not known" in found.notes[0]
    made = report.classification(found.labels, found.scores, classes=K)
    known = ~np.isnan(found.labels)
    areas = [roc_auc_score(ML[k, i], P3[k, i]) for i, k in enumerate(known.T)]
    for name, area, n in zip(K, areas, known.sum(0)):
        assert made.metrics[f"auc/{name}"].value == pytest.approx(area)
        assert made.metrics[f"auc/{name}"].n == n
    assert made.metrics["auc"].value == pytest.approx(np.mean(areas))
    right = ((P3 >= 0.5) == ML)[known].mean()
    assert made.metrics["accuracy"].value == pytest.approx(right)
    assert "not known" not in report.html(made)  # only the table's note says so, and it is drawn
    both = {"a": P3, "b": P3[::-1]}
    compared = report.compare(found.labels, both, classes=K, n_resamples=20)
    assert {c.metric for c in compared.comparison.contrasts} == set(made.metrics)
    effect = {c.metric: c.test.effect for c in compared.comparison.contrasts}
    others = [roc_auc_score(ML[k, i], P3[::-1][k, i]) for i, k in enumerate(known.T)]
    assert effect["auc"] == pytest.approx(np.mean(areas) - np.mean(others))
    assert effect["auc/ADI"] == pytest.approx(areas[0] - others[0])


def test_a_label_of_minus_one_is_asked_for_and_then_not_known(tmp_path):
    labels = ML.copy()
    labels[2, :2] = -1
    path = table(tmp_path / "t.csv", **by_name("label", labels), **by_name("score", P3))
    told = r"label_ADI is -1, .*\(and 1 more cells of label_ADI, label_LYM\).* --unknown -1"
    with pytest.raises(DataError, match=told):
        report.read_scores(path)
    assert np.isnan(report.read_scores(path, unknown=["-1"]).labels).sum() == 2


def test_several_classes_in_a_cell(tmp_path):
    cells = ["|".join(k for k, y in zip(K, row) if y) for row in ML]
    found = report.read_scores(table(tmp_path / "t.csv", label=cells, **by_name("score", P3)))
    np.testing.assert_array_equal(found.labels, ML)
    empty = sum(not cell for cell in cells)
    assert found.notes == (
        f"in {empty} rows 'label' is empty, which is read as none of the classes",
    )


def test_probabilities_of_two_digits_are_noted(tmp_path):
    path = table(tmp_path / "t.csv", label=Y3, **by_name("score", P3.round(2)))
    found = report.read_scores(path)
    np.testing.assert_allclose(found.scores.sum(1), 1)
    assert "the rounding to 2 digits" in found.notes[0]


def evaluated(path, capsys, *options):
    status = main(
        ["evaluate", "--predictions", str(path), "--out", str(path.parent / "o"), *options]
    )
    return status, capsys.readouterr()


def test_the_command_says_what_it_assumed_and_measures_calls(tmp_path, capsys):
    status, told = evaluated(
        table(tmp_path / "t.csv", label=Y, score=(S > 0.5).astype(int)), capsys
    )
    assert status == 0
    metrics = json.loads((tmp_path / "o" / "metrics.json").read_text())["metrics"]
    assert "auc" not in metrics
    assert metrics["accuracy"]["value"] == pytest.approx(accuracy_score(Y, S > 0.5))
    assert "classes without a probability" in told.out
    page = (tmp_path / "o" / "report.html").read_text()
    assert "Confusion matrix" in page
    assert "ROC" not in page


def test_rows_without_a_score_may_be_left_out(tmp_path, capsys):
    scores = S.astype(object)
    scores[[3, 5]] = ""
    path = table(tmp_path / "t.csv", id=range(N), label=Y, score=scores)
    status, told = evaluated(path, capsys)
    assert status == 2
    assert "row 5: score is missing" in told.err
    assert "--missing fail" in told.err
    status, told = evaluated(path, capsys, "--missing", "fail")
    assert "2 cases have no prediction and are left out" in told.out
    record = json.loads((tmp_path / "o" / "metrics.json").read_text())
    assert record["failures"] == ["3: no prediction, left out", "5: no prediction, left out"]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"label": 10 * Y + Y3, "score": S}, "t.csv: labels must lie in 0..1.* --task regression$"),
        ({"label": S, "score": S}, "t.csv: labels of a binary .* --task regression$"),
        ({"label": Y, "score": 100 * S}, "t.csv: scores range .*.--scale percent"),
        ({"label": Y, "score": 9 * (S - 0.5)}, "t.csv: scores range .*.--scale logit"),
    ],
)
def test_what_could_be_meant_is_asked_in_words_of_the_command_line(tmp_path, capsys, columns, told):
    status, said = evaluated(table(tmp_path / "t.csv", **columns), capsys)
    line = said.err.splitlines()[0]
    assert status == 2
    assert re.search(told, line)
    assert not re.search(r"\w+=", line)


def test_models_are_compared_by_tables_of_any_names(tmp_path, capsys):
    words = np.array(["benign", "malignant"])[Y]
    a = table(tmp_path / "a.csv", image_id=range(N), y_true=words, y_pred=S)
    order = RNG.permutation(N)
    b = table(tmp_path / "b.csv", id=order, diagnosis=words[order], prob_malignant=S[order] ** 2)
    words = ["compare", str(a), str(b), "--out", str(tmp_path / "o"), "--resamples", "20"]
    assert main([*words, "--metrics", "auc"]) == 2
    assert "no column 'label'" in capsys.readouterr().err
    b.write_text(b.read_text().replace("diagnosis", "class"))
    assert main([*words, "--metrics", "auc"]) == 0
    record = json.loads((tmp_path / "o" / "metrics.json").read_text())
    assert record["classes"] == ["benign", "malignant"]
    areas = [record["models"][m]["auc"]["value"] for m in "ab"]
    np.testing.assert_allclose(areas, roc_auc_score(Y, S))
