"""The section of a report on corrupted images."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jaxmed import report, stats

Y = np.arange(40) % 2


def estimates(separation):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=40)
    return [stats.auc(Y, s * Y + noise) for s in separation]


@pytest.fixture(scope="module")
def found():
    clean, *rows = estimates([2.0, 1.8, 1.5, 1.0, 0.6, 0.2])
    mild = estimates([1.9, 1.9, 1.8, 1.7, 1.7])
    return report.Robustness("AUC", clean, {"noise": mild, "bias_field": rows})


def test_the_figure_draws_each_corruption_from_the_clean_images_on(found):
    panels = report.robustness_figure(found).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["noise", "bias field"]
    for axes, rows in zip(panels, found.corrupted.values(), strict=True):
        line = axes.lines[0]
        np.testing.assert_array_equal(line.get_xdata(), range(6))
        np.testing.assert_allclose(line.get_ydata(), [e.value for e in (found.clean, *rows)])


def test_a_last_row_that_is_not_full_shows_no_empty_panel(found):
    four = report.Robustness("AUC", found.clean, dict.fromkeys("abcd", found.corrupted["noise"]))
    panels = report.robustness_figure(four).axes
    assert [axes.get_visible() for axes in panels] == [True] * 4 + [False] * 2


def test_the_page_says_what_costs_most_and_the_record_holds_it(found, tmp_path):
    made = report.classification([0, 1, 0, 1], [0.2, 0.9, 0.4, 0.7]).replace(robustness=found)
    written = report.write(made, tmp_path)
    page = written.report.read_text()
    section = page[page.index('id="robustness"') :]
    worst = found.corrupted["bias_field"][-1].value
    assert f"At the strongest bias field costs most: {worst:.3f}." in section
    record = json.loads(written.metrics.read_text())["robustness"]
    assert record["metric"] == "AUC"
    assert record["clean"]["value"] == found.clean.value
    assert [len(rows) for rows in record["corrupted"].values()] == [5, 5]


@pytest.mark.parametrize("rows", [{}, {"noise": []}, {"noise": [1], "blur": [1, 2]}])
def test_corruptions_have_as_many_strengths_each(found, rows):
    with pytest.raises(ValueError, match="as many strengths each"):
        report.robustness_figure(report.Robustness("AUC", found.clean, rows))
