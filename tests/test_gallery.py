"""The gallery of the pages: an entry an application, drawn from records, without any image."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def gallery():
    pytest.importorskip("docutils")
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import gallery as module
    finally:
        sys.path.pop(0)
    return module


def test_every_application_with_a_record_has_its_number_its_command_and_a_picture(gallery):
    entries = gallery.entries()
    commands = [entry.command for entry in entries]
    assert len({*commands}) == len(commands)
    runs = [
        run
        for path in (ROOT / "benchmarks" / "results").glob("applications*.json")
        for run in json.loads(path.read_text())["runs"]
    ]
    assert {run["command"] for run in runs} == {*commands}
    for entry in entries:
        name, value = re.match(r"(.+?) (-?\d\.\d+) \(95% CI", entry.number).groups()
        own = [run["metrics"][name] for run in runs
               if run["command"] == entry.command and name in run["metrics"]]  # fmt: skip
        assert float(value) == pytest.approx(own[0]["value"], abs=6e-4)
        assert entry.what.endswith(".")
        assert "<svg" in entry.svg
        assert "<image" not in entry.svg  # shapes and words: no picture of anybody


def test_a_number_that_is_no_share_is_not_drawn(gallery, tmp_path):
    one = {"level": 0.95, "n": 9, "unit": "case", "method": "t"}
    metrics = {
        "set size": {"value": 0.9, "lower": 0.8, "upper": 0.95, **one},
        "width": {"value": 3.1, "lower": 3.0, "upper": 3.2, **one},
        "auc": {"value": 0.7, "lower": 0.6, "upper": 0.8, **one},
        "accuracy": {"value": 0.6, "lower": None, "upper": 0.8, **one},
    }
    run = {"title": "One", "command": "jaxmed train melanoma", "metrics": metrics}
    (tmp_path / "applications-one.json").write_text(json.dumps({"runs": [run]}))
    (entry,) = gallery.entries(tmp_path)
    assert entry.number.startswith("auc 0.700 (95% CI 0.600 to 0.800")
    assert all(name not in entry.svg for name in ("set size", "width 3", "accuracy"))
