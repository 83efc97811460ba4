from __future__ import annotations

import numpy as np
import pytest

from jaxmed import data

SOURCE = data.ArraySource(
    {"image": np.arange(5 * 4.0).reshape(5, 2, 2, 1), "label": np.arange(5)},
    case_ids=["a", "b", "c", "d", "e"],
    groups=["p", "p", "q", "q", "r"],
    classes=("x", "y"),
    notes=("hand made",),
)


def test_array_source_reads_one_and_many():
    assert len(SOURCE) == 5
    np.testing.assert_array_equal(SOURCE[3]["image"], SOURCE.arrays["image"][3])
    many = data.take(SOURCE, [4, 0])
    np.testing.assert_array_equal(many["label"], [4, 0])
    np.testing.assert_array_equal(data.column(SOURCE, "label"), np.arange(5))


@pytest.mark.parametrize(
    ("arrays", "rule"),
    [
        ({}, "non-empty"),
        ({"image": np.zeros((0, 2))}, "non-empty"),
        ({"image": np.zeros((3, 2)), "label": np.zeros(2)}, "length"),
        ({"image": np.zeros(())}, "length"),
    ],
)
def test_array_source_refuses_what_is_no_source(arrays, rule):
    with pytest.raises(data.DataError, match=f"rule {rule}") as caught:
        data.ArraySource(arrays)
    assert [fault.rule for fault in caught.value.faults] == [rule]


def test_subset_keeps_names_patients_classes_and_notes():
    part = data.subset(SOURCE, [4, 2])
    assert part.case_ids == ("e", "c")
    assert part.groups == ("r", "q")
    assert part.classes == ("x", "y")
    assert part.notes == ("hand made",)
    np.testing.assert_array_equal(data.take(part, [1, 0])["label"], [2, 4])
    np.testing.assert_array_equal(data.column(part, "label"), [4, 2])
    again = data.subset(part, [False, True])
    assert again[0]["label"] == 2


@pytest.mark.parametrize("bad", [[5], [-1]])
def test_subset_refuses_positions_outside(bad):
    with pytest.raises(IndexError, match=r"\[0, 5\)"):
        data.subset(SOURCE, bad)


def test_empty_subset_is_refused():
    with pytest.raises(data.DataError, match="no examples"):
        data.subset(SOURCE, [])


@pytest.mark.parametrize("batched", [False, True])
def test_map_source_agrees_for_one_and_many(batched):
    mapped = data.map_source(SOURCE, lambda e: {"y": 2 * e["label"]}, batched=batched)
    assert mapped[3]["y"] == 6
    np.testing.assert_array_equal(data.take(mapped, [1, 2])["y"], [2, 4])
    np.testing.assert_array_equal(data.column(mapped, "y"), 2 * np.arange(5))
    assert data.case_ids(mapped) == SOURCE.case_ids


def test_examples_of_two_shapes_name_the_case():
    ragged = data.as_source([{"x": np.zeros(2)}, {"x": np.zeros(3)}])
    with pytest.raises(data.DataError, match=r"^1: x has shape \(3,\)"):
        data.take(ragged, [0, 1])
    with pytest.raises(data.DataError, match="fields"):
        data.take(data.as_source([{"x": 1}, {"y": 1}]), [0, 1])


def test_in_memory_keeps_arrays_or_a_list():
    reads = []

    def read(example):
        reads.append(1)
        return example

    same = data.in_memory(data.map_source(SOURCE, read))
    assert isinstance(same, data.ArraySource)
    assert same.case_ids == SOURCE.case_ids
    before = len(reads)
    data.take(same, [0, 1])
    assert len(reads) == before
    ragged = data.in_memory([{"x": np.zeros(2)}, {"x": np.zeros(3)}])
    assert isinstance(ragged, data.ListSource)
    assert ragged[1]["x"].shape == (3,)


def test_as_source_names_the_parts_of_tuples_and_renames_fields():
    pairs = data.as_source([(np.zeros(2), 1), (np.ones(2), 0)], names=("image", "label"))
    np.testing.assert_array_equal(data.take(pairs, [1, 0])["label"], [0, 1])
    renamed = data.as_source([{"img": np.ones(2), "id": "x"}], names={"img": "image"})
    assert renamed[0].keys() == {"image"}
    with pytest.raises(TypeError, match="names="):
        data.as_source([(np.zeros(2), 1)])
    with pytest.raises(TypeError, match="length"):
        data.as_source(iter([]))
    with pytest.raises(data.DataError, match="no examples"):
        data.as_source([])


def test_grain_and_tfds_sources_fit():
    grain = pytest.importorskip("grain")
    mapped = grain.MapDataset.range(6).map(lambda i: {"x": np.full(2, i)})
    b = data.batches(mapped, 4, shuffle=False)
    np.testing.assert_array_equal(b[1]["x"][:, 0], [4, 5, 4, 4])
    tfds = pytest.importorskip("tensorflow_datasets")
    assert hasattr(tfds, "data_source")  # its sources offer __getitems__, as this one does:

    class Like:
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return {"x": np.full(2, i)}

        def __getitems__(self, indices):
            return [self[i] for i in indices]

    np.testing.assert_array_equal(data.take(Like(), [2, 0])["x"][:, 1], [2, 0])
