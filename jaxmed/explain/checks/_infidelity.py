"""Infidelity: does a map foretell what changes of the image do to the score."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, Network, PyTree, stream
from jaxmed.explain._images import Baseline, absent, one_image
from jaxmed.explain._passes import check_count, sum_over
from jaxmed.explain._target import Target, score, scores, settled
from jaxmed.explain.perturbation._rise import smooth_mask


def infidelity(
    key: Key,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    attribution: Array,
    *,
    baseline: Baseline = 0.0,
    cells: int = 7,
    keep: float = 0.5,
    samples: int = 256,
    chunk: int = 16,
) -> Array:
    r"""Expected squared error of a map's forecast of how the score changes.

    .. math:: \min_\beta E \left(\beta\, \phi \cdot m - (f(x) - f(x_m))\right)^2
              / E (f(x) - f(x_m))^2

    for random smooth masks m that cover a share of the image, and :math:`\phi \cdot m` the sum of
    the map there. The map's scale is the best one, as in the paper, and the error is divided by
    that of a map of zeros: 0 is a perfect forecast and 1 a useless one.

    Args:
        key: random key of the masks.
        network: any network.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``.
        target: a class, one a case, or a function of the endpoints.
        attribution: the map, in the inputs' shape.
        baseline: what covers.
        cells: of the coarse grid of a mask.
        keep: the share of cells that is shown.
        samples: number of masks.
        chunk: how many are computed at once.

    Returns:
        (batch,), from 0 to 1; NaN where no mask changes the score.

    Raises:
        ValueError: if the map has another shape than the images.

    References:
        Yeh et al. (2019), On the (in)fidelity and sensitivity of explanations, NeurIPS.
    """
    images = one_image(inputs, "infidelity")
    if attribution.shape != images.shape:
        raise ValueError(f"a map has the images' shape {images.shape}, got {attribution.shape}")
    check_count(samples, "samples", 2)
    cover, spatial = absent(baseline, images), images.shape[1:-1]
    target = settled(network, params, state, images, target)
    before = score(network, params, state, images, target)
    values = jnp.asarray(attribution, jnp.float32).sum(-1)
    grid = (cells,) * len(spatial)

    def part(numbers, weights):
        kept = jax.vmap(lambda i: smooth_mask(stream(key, "mask", i), spatial, grid, keep))(numbers)
        gone = 1 - kept[:, None]
        seen = images + gone[..., None].astype(images.dtype) * (cover - images)
        fell = before - scores(network, params, state, seen, target)
        foretold = (gone * values).reshape(len(numbers), len(images), -1).sum(-1)
        return tuple(
            weights @ x for x in (foretold**2, foretold * fell, fell.astype(jnp.float32) ** 2)
        )

    own, both, owed = sum_over(part, samples, chunk)
    explained = both**2 / jnp.where(own > 0, own, 1)
    return jnp.where(owed > 0, 1 - explained / jnp.where(owed > 0, owed, 1), jnp.nan)
