"""Examples prepared on disk: the same as in memory, made once, never taken for others."""

from __future__ import annotations

import functools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed import data


def scans(count=3, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        shape = (9 + i, 7, 6)
        mask = rng.choice([0, 0, 0, 1, 4], size=shape).astype(np.int32)
        image = rng.normal(size=(*shape, 2)).astype(np.float32)
        found.append({"image": image, "mask": mask, "label": np.int32(i), "name": f"case {i}"})
    return data.in_memory(found)


def as_they_were(example, expected):
    assert list(example) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(example[name], value)
        assert example[name].dtype == np.asarray(value).dtype


def test_items_are_maps_of_what_was_prepared(tmp_path):
    source = scans()
    mapped = data.memory_mapped(source, tmp_path / "maps", function=halved)
    assert len(mapped) == 3
    assert mapped.case_ids == source.case_ids
    for i in (0, 1, 2, -1):
        as_they_were(mapped[i], halved(source[i]))
    assert isinstance(mapped[1]["image"], np.memmap)
    assert not mapped[1]["image"].flags.writeable
    assert mapped.column("label").tolist() == [0, 1, 2]
    with pytest.raises(IndexError):
        mapped[3]


def halved(example):
    return dict(example) | {"image": example["image"] / np.float32(2)}


@settings(max_examples=30)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 0.4, 1]),
    st.lists(st.sampled_from([-1, 0, 1, 2, 200]), min_size=1, max_size=3),
)
def test_patches_are_drawn_as_from_memory(tmp_path_factory, seed, foreground, values):
    rng = np.random.default_rng(seed)
    mask = rng.choice(values, size=(8, 5, 9)).astype(np.int16)
    source = [{"image": rng.normal(size=(8, 5, 9, 1)), "mask": mask}]
    mapped = data.memory_mapped(source, tmp_path_factory.mktemp("maps") / "prepared")
    cut = data.random_patch((4, 6, 3), foreground=foreground)
    options = {"seed": seed % 97, "transform": cut}
    here, there = (data.batches(s, 1, **options) for s in (source, mapped))
    for step in range(4):
        for name in ("image", "mask"):
            np.testing.assert_array_equal(here[step][name], there[step][name])


def test_a_patch_of_a_mapped_volume_reads_no_volume(tmp_path):
    volume = np.zeros((128, 128, 64), np.int32)
    volume[60:70, 60:70, 30:40] = 3
    source = data.memory_mapped([{"image": volume[..., None], "mask": volume}], tmp_path / "maps")
    cut = data.random_patch((16, 16, 16), foreground=1)
    patch = cut(np.random.default_rng(0), source[0])
    tracemalloc.start()
    patch = cut(np.random.default_rng(0), source[0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert patch["mask"].max() == 3
    assert peak < volume.nbytes / 20


def test_what_is_computed_from_a_mapped_mask_is_looked_up_anew(tmp_path):
    """A mask that a later function changes must not be cut by where its labels once were."""
    mask = np.zeros((20, 20), np.int32)
    mask[2, 3] = 1
    mapped = data.memory_mapped([{"image": mask[..., None], "mask": mask}], tmp_path / "maps")
    turned = data.map_source(mapped, lambda e: {k: v[::-1, ::-1] for k, v in e.items()})
    cut = data.random_patch((5, 5), foreground=1)
    for seed in range(5):
        assert cut(np.random.default_rng(seed), turned[0])["mask"].sum() == 1


def test_an_interrupted_call_goes_on_where_it_was(tmp_path):
    source, seen = scans(), []

    class Failing:
        case_ids = source.case_ids

        def __len__(self):
            return 3

        def __getitem__(self, index):
            seen.append(index)
            if index == 2 and len(seen) < 5:
                raise OSError("the disk is full")
            return source[index]

    with pytest.raises(OSError, match="the disk is full") as caught:
        data.memory_mapped(Failing(), tmp_path / "maps")
    assert "while preparing 2" in caught.value.__notes__[0]
    (tmp_path / "maps" / ".part-000002").mkdir()  # as a process leaves it that was killed
    seen += [0, 0]
    mapped = data.memory_mapped(Failing(), tmp_path / "maps")
    assert seen[-1] == 2
    assert seen.count(1) == 1  # made once
    as_they_were(mapped[2], source[2])
    assert not list((tmp_path / "maps").glob(".*"))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"function": functools.partial(halved)}, "function"),
        ({"function": None}, "function"),
        ({"settings": {"spacing": [1, 1, 2]}}, "settings"),
        ({"masks": ()}, "masks"),
        ({"source": scans(2)}, "examples"),
        ({"source": data.ArraySource({"x": np.ones(3)}, case_ids=("a", "b", "c"))}, "cases"),
    ],
)
def test_a_folder_that_was_made_otherwise_is_refused(tmp_path, change, what):
    first = {"source": scans(), "function": halved, "settings": {"spacing": (1, 1, 1)}}
    make = lambda source, **options: data.memory_mapped(source, tmp_path / "maps", **options)  # noqa: E731
    make(**first)
    make(**first)
    with pytest.raises(data.DataError, match=f"made otherwise, by other {what}.*prepared"):
        make(**first | change)


def test_what_a_function_closes_over_tells_it_from_others(tmp_path):
    def times(factor):
        return lambda example: {"x": example["x"] * factor}

    source = data.ArraySource({"x": np.ones((3, 2, 2))})
    data.memory_mapped(source, tmp_path / "maps", function=times(np.arange(2)))
    data.memory_mapped(source, tmp_path / "maps", function=times(np.arange(2)))
    with pytest.raises(data.DataError, match="other function"):
        data.memory_mapped(source, tmp_path / "maps", function=times(np.arange(2) + 1))


FACTOR = 2


def test_constants_and_functions_of_its_module_belong_to_a_function(tmp_path, monkeypatch):
    def by_factor(example):
        return scaled(example)

    source = data.ArraySource({"x": np.ones((3, 2, 2))})
    data.memory_mapped(source, tmp_path / "maps", function=by_factor)
    data.memory_mapped(source, tmp_path / "maps", function=by_factor)
    monkeypatch.setitem(globals(), "FACTOR", 3)
    with pytest.raises(data.DataError, match="other function"):
        data.memory_mapped(source, tmp_path / "maps", function=by_factor)


def scaled(example):
    return {"x": FACTOR * example["x"]} if len(example) else scaled(example)


def test_what_cannot_be_stored_or_read_is_named(tmp_path):
    with pytest.raises(TypeError, match="'image' is no array of numbers"):
        data.memory_mapped([{"image": object()}], tmp_path / "odd")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(data.DataError, match="holds files"):
        data.memory_mapped(scans(), tmp_path / "mine")
    mapped = data.memory_mapped(scans(), tmp_path / "maps")
    (tmp_path / "maps" / "000001" / "image.npy").write_bytes(b"broken")
    with pytest.raises(data.DataError, match=r"000001.*readable"):
        mapped[1]
