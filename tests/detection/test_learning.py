"""Assignment by the paper's rules; the loss by hand; a head that learns; a detector."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed import detection as dt
from jaxmed.data import phantoms
from jaxmed.testing import check_network, check_objective

LEVELS = (64, 16)
ANCHORS = dt.anchors([(8, 8), (4, 4)], [4, 8], scales=(2.0,))


def atss(anchors, boxes, levels, nearest):
    """Adaptive training sample selection as the paper tells it, object by object."""
    overlap = np.asarray(dt.iou(boxes, anchors))
    middle = (anchors[:, :2] + anchors[:, 2:]) / 2
    given, best = np.full(len(anchors), -1), np.zeros(len(anchors))
    for i, box in enumerate(boxes):
        far = np.linalg.norm(middle - (box[:2] + box[2:]) / 2, axis=1)
        candidates, start = [], 0
        for count in levels:
            order = np.argsort(far[start : start + count], kind="stable")[:nearest]
            candidates += [*(order + start)]
            start += count
        shared = overlap[i, candidates]
        least = shared.mean() + shared.std(ddof=1)
        for j in candidates:
            inside = (middle[j] > box[:2]).all() and (middle[j] < box[2:]).all()
            if inside and overlap[i, j] >= least and overlap[i, j] > best[j]:
                given[j], best[j] = i, overlap[i, j]
    return given


def test_assignment_is_the_papers():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 20, (5, 2))
    boxes = np.concatenate([low, low + rng.uniform(7, 12, (5, 2))], 1).astype(np.float32)
    wanted = atss(ANCHORS, boxes, LEVELS, 5)
    assert set(wanted) == {-1, 0, 1, 2, 3, 4}  # none lacks an anchor
    run = jax.jit(partial(dt.assign, levels=LEVELS, nearest=5))
    found = run(ANCHORS, boxes, np.ones(5, bool))
    np.testing.assert_array_equal(found, wanted)
    order = rng.permutation(5)
    other = np.asarray(run(ANCHORS, boxes[order], np.ones(5, bool)))
    np.testing.assert_array_equal(np.where(other >= 0, order[other], -1), wanted)


def test_every_object_with_an_area_is_learned_and_padding_never():
    tiny = np.array([[4.4, 4.4, 5, 5], [4.6, 4.6, 5.2, 5.2], [9, 9, 9, 12], [-9, -9, -7, -7]])
    found = dt.assign(ANCHORS, tiny, np.array([True, True, True, True]), levels=LEVELS)
    owners = sorted({*found.tolist()})
    assert owners == [-1, 0, 1, 3]
    assert (dt.assign(ANCHORS, tiny, np.zeros(4, bool)) == -1).all()
    assert (dt.assign(ANCHORS, np.zeros((0, 4)), np.zeros(0, bool)) == -1).all()


def outputs(seed: int, batch: int = 2) -> dict:
    rng = np.random.default_rng(seed)
    anchor = np.broadcast_to(ANCHORS, (batch, *ANCHORS.shape))
    return {
        "logits": jnp.asarray(rng.normal(size=(batch, 80, 3)), jnp.float32),
        "box": dt.decode(rng.normal(size=(batch, 80, 4)) / 5, anchor),
        "anchor": (jnp.asarray(anchor[:, :64]), jnp.asarray(anchor[:, 64:])),
    }


TARGETS = {
    "box": jnp.array([[[2.0, 3, 12, 14], [20, 20, 30, 31]], [[0, 0, 0, 0], [0, 0, 0, 0]]]),
    "label": jnp.array([[2, 0], [-1, -1]]),
}


def test_the_loss_by_hand():
    made = outputs(0)
    value = jax.jit(dt.retina_loss)(made, TARGETS)
    p = 1 / (1 + np.exp(-np.asarray(made["logits"], np.float64)))
    given = np.asarray(dt.assign(ANCHORS, TARGETS["box"][0], [True, True], levels=LEVELS))
    truth = np.zeros((80, 3))
    positive = np.flatnonzero(given >= 0)
    truth[positive, np.array([2, 0])[given[positive]]] = 1

    def focal(p, t):
        on, off = 0.25 * t * (1 - p) ** 2 * np.log(p), 0.75 * (1 - t) * p**2 * np.log(1 - p)
        return -(on + off).sum()

    own = np.asarray(TARGETS["box"][0])[given[positive]]
    far = 1 - np.diag(np.asarray(dt.giou(made["box"][0, positive], own)))
    wanted = focal(p[0], truth) / len(positive) + 2 * far.mean()
    np.testing.assert_allclose(value[0], wanted, rtol=1e-5)
    np.testing.assert_allclose(value[1], focal(p[1], np.zeros((80, 3))), rtol=1e-5)


def test_padding_and_order_of_objects_change_nothing():
    made = outputs(1)
    whole = dt.retina_loss(made, TARGETS)
    rest = np.full((2, 3, 4), 5.0, np.float32)
    box = jnp.concatenate([TARGETS["box"][:, ::-1], rest], 1)
    label = jnp.concatenate([TARGETS["label"][:, ::-1], np.full((2, 3), -1)], 1)
    np.testing.assert_allclose(dt.retina_loss(made, {"box": box, "label": label}), whole, rtol=1e-6)
    none = {"box": jnp.zeros((2, 0, 4)), "label": jnp.zeros((2, 0), int)}
    np.testing.assert_allclose(dt.retina_loss(made, none)[1], whole[1], rtol=1e-6)


def test_a_class_that_the_head_has_not_is_nan_and_shapes_are_told():
    made = outputs(2)
    value = dt.retina_loss(made, {**TARGETS, "label": jnp.array([[3, 0], [-1, -1]])})
    assert jnp.isnan(value).tolist() == [True, False]
    with pytest.raises(ValueError, match="targets are box"):
        dt.retina_loss(made, {**TARGETS, "box": TARGETS["box"][..., :2]})
    with pytest.raises(ValueError, match="whole numbers"):
        dt.retina_loss(made, {**TARGETS, "label": TARGETS["label"] * 1.0})


class Trunk(nn.Module):
    """Two maps of strides 4 and 8, for any rank."""

    @nn.compact
    def __call__(self, x):
        """Convolve by whole blocks."""
        x = jm.networks.Conv(8, 3, strides=4)(x)
        return {"pyramid": (x, jm.networks.Conv(8, 3, strides=2)(nn.relu(x)))}


def network(classes: int = 2, **options):
    trunk = jm.networks.pyramid(jm.from_linen(Trunk()), width=8)
    head = dt.retina_head(classes, strides=(4, 8), depth=1, **options)
    return jm.with_heads(trunk, {"boxes": head})


@pytest.mark.parametrize(("shape", "form"), [((16, 24), "sides"), ((8, 8, 16), "size")])
def test_a_learner_learns_boxes_in_any_rank(shape, form):
    source = phantoms.detection(4, shape, objects=2, seed=0)
    batch = {name: jnp.asarray(x) for name, x in source.arrays.items()}
    run = jm.learner(network(form=form), dt.box_objective(), optax.adam(3e-3))
    state = jax.jit(run.init)(jax.random.key(0), batch)
    step = jax.jit(run.step)
    losses = []
    for _ in range(40):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.75 * losses[0]
    assert np.isfinite(losses).all()


def test_a_detector_answers_with_boxes_within_the_image():
    finds = dt.detector(network(), count=6, least=0.0, candidates=50)
    images = jax.random.normal(jax.random.key(0), (3, 16, 24, 1))
    params, state = finds.init(jax.random.key(1), images)
    found, _ = jax.jit(finds.apply)(params, state, images)
    assert found["boxes"].shape == (3, 6, 4)
    assert found["mask"].all()
    assert (found["boxes"] >= 0).all()
    assert (found["boxes"] <= jnp.array([16, 24, 16, 24])).all()
    assert (jnp.diff(found["scores"]) <= 0).all()
    alone, _ = finds.apply(params, state, images[1:2])
    np.testing.assert_allclose(alone["boxes"][0], found["boxes"][1], atol=1e-4)


def test_a_detector_can_be_written_down_and_made_again():
    from jaxmed.inference import build, describe

    finds = dt.detector(network_of_resnet(), count=3)
    again = build(describe(finds))
    shapes = jax.eval_shape(again.init, jax.random.key(0), jnp.ones((1, 16, 16, 1)))
    assert shapes == jax.eval_shape(finds.init, jax.random.key(0), jnp.ones((1, 16, 16, 1)))


@pytest.mark.slow
def test_networks_and_the_objective_obey_the_laws():
    images = jax.random.normal(jax.random.key(0), (2, 8, 16, 1))
    held = check_network(dt.detector(network(), count=3, candidates=8), images)
    assert "the same key gives the same parameters" in held
    batch = {
        "image": images,
        "box": jnp.array([[[1.0, 2, 6, 9], [0, 0, 0, 0]], [[2, 5, 7, 14], [0, 0, 3, 4]]]),
        "box_label": jnp.array([[0, -1], [1, 0]]),
        "weight": jnp.array([1.0, 0.0]),
    }
    held = check_objective(dt.box_objective(), network(), batch)
    assert "weight 0 gives a zero gradient" in held


def network_of_resnet():
    trunk = jm.networks.pyramid(jm.networks.resnet8(), levels=(1, 2), width=8, extra=1)
    return jm.with_heads(trunk, {"boxes": dt.retina_head(1, strides=(2, 4, (8, 8)))})


def test_maps_and_strides_that_do_not_fit_are_told():
    image = jnp.ones((1, 16, 24, 1))
    trunk = jm.networks.pyramid(jm.from_linen(Trunk()), width=8)
    for strides, match in [((4,), "one for each map"), ((4, 32), "no image has both")]:
        wrong = jm.with_heads(trunk, {"boxes": dt.retina_head(2, strides=strides)})
        with pytest.raises(ValueError, match=match):
            jax.eval_shape(wrong.init, jax.random.key(0), image)
    head = dt.retina_head(2, strides=(1, 2, 4))
    bare = jm.with_heads(jm.from_linen(jm.networks.resnet8()), {"boxes": head})
    with pytest.raises(ValueError, match="one width"):
        jax.eval_shape(bare.init, jax.random.key(0), image)
    deep = jm.networks.pyramid(jm.from_linen(Trunk()), levels=(0, 5))
    with pytest.raises(ValueError, match="levels"):
        jax.eval_shape(deep.init, jax.random.key(0), image)
