"""Data sets of TensorFlow Datasets without TensorFlow, and pipelines of Grain."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest

import jaxmed as jm
from jaxmed import data

tfds = pytest.importorskip("tensorflow_datasets")
grain = pytest.importorskip("grain")


def source(n=5, shapes=((3, 4),)):
    rng = np.random.default_rng(0)
    examples = [
        {"image": rng.normal(size=(*shapes[i % len(shapes)], 1)).astype(np.float32),
         "label": np.int32(i % 2)}
        for i in range(n)
    ]  # fmt: skip
    about = {"case_ids": [f"c{i}" for i in range(n)], "groups": [f"p{i // 2}" for i in range(n)]}
    return data.ListSource(tuple(examples), **about, classes=("a", "b"), notes=())


@pytest.mark.parametrize("shapes", [((3, 4),), ((3, 4), (5, 2))])
def test_a_source_comes_back_from_tfds_with_its_names(tmp_path, shapes):
    given = source(shapes=shapes)
    folder = data.write_tfds(tmp_path, {"train": given, "test": source(2)}, name="mine")
    assert folder == tmp_path / "mine" / "1.0.0"
    again = data.read_tfds(folder)
    # Records lie shuffled; names tell which is which.
    order = [again.case_ids.index(name) for name in given.case_ids]
    assert sorted(order) == list(range(5))
    assert [again.groups[i] for i in order] == [*given.groups]
    assert again.classes == ("a", "b")
    for i, position in enumerate(order):
        np.testing.assert_array_equal(again[position]["image"], given[i]["image"])
        assert again[position]["label"] == given[i]["label"]
    assert len(data.read_tfds(folder, "test")) == 2
    plain = data.as_source(tfds.builder_from_directory(str(folder)).as_data_source(split="train"))
    assert len(plain) == 5
    assert "tensorflow" not in sys.modules
    with pytest.raises(data.DataError, match="no split 'val'; there are"):
        data.read_tfds(folder, "val")
    with pytest.raises(data.DataError, match=r"dataset_info\.json"):
        data.read_tfds(tmp_path)


def test_parts_that_do_not_fit_are_named_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="image of example 0 of test is float32 of 2 axes"):
        data.write_tfds(
            tmp_path, {"train": source(), "test": [{"image": np.ones((3, 4), np.float32),
                                                    "label": np.int32(0)}]}, name="x",
        )  # fmt: skip
    with pytest.raises(ValueError, match="at least one split"):
        data.write_tfds(tmp_path, {}, name="x")
    assert not any(tmp_path.iterdir())


def pipeline(n=12):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    rows = data.to_grain(data.ArraySource({"image": x, "label": (x[:, 0] > 0).astype(np.int32)}))
    return rows.seed(3).shuffle().batch(4)


def test_a_pipeline_of_grain_is_a_function_of_the_step():
    batches = data.grain_batches(pipeline())
    assert len(batches) == 3
    from_the_fifth = [next(it)["image"] for it in [batches.iterate(4)] for _ in range(3)]
    for step, images in enumerate(from_the_fifth, start=4):
        np.testing.assert_array_equal(images, batches[step]["image"])
    # Each epoch has every row once, in an order of its own.
    epochs = [np.concatenate([batches[3 * e + i]["image"] for i in range(3)]) for e in range(2)]
    assert not np.array_equal(*epochs)
    np.testing.assert_array_equal(*[np.sort(epoch, axis=0) for epoch in epochs])


@pytest.mark.slow
def test_a_run_on_a_pipeline_goes_on_at_the_batch_where_it_was_cut(tmp_path):
    import optax

    learner = jm.learner(
        jm.from_linen(jm.networks.mlp(2, hidden=())), jm.supervised(jm.losses.cross_entropy),
        optax.sgd(0.1),
    )  # fmt: skip
    options = {"seed": 0, "progress": False}
    whole = jm.fit(learner, data.grain_batches(pipeline()), steps=8, **options)
    jm.fit(learner, data.grain_batches(pipeline()), steps=5, out=tmp_path, **options)
    cut = jm.fit(learner, data.grain_batches(pipeline()), steps=8, out=tmp_path, **options)
    same = jax.tree.map(np.array_equal, whole.state.params, cut.state.params)
    assert all(jax.tree.leaves(same))
    other = data.grain_batches(pipeline(16))
    with pytest.raises(jm.train.CheckpointError, match="of another run"):
        jm.fit(learner, other, steps=9, out=tmp_path, **options)


def test_shards_share_the_rows_out_and_what_is_no_pipeline_is_refused():
    rows = data.ArraySource({"x": np.arange(7)})
    parts = [[int(e["x"]) for e in data.to_grain(rows, shard=(i, 3))] for i in range(3)]
    assert sorted(x for part in parts for x in part) == list(range(7))
    with pytest.raises(ValueError, match="process below processes"):
        data.to_grain(rows, shard=(3, 3))
    with pytest.raises(TypeError, match=r"wants a grain\.MapDataset"):
        data.grain_batches(pipeline().to_iter_dataset())
    with pytest.raises(TypeError, match="items are dicts of arrays"):
        data.grain_batches(grain.MapDataset.range(6).batch(2))


KINDS = [
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16",
    "float32", "float64", ">i2", "str",
]  # fmt: skip
SHAPES = {"scalar": [()], "same": [(2, 3)], "none": [(2, 0)], "differ": [(2, 3), (4, 1), (0, 2)]}


def odd(kind, shape, rng):
    """Values at the ends of a type, and texts of different lengths."""
    if kind == "str":
        words = ["", "é", "two words", "a" * 40]
        return np.array([words[k] for k in rng.integers(0, 4, int(np.prod(shape)))]).reshape(shape)
    dtype = np.dtype(kind)
    ends = [0, 1]
    if dtype.kind in "iu":
        ends += [np.iinfo(dtype).min, np.iinfo(dtype).max]
    elif dtype.kind == "f":
        ends += [np.nan, -np.inf, np.finfo(dtype).max, np.finfo(dtype).tiny, 1 / 3]
    return np.array(ends, dtype)[rng.integers(0, len(ends), shape)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_type_and_shape_comes_back_to_the_bit_or_is_refused_by_name(tmp_path, shape):
    rng = np.random.default_rng(0)
    shapes = SHAPES[shape]
    kinds = [kind for kind in KINDS if kind != "str" or shape != "differ"]
    examples = [
        {f"x{k}": odd(kind, shapes[i % len(shapes)], rng) for k, kind in enumerate(kinds)}
        for i in range(3)
    ]
    source = data.ListSource(tuple(examples), ("a", "b", "c"), None, classes=(), notes=())
    again = data.read_tfds(data.write_tfds(tmp_path, {"train": source}, name="odd"))
    for i, name in enumerate("abc"):
        found = again[again.case_ids.index(name)]
        for k, kind in enumerate(kinds):
            given, value = examples[i][f"x{k}"], found[f"x{k}"]
            assert value.shape == given.shape, kind
            if kind != "str":
                assert value.dtype == given.dtype.newbyteorder("="), kind
            np.testing.assert_array_equal(value, given, err_msg=kind)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("x", np.zeros(2, np.complex64), "x of example 0 of train is complex64.*give its parts"),
        ("x", np.array([b"a"]), r"is \|S1.*give text"),
        ("x", np.array([None]), "is object.*give arrays"),
        ("x", np.zeros(2, jax.numpy.bfloat16), "is bfloat16.*give float32"),
        ("case", np.zeros(2), "the field 'case' of example 0 of train"),
    ],
)
def test_what_the_files_do_not_hold_is_named(tmp_path, field, value, message):
    with pytest.raises(ValueError, match=message):
        data.write_tfds(tmp_path, {"train": [{field: value}]}, name="odd")
    assert not any(tmp_path.iterdir())


def test_texts_that_differ_in_number_other_names_and_taken_versions_are_refused(tmp_path):
    texts = [{"x": np.array(["a"])}, {"x": np.array(["a", "b"])}]
    with pytest.raises(ValueError, match="x holds several texts, a different number"):
        data.write_tfds(tmp_path, {"train": texts}, name="odd")
    with pytest.raises(ValueError, match=r"lower-case letter.*got 'My data'"):
        data.write_tfds(tmp_path, {"train": source()}, name="My data")
    data.write_tfds(tmp_path, {"train": source()}, name="odd")
    with pytest.raises(ValueError, match="exists: give another version"):
        data.write_tfds(tmp_path, {"train": source(3)}, name="odd")
    data.write_tfds(tmp_path, {"train": source(3)}, name="odd", version="1.0.1")
