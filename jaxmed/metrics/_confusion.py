"""The confusion matrix, the accumulator of all label metrics, and metrics based on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed import quantities
from jaxmed.metrics._examples import read
from jaxmed.metrics._metric import Activation, Metric, add, refuse_invalid
from jaxmed.quantities import mean_defined


class Confusion(NamedTuple):
    """Weighted counts `(tasks, classes, classes)`, truth by row, prediction by column.

    One task of K classes (2: binary), or several binary tasks. Inside jit the counts are
    float32, exact up to 2**24 each in one batch; they merge in float64.
    """

    counts: Any
    invalid: Any


@cache
def counter(threshold: float | None, probabilities: bool) -> Callable[..., Confusion]:
    """Return `from_batch` of the confusion matrix, cached per pair of options."""
    reached = 0.5 if threshold is None else threshold
    cut = quantities.logit(reached)  # also checks it
    cut = reached if probabilities else cut

    def from_batch(
        outputs: jax.typing.ArrayLike,
        targets: jax.typing.ArrayLike,
        *,
        weight: jax.typing.ArrayLike | None = None,
        where: jax.typing.ArrayLike | None = None,
    ) -> Confusion:
        batch = read(outputs, targets, weight, where, name="confusion", probabilities=probabilities)
        if batch.multiclass:
            classes = batch.outputs.shape[-1]
            predicted = quantities.largest(batch.outputs)
            if batch.xp is np:
                cells = np.bincount(
                    batch.labels * classes + predicted, batch.weight, minlength=classes**2
                )
                return Confusion(cells.reshape(1, classes, classes), np.float64(0))
            true = jax.nn.one_hot(batch.labels, classes) * batch.weight[:, None]
            cells = jnp.matmul(true.T, jax.nn.one_hot(predicted, classes), precision="highest")
            return Confusion(cells[None], batch.invalid.astype(jnp.float32))
        xp, w, true = batch.xp, batch.weight, batch.labels == 1
        above = quantities.at_least(batch.outputs, cut)
        if threshold is None and batch.second is not None:
            above = batch.second
        cells = [
            xp.where((true == t) & (above == p), w, 0).sum(0)
            for t in (False, True)
            for p in (False, True)
        ]
        return Confusion(xp.stack(cells, -1).reshape(-1, 2, 2), batch.invalid.astype(w.dtype))

    return from_batch


def label_metric(
    name: str, threshold: float | None, activation: Activation, value: Callable[[np.ndarray], Any]
) -> Metric:
    """Create a metric from counts `(tasks, classes, classes)` in float64."""
    if activation not in ("auto", None):
        raise ValueError(f"activation={activation!r}; it must be 'auto' or None (probabilities)")

    def compute(accumulator: Confusion) -> Any:
        refuse_invalid(accumulator.invalid, name=name)
        result = value(np.asarray(accumulator.counts, np.float64))
        return result if isinstance(result, np.ndarray) and result.ndim else float(result)

    cut = None if threshold is None else float(threshold)
    return Metric(counter(cut, activation is None), add, compute)


def confusion_matrix(*, threshold: float | None = None, activation: Activation = "auto") -> Metric:
    """Confusion matrix: weighted counts, truth by row and prediction by column.

    Args:
        threshold: a label is predicted positive if its probability is at least this; 1/2 by
            default. With several outputs per label the largest is predicted, the first of equal
            ones; with two, the second if its probability is at least a given threshold.
        activation: "auto" (the outputs are logits) or None (they are probabilities).

    Returns:
        A metric with value `(classes, classes)`, for several binary tasks `(tasks, 2, 2)`.

    Raises:
        ValueError: the threshold is not in (0, 1).

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(confusion_matrix(), [1.0, -1.0, 2.0], [1, 0, 0])
        array([[1., 1.],
               [0., 1.]])
    """
    return label_metric(
        "confusion_matrix", threshold, activation, lambda c: c[0] if len(c) == 1 else c
    )


def accuracy(*, threshold: float | None = None, activation: Activation = "auto") -> Metric:
    """Accuracy: the share of correctly predicted labels.

    For several binary tasks, the mean over tasks of their accuracies (MedMNIST's rule, not the
    share of rows that are correct in all of them). NaN without any label.

    Args:
        threshold: see `confusion_matrix`.
        activation: "auto" (logits) or None (probabilities).

    Returns:
        A metric with a float value in [0, 1].

    Raises:
        ValueError: the threshold is not in (0, 1).

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(accuracy(), [[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]], [0, 1])
        0.5
    """
    return label_metric(
        "accuracy",
        threshold,
        activation,
        lambda c: mean_defined(quantities.accuracy(c)),
    )


def balanced_accuracy(*, threshold: float | None = None, activation: Activation = "auto") -> Metric:
    """Balanced accuracy: the mean recall over the classes that occur in the truth.

    For several binary tasks, the mean over tasks. NaN without any label.

    Args:
        threshold: see `confusion_matrix`.
        activation: "auto" (logits) or None (probabilities).

    Returns:
        A metric with a float value in [0, 1].

    Raises:
        ValueError: the threshold is not in (0, 1).

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(balanced_accuracy(), [1.0, 1.0, 1.0, -1.0], [1, 1, 1, 1])
        0.75
    """
    return label_metric(
        "balanced_accuracy",
        threshold,
        activation,
        lambda c: mean_defined(quantities.balanced_accuracy(c)),
    )


def mcc(*, threshold: float | None = None, activation: Activation = "auto") -> Metric:
    r"""Matthews correlation coefficient for two or more classes.

    With :math:`s` labels, :math:`c` of them correct, :math:`t_k` true and :math:`p_k` predicted in
    class k: :math:`(c s - \sum_k t_k p_k) / \sqrt{(s^2 - \sum_k p_k^2)(s^2 - \sum_k t_k^2)}`. It is
    NaN (0 / 0) if truth or prediction has only one class, and excluded from the mean over several
    binary tasks (scikit-learn returns 0).

    Args:
        threshold: see `confusion_matrix`.
        activation: "auto" (logits) or None (probabilities).

    Returns:
        A metric with a float value in [-1, 1], or NaN.

    Raises:
        ValueError: the threshold is not in (0, 1).

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(mcc(), [1.0, 1.0, -1.0, -1.0], [1, 1, 0, 0])
        1.0

    References:
        Gorodkin, Comparing two K-category assignments, Comput. Biol. Chem. 2004.
    """
    return label_metric("mcc", threshold, activation, lambda c: mean_defined(quantities.mcc(c)))


def quadratic_kappa(*, threshold: float | None = None, activation: Activation = "auto") -> Metric:
    r"""Cohen's kappa with quadratic weights, for ordered classes 0..K-1.

    :math:`1 - \sum_{ij} (i - j)^2 O_{ij} / \sum_{ij} (i - j)^2 E_{ij}` with observed counts O and
    those expected under independence, E. NaN if truth and prediction are the same
    constant. For `losses.ordinal`, pass `losses.ordinal_probabilities(outputs)` and
    `activation=None`.

    Args:
        threshold: see `confusion_matrix`.
        activation: "auto" (logits) or None (probabilities).

    Returns:
        A metric with a float value of at most 1; the mean over several binary tasks.

    Raises:
        ValueError: the threshold is not in (0, 1).

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(quadratic_kappa(), [[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]], [0, 2])
        1.0

    References:
        Cohen, Weighted kappa, Psychological Bulletin 1968.
    """

    def value(c: np.ndarray) -> float:
        return mean_defined(quantities.kappa(c, quantities.costs(c.shape[-1], "quadratic")))

    return label_metric("quadratic_kappa", threshold, activation, value)
