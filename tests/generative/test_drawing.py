"""Any generator's images: a key an image, whatever is drawn beside it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.core import stream
from jaxmed.generative import draw_images, drawing, image_keys

KEY = jax.random.key(3)


def of_labels(keys, params, state, condition):
    noise = jax.vmap(lambda key: jax.random.normal(key, (2, 3, 1)))(keys)
    return params * noise + condition.get("label", jnp.zeros(len(keys)))[:, None, None, None]


PLAIN = drawing(of_labels)
LABELLED = drawing(of_labels, classes=3)
MAPPED = drawing(of_labels, map_channels=2, classes=3, optional=True)


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_neither_count_nor_chunk_changes_an_image(chunk):
    labels = np.arange(7) % 3
    drawn = draw_images(
        LABELLED, KEY, jnp.ones(()), {}, 7, chunk=chunk, condition={"label": labels}
    )
    expected = np.stack(
        [
            np.asarray(jax.random.normal(stream(KEY, "image", i), (2, 3, 1))) + labels[i]
            for i in range(7)
        ]
    )
    np.testing.assert_allclose(drawn, expected, rtol=1e-6)
    assert drawn.dtype == np.float32


def test_images_go_on_after_those_drawn_before():
    params = jnp.ones((), jnp.bfloat16)
    whole = draw_images(PLAIN, KEY, params, {}, 6, chunk=4)
    rest = draw_images(PLAIN, KEY, params, {}, 2, chunk=4, first=4)
    np.testing.assert_array_equal(whole[4:], rest)
    np.testing.assert_array_equal(whole, PLAIN(KEY, params, {}, 6))
    np.testing.assert_array_equal(whole, PLAIN(image_keys(KEY, 6), params, {}, 6))


def test_one_program_serves_all_chunks_and_calls():
    traced = []

    def images(keys, params, state, condition):
        traced.append(len(keys))
        return of_labels(keys, params, state, condition)

    draw = drawing(images)
    for _ in range(2):
        draw_images(draw, KEY, jnp.ones(()), {}, 5, chunk=2)
    assert traced == [2]


@pytest.mark.parametrize(
    ("draw", "options", "said"),
    [
        (PLAIN, {"condition": {"label": np.zeros(4, int)}}, "knows no condition 'label'"),
        (LABELLED, {}, "draws by a condition 'label'"),
        (LABELLED, {"condition": {"label": np.array([0, 1, 2, 3])}}, "no class 3"),
        (LABELLED, {"condition": {"label": np.array([0, 1, 2, -1])}}, "no class -1"),
        (LABELLED, {"condition": {"label": np.zeros(3, int)}}, "4 images need 4 rows"),
        (LABELLED, {"condition": {"label": np.zeros(4)}}, "whole numbers"),
        (MAPPED, {"condition": {"map": np.zeros((4, 2, 3, 1))}}, "maps of 2 channel"),
        (MAPPED, {"condition": {"mask": np.zeros(4)}}, "it knows 'label', 'map'"),
        (PLAIN, {"chunk": 0}, "chunk is a whole number"),
        (PLAIN, {"count": 0}, "at least 1, got 0"),
        (PLAIN, {"key": image_keys(KEY, 4)}, "takes one key"),
        (PLAIN, {"params": np.nan}, "4 of 4 images are not finite"),
    ],
)
def test_what_is_wrong_is_said(draw, options, said):
    given = {"key": KEY, "params": 1.0, "state": {}, "count": 4, **options}
    with pytest.raises(ValueError, match=said):
        draw_images(draw, **given)


def test_a_seed_is_no_key():
    with pytest.raises(TypeError, match="typed key"):
        draw_images(PLAIN, 0, 1.0, {}, 4)
