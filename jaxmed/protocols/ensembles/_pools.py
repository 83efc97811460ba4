"""Opinion pools: one probability of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.protocols.ensembles._models import Floats, models_of
from jaxmed.stats import checks

_LEAST = 1e-12


def pool(
    predictions: Mapping[str, ArrayLike],
    weights: Mapping[str, float] | None = None,
    *,
    kind: Literal["linear", "logarithmic"] = "linear",
) -> Floats:
    r"""Combine the probabilities of several models.

    The *linear* pool is the weighted mean, as spread out as the models together are. The
    *logarithmic* pool, :math:`\prod_m p_m^{w_m}` brought to a sum of 1, is sharper, and nearly
    rules out what a single model rules out.

    Args:
        predictions: model to probabilities (cases, classes), or (cases,) of the second of two
            classes.
        weights: of each model, not negative; by default all equal. They are brought to a sum of 1.
        kind: which pool.

    Returns:
        The pool's probabilities, in the same shape.

    Raises:
        ValueError: for another kind, predictions of other shapes, or weights of other models,
            negative or all 0.

    References:
        Genest and Zidek (1986), Combining probability distributions: a critique and an annotated
        bibliography, Statistical Science 1.

    Examples:
        >>> both = {"a": [0.9, 0.2], "b": [0.5, 0.2]}
        >>> pool(both).round(2).tolist(), pool(both, kind="logarithmic").round(2).tolist()
        ([0.7, 0.2], [0.75, 0.2])
    """
    if kind not in ("linear", "logarithmic"):
        raise checks.unknown("kind", kind, ("linear", "logarithmic"))
    models = models_of(predictions)
    share = shares(weights, models.names)
    if kind == "linear":
        found = np.tensordot(share, models.values, 1)
    else:
        log_p = np.log(np.maximum(models.values, _LEAST))
        found = special.softmax(np.tensordot(share, log_p, 1), axis=-1)
    return models.given(found)


def shares(weights: Mapping[str, float] | None, names: tuple[str, ...]) -> Floats:
    """Weights by name as shares in the models' order."""
    if weights is None:
        return np.full(len(names), 1 / len(names))
    if set(weights) != set(names):
        raise ValueError(f"weights are of {sorted(weights)}, predictions of {sorted(names)}")
    found = checks.finite([weights[name] for name in names], "weights")
    if (found < 0).any() or not found.any():
        raise ValueError(f"weights must not be negative or all 0, got {dict(weights)}")
    return found / found.sum()
