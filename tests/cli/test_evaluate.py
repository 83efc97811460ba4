"""`jaxmed evaluate` and `jaxmed data check` as a user calls them."""

from __future__ import annotations

import json
import os

import nibabel as nib
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from jaxmed.cli import main


def write(path, header, rows):
    path.write_text(
        "\n".join([",".join(header), *(",".join(map(str, row)) for row in rows)]) + "\n"
    )
    return str(path)


@pytest.fixture
def binary(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    scores = np.clip(rng.normal(0.3 + 0.3 * labels, 0.2), 0, 1).round(3)
    rows = [[f"c{i}", y, s] for i, (y, s) in enumerate(zip(labels, scores))]
    return labels, scores, write(tmp_path / "p.csv", ["case", "label", "score"], rows)


def measured(folder):
    return json.loads((folder / "metrics.json").read_text())["metrics"]


def test_a_table_of_scores_is_measured_and_reported(binary, tmp_path, capsys):
    labels, scores, table = binary
    assert main(["evaluate", "--predictions", table, "--out", str(tmp_path / "out")]) == 0
    found = measured(tmp_path / "out")
    np.testing.assert_allclose(found["auc"]["value"], roc_auc_score(labels, scores))
    np.testing.assert_allclose(found["accuracy"]["value"], accuracy_score(labels, scores >= 0.5))
    assert found["auc"]["lower"] < found["auc"]["value"] < found["auc"]["upper"]
    assert found["auc"]["n"] == 60
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "auc" in capsys.readouterr().out


def test_labels_may_be_in_another_table_in_another_order(binary, tmp_path):
    labels, scores, _ = binary
    order = np.random.default_rng(1).permutation(60)
    predictions = write(
        tmp_path / "s.csv", ["case", "score"], [[f"c{i}", scores[i]] for i in order]
    )
    truth = write(tmp_path / "t.csv", ["case", "label"], [[f"c{i}", labels[i]] for i in range(60)])
    out = tmp_path / "out"
    arguments = ["--predictions", predictions, "--reference", truth, "--out", str(out)]
    assert main(["evaluate", *arguments]) == 0
    np.testing.assert_allclose(measured(out)["auc"]["value"], roc_auc_score(labels, scores))


def test_classes_may_be_named(tmp_path):
    header = ["label", "score_benign", "score_malignant", "score_normal"]
    rows = [["normal", 0.1, 0.2, 0.7], ["benign", 0.5, 0.3, 0.2], ["malignant", 0.6, 0.3, 0.1]] * 4
    table = write(tmp_path / "p.csv", header, rows)
    assert main(["evaluate", "--predictions", table, "--out", str(tmp_path / "out")]) == 0
    np.testing.assert_allclose(measured(tmp_path / "out")["accuracy"]["value"], 2 / 3)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (["label", "p"], [[0, 0.1]], "no column 'score'"),
        (["label", "score"], [], "no rows"),
        (["label", "score"], [[0, "high"]], "row 2: score is 'high', not a number"),
        (["label", "score"], [[0, "nan"]], "row 2: score is missing ('nan')"),
        (["label", "score"], [[0, 0.1, 3]], "row 2 has 3 cells, the header 2"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(header, rows, message, tmp_path, capsys):
    table = write(tmp_path / "p.csv", header, rows)
    assert main(["evaluate", "--predictions", table, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "p.csv" in told
    assert not (tmp_path / "out").exists()


def test_cases_without_a_counterpart_are_named(binary, tmp_path, capsys):
    _, _, predictions = binary
    truth = write(tmp_path / "t.csv", ["case", "label"], [["c0", 1], ["other", 0]])
    assert main(["evaluate", "--predictions", predictions, "--reference", truth]) == 2
    assert "1 cases (other)" in capsys.readouterr().err


def masks(folder, arrays, affine=None):
    folder.mkdir()
    for name, array in arrays.items():
        image = nib.Nifti1Image(array.astype(np.uint8), np.eye(4) if affine is None else affine)
        nib.save(image, folder / f"{name}.nii.gz")
    return str(folder)


def test_two_folders_of_masks_are_measured(tmp_path):
    rng = np.random.default_rng(0)
    truth = {f"case{i}": rng.integers(0, 3, (6, 5, 4)) for i in range(4)}
    noise = {name: np.where(rng.random(t.shape) < 0.2, 0, t) for name, t in truth.items()}
    predictions, reference = masks(tmp_path / "p", noise), masks(tmp_path / "t", truth)
    out = tmp_path / "out"
    arguments = ["--predictions", predictions, "--reference", reference, "--out", str(out)]
    assert main(["evaluate", *arguments, "--classes", "kidney", "tumour"]) == 0
    by_hand = [
        2 * ((t == 1) & (noise[name] == 1)).sum() / ((t == 1).sum() + (noise[name] == 1).sum())
        for name, t in truth.items()
    ]
    np.testing.assert_allclose(measured(out)["dice/kidney"]["value"], np.mean(by_hand), rtol=1e-6)


def test_masks_that_do_not_fit_are_refused(tmp_path, capsys):
    mask = {"a": np.ones((4, 4, 4)), "b": np.ones((4, 4, 4))}
    reference = masks(tmp_path / "t", mask)
    arguments = ["evaluate", "--reference", reference, "--predictions"]
    assert main([*arguments, masks(tmp_path / "few", {"a": mask["a"]})]) == 2
    assert "1 cases (b)" in capsys.readouterr().err
    moved = masks(tmp_path / "moved", mask, affine=np.diag([1.0, 1, 2, 1]))
    assert main([*arguments, moved]) == 2
    assert "affine" in capsys.readouterr().err
    assert main(["evaluate", "--predictions", reference]) == 2
    assert "--reference" in capsys.readouterr().err


def test_data_check_lists_every_fault_at_once(tmp_path, capsys):
    rows = [["a.png", "x"], ["gone.png", "y"]]
    table = write(tmp_path / "table.csv", ["image", "label"], rows)
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert main(["data", "check", table]) == 1
    told = capsys.readouterr().out
    assert "a.png" in told
    assert "gone.png" in told
    assert "2 faults" in told
    assert main(["data"]) == 2
    assert main(["data", "check", "--help"]) == 0


def test_a_case_that_comes_twice_does_not_count_twice(tmp_path, capsys):
    rows = [[f"c{i}", i % 2, 0.3 + 0.01 * i] for i in range(10)]
    table = write(tmp_path / "p.csv", ["case", "label", "score"], [*rows, *[rows[0]] * 5])
    assert main(["evaluate", "--predictions", table, "--out", str(tmp_path / "out")]) == 2
    assert "the case 'c0' comes twice, in rows 2 and 12" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
@pytest.mark.parametrize("option", ["--study", "--ledger"])
def test_a_pipe_is_no_file_to_wait_for(option, tmp_path, capsys):
    table, pipe = tmp_path / "a.csv", tmp_path / "pipe"
    rows = (f"c{i},{i % 2},{i / 20}" for i in range(12))
    table.write_text("\n".join(["case,label,score", *rows]))
    os.mkfifo(pipe)
    words = ["--predictions", str(table), option, str(pipe), "--out", str(tmp_path / "out")]
    assert main(["evaluate", *words]) == 2
    assert "pipe" in capsys.readouterr().err
