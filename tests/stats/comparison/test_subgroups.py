"""Subgroups and concordance."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import stats


def test_concordance_is_auc_for_one_time_of_events() -> None:
    rng = np.random.default_rng(4)
    risk = rng.normal(size=60)
    event = rng.integers(0, 2, 60)
    time = np.where(event == 1, 1.0, 2.0)
    e = stats.concordance(time, event, risk)
    assert e.value == pytest.approx(stats.auc(event, risk).value)
    assert e.se == pytest.approx(stats.auc(event, risk, method="delong").se, rel=0.1)
    assert stats.cliffs_delta([2, 3], [1, 2]).value == pytest.approx(0.75)


def test_subgroups_find_the_site_that_differs() -> None:
    rng = np.random.default_rng(5)
    site = np.repeat(["a", "b", "c"], 150)
    y = rng.integers(0, 2, 450)
    x = y * np.where(site == "c", 0.1, 1.8) + rng.normal(size=450)
    s = stats.subgroups(stats.auc, y, x, site, n_resamples=200)
    assert s.differences["c"].p_value < 0.01
    assert s.gap.details["smallest"] == "c"
    assert s.gap.lower > 0
    assert s.estimates["a"].value == pytest.approx(stats.auc(y[:150], x[:150]).value)
    rare = stats.subgroups(
        stats.auc, y, x, np.where(np.arange(450) < 5, "rare", site), n_resamples=50
    )
    assert "rare" in rare.notes[0]
