"""The section of a report on curves of labels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jaxmed import protocols, report
from jaxmed.quantities import auc


@pytest.fixture(scope="module")
def curve():
    rng = np.random.default_rng(0)
    y = np.arange(30) % 2
    rise = np.linspace(0.4, 1.6, 3)[None, :, None]
    noise = rng.normal(size=(3, 3, 30))
    outputs = {
        "random": y * rise + noise,
        "<typical>": y * (rise + 1.5) + noise,
        "late": y * (rise - 1.2) + noise,
    }
    return protocols.label_curve(
        outputs, y, [10, 20, 40], lambda y, x: auc(y == 1, x), name="AUC", unit="slices"
    )


def results(curve):
    made = report.classification([0, 1, 0, 1], [0.2, 0.9, 0.4, 0.7])
    return made.replace(label_curve=curve)


def test_the_figure_draws_each_strategy_with_what_it_saves(curve):
    (axes,) = report.label_curve_figure(curve).axes
    drawn = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    assert [name.partition(",")[0] for name in drawn] == ["random", "<typical>", "late"]
    assert f"{100 * curve.saved['<typical>']:.0f}% saved" in [*drawn][1]
    for name, line in zip(curve.points, drawn.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [10, 20, 40])
        np.testing.assert_allclose(line.get_ydata(), [e.value for e in curve.points[name]])
    assert len(axes.collections) == 3
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Number of slices", "AUC")


def test_the_page_says_what_helps_and_the_record_holds_it(curve, tmp_path):
    written = report.write(results(curve), tmp_path)
    page = written.report.read_text()
    section = page[page.index('id="label-curve"') :]
    assert "Better than random: &lt;typical&gt;. Worse: late." in section
    assert "late never" in section
    assert "paired by seed and case, with 95% intervals" in section
    assert "<typical>" not in page
    record = json.loads(written.metrics.read_text())["label_curve"]
    assert record["counts"] == [10, 20, 40]
    assert (record["metric"], record["unit"]) == ("AUC", "slices")
    assert "AUC by the number of slices" in section
    assert record["gains"]["late"]["upper"] == pytest.approx(curve.gains["late"].upper)
    assert record["saved"]["late"] is None
    assert len(record["points"]["random"]) == 3


@pytest.mark.slow
def test_it_is_said_where_nothing_helps(curve):
    none = curve._replace(gains={"late": curve.gains["late"]}, saved={"late": float("nan")})
    assert "No strategy is shown to be better than random here." in report.html(results(none))
    assert "label-curve" not in report.html(results(None))
