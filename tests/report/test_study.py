"""A study's report: both variances, the corrected test, failures, seeds, choices."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from jaxmed import protocols, report, stats
from jaxmed.protocols import Choice, Failure, Study

RNG = np.random.default_rng(0)
Y = np.arange(60) % 2
SPLITS = tuple(protocols.repeated(Y, 3, 2, groups=np.arange(60) // 2))
SEEDS = (0, 4)


def probabilities(gap):
    p = np.clip(RNG.normal(0.5 + gap * (Y - 0.5), 0.2), 0.01, 0.99)
    return np.stack([1 - p, p], 1)


def made(**change):
    outputs = {}
    for arm, gap in (("a", 0.5), ("b", 0.1)):
        for repeat in (0, 1):
            for seed in SEEDS:
                p = probabilities(gap)
                for i, one in enumerate(SPLITS):
                    if one.repeat == repeat:
                        outputs[arm, i, seed] = p[one.test]
    base = Study(
        ("a", "b"), SPLITS, SEEDS, outputs, Y, tuple(map(str, range(60))),
        tuple(np.arange(60) // 2), trials={"a": 3, "b": 1}, settings={"epochs": 2},
    )  # fmt: skip
    return base.__class__(**{**vars(base), **change})


def test_arms_and_pairs_are_those_of_the_protocols():
    study = made()
    found = report.from_study(study, n_resamples=100)
    runs = protocols.runs_of(study)
    estimate = found.comparison.models["a"]["auc"]
    by_hand = np.mean([sk.roc_auc_score(Y, p[:, 1]) for p in runs.outputs["a"]])
    assert estimate.value == pytest.approx(by_hand)
    assert "by cases" in estimate.notes[-1]
    assert "by trainings" in estimate.notes[-1]
    assert estimate.unit == "patient"
    test = next(c for c in found.comparison.contrasts if c.metric == "accuracy")
    (pair,) = protocols.compare_arms(study, lambda y, p: np.mean((p[:, 1] >= 0.5) == y))
    assert test.test.p_value == pytest.approx(pair.test.p_value)
    p = [c.test.p_value for c in found.comparison.contrasts]
    np.testing.assert_allclose(
        [c.adjusted for c in found.comparison.contrasts], stats.adjust_p_values(p)
    )


def test_the_page_counts_failures_seeds_and_trials(tmp_path):
    study = made(
        failures=(Failure("b", 0, 1, 4, "at step 2 the loss is inf"),),
        choices=(Choice("a", 0, 0, 0, "small", {"small": [0.8], "big": [0.7]}),),
    )
    found = report.from_study(study, n_resamples=50)
    answers = {item.topic: item.answer for item in report.checklist(found)}
    assert answers["Seeds"].startswith("seeds 0, 4")
    assert answers["Tuning trials"].startswith("a: 3; b: 1")
    assert "inner folds" in answers["Selection of the model, ensembling"]
    assert answers["Failures"].startswith("1 of 25 trainings failed")
    assert "no patient in two parts" in answers["Partitions and their unit; leak check"]
    page = report.write(found, tmp_path).report.read_text()
    assert "the loss is inf" in page
    assert "corrected resampled t (Nadeau-Bengio)" in page
    assert "<strong>1</strong> failure:" in page


def of_masks(change=lambda arm, table: table):
    """A study of two structures: arm `a` is better than `b` in each case."""
    rng = np.random.default_rng(1)
    outputs = {}
    for i, one in enumerate(SPLITS):
        for seed in SEEDS:
            base = rng.uniform(0.4, 0.7, (len(one.test), 2))
            for arm, gain in (("a", 0.2), ("b", 0.0)):
                dice = base + gain + rng.normal(0, 0.02, base.shape)
                table = np.stack([dice, dice / 2, 0 * dice, 9 * (1 - dice), dice], axis=1)
                outputs[arm, i, seed] = change(arm, table)
    return made(outputs=outputs, labels=np.full(60, np.nan))


def test_masks_are_compared_by_what_is_measured_of_each_case():
    found = report.from_study(
        of_masks(), task="segmentation", classes=["liver", "spleen"], n_resamples=50
    )
    assert found.task == "segmentation"
    assert list(found.comparison.models["a"]) == [
        "dice",
        "dice/liver",
        "dice/spleen",
        "hd95",
        "nsd",
    ]
    by_metric = {c.metric: c for c in found.comparison.contrasts}
    assert by_metric["dice"].test.effect == pytest.approx(0.2, abs=0.02)
    assert by_metric["hd95"].test.effect == pytest.approx(-1.8, abs=0.2)
    assert by_metric["dice"].adjusted < 0.05
    assert found.comparison.overlaps["b"].values["dice"].shape == (60, 2)
    assert "NSD" in report.html(found)


def test_a_case_that_one_arm_missed_takes_no_part_in_the_test_of_distances():
    def missed(arm, table):
        if arm == "a":  # wholly, where it would have been far off
            table[:2, 3] = np.inf
            table[:2, 0] = 0
        else:
            table[:2, 3] = 500
        return table

    found = report.from_study(
        of_masks(missed), task="segmentation", classes=["liver", "spleen"], n_resamples=50
    )
    (test,) = (c.test for c in found.comparison.contrasts if c.metric == "hd95")
    assert test.effect == pytest.approx(-1.8, abs=0.3)  # and not by the 500 mm of `b`
    assert any("infinite in" in note for note in found.notes)


def test_what_cannot_be_estimated_is_told_and_the_rest_stands():
    def absent(arm, table):
        table[:, :, 1] = np.nan
        return table

    found = report.from_study(
        of_masks(absent), task="segmentation", classes=["liver", "spleen"], n_resamples=50
    )
    assert "dice/spleen" not in found.comparison.models["a"]
    assert any(note.startswith("dice/spleen: not estimated") for note in found.notes)
    with pytest.raises(ValueError, match=r"\(cases, 5 measures, structures\)"):
        report.from_study(made(), task="segmentation", classes=["liver"])


def test_a_single_arm_is_told_without_tests():
    study = made()
    one = {k: v for k, v in study.outputs.items() if k[0] == "a"}
    found = report.from_study(made(arms=("a",), outputs=one), n_resamples=50)
    assert found.comparison.contrasts == ()
    assert "AUC" in report.html(found)
    own = {"brier": lambda y, p: np.mean((p[:, 1] - y) ** 2)}
    found = report.from_study(made(arms=("a",), outputs=one), metrics=own, n_resamples=50)
    assert list(found.comparison.models["a"]) == ["brier"]
    assert "ROC of each model" in report.html(found)
    told = next(i for i in report.checklist(found) if i.topic == "Comparisons and multiplicity")
    assert told.answer == "one model: nothing is compared"
