"""A metric over training runs: against the reader study's analysis, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import stats


def study(runs=4, cases=40, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(cases) % 2)
    shared = rng.normal(size=cases)
    scores = [labels * gain + shared + 0.7 * rng.normal(size=(runs, cases)) for gain in (1.4, 1.0)]
    return labels, *scores


def area(y, x):
    return stats.auc(y, x).value


def test_the_difference_is_obuchowski_and_rockettes():
    labels, first, second = study()
    runs, cases = first.shape
    reader = np.tile(np.repeat(np.arange(runs), cases), 2)
    treatment = np.repeat([0, 1], runs * cases)
    case = np.tile(np.arange(cases), 2 * runs)
    rating = np.concatenate([first.ravel(), second.ravel()])
    expected = stats.reader_test(stats.reader_study(labels[case], rating, reader, treatment, case))
    found = stats.over_runs(area, labels, first, baseline=second)
    reference = expected.differences["0 - 1"]
    np.testing.assert_allclose(found.value, reference.effect)
    np.testing.assert_allclose((found.lower, found.upper), reference.interval)
    np.testing.assert_allclose(found.details["p_value"], reference.p_value)
    np.testing.assert_allclose(found.details["df"], reference.df)
    alone = stats.over_runs(area, labels, first)
    np.testing.assert_allclose(
        (alone.value, alone.lower, alone.upper),
        (expected.means[0].value, expected.means[0].lower, expected.means[0].upper),
    )


def test_one_run_speaks_for_cases_alone():
    labels, first, _ = study(runs=1)
    found = stats.over_runs(lambda y, x: float(((x > 0) == y).mean()), labels, first)
    # The jackknife's error of a mean is s / sqrt(n).
    right = ((first[0] > 0) == labels).astype(float)
    np.testing.assert_allclose(found.se, right.std(ddof=1) / np.sqrt(len(right)))
    assert "one run" in found.notes[0]


def test_cases_that_are_there_twice_are_one_patient():
    labels, first, second = study(runs=3)
    names = np.random.default_rng(0).permutation(len(labels)).astype(str)
    twice = np.repeat(np.arange(len(labels)), 2)
    for baseline in (None, second):
        once = stats.over_runs(area, labels, first, baseline=baseline)
        single = stats.over_runs(area, labels, first, baseline=baseline, groups=names)
        doubled = stats.over_runs(
            area, labels[twice], first[:, twice], groups=names[twice],
            baseline=None if baseline is None else baseline[:, twice],
        )  # fmt: skip
        for found in (single, doubled):
            np.testing.assert_allclose(
                (found.value, found.lower, found.upper), (once.value, once.lower, once.upper)
            )
        assert (doubled.details["cases"], doubled.details["groups"]) == (80, 40)


def test_a_distance_below_one_is_no_share():
    """Its interval ends where the metric does, which its values alone do not tell."""
    rng = np.random.default_rng(0)
    away = rng.exponential(0.9, (3, 20)) * np.array([[0.4], [1.0], [1.12]])
    options = {"metric": lambda y, x: x.mean(), "labels": np.zeros(20), "scores": away}
    assert max(away.mean(axis=1)) < 1
    taken = stats.over_runs(**options)
    said = stats.over_runs(**options, bounds=(0, np.inf))
    assert taken.upper == 1 < said.upper
    assert said.lower == taken.lower >= 0
    assert said.upper - said.value == pytest.approx(
        stats.over_runs(options["metric"], np.zeros(20), 10 * away).upper / 10 - said.value
    )


def test_equal_runs_differ_by_nothing():
    labels, first, _ = study(runs=2)
    found = stats.over_runs(area, labels, first, baseline=first)
    assert (found.value, found.lower, found.upper) == (0, 0, 0)
    assert found.details["p_value"] == 1


def test_covers_in_simulation():
    # Runs with a spread of their own: the interval must hold the mean over runs and cases.
    hits = 0
    rng = np.random.default_rng(1)
    for _ in range(200):
        ability = rng.normal(0.0, 0.05, size=5)[:, None]
        easy = rng.normal(0, 0.3, size=60)
        right = (rng.random((5, 60)) < np.clip(0.7 + ability + 0.2 * easy, 0, 1)).astype(float)
        found = stats.over_runs(lambda y, x: float(x.mean()), np.zeros(60), right)
        hits += found.lower <= 0.7 <= found.upper
    assert hits >= 180


@pytest.mark.parametrize(
    ("scores", "baseline", "match"),
    [
        (np.zeros((2, 3)), None, r"labels have the shape \(4,\), scores \(2, 3\)"),
        (np.zeros((2, 4)), np.zeros((3, 4)), r"baseline has the shape \(3, 4\)"),
    ],
)
def test_shapes_are_told(scores, baseline, match):
    with pytest.raises(ValueError, match=match):
        stats.over_runs(area, np.array([0, 1, 0, 1]), scores, baseline=baseline)
    with pytest.raises(ValueError, match="all cases are of one"):
        stats.over_runs(area, [0, 1], np.zeros((2, 2)), groups=["a", "a"])
