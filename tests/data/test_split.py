from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed import data

PARTS = {"train": 0.6, "val": 0.15, "test": 0.25}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=30, max_size=120),
    st.integers(0, 1000),
)
def test_classes_are_shared_to_within_one(labels, seed):
    labels = np.array(labels)
    parts = data.split(labels, PARTS, seed=seed)
    together = np.concatenate(list(parts.values()))
    np.testing.assert_array_equal(np.sort(together), np.arange(len(labels)))
    for name, share in PARTS.items():
        for k in np.unique(labels):
            expected = share * (labels == k).sum()
            assert abs((labels[parts[name]] == k).sum() - expected) <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_patients_stay_whole_and_classes_balanced(seed):
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, 60, 200)
    labels = (rng.random(60) < 0.3)[patients].astype(int)
    parts = data.split(200, PARTS, groups=patients, stratify=labels, seed=seed)
    members = [set(patients[i]) for i in parts.values()]
    assert sum(map(len, members)) == len(set.union(*members))
    for name, share in PARTS.items():
        assert abs(len(parts[name]) / 200 - share) < 0.02
        assert abs(labels[parts[name]].sum() / max(labels.sum(), 1) - share) < 0.05


def test_splits_are_seeded():
    a = data.split(50, PARTS, seed=1)
    b = data.split(50, PARTS, seed=1)
    c = data.split(50, PARTS, seed=2)
    assert all((a[k] == b[k]).all() for k in a)
    assert any(a[k].tolist() != c[k].tolist() for k in a)


def test_several_labels_an_example_are_stratified():
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 5)) < [0.5, 0.2, 0.1, 0.05, 0.03]).astype(int)
    parts = data.split(labels, PARTS)
    for name, share in PARTS.items():
        got = labels[parts[name]].sum(0)
        np.testing.assert_allclose(got, share * labels.sum(0), atol=3.5)  # in cases
        assert abs(len(parts[name]) - 300 * share) <= 9


def test_folds_test_everyone_once_by_patient_of_the_source():
    source = data.ArraySource(
        {"label": np.arange(24) % 2}, groups=[f"p{i // 2}" for i in range(24)]
    )
    made = data.folds(source, 4, stratify="label", seed=3)
    tested = np.concatenate([f.test for f in made])
    np.testing.assert_array_equal(np.sort(tested), np.arange(24))
    for fold in made:
        assert len(fold.test) == 6
        np.testing.assert_array_equal(
            np.sort(np.concatenate([fold.train, fold.test])), np.arange(24)
        )
        data.check_disjoint(fold._asdict(), groups=source.groups)


def test_a_leak_is_refused_by_name():
    with pytest.raises(data.DataError, match="patients ann, bob are in both 'train' and 'test'"):
        data.check_disjoint({"train": [0, 1], "test": [2, 3]}, groups=["ann", "bob", "bob", "ann"])
    with pytest.raises(data.DataError, match="example 1 is in both"):
        data.check_disjoint({"train": [0, 1], "test": [1]})
    data.check_disjoint({"train": [0, 1], "test": [2]}, groups=["ann", "ann", "bob"])


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: data.split(2, PARTS), "2 examples leave part"),
        (lambda: data.split(9, PARTS, groups=[0] * 9), "1 patients leave part"),
        (lambda: data.folds(3, 5), "3 examples leave part"),
        (lambda: data.check_disjoint({"train": [1], "test": []}), "'test' is empty"),
        (lambda: data.split([], PARTS), "no examples"),
    ],
)
def test_an_empty_part_is_refused(make, match):
    with pytest.raises(data.DataError, match=match):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: data.split(9, {"a": 0.5, "b": 0.4}),
        lambda: data.split(9, {"a": 1.5, "b": -0.5}),
        lambda: data.split(9, PARTS, groups=[1, 2]),
        lambda: data.split(9, PARTS, stratify="label"),
        lambda: data.folds(9, 1),
    ],
)
def test_nonsense_is_refused(make):
    with pytest.raises(ValueError, match=r"sum to 1|entries|column|at least 2"):
        make()
