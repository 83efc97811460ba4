"""Generators by name: what learns, and how it draws.

A row is ``function(config, shape, classes) -> Model`` (or the pair ``(learner, draw)`` alone), of
the experiment's settings, the shape ``(*spatial, channels)`` of an image in [-1, 1], and the number
of classes, 0 for none. Batches have ``image``, ``label`` where there are classes, and ``map`` for
volumes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxmed as jm
from jaxmed.core import Learner, Variables
from jaxmed.generative import drawing
from jaxmed.unsupervised import pca

from ._adversarial import gan
from ._autoencoders import ladder, vae
from ._diffusion import diffusion, flow
from ._latent import latent, vq


class Model(NamedTuple):
    """A generator of the table.

    Attributes:
        learner: what :func:`jaxmed.fit` trains for the experiment's steps; None if ``fit`` does.
        draw: ``(key, params, state, count, condition) -> images`` in [-1, 1], roughly.
        conditions: names out of ``label`` and ``map`` that it is drawn by.
        fit: ``(arrays, out) -> Variables`` of what is not one training: solved, or stage by stage.
        variables: from the learner's last state to what ``draw`` takes; by default what of it
            predicts.
        save: ``(out, variables)``, so that ``jaxmed generate`` finds it.
    """

    learner: Learner | None
    draw: Callable[..., Any]
    conditions: tuple[str, ...] = ()
    fit: Callable[[dict[str, np.ndarray], Path], Variables] | None = None
    variables: Callable[[Any], Variables] | None = None
    save: Callable[[Path, Variables], None] | None = None


def gaussian(config: Any, shape: tuple[int, ...], classes: int) -> Model:
    """A normal distribution over principal components, one a class: what all others must beat."""

    def fit(arrays: dict[str, np.ndarray], out: Path) -> Variables:
        images = arrays["image"]
        labels = arrays["label"] if classes else np.zeros(len(images), int)
        means, bases = [], []
        for k in range(max(classes, 1)):
            rows = images[labels == k].reshape(np.count_nonzero(labels == k), -1)
            if len(rows) < 2:
                raise ValueError(f"class {k} has {len(rows)} training images; a spread needs 2")
            found = pca(rows, min(config.components, len(rows) - 1))
            means.append(found.mean.ravel())
            basis = np.asarray(found.components) * np.sqrt(np.asarray(found.variances))[:, None]
            bases.append(np.pad(basis, ((0, config.components - len(basis)), (0, 0))))
        params = {"mean": jnp.asarray(np.stack(means)), "basis": jnp.asarray(np.stack(bases))}
        return Variables(params, {})

    def images(keys, params, state, condition):
        labels = condition.get("label", jnp.zeros(len(keys), jnp.int32))
        noise = jax.vmap(lambda key: jax.random.normal(key, (config.components,)))(keys)
        x = params["mean"][labels] + jnp.einsum("nc,ncp->np", noise, params["basis"][labels])
        return jnp.clip(x, -1, 1).reshape(len(keys), *shape)

    conditions = ("label",) if classes else ()
    return Model(None, drawing(images, classes=classes), conditions, fit)


MODELS: dict[str, Callable[..., Any]] = {
    "gaussian": gaussian,
    "diffusion": diffusion,
    "flow": flow,
    "gan": gan,
    "ladder": ladder,
    "latent": latent,
    "vae": vae,
    "vq": vq,
}
"""The rows."""


def trained(
    config: Any, model: Model, source: Any, out: Path
) -> tuple[Variables, tuple[dict[str, Any], ...]]:
    """What the generator draws by, and the log of its training."""
    if model.learner is None:
        if model.fit is None:
            raise ValueError(f"the row {config.model!r} has neither a learner nor a fit")
        return model.fit(source.arrays, out), ()
    batches = jm.data.batches(source, min(config.batch, len(source)), seed=config.seed)
    result = jm.fit(model.learner, batches, seed=config.seed, steps=config.steps, out=out)
    get = model.variables or model.learner.predicting.get
    return get(result.state), result.history
