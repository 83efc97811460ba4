"""Metrics of boxes: the numbers of `stats`, whatever the batches and the padding."""

from __future__ import annotations

import warnings
from functools import partial, reduce

import jax
import numpy as np
import pytest

from jaxmed import metrics, stats
from jaxmed.metrics import UndefinedMetricWarning


def drawn(seed: int, rows: int = 7, n: int = 6, objects: int = 4):
    """Padded boxes of two classes, some images without an object."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 20, (rows, objects, 2))
    true = np.concatenate([low, low + rng.integers(4, 9, low.shape)], -1).astype(np.float32)
    kinds = rng.integers(-1, 2, (rows, objects)).astype(np.int32)
    kinds[2] = -1
    boxes = np.concatenate([true, rng.uniform(0, 9, (rows, n - objects, 4))], 1)
    boxes = (boxes + rng.normal(0, 0.7, boxes.shape)).astype(np.float32)
    labels = np.concatenate([kinds, rng.integers(-1, 2, (rows, n - objects))], 1).astype(np.int32)
    scores = rng.permutation(rows * n).reshape(rows, n).astype(np.float32) / (rows * n)
    return {"boxes": boxes, "scores": scores, "labels": labels}, {"box": true, "label": kinds}


CASES = {
    "ap50": (metrics.box_average_precision(), partial(stats.box_average_precision, iou=0.5)),
    "ap": (
        metrics.box_average_precision(iou=stats.COCO_IOUS, most=2),
        partial(stats.box_average_precision, iou=stats.COCO_IOUS, most=2),
    ),
    "cpm": (metrics.cpm(iou=0.3), lambda *a, **o: stats.froc(*a, iou=0.3, **o).cpm),
}


@pytest.mark.parametrize("name", CASES)
def test_any_batching_and_padding_gives_the_number_of_stats(name):
    metric, wanted = CASES[name]
    x, y = drawn(0)
    value = wanted(y["box"], y["label"], x["boxes"], x["scores"], x["labels"], n_resamples=0).value
    np.testing.assert_allclose(metrics.evaluate(metric, x, y), value, rtol=1e-12)
    from_batch = jax.jit(metric.from_batch)
    parts = []
    for start in (0, 3, 6):
        rows = np.minimum(np.arange(start, start + 3), 6)
        cut = [{k: v[rows] for k, v in part.items()} for part in (x, y)]
        parts.append(from_batch(*cut, weight=(np.arange(start, start + 3) < 7).astype(float)))
    np.testing.assert_allclose(metric.compute(reduce(metric.merge, parts)), value, rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_without_a_true_box_it_is_undefined(name):
    x, y = drawn(1)
    empty = {**y, "label": np.full_like(y["label"], -1)}
    with pytest.warns(UndefinedMetricWarning, match="no true box"):
        assert np.isnan(metrics.evaluate(CASES[name][0], x, empty))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        where = np.arange(7) != 0
        assert np.isfinite(metrics.evaluate(CASES[name][0], x, y, where=where))


def test_options_and_shapes_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match="iou"):
        metrics.box_average_precision(iou=0)
    with pytest.raises(ValueError, match="interpolation"):
        metrics.box_average_precision(interpolation="5")
    with pytest.raises(ValueError, match="rates"):
        metrics.cpm(rates=())
    x, y = drawn(0)
    with pytest.raises(ValueError, match="do not fit"):
        metrics.evaluate(metrics.cpm(), {**x, "labels": x["labels"][:, 1:]}, y)
