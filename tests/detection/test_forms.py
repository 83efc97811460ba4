"""Forms of instances: the loss is least where the truth is said, and the truth is read again."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed import detection, networks, stats
from jaxmed.detection import InstanceForm

KINDS = ["stars", "flows", "depths"]


def discs(*given, shape=(28, 32)):
    labels = np.zeros(shape, np.int32)
    for name, (centre, radius) in enumerate(given, 1):
        inside = radius**2 >= ((np.indices(shape).T - np.array(centre)) ** 2).sum(-1).T
        labels[inside & (labels == 0)] = name
    return labels


LABELS = discs(((9, 9), 6), ((10, 22), 6), ((22, 15), 5))


def said(form, labels):
    """Logits that say exactly what is true."""
    reach, depth = map(np.asarray, form._reach_and_depth(jnp.asarray(labels)))
    logit = lambda p: np.log(np.clip(p, 1e-6, 1)) - np.log(np.clip(1 - p, 1e-6, 1))  # noqa: E731
    inside = (labels > 0).astype(float)
    if form.kind == "stars":
        ahead = np.log(np.expm1(np.maximum(reach / form.size, 1e-6)))
        return np.concatenate([logit(depth)[..., None], ahead], -1)
    if form.kind == "flows":
        flows = np.asarray(detection.label_flows(labels, steps=form.steps))
        return np.concatenate([logit(inside)[..., None], 5 * flows], -1)
    return np.stack([logit(inside), logit(depth)], -1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_true_costs_nothing_and_is_read_again(kind):
    form = InstanceForm(kind, rays=16, size=5, steps=60, most=8)
    true = said(form, LABELS)
    assert form.find(true).dtype == np.int32
    scores = stats.instance_scores([LABELS], [form.find(true)], iou=0.8, n_resamples=0)
    assert scores.f1.value == 1
    loss = jax.jit(form)
    least = float(loss(true[None], LABELS[None])[0])
    assert 0 <= least < 0.01
    rng = np.random.default_rng(0)
    for _ in range(3):
        other = true + rng.normal(size=true.shape)
        assert float(loss(other[None], LABELS[None])[0]) > least + 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_several_thresholds_are_one_after_the_other(kind):
    form = InstanceForm(kind, rays=16, size=5, steps=60, most=8)
    rough = said(form, LABELS)
    rough[LABELS == 3, 0] -= 13.0  # less sure of one
    thresholds = (0.6, 0.2, 0.9)
    found = form.find_at(rough, thresholds, smallest=3)
    for threshold, labels in zip(thresholds, found, strict=True):
        alone = form.find(rough, threshold=threshold, smallest=3)
        np.testing.assert_array_equal(labels, alone)
    assert len({int(labels.max()) for labels in found}) > 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", [(), (0,), (1,), (1, 0)])
def test_what_is_said_of_a_mirror_image_is_turned_back(kind, axes):
    form = InstanceForm(kind, rays=16, size=5, steps=60, most=8)
    turned = form.mirrored(said(form, np.flip(LABELS, axes)), axes)
    found = form.find(turned)
    assert stats.instance_scores([LABELS], [found], iou=0.8, n_resamples=0).f1.value == 1
    if kind != "flows":  # of equally near middles the first is taken
        np.testing.assert_allclose(turned, said(form, LABELS), atol=1e-3)


def test_stars_that_are_not_their_mirror_images_are_refused():
    odd = InstanceForm("stars", rays=15)
    with pytest.raises(ValueError, match="an even number of rays"):
        odd.mirrored(np.zeros((4, 4, 16)), (1, 0))
    with pytest.raises(ValueError, match="different ones of 0 to 1"):
        odd.mirrored(np.zeros((4, 4, 16)), (2,))
    solid = InstanceForm("stars", rank=3, rays=20)
    with pytest.raises(ValueError, match="mirror images"):
        solid.mirrored(np.zeros((2, 2, 2, 21)), (0,))


@pytest.mark.parametrize("kind", KINDS)
def test_voxels_that_are_not_known_change_nothing(kind):
    form = InstanceForm(kind, rays=8, size=5, steps=20, most=8)
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(2, *LABELS.shape, form.channels)).astype(np.float32)
    labels = np.stack([LABELS, LABELS])
    known = np.ones(labels.shape, bool)
    known[:, :, 28:] = False  # background
    loss = jax.jit(form)
    expected = loss(outputs, labels, where=known)
    outputs[:, :, 28:] = 99
    np.testing.assert_allclose(loss(outputs, labels, where=known), expected, rtol=1e-5)
    np.testing.assert_array_equal(loss(outputs, labels, where=np.array([True, False]))[1], 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_that_has_no_room_shows(kind):
    form = InstanceForm(kind, rays=8, steps=5, most=2)
    found = form(np.zeros((1, *LABELS.shape, form.channels)), LABELS[None])
    assert np.isnan(found).all()


def test_an_image_without_objects_teaches_the_background():
    for kind in KINDS:
        form = InstanceForm(kind, rays=8, steps=5, most=2)
        empty = np.zeros((1, 6, 6), np.int32)
        total = lambda x, form=form, empty=empty: form(x, empty).sum()  # noqa: E731
        value, slope = jax.value_and_grad(total)(jnp.zeros((1, 6, 6, form.channels)))
        assert np.isfinite(value)
        assert value > 0
        assert np.isfinite(slope).all()
        assert not form.find(np.full((6, 6, form.channels), -9.0)).any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_learner_learns_to_tell_touching_discs_apart(kind):
    form = InstanceForm(kind, rays=16, size=5, steps=30, most=8)
    rng = np.random.default_rng(0)

    def scene():
        at = rng.integers(6, 12)
        return discs(((at, at), 5), ((at + 1, at + 11), 5), ((22, rng.integers(8, 24)), 5))

    labels = np.stack([scene() for _ in range(24)])
    image = (labels > 0) + 0.1 * rng.normal(size=labels.shape)
    batch = {"image": image[..., None].astype(np.float32), "instances": labels}
    network = jm.from_linen(
        networks.unet(form.channels, plan=networks.plan_unet((28, 32), base_features=16))
    )
    objective = jm.supervised(form, target="instances")
    run = jm.learner(network, objective, optax.adam(3e-3))
    state = run.init(jax.random.key(0), batch)
    step = jax.jit(run.step)
    for _ in range(150):
        state, _ = step(state, batch)
    fresh = scene()
    said = network.apply(state.params["net"], state.state["net"], fresh[None, ..., None] > 0.0)[0][
        "logits"
    ][0]
    scores = stats.instance_scores([fresh], [form.find(said)], n_resamples=0)
    assert scores.f1.value == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: InstanceForm("star"), "stars, flows or depths"),
        (lambda: InstanceForm(size=0), "size, steps and most are positive"),
        (lambda: InstanceForm(rank=4), "stars of 2 and 3 axes"),
        (lambda: InstanceForm(rays=8)(np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 4), int)), "outputs"),
        (lambda: InstanceForm(rays=8).find(np.zeros((4, 4, 3))), "outputs are"),
        (lambda: InstanceForm("depths").find(np.full((4, 4, 2), np.nan)), "not finite"),
        (lambda: detection.typical_radius([np.zeros((2, 2), int)]), "no object in any"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
