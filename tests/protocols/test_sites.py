"""Scores site by site: by hand, over sites, at another, and what is no study of sites."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats as scipy_stats

from jaxmed import protocols, report
from jaxmed.protocols import Study, site_scores

SITES = np.array(["north", "south", "east", "west"])[np.arange(80) % 4]
Y = np.arange(80) // 4 % 2
GAPS = {"north": 1.0, "south": 0.2, "east": 0.5, "west": 0.7}
FEW = {"n_resamples": 40}


def accuracy(labels, outputs):
    return np.mean(outputs.argmax(1) == labels)


def area(labels, outputs):
    """The share of pairs in the right order: thousands of bootstrap samples ask for it."""
    ill, well = outputs[labels == 1, 1, None], outputs[labels == 0, 1]
    return np.mean((ill > well) + (ill == well) / 2) if ill.size and well.size else np.nan


def made(seeds=(0, 1), **change):
    """A study whose models do better at some sites."""
    rng = np.random.default_rng(0)
    splits = tuple(protocols.leave_one_site_out(80, SITES.tolist()))
    outputs = {}
    for arm, gain in (("a", 1.0), ("b", 0.5)):
        for at, one in enumerate(splits):
            for seed in seeds:
                logit = rng.normal(GAPS[one.name] * gain * (2 * Y[one.test] - 1), 1)
                p = 1 / (1 + np.exp(-logit))
                outputs[arm, at, seed] = np.stack([1 - p, p], 1)
    study = Study(("a", "b"), splits, tuple(seeds), outputs, Y, tuple(map(str, range(80))), None)
    return dataclasses.replace(study, **change)


def test_a_sites_score_is_that_of_the_models_that_did_not_see_it():
    study = made()
    found = site_scores(study, area, name="AUC", bounds=(0, 1), **FEW)
    for at, one in enumerate(study.splits):
        by_hand = np.mean([area(Y[one.test], study.outputs["a", at, s]) for s in (0, 1)])
        estimate = found["a"].sites[one.name]
        assert estimate.value == pytest.approx(by_hand)
        assert estimate.n == 20
        assert 0 <= estimate.lower < by_hand < estimate.upper <= 1
    scores = {site: e.value for site, e in found["a"].sites.items()}
    assert found["a"].lowest == min(scores, key=scores.__getitem__)
    assert found["a"].highest == max(scores, key=scores.__getitem__)


def test_over_sites_each_counts_once_and_another_is_farther():
    study = made()
    found = site_scores(study, lambda y, p: p[:, 1].mean(), **FEW)["b"]
    values = np.array([e.value for e in found.sites.values()])
    expected = scipy_stats.t.interval(0.95, 3, values.mean(), values.std(ddof=1) / 2)
    assert found.mean.value == pytest.approx(values.mean())
    np.testing.assert_allclose((found.mean.lower, found.mean.upper), expected, rtol=1e-6)
    assert (found.mean.n, found.mean.unit) == (4, "site")
    another = scipy_stats.t.interval(0.95, 3, values.mean(), values.std(ddof=1) * np.sqrt(1.25))
    np.testing.assert_allclose(found.another, another, rtol=1e-6)


def test_another_site_is_expected_where_it_says():
    """Of sites drawn anew, 95 in a hundred lie between the limits."""
    rng, inside = np.random.default_rng(0), []
    splits = tuple(protocols.leave_one_site_out(30, (np.arange(30) // 5).tolist()))
    for _ in range(400):
        level = rng.normal(size=7)
        outputs = {("a", at, 0): np.full((5, 1), level[at]) for at in range(6)}
        study = Study(("a",), splits, (0,), outputs, np.zeros(30), tuple(map(str, range(30))), None)
        low, high = site_scores(study, lambda y, p: p.mean(), n_resamples=2)["a"].another
        inside.append(low < level[6] < high)
    assert 0.92 < np.mean(inside) < 0.98


def test_bounds_cut_and_a_single_class_is_left_out():
    labels = np.where(SITES == "east", 1, Y)
    found = site_scores(made(labels=labels), area, bounds=(0, 1), **FEW)["a"]
    assert sorted(found.sites) == ["north", "south", "west"]
    assert any(note.startswith("east: left out") for note in found.mean.notes)
    assert found.another[0] >= 0
    assert found.another[1] <= 1
    assert found.mean.upper <= 1


def test_a_site_of_one_case_has_a_score_and_no_interval():
    sites = np.where(np.arange(80) == 7, "alone", SITES)
    splits = tuple(protocols.leave_one_site_out(80, sites.tolist()))
    outputs = {("a", at, 0): np.eye(2)[Y[one.test]] for at, one in enumerate(splits)}
    found = site_scores(made(splits=splits, outputs=outputs, arms=("a",), seeds=(0,)), accuracy,
                        **FEW)["a"]  # fmt: skip
    alone = found.sites["alone"]
    assert alone.value == 1
    assert np.isnan(alone.lower)
    assert "at least 2 units" in alone.notes[0]


def test_failures_are_told_and_nothing_at_all_is_refused():
    study = made()
    fewer = {k: v for k, v in study.outputs.items() if not (k[0] == "a" and k[1] == 1)}
    found = site_scores(dataclasses.replace(study, outputs=fewer), area, **FEW)
    assert len(found["a"].sites) == 3
    assert any("every training failed" in note for note in found["a"].mean.notes)
    with pytest.raises(ValueError, match="a has no score at any site"):
        site_scores(made(labels=np.ones(80, int)), area, **FEW)
    with pytest.raises(ValueError, match="whose splits are named"):
        site_scores(made(splits=tuple(protocols.k_fold(Y, 4))), area, **FEW)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"bounds": (1, 0)}, r"bounds are \(least, greatest\)"),
        ({"bounds": (np.nan, 1)}, r"bounds are \(least, greatest\)"),
        ({"bounds": (2, 3)}, r"the metric is .* at \w+, outside of its bounds \(2, 3\)"),
        ({"n_resamples": 1}, "n_resamples must be at least 2"),
        ({"level": 95}, r"level must lie in \(0, 1\)"),
    ],
)
def test_settings_that_would_give_no_interval_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        site_scores(made(), area, **{**FEW, **options})


def test_a_report_has_every_site_and_the_mean_over_them(tmp_path):
    study = made()
    results = report.from_study(study, sites="hospital", n_resamples=40)
    over = results.comparison.models["a"]["auc/over hospitals"]
    expected = site_scores(study, area, bounds=(0, 1), n_resamples=40)["a"]
    assert over.value == pytest.approx(expected.mean.value)
    table = next(t for t in results.subgroups if (t.model, t.metric) == ("a", "auc"))
    assert {site: e.value for site, e in table.found.estimates.items()} == pytest.approx(
        {site: e.value for site, e in expected.sites.items()}
    )
    written = report.write(results, tmp_path)
    page = written.report.read_text()
    assert "left out of the training of the models that predicted it" in page
    assert "p-values corrected within the table" not in page
    assert "AUC, over hospitals" in page
