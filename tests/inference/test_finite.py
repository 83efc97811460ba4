"""An answer that is no number is refused, not taken for one in which nothing was found."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.core import from_functions
from jaxmed.data import Scan, Space
from jaxmed.inference import (
    ImageRecipe,
    ModelError,
    Recipe,
    image_model,
    load_model,
    probabilities,
    save_model,
    segment,
    segmenter,
)
from jaxmed.networks import mlp

SCAN = Scan(np.eye(8, dtype=np.float32)[..., None], np.eye(3), Space((8, 8), np.eye(3)))


NETWORK = from_functions(lambda key, x: {}, lambda params, x: {"logits": x})


def lost(model, outputs):
    """The model, whose answer is no number."""
    answer = lambda params, state, x: jnp.full((*x.shape[:-1], outputs), np.nan)  # noqa: E731
    return model._replace(apply=answer)


def test_an_answer_of_voxels():
    recipe = Recipe(("none", "some"), ("grey",), (1.0, 1.0), (8, 8), net=NETWORK)
    for apply in (segment, probabilities):
        with pytest.raises(ValueError, match="answer is not finite"):
            apply(lost(segmenter(recipe, {}, {}), 2), SCAN)


def test_weights_of_a_folder(tmp_path):
    recipe = ImageRecipe("binary", ("no", "yes"), ("grey",), (4, 4), mlp(2, hidden=()))
    params, state = recipe.network().init(jax.random.key(0), jnp.ones((1, 4, 4, 1)))
    diverged = jax.tree.map(lambda leaf: leaf.at[:1].set(np.nan), params)
    save_model(tmp_path / "run", image_model(recipe, diverged, state))
    with pytest.raises(ModelError, match=r"params/.* holds numbers that are not finite"):
        load_model(tmp_path / "run")
