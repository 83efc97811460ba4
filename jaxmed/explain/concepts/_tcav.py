"""TCAV: does the direction of a concept, in a layer, move the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import special

from jaxmed.core import Array, Network, PyTree, pick
from jaxmed.explain._target import Target
from jaxmed.explain.relevance._endpoint import endpoint_gradient


class Tcav(NamedTuple):
    """A concept tested.

    Attributes:
        score: mean over the random sets of the share of cases whose score rises in the direction
            of the concept.
        scores: that of each random set.
        chance: scores of random sets against each other.
        p: of Welch's two-sided t test between the two.
        accuracy: mean accuracy, by cross-validation, with which the concept is told from the
            random sets: near .5 there is no direction to speak of.
        directions: (sets, features), unit vectors.
    """

    score: float
    scores: np.ndarray
    chance: np.ndarray
    p: float
    accuracy: float
    directions: np.ndarray


def tcav(
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    *,
    concept: Array | np.ndarray,
    random: Sequence[Array | np.ndarray],
    endpoint: str = "features",
    level: int = -1,
    penalty: float = 1.0,
) -> Tcav:
    """Test whether a concept, given by examples, matters for an answer.

    A direction is the normal of a ridge regression between the concept's images and random ones,
    in the values of a layer (a map's mean over space). A concept matters if the score rises in its
    direction more or less often than in directions between random sets, which is what is tested:
    one direction alone finds something in anything. Each random set is set against a part of the
    concept's images that no other one is: directions that shared them would share whatever else
    they happen to have in common, and a concept that is beside the matter would pass for one that
    counts three times as often as it should.

    Args:
        network: any network.
        params: its parameters.
        state: its state.
        inputs: cases of the class that is asked about.
        target: a class, one a case, or a function of the endpoints.
        concept: images with the concept (n, *spatial, channels), at least as many as there are
            random sets; some times as many for directions that are more than noise.
        random: at least three sets of images without.
        endpoint: the layer, on the way to the answer.
        level: which of a tuple of maps.
        penalty: of the ridge, times the mean variance of the layer's values.

    Returns:
        The score, its test, and the directions.

    Raises:
        ValueError: with fewer than three random sets, fewer images of the concept than sets, or an
            endpoint beside the way.

    References:
        Kim et al. (2018), Interpretability beyond feature attribution: quantitative testing with
        concept activation vectors, ICML.
    """
    if len(random) < 3:
        raise ValueError(
            f"a test against chance needs at least three random sets, got {len(random)}"
        )
    if len(concept) < len(random):
        raise ValueError(
            f"each of the {len(random)} random sets is set against images of the concept of its "
            f"own, and there are {len(concept)}: give more images, or fewer sets"
        )

    def values(images):
        found = pick(network.apply(params, state, jnp.asarray(images))[0], endpoint, "network")
        return _pooled(np.asarray(found[level] if isinstance(found, tuple | list) else found))

    _, slopes = endpoint_gradient(
        network, params, state, inputs, target, endpoint=endpoint, level=level
    )
    slopes = _summed(np.asarray(slopes))
    known = values(concept)
    others = [values(images) for images in random]
    directions = np.stack(
        [_direction(known[i :: len(others)], other, penalty) for i, other in enumerate(others)]
    )
    between = [
        _direction(others[i], others[(i + 1) % len(others)], penalty) for i in range(len(others))
    ]
    scores = np.array([(slopes @ d > 0).mean() for d in directions])
    chance = np.array([(slopes @ d > 0).mean() for d in between])
    return Tcav(
        float(scores.mean()),
        scores,
        chance,
        _welch(scores, chance),
        float(np.mean([_told_apart(known, other, penalty) for other in others])),
        directions,
    )


def _welch(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p of Welch's t test; of two constants 1 where they are equal, and 0 otherwise."""
    parts = np.array([x.var(ddof=1) / len(x) for x in (first, second)])
    apart = first.mean() - second.mean()
    if parts.sum() == 0:
        return float(apart == 0)
    sizes = np.array([len(first), len(second)])
    df = parts.sum() ** 2 / (parts**2 / (sizes - 1)).sum()
    return float(2 * special.stdtr(df, -abs(apart) / np.sqrt(parts.sum())))


def _pooled(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1, values.shape[-1]).mean(1).astype(np.float64)


def _summed(slopes: np.ndarray) -> np.ndarray:
    """Derivatives in the mean over space of a map, all of whose places move alike."""
    return slopes.reshape(len(slopes), -1, slopes.shape[-1]).sum(1).astype(np.float64)


def _direction(first: np.ndarray, second: np.ndarray, penalty: float) -> np.ndarray:
    """A unit vector from the second set to the first."""
    direction, _ = _ridge(*_labelled(first, second), penalty)
    return direction / (np.linalg.norm(direction) or 1.0)


def _told_apart(first: np.ndarray, second: np.ndarray, penalty: float) -> float:
    """How well two sets are told apart, by cross-validation; NaN where they are too small."""
    x, y = _labelled(first, second)
    right = []
    parts = np.arange(len(x)) % 5
    for part in range(5):
        seen, held = parts != part, parts == part
        if len(set(y[seen])) < 2 or not held.any():
            continue
        slope, offset = _ridge(x[seen], y[seen], penalty)
        right.append((np.sign(x[held] @ slope + offset) == y[held]).mean())
    return float(np.mean(right)) if right else np.nan


def _labelled(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([first, second]), np.r_[np.ones(len(first)), -np.ones(len(second))]


def _ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    middle, mean = x.mean(0), y.mean()
    centred = x - middle
    scale = penalty * max((centred**2).mean(), np.finfo(np.float64).tiny) * len(x)
    inner = centred @ centred.T + scale * np.eye(len(x))
    slope = centred.T @ np.linalg.solve(inner, y - mean)
    return slope, float(mean - middle @ slope)
