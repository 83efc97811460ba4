"""Regret: what a learner of a stream lost by not knowing it beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.core import Array, Batch, Endpoints, Learner, LearnerState
from jaxmed.protocols.online._prequential import losses_of
from jaxmed.stats import checks


def hindsight(
    learner: Learner,
    state: LearnerState,
    stream: Iterable[Batch],
    loss: Callable[[Endpoints, Batch], Array],
    *,
    inputs: str = "image",
) -> NDArray[np.float64]:
    """The losses of a learner that stays as it is: the best fixed one, trained on all of a stream.

    Args:
        learner: any learner; no step is made.
        state: what predicts, such as :func:`jaxmed.fit` leaves it after many passes.
        stream: the same batches that :func:`prequential` had.
        loss: the same ``(endpoints, batch) -> (batch,)``.
        inputs: the batch's array that is predicted.

    Returns:
        (examples,) in the order of the stream, padding left out.

    Raises:
        ValueError: for a stream without a batch, or a loss that is not one number an example, or
            NaN.
    """

    def values(state: LearnerState, batch: Batch) -> tuple[LearnerState, Array]:
        return state, loss(learner.predict(state, batch[inputs]), batch)

    return losses_of(values, lambda batch: state, stream, inputs)[0]


def regret(
    losses: ArrayLike, fixed: ArrayLike, *, window: int | None = None
) -> NDArray[np.float64]:
    """The total loss on a stream less that of the best of fixed learners, example by example.

    Args:
        losses: (examples,) of the learner, such as ``prequential(...).losses``.
        fixed: (examples,) of one fixed learner, as :func:`hindsight` gives them, or
            (examples, learners) of several: sites' models, or one trained on each part.
        window: over how many of the last examples; by default over all so far. Where a stream
            changes, no one learner is best everywhere, and only the regret in a window tells
            whether the changes are followed.

    Returns:
        (examples,) of each stretch that ends there; the best learner is the best of that stretch.

    Raises:
        ValueError: for losses that are not finite, or of another number of examples.

    Examples:
        >>> regret([1.0, 1.0, 0.0], [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]).tolist()
        [1.0, 1.0, 1.0]
    """
    own = checks.finite(losses, "losses")
    others = checks.finite(fixed, "fixed", ndim=None)
    others = others[:, None] if others.ndim == 1 else others
    if others.ndim != 2 or not others.shape[1]:
        raise ValueError(f"fixed must be (examples, learners), but its shape is {np.shape(fixed)}")
    checks.same_length(losses=own, fixed=others)
    ends = np.arange(1, len(own) + 1)
    if window is not None:
        window = checks.check_whole(window, "window", 1)
    starts = np.zeros_like(ends) if window is None else np.maximum(ends - window, 0)

    def over(values: np.ndarray) -> np.ndarray:
        total = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
        return total[ends] - total[starts]

    return over(own) - over(others).min(1)
