"""What a report says, against scikit-learn, and what its page holds."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest
from sklearn import metrics as sk

import jaxmed as jm

RNG = np.random.default_rng(0)
BINARY = RNG.integers(0, 2, 80)
SCORES = np.clip(RNG.normal(0.35 + 0.3 * BINARY, 0.2), 0, 1)
CLASSES = RNG.integers(0, 3, 90)
_LOGITS = RNG.normal(size=(90, 3)) + 1.5 * np.eye(3)[CLASSES]
PROBABILITIES = np.exp(_LOGITS) / np.exp(_LOGITS).sum(1, keepdims=True)


def values(results):
    return {name: estimate.value for name, estimate in results.metrics.items()}


def test_a_binary_task_is_measured_as_scikit_learn_does():
    found = values(jm.report.classification(BINARY, SCORES))
    called = SCORES >= 0.5
    assert found["auc"] == pytest.approx(sk.roc_auc_score(BINARY, SCORES))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(BINARY, called))
    assert found["sensitivity"] == pytest.approx(sk.recall_score(BINARY, called))
    assert found["specificity"] == pytest.approx(sk.recall_score(BINARY, called, pos_label=0))
    assert found["ppv"] == pytest.approx(sk.precision_score(BINARY, called))
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(BINARY, SCORES))
    assert found["brier"] == pytest.approx(sk.brier_score_loss(BINARY, SCORES))


def test_several_classes_are_measured_as_medmnist_does():
    found = values(jm.report.classification(CLASSES, PROBABILITIES, task="ordinal"))
    top = PROBABILITIES.argmax(1)
    assert found["auc"] == pytest.approx(
        sk.roc_auc_score(CLASSES, PROBABILITIES, multi_class="ovr", average="macro")
    )
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(CLASSES, top))
    assert found["log_loss"] == pytest.approx(sk.log_loss(CLASSES, PROBABILITIES))
    assert found["quadratic_kappa"] == pytest.approx(
        sk.cohen_kappa_score(CLASSES, top, weights="quadratic")
    )


def test_several_labels_and_numbers_are_measured():
    labels = np.stack([BINARY, 1 - BINARY], 1)
    found = values(jm.report.classification(labels, np.stack([SCORES, 1 - SCORES], 1)))
    assert found["auc"] == pytest.approx(sk.roc_auc_score(BINARY, SCORES))
    y, s = RNG.normal(size=40), RNG.normal(size=40)
    found = values(jm.report.classification(y, s, task="regression"))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(y, s))
    assert found["r2"] == pytest.approx(sk.r2_score(y, s))


def test_what_is_undefined_is_a_note_and_no_number():
    results = jm.report.classification([1, 1, 1, 1], [0.2, 0.6, 0.7, 0.9])
    assert "auc" not in results.metrics
    assert any("auc is undefined" in note for note in results.notes)
    assert results.metrics["sensitivity"].value == 0.75


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [0.1], "same number of rows"),
        ([0, 1], [0.1, np.nan], "finite"),
        ([0, 2], [0.1, 0.2], r"0\.\.1"),
        ([0, 0.5], [0.1, 0.2], "whole numbers"),
        ([], [], "at least 1"),
    ],
)
def test_bad_predictions_are_refused(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        jm.report.classification(labels, scores)


def test_a_segmentation_is_measured_by_hand():
    truth = np.zeros((4, 4), int)
    truth[:2] = 1
    half = np.zeros((4, 4), int)
    half[:1] = 1
    pairs = [("a", truth, truth), ("b", truth, half), ("c", truth, 0 * truth)]
    results = jm.report.segmentation(pairs, classes=["lesion"])
    assert results.overlap.values["dice"].ravel() == pytest.approx([1, 2 / 3, 0])
    assert results.metrics["dice"].value == pytest.approx(5 / 9)
    with pytest.raises(ValueError, match=r"case d.*shape"):
        jm.report.segmentation([("d", truth, truth[:2])], classes=["lesion"])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    history = [
        {"epoch": e, "step": 5 * e, "seconds": 1.0 * e, "train/loss": 1 / e, "val/auc": 1 - 0.5 / e}
        for e in range(1, 6)
    ]
    image = RNG.random((12, 12))
    mask = (image > 0.5).astype(int)
    results = jm.report.classification(
        BINARY,
        SCORES,
        classes=["<benign>", "malignant"],
        title="A study & its title",
        history=history,
        best_step=15,
        splits=(jm.report.Split("train", 100, 50, {"<benign>": 60, "malignant": 40}),),
        flow=("80 of 90 images had a label",),
        pictures=(jm.report.Picture("case-1", "worst", image, mask, mask, caption="Dice 1"),),
        environment=jm.report.environment(),
        command="jaxmed train thing --seed 3",
        seed=3,
        notes=("the file differs from the catalogue's checksum",),
    )
    folder = tmp_path_factory.mktemp("report")
    return folder, results, jm.report.write(results, folder)


def test_a_page_holds_what_a_reader_asks_for(written):
    page = written[2].report.read_text()
    text = re.sub(r"<[^>]+>", " ", page)
    for asked in [
        "A study &amp; its title", "95%", "n = 80", "80 of 90 images had a label", "case-1",
        "differs from the catalogue", "jaxmed train thing --seed 3", "malignant", "jaxlib",
    ]:  # fmt: skip
        assert asked in text, asked
    assert "&lt;benign&gt;" in page
    assert "<benign>" not in page


def test_a_page_is_one_file(written):
    page = written[2].report.read_text()
    assert not re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=[\"'](?!data:)", page)
    assert page.count("<figure") >= 5
    assert page.count("alt=") + page.count("aria-label=") + page.count("<title>") >= 5
    for data in re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page):
        assert base64.b64decode(data).startswith(b"\x89PNG")


def test_the_record_for_machines_is_strict_json(written):
    folder, results, _ = written
    found = json.loads(
        (folder / "metrics.json").read_text(), parse_constant=lambda constant: pytest.fail(constant)
    )
    assert found["metrics"]["auc"]["value"] == results.metrics["auc"].value
    assert found["environment"]["python"]
    table = (folder / "predictions.csv").read_text().splitlines()
    assert len(table) == 81
    read = jm.report.read_scores(folder / "predictions.csv")
    np.testing.assert_array_equal(read.labels, BINARY)
    np.testing.assert_allclose(read.scores[:, 1], SCORES, rtol=1e-6)


def test_figures_draw_what_scikit_learn_computes():
    curve = jm.report.roc_figure(BINARY, SCORES).axes[0].lines[1].get_xydata()
    assert sk.auc(*curve.T) == pytest.approx(sk.roc_auc_score(BINARY, SCORES))
    axes = jm.report.precision_recall_figure(BINARY, SCORES).axes[0]
    curve = max((line.get_xydata() for line in axes.lines), key=len)
    drawn = {tuple(point) for point in curve.round(9)}
    precision, recall, _ = sk.precision_recall_curve(BINARY, SCORES)
    assert {*zip(recall.round(9), precision.round(9))} <= drawn | {(0.0, 1.0)}
    axes = jm.report.reliability_figure(CLASSES, PROBABILITIES).axes[0]
    points = axes.containers[0].lines[0].get_xydata()
    assert ((points >= 0) & (points <= 1)).all()
    sure, right = PROBABILITIES.max(1), PROBABILITIES.argmax(1) == CLASSES
    assert points[:, 0].min() >= sure.min()
    assert points[:, 0].max() <= sure.max()
    assert points[:, 1].min() <= right.mean() <= points[:, 1].max()
    top = PROBABILITIES.argmax(1)
    axes = jm.report.confusion_figure(CLASSES, top, classes=["a", "b", "c"]).axes[0]
    counts = sk.confusion_matrix(CLASSES, top)
    written = [re.match(r"\d+", text.get_text()) for text in axes.texts]
    assert [int(found[0]) for found in written if found] == counts.ravel().tolist()
