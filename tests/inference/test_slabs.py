"""Prediction block by block: what no window touches any more is averaged, reduced and released."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed import ops
from jaxmed.inference import _window_sums, sliding_window


def at_once(predict, image, window, overlap, size):
    """The mean over windows with one array of sums for the whole image, as written in the paper."""
    short = [max(w - n, 0) for n, w in zip(image.shape, window)]
    image = np.pad(image, [*((s // 2, s - s // 2) for s in short), (0, 0)])
    weight = ops.window_importance(window)[..., None]
    starts = ops.sliding_windows(image.shape[:-1], window, overlap=overlap)
    total, norm = None, np.zeros((*image.shape[:-1], 1), np.float32)
    for first in range(0, len(starts), size):
        some = [starts[min(i, len(starts) - 1)] for i in range(first, first + size)]
        places = [tuple(slice(a, a + w) for a, w in zip(start, window)) for start in some]
        found = predict(np.stack([image[place] for place in places]))
        if total is None:
            total = np.zeros((*image.shape[:-1], found.shape[-1]), np.float32)
        for place, one in list(zip(places, found))[: len(starts) - first]:
            total[place] += weight * one
            norm[place] += weight
    inner = tuple(slice(s // 2, s // 2 + n - s) for s, n in zip(short, image.shape))
    return (total / norm)[inner]


def classes(batch):
    """Three classes that depend on the place in the window, so that every sum is another."""
    ramp = np.linspace(0.3, 1.7, batch[0].size, dtype=np.float32).reshape(batch.shape[1:])
    return np.concatenate([np.sin(3 * batch * ramp), batch * ramp, np.cos(batch)], -1)


@st.composite
def layouts(draw):
    rank = draw(st.integers(1, 3))
    lengths = {1: 40, 2: 17, 3: 11}[rank]
    shape = tuple(draw(st.integers(1, lengths)) for _ in range(rank))
    window = tuple(draw(st.integers(1, 7)) for _ in range(rank))
    return shape, window, draw(st.sampled_from([0, 0.25, 0.5, 0.7])), draw(st.integers(1, 4))


@settings(max_examples=60)
@given(layouts(), st.integers(0, 99), st.sampled_from([0, 2**29]))
def test_blocks_are_the_whole_to_the_bit(layout, seed, held):
    """Also where the sums that wait for the next row of windows lie on disk."""
    shape, window, overlap, size = layout
    image = np.random.default_rng(seed).normal(size=(*shape, 1)).astype(np.float32)
    options = {"overlap": overlap, "size": size, "accumulate": "host"}
    whole = at_once(classes, image, window, overlap, size)
    np.testing.assert_array_equal(sliding_window(classes, image, window, **options), whole)
    sink = np.full((*shape, 3), np.nan, np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_window_sums, "_HELD", held)
        assert sliding_window(classes, image, window, sink=sink, **options) is sink
        labels = sliding_window(classes, image, window, reduce="argmax", **options)
    np.testing.assert_array_equal(sink, whole)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, whole.argmax(-1))


@pytest.mark.parametrize("accumulate", ["host", "device"])
def test_the_image_and_the_result_may_lie_on_disk(tmp_path, accumulate):
    image = np.random.default_rng(0).normal(size=(19, 9, 8, 1)).astype(np.float32)
    np.save(tmp_path / "image.npy", image)
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
    stored = zarr.create_array(
        tmp_path / "image.zarr", shape=image.shape, chunks=(4, 4, 4, 1), dtype="f4"
    )
    stored[...] = image
    options = {"accumulate": accumulate, "size": 3}
    expected = sliding_window(classes, image, (6, 6, 6), **options)
    for given_image in (mapped, stored):
        labels = zarr.create_array(
            tmp_path / f"{type(given_image).__name__}.zarr",
            shape=image.shape[:3],
            chunks=(4, 4, 4),
            dtype="u1",
        )
        sliding_window(classes, given_image, (6, 6, 6), reduce="argmax", sink=labels, **options)
        np.testing.assert_array_equal(labels[...], expected.argmax(-1))
    spread = sliding_window(classes, image, (6, 6, 6), reduce=lambda p: np.ptp(p, -1), **options)
    np.testing.assert_array_equal(spread, np.ptp(expected, -1))


def test_memory_does_not_grow_with_depth():
    """Of an image that takes none itself: what is held is the sums, and the mask of a byte."""
    kinds, window = 20, (8, 8, 8)

    def peak(depth):
        image = np.broadcast_to(np.float32(1), (depth, 24, 24, 1))
        predict = lambda batch: np.broadcast_to(np.float32(0.5), (*batch.shape[:-1], kinds))  # noqa: E731
        tracemalloc.start()
        sliding_window(predict, image, window, reduce="argmax", size=1, accumulate="host")
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    peak(16)  # caches of the first call
    shallow, deep = peak(32), peak(128)
    plane = 24 * 24
    slab = window[0] * plane * (kinds + 1) * 4
    assert deep - shallow < (128 - 32) * plane * 1.2
    assert deep < slab + 128 * plane * 1.2
    assert 128 * plane * kinds * 4 > 10 * slab  # what it would take at once


def test_sums_on_disk_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(_window_sums, "_HELD", 0)
    image, seen = np.zeros((9, 9, 1), np.float32), []

    def predict(batch):
        seen.append(len(list(tmp_path.rglob("*.npy"))))
        if len(seen) == 12:
            raise RuntimeError("out of memory")
        return batch

    with pytest.raises(RuntimeError, match="out of memory"):
        sliding_window(predict, image, (4, 4), size=1)
    assert max(seen) > 0
    assert not list(tmp_path.iterdir())
    sliding_window(predict, image, (4, 4), size=1)
    assert not list(tmp_path.iterdir())


def test_a_sink_that_cannot_hold_the_result_is_refused():
    image = np.zeros((6, 5, 1), np.float32)
    with pytest.raises(ValueError, match=r"sink has the shape \(6, 5\), the result has"):
        sliding_window(classes, image, (4, 4), sink=np.zeros((6, 5), np.float32))
    with pytest.raises(ValueError, match="sink is of type uint8, which does not hold numbers"):
        sliding_window(classes, image, (4, 4), sink=np.zeros((6, 5, 3), np.uint8))
    many = lambda batch: np.zeros((*batch.shape[:-1], 300), np.float32)  # noqa: E731
    with pytest.raises(ValueError, match="does not hold labels up to 299"):
        sliding_window(many, image, (4, 4), reduce="argmax", sink=np.zeros((6, 5), np.uint8))
    with pytest.raises(ValueError, match="reduce must map"):
        sliding_window(classes, image, (4, 4), reduce=lambda p: p[1:])
    with pytest.raises(ValueError, match="'argmax' or a function, got 'mean'"):
        sliding_window(classes, image, (4, 4), reduce="mean")
