"""Suppression and fusion against plain loops; windows without seams."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import detection as dt
from jaxmed.core import from_functions


def drawn(seed: int, n: int, rank: int = 2) -> tuple[np.ndarray, ...]:
    """Crowded boxes of two classes, two of them without area, with distinct scores."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 10, (n, rank))
    boxes = np.concatenate([low, low + rng.uniform(1, 6, (n, rank))], 1).astype(np.float32)
    boxes[:2, rank:] = boxes[:2, :rank]
    scores = (rng.permutation(n) + 1).astype(np.float32) / (n + 1)
    return boxes, scores, rng.integers(0, 2, n).astype(np.int32)


def greedy(boxes, scores, labels, *, iou, count, soft=None, sigma=0.5, least=0.0):
    """Suppression as it is defined, box by box: positions and scores of what is kept."""
    overlap = np.asarray(dt.iou(boxes, boxes))
    left, kept = scores.astype(np.float64), []
    while len(kept) < count and (left > least).any():
        at = int(left.argmax())
        kept.append((at, left[at]))
        for other in range(len(boxes)):
            shared = overlap[at, other] if labels[other] == labels[at] else 0.0
            if soft == "gaussian":
                left[other] *= np.exp(-(shared**2) / sigma)
            elif shared > iou:
                left[other] = left[other] * (1 - shared) if soft == "linear" else -1
        left[at] = -1
    return kept


@pytest.mark.parametrize("soft", [None, "linear", "gaussian"])
@pytest.mark.parametrize("rank", [2, 3])
def test_suppression_is_the_loop_over_boxes(rank, soft):
    run = jax.jit(jax.vmap(partial(dt.nms, iou=0.3, count=8, soft=soft, least=0.1)))
    batch = [drawn(seed, 15, rank) for seed in range(4)]
    found = run(*(jnp.stack(x) for x in zip(*batch, strict=True)))
    for row, (boxes, scores, labels) in enumerate(batch):
        kept = greedy(boxes, scores, labels, iou=0.3, count=8, soft=soft, least=0.1)
        n = len(kept)
        assert found.mask[row].tolist() == [True] * n + [False] * (8 - n)
        at = [i for i, _ in kept]
        np.testing.assert_array_equal(found.boxes[row, :n], boxes[at])
        np.testing.assert_array_equal(found.labels[row, :n], labels[at])
        np.testing.assert_allclose(found.scores[row, :n], [s for _, s in kept], rtol=1e-5)
        assert not found.boxes[row, n:].any()
        assert (found.labels[row, n:] == -1).all()


@pytest.mark.parametrize("function", [dt.nms, partial(dt.weighted_fusion, members=2)])
def test_the_order_of_boxes_changes_nothing(function):
    run = jax.jit(partial(function, iou=0.3, count=9))
    boxes, scores, labels = drawn(3, 14)
    scores = np.round(scores, 1)  # with ties
    mask = np.arange(14) != 5
    order = np.random.default_rng(0).permutation(14)
    whole = run(boxes, scores, labels, mask)
    other = run(boxes[order], scores[order], labels[order], mask[order])
    for a, b in zip(whole, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_nothing_to_keep_is_no_detection():
    for boxes, scores in [
        (jnp.zeros((0, 4)), jnp.zeros(0)),
        (jnp.ones((3, 4)), jnp.full(3, jnp.nan)),
        (jnp.full((3, 4), jnp.nan), jnp.ones(3)),
    ]:
        for found in (
            dt.nms(boxes, scores, count=2),
            dt.weighted_fusion(boxes, scores, count=2, members=1),
        ):
            assert not found.mask.any()
            assert not found.boxes.any()
            assert found.labels.tolist() == [-1, -1]


def fused(boxes, scores, labels, members, iou):
    """Weighted boxes fusion as the paper tells it."""
    clusters = []
    for i in np.argsort(-scores):
        best, most = None, iou
        for cluster in clusters:
            if labels[cluster[0]] != labels[i]:
                continue
            w = scores[cluster]
            mean = (w[:, None] * boxes[cluster]).sum(0) / w.sum()
            shared = float(dt.iou(mean[None], boxes[i][None])[0, 0])
            if shared > most:
                best, most = cluster, shared
        if best is None:
            clusters.append([i])
        else:
            best.append(i)
    rows = []
    for cluster in clusters:
        w = scores[cluster]
        score = w.mean() * min(members, len(cluster)) / members
        rows.append((score, labels[cluster[0]], (w[:, None] * boxes[cluster]).sum(0) / w.sum()))
    return sorted(rows, key=lambda row: -row[0])


def test_fusion_is_the_papers():
    boxes, scores, labels = drawn(5, 20)
    wanted = fused(boxes, scores, labels, members=3, iou=0.2)
    found = dt.weighted_fusion(boxes, scores, labels, members=3, iou=0.2, count=25)
    n = len(wanted)
    assert found.mask.sum() == n < 18
    np.testing.assert_allclose(found.scores[:n], [r[0] for r in wanted], rtol=1e-5)
    np.testing.assert_allclose(found.boxes[:n], [r[2] for r in wanted], rtol=1e-4)
    assert found.labels[:n].tolist() == [r[1] for r in wanted]


def finder(shape):
    """A detector of single bright voxels: a box of 4 voxels around each, cut at the window."""

    def apply(params, x):
        flat = x.reshape(len(x), -1)
        score, at = jax.lax.top_k(flat, 3)
        centre = jnp.stack(jnp.unravel_index(at, x.shape[1:-1]), -1) + 0.5
        boxes = jnp.clip(jnp.concatenate([centre - 2, centre + 2], -1), 0, shape[0])
        mask = score > 0
        labels = jnp.where(mask, 0, -1)
        return {"boxes": boxes, "scores": score, "labels": labels, "mask": mask}

    return from_functions(lambda key, x: {}, apply)


def test_windows_find_each_object_once_and_whole():
    image = np.zeros((30, 23, 1), np.float32)
    places = [(3, 3), (14, 11), (15, 20), (26, 7), (8, 12), (27, 20)]
    for i, place in enumerate(places):
        image[place] = 1 - i / 10
    found = dt.detect_windows(finder((12, 12)), {}, {}, image, (12, 12), overlap=0.5, count=10)
    assert int(found.mask.sum()) == len(places)
    middles = (found.boxes[:6, :2] + found.boxes[:6, 2:]) / 2
    np.testing.assert_allclose(middles, np.array(places) + 0.5, atol=1e-5)
    small = dt.detect_windows(finder((40, 40)), {}, {}, image, (40, 40), count=3)
    np.testing.assert_allclose(small.scores, [1, 0.9, 0.8])


def test_shapes_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match="vmap over a batch"):
        dt.nms(jnp.zeros((2, 3, 4)), jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match="labels is"):
        dt.nms(jnp.zeros((3, 4)), jnp.zeros(3), jnp.zeros(2, int))
    with pytest.raises(ValueError, match="soft is"):
        dt.nms(jnp.zeros((3, 4)), jnp.zeros(3), soft="hard")
    with pytest.raises(ValueError, match="at least 1"):
        dt.weighted_fusion(jnp.zeros((3, 4)), jnp.zeros(3), members=0)
    with pytest.raises(ValueError, match="overlap"):
        dt.detect_windows(finder((4, 4)), {}, {}, np.zeros((8, 8, 1)), (4, 4), overlap=1.0)
