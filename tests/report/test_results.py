"""Results: one type a task, a small common record, the older flat record."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jaxmed import report
from jaxmed.report.page._exhibits import SECTIONS

Y, P = [0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9]


def _all_types():
    masks = [("a", [0, 1], [0, 1]), ("b", [1, 1], [0, 1])]
    return {
        "binary": report.classification(Y, P),
        "regression": report.classification(Y, P, task="regression"),
        "segmentation": report.segmentation(masks, classes=["lesion"]),
        "comparison": report.compare(Y, {"a": P, "b": P[::-1]}, n_resamples=20),
        "continual": report.ContinualResults(
            title="Tasks", classes=(), metrics={}, matrix=np.eye(2), sequence=("a", "b")
        ),
        "instances": report.instances([[[1, 1, 0]]], [[[2, 0, 3]]], n_resamples=20),
        "detection": report.detection(
            [[[0, 0, 4, 4]], []],
            [[0], []],
            [[[0, 0, 4, 3]], []],
            [[0.8], []],
            [[0], []],
            classes=("cell",),
            n_resamples=20,
        ),
        "registration": report.registration(
            {"dice/before": [0.5, 0.6], "dice/after": [0.7, np.nan], "folds_percent": [0, 0.1]},
            cases=("b onto a", "d onto c"),
        ),
        "generation": report.GenerationResults(title="Drawn", classes=(), metrics={}, headline=()),
        "translation": report.TranslationResults(title="Made", classes=(), metrics={}, headline=()),
        "survival": report.survival([1, 2, 3, 4], [1, 1, 0, 1], risk=[4, 2, 1, 3]),
        "density": report.DensityResults(title="Images", classes=(), metrics={}, headline=()),
    }


def test_each_type_has_its_sections_and_prints_as_one_line():
    made = _all_types()
    assert {type(results) for results in made.values()} == set(SECTIONS)
    for results in made.values():
        assert "\n" not in str(results)
        assert len(str(results)) < 200
        assert results.title in str(results)
    assert str(made["binary"]) == (
        "ClassificationResults 'Classification' (binary, 4 cases, "
        "auc 0.75; accuracy 0.5; sensitivity 0.5; specificity 0.5)"
    )
    assert "binary: a, b; " in str(made["comparison"])


def test_fields_of_the_parts_are_taken_by_their_own_names():
    results = report.classification(
        Y, P, seed=3, splits=(report.Split("test", 4),), history=[{"step": 1}]
    )
    assert results.run.seed == 3
    assert results.data.splits[0].cases == 4
    changed = results.replace(command="again", notes=("n",))
    assert (changed.run.command, changed.run.seed, changed.notes) == ("again", 3, ("n",))
    with pytest.raises(TypeError):
        report.classification(Y, P, sed=3)
    with pytest.raises(ValueError, match="headline names no metric"):
        results.replace(headline=("dice",))
    with pytest.raises(ValueError, match="task is one of binary"):
        results.replace(task="segmentation")


def test_the_older_flat_record_still_makes_and_reads_results():
    metrics = report.classification(Y, P).metrics
    scores = report.Scores(np.array(Y), np.stack([1 - np.array(P), P], 1), list("abcd"))
    with pytest.warns(DeprecationWarning, match="a type for each task"):
        older = report.Results(
            "A title", "binary", ("0", "1"), metrics, headline=("auc",), scores=scores, seed=5,
            overlap=None, comparison=None,
        )  # fmt: skip
    assert isinstance(older, report.ClassificationResults)
    assert isinstance(older, report.Results)
    with pytest.warns(DeprecationWarning, match=r"run\.seed"):
        assert older.seed == 5
    with pytest.warns(DeprecationWarning, match="no field of this type"):
        assert older.comparison is None
    with pytest.raises(AttributeError, match="no field 'sead'"):
        _ = older.sead
    now = report.results_of(
        "binary", title="A title", classes=("0", "1"), metrics=metrics, headline=("auc",),
        scores=scores, seed=5,
    )  # fmt: skip
    assert report.to_json(report.metrics_record(older)) == report.to_json(
        report.metrics_record(now)
    )
    with pytest.raises(ValueError, match="task is one of"):
        report.results_of("detection", title="", classes=(), metrics={})


def test_the_record_for_machines_keeps_its_shape():
    """The keys of `metrics.json`, whatever the task: readers of older records rely on them."""
    common = [
        "title", "task", "classes", "metrics", "config", "environment", "seconds",
        "seconds_by_stage", "seed", "command", "splits", "partition", "failures", "openings",
        "notes",
    ]  # fmt: skip
    for name, results in _all_types().items():
        record = json.loads(report.to_json(report.metrics_record(results)))
        extra = ["models", "comparisons"] * (name == "comparison")
        assert list(record) == [*common, *extra, "checklist"], name
