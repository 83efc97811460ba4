"""Shortcuts: what a decision owes to a part of the image that should not matter."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Key, Network, PyTree, stream
from jaxmed.explain._images import one_image
from jaxmed.explain._target import Target, score
from jaxmed.stats import auc
from jaxmed.stats._result import Estimate


class Shortcut(NamedTuple):
    """What a decision owes to a region.

    Attributes:
        whole: AUC of the network on the images as they are.
        without: AUC where the region is another patient's: what is left without it.
        alone: AUC where all but the region is another patient's: what the region says by itself.
        moved: mean absolute change of the score when the region is exchanged, over that when all
            else is: above 1 the region decides more than the rest.
    """

    whole: Estimate
    without: Estimate
    alone: Estimate
    moved: float


def shortcut(
    key: Key,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    labels: np.ndarray,
    region: np.ndarray,
    *,
    target: Target = 1,
    repeats: int = 5,
    batch: int = 64,
    level: float = 0.95,
) -> Shortcut:
    """Exchange a region between patients, and see what becomes of the decision.

    A covered region looks like nothing the network has seen; another patient's looks like a region.
    If the answer follows the region it came from (``alone`` well above .5), the network has learned
    a border, a marker or a scanner. That the region *could* be learned from is another question,
    which training on it alone answers.

    Args:
        key: random key of who gives a region to whom.
        network: any network.
        params: its parameters.
        state: its state.
        inputs: images that it was not trained on, ``(n, *spatial, channels)``.
        labels: (n,), 0 or 1.
        region: (*spatial) or (n, *spatial), true in the region.
        target: the score of a case, by default that of class 1.
        repeats: how many others a case exchanges with.
        batch: images computed at once.
        level: confidence level of the intervals, over patients.

    Returns:
        The three AUCs with intervals.

    Raises:
        ValueError: if the region covers nothing or all, or has another shape, or there is only
            one class.

    References:
        DeGrave et al. (2021), AI for radiographic COVID-19 detection selects shortcuts over signal,
        Nature Machine Intelligence 3.
    """
    images, truth = one_image(inputs, "shortcut"), np.asarray(labels)
    count, spatial = len(images), images.shape[1:-1]
    found = np.asarray(region) > 0
    if found.shape not in (spatial, (count, *spatial)):
        raise ValueError(
            f"a region has the shape {spatial} or {(count, *spatial)}, got {found.shape}"
        )
    if not found.any() or found.all():
        raise ValueError("a region is a part of the image: this one covers nothing or all of it")
    if truth.shape != (count,) or set(np.unique(truth)) != {0, 1}:
        raise ValueError(f"labels are {count} of 0 and 1, both of them")
    inside = np.broadcast_to(found, (count, *spatial))[..., None]
    ask = jax.jit(lambda x: score(network, params, state, x, target))

    def answers(x):
        parts = [ask(x[i : i + batch]) for i in range(0, count, batch)]
        return np.asarray(jnp.concatenate(parts), np.float64)

    whole = answers(images)
    without, alone = [], []
    for repeat in range(repeats):
        others = images[_derangement(stream(key, "exchange", repeat), count)]
        without.append(answers(jnp.where(inside, others, images)))
        alone.append(answers(jnp.where(inside, images, others)))
    rows, cases = np.tile(truth, repeats), np.tile(np.arange(count), repeats)
    moved_by_region = np.abs(np.array(without) - whole).mean()
    moved_by_rest = np.abs(np.array(alone) - whole).mean()
    return Shortcut(
        auc(truth, whole, level=level),
        auc(rows, np.concatenate(without), groups=cases, level=level),
        auc(rows, np.concatenate(alone), groups=cases, level=level),
        float(moved_by_region / moved_by_rest) if moved_by_rest > 0 else np.nan,
    )


def _derangement(key: Key, count: int) -> Array:
    """A random order in which nobody stays in place: one round through all."""
    order = jax.random.permutation(key, count)
    return jnp.zeros(count, order.dtype).at[order].set(jnp.roll(order, 1))
