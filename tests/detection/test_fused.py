"""Mirror images and ensembles of detectors: laws, files, export."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmed as jm
from jaxmed import detection
from jaxmed.inference import (
    BoxRecipe,
    box_model,
    export_model,
    find_boxes,
    load_exported,
    load_model,
    save_model,
)

SHAPE = (16, 24)


@pytest.fixture(scope="module")
def plain():
    """An untrained detector whose scores differ, and two sets of parameters."""
    trunk = jm.networks.pyramid(jm.networks.resnet8(width=4), levels=(1, 2), width=8)
    head = detection.retina_head(2, strides=(2, 4), depth=1, prior=0.3)
    network = detection.detector(jm.with_heads(trunk, {"boxes": head}), count=12, least=0.0)
    image = jnp.zeros((1, *SHAPE, 1))
    return network, [jax.jit(network.init)(jax.random.key(i), image) for i in range(2)]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(2, *SHAPE, 1)).astype(np.float32)


def test_mirroring_the_image_mirrors_what_is_found(plain, images):
    network, (variables, _) = plain
    both = detection.mirrored_detector(network, (0, 1))
    apply = jax.jit(lambda x: both.apply(*variables, x)[0])
    found = apply(images)
    for axis in (0, 1):
        other = apply(np.flip(images, axis + 1))
        boxes = np.array(other["boxes"])
        low, high = boxes[..., axis].copy(), boxes[..., axis + 2].copy()
        boxes[..., axis], boxes[..., axis + 2] = SHAPE[axis] - high, SHAPE[axis] - low
        boxes[~np.asarray(other["mask"])] = 0
        np.testing.assert_allclose(other["scores"], found["scores"], atol=1e-5)
        np.testing.assert_allclose(boxes, found["boxes"], atol=1e-3)
    assert np.asarray(found["mask"]).any()


def test_no_axis_and_members_that_agree_change_nothing(plain, images):
    network, (variables, _) = plain
    alone = jax.jit(lambda x: network.apply(*variables, x)[0])(images)
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), variables)
    for other, given in (
        (detection.mirrored_detector(network, ()), variables),
        (detection.detector_ensemble(network, 2), twice),
    ):
        found = jax.jit(lambda x, o=other, g=given: o.apply(*g, x)[0])(images)
        np.testing.assert_allclose(found["scores"], alone["scores"], atol=1e-5)
        np.testing.assert_allclose(found["boxes"], alone["boxes"], atol=1e-4)
        np.testing.assert_array_equal(found["labels"], alone["labels"])


@pytest.mark.slow
def test_an_ensemble_is_saved_mirrored_and_exported(plain, images, tmp_path):
    pytest.importorskip("flatbuffers")
    network, both = plain
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *both)
    net = detection.mirrored_detector(detection.detector_ensemble(network, 2), (1,))
    recipe = BoxRecipe(("a", "b"), ("grey",), SHAPE, net)
    model = box_model(recipe, *stacked)
    save_model(tmp_path, model)
    back = load_model(tmp_path)
    said, again = model.predict(images), back.predict(images)
    np.testing.assert_array_equal(said["boxes"], again["boxes"])
    assert (find_boxes(back, images[0]).scores > 0).all()
    export_model(tmp_path / "export", back, platforms=("cpu",))
    served = load_exported(tmp_path / "export").call(images)
    np.testing.assert_allclose(served["scores"], said["scores"], atol=1e-4)
    np.testing.assert_allclose(served["boxes"], said["boxes"], atol=1e-2)


def test_axes_and_members_that_are_none_are_refused(plain, images):
    network, (variables, _) = plain
    with pytest.raises(ValueError, match="different spatial axes"):
        detection.mirrored_detector(network, (0, 0))
    with pytest.raises(ValueError, match=r"mirrored along axes \(2,\)"):
        detection.mirrored_detector(network, (2,)).apply(*variables, images)
    with pytest.raises(ValueError, match="at least one member"):
        detection.detector_ensemble(network, 0)
