"""The study of coverage: it runs, it counts, and the promises are kept at the size that is told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jaxmed.cli.runs import _experiment


@pytest.fixture(scope="module")
def coverage():
    return _experiment.load("coverage").module


def test_every_method_runs_and_is_in_the_tables(coverage, tmp_path):
    path = tmp_path / "record.json"
    results = coverage.run(coverage.Config(splits=4, record=path), tmp_path)
    made = json.loads(path.read_text())
    names = {row[0] for kind in ("exact", "bounds") for row in made["tables"][kind]["rows"]}
    assert names == set(coverage.PROMISES)
    assert {row[1] for row in made["tables"]["groups"]["rows"]} == {
        "site 0", "site 1", *(f"class {c}" for c in range(4))
    }  # fmt: skip
    assert results.metrics["LAC sets"].n == 4


def test_a_broken_promise_is_told(coverage):
    promise = coverage.Promise(None)
    kept = [coverage.Hit(i % 10 > 0, f"class {i % 2}") for i in range(1000)]
    rows = list(coverage.counted("fine", promise, kept))
    # Nine of ten in all, but all misses are of one class.
    assert [row["within"] for row in rows] == [True, False, False]
    bound = promise._replace(level=0.8, exact=False)
    assert next(coverage.counted("wide", bound, kept))["within"]  # more than promised is no fault


@pytest.mark.slow
def test_promises_are_kept_over_a_thousand_splits(coverage, tmp_path):
    results = coverage.run(coverage.Config(seed=1), tmp_path)
    # Of some thirty counts one may lie outside its 99 % interval, rarely two.
    assert len(results.notes) <= 2, results.notes
    assert np.isclose(results.metrics["split intervals"].value, 0.9, atol=0.03)
