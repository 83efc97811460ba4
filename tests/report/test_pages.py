"""What a page of results says beside its numbers: subgroups, methods, metrics without a test."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmed import report
from jaxmed.report.figures._style import short_names
from jaxmed.report.figures._subgroups import subgroup_figure
from jaxmed.report.page._glossary import ENTRIES, glossary, named_methods
from jaxmed.report.results._by_group import bands, in_order
from jaxmed.report.results._contrasts import untested

N = 40
RNG = np.random.default_rng(0)
Y, Y3, ML = RNG.integers(0, 2, N), RNG.integers(0, 3, N), RNG.integers(0, 2, (N, 2))
P = {m: np.clip(RNG.normal(0.3 + 0.3 * Y, 0.2), 0.01, 0.99) for m in "ab"}
P3 = {m: RNG.dirichlet([1, 1, 1], N) for m in "ab"}
SEX = ["f", "m"] * (N // 2)


@given(st.lists(st.one_of(st.integers(0, 120), st.floats(0, 1e6, width=32)), min_size=9))
def test_intervals_of_numbers_do_not_overlap_and_hold_their_numbers(values):
    found = bands(values)
    if len(set(map(float, values))) <= 8:
        assert found.tolist() == [str(v) for v in values]
        return
    ends = []
    for name in in_order(set(found)):
        low, high = (float(end) for end in re.fullmatch(r"\[(.*), (.*)[)\]]", name).groups())
        inside = [float(v) for v, band in zip(values, found) if band == name]
        closed = name.endswith("]")
        slack = 1e-9 * max(abs(high), 1)  # of 12 digits
        assert all(low - slack <= v and (v <= high + slack if closed else v < high) for v in inside)
        ends.append((low, high, closed))
    assert [closed for *_, closed in ends] == [False] * (len(ends) - 1) + [True]
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ends))


def test_an_age_that_is_not_known_is_a_group_of_its_own():
    found = bands([*range(20, 80), "", "NA"])
    assert in_order(set(found)) == ["[20, 40)", "[40, 60)", "[60, 79]", "not known"]
    assert (found == "not known").sum() == 2
    assert in_order(["m", "10", "9", "f", "not known"]) == ["9", "10", "f", "m", "not known"]


def test_subgroups_are_one_figure_a_column_with_a_row_a_group():
    results = report.compare(Y, P, metrics=["auc"], n_resamples=20)
    results = report.with_subgroups(results, {"sex": SEX, "age": range(N)}, n_resamples=20)
    page = report.html(results)
    section = page[page.index('<section id="subgroups">') :]
    section = section[: section.index("</section>")]
    assert section.count("<figure") == 2
    assert section.index("<details>") < section.index("<table>")
    of_sex = [table for table in results.subgroups if table.column == "sex"]
    figure = subgroup_figure(of_sex)
    assert [ax.get_xlabel() for ax in figure.axes] == [
        "auc",
        "accuracy",
        "sensitivity",
        "specificity",
    ]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["f (n = 20)", "m (n = 20)"]
    estimate = of_sex[0].found.estimates["f"]
    drawn = [line.get_xdata().tolist() for line in figure.axes[0].lines]
    assert [estimate.lower, estimate.upper] in drawn


NAMES = st.lists(st.text("ab_1", min_size=1, max_size=40), min_size=1, max_size=6, unique=True)


@given(NAMES, st.integers(8, 30))
def test_short_names_stay_different(names, limit):
    short = short_names(names, limit)
    assert list(short) == names
    assert len(set(short.values())) == len(names)
    assert all(len(s) <= limit or s == name for name, s in short.items())


def compared():
    """A comparison of each task, of rows and of patients."""
    for groups in (None, np.arange(N) // 2):
        k = {"groups": groups, "n_resamples": 20}
        yield report.with_subgroups(report.compare(Y, P, **k), {"sex": SEX}, n_resamples=20)
        yield report.compare(Y3, P3, task="ordinal", **k)
        yield report.compare(ML, {m: p[:, :2] for m, p in P3.items()}, task="multi-label", **k)
        yield report.compare(1.0 * Y3, P, task="regression", **k)
        masks = {
            m: report.Overlap([str(i) for i in range(N)], {"dice": p[:, :2]}, groups)
            for m, p in P3.items()
        }
        k.pop("groups")
        yield report.compare_segmentations(masks, classes=["x", "y"], **k)


@pytest.fixture(scope="module")
def comparisons():
    return [*compared()]


@pytest.mark.slow
def methods_of(record):
    """Of all estimates in a record, however deep."""
    if isinstance(record, dict):
        if "value" in record and isinstance(record.get("method"), str):
            yield record["method"]
        record = list(record.values())
    for part in record if isinstance(record, list) else ():
        yield from methods_of(part)


def test_each_method_that_a_record_names_is_in_the_glossary():
    """Of every experiment that was recorded, whatever it measures."""
    folder = Path(__file__).parents[2] / "benchmarks" / "results"
    found = {m for path in folder.glob("*.json") for m in methods_of(json.loads(path.read_text()))}
    assert len(found) > 20
    # A number without an interval has no method.
    unknown = {m for m in found - {"none"} if not any(re.search(e.named, m) for e in ENTRIES)}
    assert not unknown


def test_each_method_that_a_page_names_is_in_its_glossary(comparisons):
    for results in comparisons:
        entries = glossary(results)
        for method in {*named_methods(results)} - {"none"}:
            assert any(re.search(entry.named, method) for entry in entries), method
    page = report.html(comparisons[0])
    assert '<a href="#methods">' in page
    assert "Fagerland et al. (2013)" in page
    assert all(re.search(r"\(\d{4}\)", e.reference) and e.text.endswith(".") for e in ENTRIES)


def test_a_metric_without_a_test_says_why(comparisons):
    for results in comparisons:
        found = results.comparison
        reasons = untested(results)
        estimated = {name for metrics in found.models.values() for name in metrics}
        assert set(reasons) == estimated - {c.metric for c in found.contrasts}
        # All were asked for, so each reason is one of the metric itself.
        assert not any("named to be tested" in why for why in reasons.values())
    assert "its upward bias" in untested(comparisons[0])["ece"]
    assert "Expected calibration error</strong>: its upward bias" in report.html(comparisons[0])
    few = report.compare(Y, P, metrics=["auc"], n_resamples=20)
    assert "not among the metrics that were named" in untested(few)["accuracy"]
