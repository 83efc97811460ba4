"""What every public step keeps: one key for one draw, types, and numbers that are rounded."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import augment
from jaxmed.testing import check_augment
from jaxmed.testing._draws import keys_of

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
BATCH = {
    "image": jnp.asarray(RNG.normal(size=(2, 8, 8, 2)), jnp.float32),
    "mask": jnp.asarray(RNG.integers(0, 3, (2, 8, 8))),
}
# All functions of the package but the classes and what composes.
STEPS = {
    name: getattr(augment, name)
    for name in augment.__all__
    if inspect.isfunction(getattr(augment, name)) and name != "chain"
}
NEEDED = {
    "corruption": ("motion", 3),
    "random_crop": ((6, 6),),
    "with_structures": (augment.chain(augment.noise()), 1),
}
MADE = {name: f(*NEEDED.get(name, ())) for name, f in STEPS.items()}
MADE |= {
    f"{name} per channel": f(per_channel=True)
    for name, f in STEPS.items()
    if "per_channel" in inspect.signature(f).parameters
}


@pytest.mark.parametrize("name", MADE)
def test_no_step_draws_from_a_key_twice(name):
    keys = keys_of(MADE[name], KEY, BATCH)
    assert keys.drawn
    assert set(keys.drawn.values()) == {1}
    assert not keys.derived & set(keys.drawn)


def test_steps_of_one_chain_share_no_key():
    twice = [step for name, step in MADE.items() if name != "random_crop"] * 2
    keys = keys_of(augment.chain(*twice), KEY, BATCH)
    assert set(keys.drawn.values()) == {1}
    assert not keys.derived & set(keys.drawn)


def test_a_chain_keeps_the_laws():
    view = augment.chain(augment.flip(), augment.noise(), augment.cutout(p=0.5), augment.noise())
    assert "fields keep their names, types and examples" in check_augment(view, BATCH)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int16])
def test_what_is_moved_is_rounded_not_cut(dtype):
    view = augment.random_affine(scale=(0.7, 0.9))
    image = jnp.asarray(RNG.integers(0, 256, (40, 16, 1)), dtype).at[-1].set(100)
    whole, real = (
        view(KEY, {"image": x})["image"].astype(jnp.float32)
        for x in (image, image.astype(jnp.float32))
    )
    np.testing.assert_allclose(whole, np.round(real), atol=1.01)
    assert abs(float((whole - real).mean())) < 0.05
    np.testing.assert_array_equal(whole[-1], 100)


def test_half_precision_is_shaded_in_full():
    """Intensities as of CT, whose squares are beyond float16; a blank image beside them."""
    chains = [MADE[n] for n in STEPS if isinstance(MADE[n], augment.Augmentation)]
    shades = [one for one in chains if isinstance(one.steps[0], augment.Intensity)]
    image = np.concatenate([RNG.normal(size=(1, 12, 2)) * 1000, np.full((1, 12, 2), 0.1)])
    image = jnp.asarray(image, jnp.float16)
    out = augment.chain(*shades)(KEY, {"image": image})["image"]
    assert out.dtype == jnp.float16
    assert bool(jnp.isfinite(out).all())
    moved = augment.random_affine()(KEY, {"image": image})["image"]
    np.testing.assert_array_equal(moved[1], image[1])


def test_labels_of_any_size_are_moved_as_they_are():
    ids = jnp.asarray([0, 16777217, 614454277], jnp.int32)
    batch = {"image": jnp.zeros((2, 12, 1)), "mask": jnp.tile(jnp.repeat(ids, 4), (2, 1))}
    moved = augment.chain(augment.random_affine(scale=(0.8, 0.9)), augment.flip())(KEY, batch)
    assert set(np.unique(moved["mask"])) == set(ids.tolist())


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("retain", [False, True])
def test_gamma_does_not_care_for_the_unit(unit, retain):
    line = jnp.array([0.0, 0.5, 0.7, 1.0]).reshape(1, 4, 1)
    view = augment.gamma((2.0, 2.0), retain=retain)
    in_units = view(KEY, {"image": line * unit})["image"] / unit
    np.testing.assert_allclose(in_units, view(KEY, {"image": line})["image"], rtol=1e-4, atol=1e-5)


def test_the_sides_of_a_box_do_not_know_whether_it_is_there():
    image = jnp.tile(jnp.arange(256.0).reshape(1, 16, 16, 1), (600, 1, 1, 1))
    made = augment.cutout((0.1, 0.9), p=0.3)(KEY, {"image": image})["image"]
    hole = np.asarray(made != image)[..., 0]
    there = hole.any((1, 2))
    assert 130 < there.sum() < 230
    for axis in (1, 2):
        side = hole.any(3 - axis).sum(1)[there] / 16
        assert abs(side.mean() - 0.5) < 0.08  # four standard errors of the mean
        assert side.max() > 0.8
