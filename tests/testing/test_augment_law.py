"""The law of keys catches a step that breaks it, however it comes by the key."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jaxmed.core import stream
from jaxmed.testing import check_augment
from jaxmed.testing._draws import keys_of

KEY = jax.random.key(3)
BATCH = {"image": jnp.arange(32.0).reshape(2, 4, 4, 1)}


def shaded(draw):
    """A step that adds what ``draw(key)`` gives, one number per example or for all."""

    def step(key, batch):
        return batch | {"image": batch["image"] + jnp.reshape(draw(key), (-1, 1, 1, 1))}

    return step


def normal(key):
    return jax.random.normal(key, (2,))


def uniform(key):
    return jax.random.uniform(key)


def in_a_scan(key):
    return lax.scan(lambda total, i: (total + uniform(stream(key, i // 2)), i), 0.0, jnp.arange(4))[
        0
    ]


def in_a_loop(key):
    return lax.fori_loop(
        0, jnp.int32(uniform(stream(key, "n")) * 0 + 3), lambda _, x: x + uniform(key), 0.0
    )


TWICE = {
    "a gate and a size": lambda key: normal(key) * jax.random.bernoulli(key, 0.5),
    "another way to the same key": lambda key: (
        normal(stream(key, "a", 1)) + uniform(jax.jit(stream)(stream(key, "a"), 1))
    ),
    "a key wrapped anew": lambda key: (
        uniform(key) + uniform(jax.random.wrap_key_data(jax.random.key_data(key)))
    ),
    "the same for every example": lambda key: jax.vmap(uniform)(jnp.stack([key, key])),
    "under vmap": lambda key: jax.vmap(lambda k: uniform(k) + normal(k)[0])(jax.random.split(key)),
    "in a scan": in_a_scan,
    "in a loop": in_a_loop,
    "in a branch": lambda key: lax.cond(
        uniform(stream(key, "a")) < 2, lambda: uniform(stream(key, "a")), lambda: 0.0
    ),
    "rejection": lambda key: jax.random.gamma(key, 2.0) + jax.random.gamma(key, 3.0),
}


@pytest.mark.parametrize("how", TWICE)
def test_two_draws_from_one_key_are_found(how):
    with pytest.raises(AssertionError, match="no key is drawn from twice"):
        check_augment(shaded(TWICE[how]), BATCH)


def test_a_key_that_is_split_is_not_drawn_from():
    step = shaded(lambda key: uniform(key) + normal(jax.random.split(key)[0]))
    with pytest.raises(AssertionError, match="drawn from or derived from, not both"):
        check_augment(step, BATCH)


ONCE = {
    "streams": lambda key: normal(stream(key, "a")) * uniform(stream(key, "b")),
    "split": lambda key: sum(normal(k) for k in jax.random.split(key)),
    "examples": lambda key: jax.vmap(uniform)(jax.random.split(key, 2)),
    "scan": lambda key: lax.scan(
        lambda x, k: (x + uniform(k), x), 0.0, jax.random.split(key, 3), reverse=True
    )[0],
    "branch": lambda key: lax.switch(
        1, [lambda: uniform(stream(key, 0)), lambda: uniform(stream(key, 1))]
    ),
    "permutation": lambda key: jax.random.permutation(key, 2),
    "nothing": lambda key: jnp.ones(2),
}


@pytest.mark.parametrize("how", ONCE)
def test_one_draw_from_each_key_is_right(how):
    found = keys_of(shaded(ONCE[how]), KEY, BATCH)
    assert set(found.drawn.values()) <= {1}
    assert not found.derived & set(found.drawn)
    assert bool(found.drawn) == (how != "nothing")


def test_a_step_that_keeps_the_laws_passes_them_all():
    held = check_augment(shaded(ONCE["streams"]), BATCH)
    assert held == [
        "no key is drawn from twice",
        "a key is drawn from or derived from, not both",
        "the same key gives the same batch",
        "a compiled call equals an eager one",
        "fields keep their names, types and examples",
    ]


def test_types_and_fields_are_kept():
    with pytest.raises(AssertionError, match="image is float16, was float32"):
        check_augment(lambda k, b: {"image": b["image"].astype(jnp.float16)}, BATCH)
    with pytest.raises(AssertionError, match=r"fields \['image'\] became \[\]"):
        check_augment(lambda k, b: {}, BATCH)
    with pytest.raises(ValueError, match="at least two examples"):
        check_augment(lambda k, b: b, {"image": jnp.ones((1, 3))})
