"""Splits against scikit-learn's, and by what each promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import model_selection as sk

from jaxmed import data, protocols

COUNTS = {
    "k_fold": (lambda n: protocols.k_fold(n, 4), sk.KFold(4)),
    "repeated": (
        lambda n: protocols.repeated(n, 4, 3),
        sk.RepeatedKFold(n_splits=4, n_repeats=3),
    ),
    "leave_one_out": (protocols.leave_one_out, sk.LeaveOneOut()),
    "monte_carlo": (
        lambda n: protocols.monte_carlo(n, 6, test=0.25),
        sk.ShuffleSplit(6, test_size=0.25),
    ),
}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("n", [12, 24])
def test_sizes_are_scikit_learns(name, n):
    ours, theirs = COUNTS[name]
    made = ours(n)
    expected = [(len(train), len(test)) for train, test in theirs.split(np.zeros(n))]
    assert sorted((len(s.train), len(s.test)) for s in made) == sorted(expected)


def test_left_out_sites_are_scikit_learns():
    sites = np.array(list("bacabcba"))
    ours = {tuple(s.test): tuple(s.train) for s in protocols.leave_one_site_out(8, sites)}
    theirs = {
        tuple(test): tuple(train)
        for train, test in sk.LeaveOneGroupOut().split(np.zeros(8), groups=sites)
    }
    assert ours == theirs
    assert [s.name for s in protocols.leave_one_site_out(8, sites)] == ["b", "a", "c"]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 500))
def test_stratified_folds_are_as_even_as_scikit_learns(seed):
    y = np.random.default_rng(seed).integers(0, 3, 61)
    ours = [np.bincount(y[s.test], minlength=3) for s in protocols.k_fold(y, 5, seed=seed)]
    theirs = [np.bincount(y[test], minlength=3) for _, test in sk.StratifiedKFold(5).split(y, y)]
    assert np.ptp(ours, axis=0).max() <= max(np.ptp(theirs, axis=0).max(), 1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 500))
def test_patients_stay_whole_in_every_scheme(seed):
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, 20, 60)
    y = rng.integers(0, 2, 60)
    site_of = rng.integers(0, 3, 20)
    schemes = [
        protocols.k_fold(y, 4, groups=patients, seed=seed),
        protocols.repeated(y, 3, 2, groups=patients, seed=seed),
        protocols.monte_carlo(y, 3, groups=patients, seed=seed),
        protocols.leave_one_out(60, groups=patients),
        protocols.leave_one_site_out(60, site_of[patients], groups=patients),
        protocols.nested(y, 3, 2, groups=patients, seed=seed),
    ]
    for scheme in schemes:
        for one in [*scheme, *(i for s in scheme for i in s.inner)]:
            assert not set(patients[one.train]) & set(patients[one.test])
            assert len(one.test)
            assert len(one.train)


def test_every_case_is_tested_once_a_repetition():
    made = protocols.repeated(30, 5, 3, seed=2)
    for r in range(3):
        tested = np.concatenate([s.test for s in made if s.repeat == r])
        np.testing.assert_array_equal(np.sort(tested), np.arange(30))
    firsts = [s.test.tolist() for s in made if s.fold == 0]
    assert len({tuple(t) for t in firsts}) == 3
    assert firsts[0] == protocols.k_fold(30, 5, seed=2)[0].test.tolist()


def test_inner_folds_never_see_the_outer_test_part():
    y = np.arange(40) % 2
    for one in protocols.nested(y, 4, 3, seed=1):
        inside = np.concatenate([i.test for i in one.inner])
        np.testing.assert_array_equal(np.sort(inside), one.train)
        for i in one.inner:
            np.testing.assert_array_equal(np.union1d(i.train, i.test), one.train)
            assert abs(y[i.test].mean() - 0.5) < 0.1


def test_a_source_is_parted_by_its_patients_and_columns():
    source = data.ArraySource(
        {"label": np.arange(12) % 2, "site": np.arange(12) // 6},
        groups=[f"p{i // 2}" for i in range(12)],
    )
    assert len(protocols.leave_one_out(source)) == 6
    assert [len(s.test) for s in protocols.leave_one_site_out(source, "site")] == [6, 6]
    inner = protocols.nested(source, 3, 2, stratify="label")[0].inner
    assert {len(s.test) for s in inner} == {4}


def test_bad_schemes_are_refused_by_name():
    with pytest.raises(data.DataError, match="patient p is in both"):
        protocols.leave_one_site_out(3, ["x", "y", "y"], groups=["p", "p", "q"])
    with pytest.raises(data.DataError, match="1 unit cannot be divided"):
        protocols.leave_one_site_out(3, ["x", "x", "x"])
    with pytest.raises(ValueError, match="sites has 2 entries for 3 cases"):
        protocols.leave_one_site_out(3, ["x", "y"])
    with pytest.raises(ValueError, match="share between 0 and 1"):
        protocols.monte_carlo(10, test=1.2)
    with pytest.raises(ValueError, match="repeats is at least 1"):
        protocols.repeated(10, repeats=0)
    with pytest.raises(ValueError, match="at least 2 folds"):
        protocols.k_fold(10, 1)
    with pytest.raises(data.DataError, match="leave part"):
        protocols.k_fold(3, 5)
