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


def test_a_column_that_a_map_leaves_alone_is_read_without_it():
    def fail(batch):
        raise AssertionError("called")

    mapped = data.map_source(SOURCE, fail, batched=True, changes=("image",))
    np.testing.assert_array_equal(data.column(data.subset(mapped, [3, 1]), "label"), [3, 1])
    with pytest.raises(AssertionError, match="called"):
        data.column(mapped, "image")


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


def test_grain_sources_fit():
    grain = pytest.importorskip("grain")
    mapped = grain.MapDataset.range(6).map(lambda i: {"x": np.full(2, i)})
    b = data.batches(mapped, 4, shuffle=False)
    np.testing.assert_array_equal(b[1]["x"][:2, 0], [4, 5])
    np.testing.assert_array_equal(b[1]["weight"], [1, 1, 0, 0])


def test_tfds_sources_fit_without_tensorflow(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("array_record")

    class Tiny(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = tmp_path

        def _info(self):
            image = tfds.features.Tensor(shape=(4, 4, 1), dtype=np.float32)
            label = tfds.features.ClassLabel(num_classes=2)
            features = tfds.features.FeaturesDict({"image": image, "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i in range(5):
                yield i, {"image": np.full((4, 4, 1), i, np.float32), "label": i % 2}

    builder = Tiny(data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    source = data.as_source(builder.as_data_source(split="train"))
    seen = [batch["image"][batch["weight"] > 0, 0, 0, 0] for batch in data.batches(source, 2)]
    assert sorted(np.concatenate(seen).tolist()) == [0, 1, 2, 3, 4]


def test_a_source_may_read_several_items_at_once():
    class Several:
        def __len__(self):
            return 3

        def __getitem__(self, i):
            raise AssertionError("one by one")

        def __getitems__(self, indices):
            return [{"x": np.full(2, i)} for i in indices]

    np.testing.assert_array_equal(data.take(Several(), [2, 0])["x"][:, 1], [2, 0])
