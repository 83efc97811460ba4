"""What several models predict of the same cases, as one array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import quantities
from jaxmed.stats import checks

Floats = NDArray[np.float64]
Loss = Literal["log", "brier", "auc", "squared"]
LOSSES = ("log", "brier", "auc", "squared")


class Models(NamedTuple):
    """Predictions of several models.

    Attributes:
        names: of the models.
        values: (models, cases, outputs); of two classes both, of numbers one output.
        flat: whether predictions were given as (cases,).
    """

    names: tuple[str, ...]
    values: Floats
    flat: bool

    def given(self, values: Floats) -> Floats:
        """Predictions (cases, outputs) in the shape in which the models' were given."""
        return values[:, -1] if self.flat else values


def models_of(predictions: Mapping[str, ArrayLike], *, numbers: bool = False) -> Models:
    """Put predictions of several models side by side.

    Args:
        predictions: model to (cases, classes) probabilities, (cases,) probabilities of the second
            of two classes, or numbers.
        numbers: whether they are numbers and not probabilities.

    Raises:
        ValueError: for no model, other shapes, or what is no probability.
    """
    if not predictions:
        raise ValueError("there is no model")
    arrays = {}
    for name, given in predictions.items():
        array = checks.finite(given, f"predictions of {name}", ndim=None)
        if array.ndim not in (1, 2) or not array.size:
            raise ValueError(
                f"predictions of {name} must be (cases,) or (cases, outputs), got {array.shape}"
            )
        arrays[name] = array
    first = next(iter(arrays))
    for name, array in arrays.items():
        if array.shape != arrays[first].shape:
            raise ValueError(
                f"predictions of {name} have the shape {array.shape}, those of {first} "
                f"{arrays[first].shape}: models are of the same cases and classes"
            )
        if not numbers:
            total = array.sum(1) if array.ndim == 2 else np.ones(len(array))
            if array.min() < 0 or array.max() > 1 or not np.allclose(total, 1, atol=1e-3):
                raise ValueError(
                    f"predictions of {name} must be probabilities: in [0, 1], and with a sum of 1 "
                    "over several classes"
                )
    values = np.stack(list(arrays.values()))
    flat = values.ndim == 2
    if flat:
        values = values[..., None] if numbers else np.stack([1 - values, values], axis=-1)
    return Models(tuple(arrays), values, flat)


def truth_of(labels: ArrayLike, models: Models, loss: Loss) -> Floats:
    """What the models' outputs should be, (cases, outputs): classes as 0 and 1.

    Raises:
        ValueError: for an unknown loss, other lengths, or labels that are no classes.
    """
    if loss not in LOSSES:
        raise checks.unknown("loss", loss, LOSSES)
    _, n, outputs = models.values.shape
    y = np.asarray(labels)
    if loss == "squared":
        numbers = checks.finite(y, "labels", ndim=None).reshape(len(y), -1)
        if numbers.shape != (n, outputs):
            raise ValueError(f"labels must be {(n, outputs)} numbers, got {np.shape(labels)}")
        return numbers
    if y.shape != (n,):
        raise ValueError(f"labels must be ({n},), one a case, got {y.shape}")
    if y.dtype.kind not in "iub" or y.min() < 0 or y.max() >= outputs:
        raise ValueError(f"labels must be classes, whole numbers in 0..{outputs - 1}")
    return np.eye(outputs)[y.astype(int)]


def loss_of(values: Any, truth: Floats, loss: Loss) -> float:
    """The loss of predictions (cases, outputs): less is better, of an AUC it is 1 less it."""
    if loss == "squared":
        return float(np.square(values - truth).mean())
    if loss == "log":
        return float(quantities.log_loss_values((values * truth).sum(1)).mean())
    if loss == "brier":
        return float(np.square(values - truth).sum(1).mean())
    if truth.shape[1] == 2:
        return 1 - quantities.auc(truth[:, 1] > 0, values[:, 1])
    return 1 - quantities.macro_auc(truth.argmax(1), values)
