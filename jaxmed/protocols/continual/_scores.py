"""What a sequence of tasks leaves of each: accuracy, backward transfer, forgetting."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxmed import stats
from jaxmed.stats import checks


class ContinualScores(NamedTuple):
    """Scores of learning tasks one after the other; made by :func:`continual_scores`.

    Attributes:
        accuracy: mean score on all tasks after the last.
        backward_transfer: mean change on earlier tasks since each was learned; negative where they
            were forgotten.
        forgetting: mean fall on earlier tasks from the best that they ever were.
    """

    accuracy: stats.Estimate
    backward_transfer: stats.Estimate
    forgetting: stats.Estimate


def continual_scores(scores: ArrayLike, *, level: float = 0.95) -> ContinualScores:
    r"""Sum up a matrix of scores of tasks that were learned one after the other.

    With :math:`R_{ij}` the score on task j after task i of T:

    .. math::
        \overline{R_{T j}}, \qquad \overline{R_{T j} - R_{j j}}, \qquad
        \overline{\max_{i < T} R_{i j} - R_{T j}} \qquad (j < T)

    Say beside the numbers what a prediction is told: the task, so that its head is known; the same
    classes in every task; or nothing, where all classes so far are told apart. Methods that hold
    in the first case fail in the last.

    Args:
        scores: (seeds, tasks, tasks) or (tasks, tasks), row i after task i; more is better.
        level: confidence level, of t intervals over seeds.

    Returns:
        The three scores. Of one seed the interval is infinite, with a note.

    Raises:
        ValueError: for a matrix that is not square, fewer than two tasks, or values that are not
            finite.

    References:
        Lopez-Paz and Ranzato (2017), Gradient episodic memory for continual learning, NeurIPS.
        Chaudhry et al. (2018), Riemannian walk for incremental learning, ECCV (forgetting).

    Examples:
        >>> found = continual_scores([[[0.9, 0.1], [0.6, 0.8]], [[0.9, 0.1], [0.7, 0.8]]])
        >>> [round(e.value, 3) for e in found]
        [0.725, -0.25, 0.25]
    """
    r = checks.finite(scores, "scores", ndim=None)
    r = r[None] if r.ndim == 2 else r
    if r.ndim != 3 or r.shape[1] != r.shape[2] or r.shape[1] < 2:
        raise ValueError(
            f"scores must be (seeds, tasks, tasks) of two tasks or more, got {np.shape(scores)}"
        )
    last, learned = r[:, -1], np.diagonal(r, axis1=1, axis2=2)
    parts = {
        "accuracy": last.mean(1),
        "backward transfer": (last - learned)[:, :-1].mean(1),
        "forgetting": (r[:, :-1].max(1) - last)[:, :-1].mean(1),
    }
    return ContinualScores(
        *(stats.mean(v, level=level, unit="seed", name=name) for name, v in parts.items())
    )
