"""The laws every metric keeps, crossed with a registry: a new metric is covered by one line."""

from __future__ import annotations

import warnings
from functools import cache, reduce
from typing import NamedTuple

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxmed import metrics


class Entry(NamedTuple):
    metric: metrics.Metric
    task: str


TASKS = ("binary", "two", "classes", "tasks", "voxels")
LABEL_METRICS = {
    "accuracy": metrics.accuracy(),
    "balanced_accuracy": metrics.balanced_accuracy(),
    "precision": metrics.precision(),
    "recall-micro": metrics.recall(average="micro"),
    "specificity-weighted": metrics.specificity(average="weighted"),
    "f1-per-class": metrics.f1(average=None),
    "mcc": metrics.mcc(),
    "quadratic_kappa": metrics.quadratic_kappa(),
    "brier": metrics.brier(),
    "log_loss": metrics.log_loss(),
    "ece": metrics.ece(),
    "ece-top": metrics.ece(top_label=True, bins=4),
}
REGISTRY: dict[str, Entry] = {
    **{f"{n}-{t}": Entry(m, t) for n, m in LABEL_METRICS.items() for t in TASKS},
    **{f"auc-{t}": Entry(metrics.auc(), t) for t in TASKS},
    **{f"ap-{t}": Entry(metrics.average_precision(average="weighted"), t) for t in TASKS},
    **{f"{m.__name__}-values": Entry(m(), "values") for m in (metrics.mse, metrics.mae)},
    "r2-values": Entry(metrics.r2(), "values"),
    "ssim-images": Entry(metrics.ssim(data_range=1.0), "images"),
    "ms_ssim-images": Entry(metrics.ms_ssim(data_range=1.0, scales=1), "images"),
    "psnr-images": Entry(metrics.psnr(data_range=1.0), "images"),
    **{
        f"{m.__name__}-{t}": Entry(m(), t)
        for m in (metrics.dice, metrics.iou, metrics.volume_error)
        for t in ("masks", "regions")
    },
    "dice-pooled": Entry(metrics.dice(over="all", average=None), "masks"),
    "concordance": Entry(metrics.concordance(), "times"),
    "concordance-uno": Entry(metrics.concordance(method="uno"), "hazards"),
    "collection": Entry(metrics.collection(LABEL_METRICS), "classes"),
}
ROWS = 16


@cache
def _data(task: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    shapes = {
        "binary": ((ROWS,), 0),
        "two": ((ROWS,), 2),
        "classes": ((ROWS,), 4),
        "tasks": ((ROWS, 3), 0),
        "voxels": ((ROWS, 2, 3), 3),
        "values": ((ROWS, 2), 0),
        "images": ((ROWS, 12, 11, 2), 0),
        "masks": ((ROWS, 3, 4), 3),
        "regions": ((ROWS, 3, 4, 2), 0),
        "times": ((ROWS,), 0),
        "hazards": ((ROWS, 3), 0),
    }
    shape, classes = shapes[task]
    outputs = rng.normal(size=(*shape, classes) if classes else shape).astype(np.float32)
    if task in ("values", "images"):
        return outputs, rng.normal(size=shape).astype(np.float32)
    if task in ("times", "hazards"):
        times = rng.integers(1, 6, ROWS)  # of which some are equal
        return outputs, np.stack([times, rng.random(ROWS) < 0.7], 1).astype(np.float32)
    return outputs, rng.integers(0, classes or 2, shape).astype(np.int32)


def _same(a, b, rtol=1e-9) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol), a, b)


@cache
def _whole(name: str):
    entry = REGISTRY[name]
    return metrics.evaluate(entry.metric, *_data(entry.task))


@cache
def _in_jit(name: str):
    """Compiled once per entry, on batches sharded over eight devices, or all there are."""
    mesh = jax.make_mesh((min(8, jax.device_count()),), ("batch",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("batch"))
    from_batch = jax.jit(REGISTRY[name].metric.from_batch)

    def call(outputs, targets):
        x, y, weight = jax.device_put((outputs, targets, np.ones(ROWS, np.float32)), rows)
        return from_batch(x, y, weight=weight)

    return call


every = pytest.mark.parametrize("name", list(REGISTRY))


@every
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_batching_and_padding_gives_the_same_value(name, data):
    """Cut into batches anywhere, padded with rows that hold NaN and impossible labels."""
    metric, task = REGISTRY[name]
    outputs, targets = _data(task)
    cuts = sorted(data.draw(st.sets(st.integers(1, ROWS - 1), max_size=4)))
    pad = data.draw(st.integers(0, 2))
    parts = []
    for start, stop in zip([0, *cuts], [*cuts, ROWS], strict=True):
        x = np.concatenate([outputs[start:stop], np.full((pad, *outputs.shape[1:]), np.nan)])
        y = np.concatenate([targets[start:stop], np.full((pad, *targets.shape[1:]), -1)])
        weight = np.r_[np.ones(stop - start), np.zeros(pad)]
        parts.append(metric.from_batch(x.astype(np.float32), y, weight=weight))
    left = metric.compute(reduce(metric.merge, parts))
    right = metric.compute(reduce(lambda a, b: metric.merge(b, a), reversed(parts)))
    _same(left, _whole(name))
    _same(right, _whole(name))


@every
def test_missing_labels_are_left_out(name):
    metric, task = REGISTRY[name]
    outputs, targets = _data(task)
    where = np.arange(ROWS) % 3 > 0
    missing = np.where(where.reshape(-1, *[1] * (targets.ndim - 1)), targets, -1)
    value = metrics.evaluate(metric, outputs, missing, where=where)
    _same(value, metrics.evaluate(metric, outputs[where], targets[where]))


@every
def test_a_weight_of_two_is_the_example_twice(name):
    metric, task = REGISTRY[name]
    outputs, targets = _data(task)
    weight = np.r_[np.full(4, 2.0), np.ones(ROWS - 4)]
    twice = metrics.evaluate(
        metric, np.concatenate([outputs, outputs[:4]]), np.concatenate([targets, targets[:4]])
    )
    _same(metrics.evaluate(metric, outputs, targets, weight=weight), twice)


@every
def test_nothing_at_all_is_nan(name):
    metric, task = REGISTRY[name]
    outputs, targets = _data(task)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", metrics.UndefinedMetricWarning)
        value = metrics.evaluate(metric, outputs, targets, weight=np.zeros(ROWS))
    assert all(np.isnan(v).all() for v in jax.tree.leaves(value))


@every
def test_inside_jit_on_eight_devices_equals_the_host(name):
    metric, task = REGISTRY[name]
    outputs, targets = _data(task)
    batch = _in_jit(name)(outputs, targets)
    _same(metric.compute(batch), _whole(name), rtol=2e-5)
    _same(metric.compute(metric.merge(batch, batch)), _whole(name), rtol=2e-5)


@every
def test_faults_inside_jit_are_raised_by_compute(name):
    metric, task = REGISTRY[name]
    outputs, targets = _data(task)
    wrong = outputs.copy()
    wrong[(0,) * outputs.ndim] = np.nan
    batch = _in_jit(name)(wrong, targets)
    with pytest.raises(ValueError, match="NaN"):
        metric.compute(batch)
