"""Packed ensembles: narrow members with the total cost of one network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import optax

from jaxmed.bayes.posteriors._posterior import Posterior
from jaxmed.bayes.posteriors._trajectory import ensemble_posterior
from jaxmed.core import Learner, LearnerState, Network, Objective, learner
from jaxmed.paradigms import ensemble


class PackedEnsemble(NamedTuple):
    """The member network, learner and posterior of a packed ensemble.

    Attributes:
        network: network of one member.
        width: width of a member.
        n: number of members.
        learner: ``(objective, optimizer, *, inputs="image") -> Learner`` of all members.
        posterior: ``(learner_state) -> Posterior`` whose samples are the members.
    """

    network: Network
    width: int
    n: int
    learner: Callable[..., Learner]
    posterior: Callable[[LearnerState], Posterior]


def packed_ensemble(
    make: Callable[[int], Network], width: int, n: int, *, alpha: float = 2.0, **options: Any
) -> PackedEnsemble:
    r"""Create an ensemble of ``n`` members of width :math:`\lceil \alpha\,\text{width} / n \rceil`.

    A layer of all members has :math:`\alpha^2 / n` times the weights of the single network's layer
    (first and last layers :math:`\alpha` times): with ``n = 4`` and ``alpha = 2``, the ensemble has
    the weights and multiplications of one network. On an accelerator all members run as one network
    of grouped convolutions; they share no weights and are trained jointly from independent
    initialisations. The paper's further grouping within a member is left to ``make``.

    Args:
        make: ``(width) -> Network``.
        width: width of the single network that the ensemble replaces.
        n: number of members.
        alpha: total width of the members as a multiple of the single network's.
        options: options of :func:`jaxmed.ensemble`, such as ``strategy``.

    Returns:
        The member network, learner and posterior.

    Raises:
        ValueError: if a number is not positive.

    References:
        Laurent et al. (2023), Packed-Ensembles for efficient uncertainty estimation, ICLR.

    >>> import jaxmed as jm
    >>> make = lambda width: jm.from_linen(jm.networks.mlp(2, hidden=(width, width)))
    >>> packed = packed_ensemble(make, 64, 4)
    >>> packed.width
    32
    >>> trained_by = packed.learner(jm.supervised(jm.losses.cross_entropy), optax.adam(1e-3))
    """
    if width < 1 or n < 1 or not alpha > 0:
        raise ValueError(f"width, n and alpha must be positive, got {width}, {n} and {alpha}")
    own = math.ceil(alpha * width / n)
    network = make(own)

    def train(
        objective: Objective, optimizer: optax.GradientTransformation, **given: Any
    ) -> Learner:
        return ensemble(learner(network, objective, optimizer, **given), n, **options)

    def posterior(state: LearnerState) -> Posterior:
        return ensemble_posterior(network, state)

    return PackedEnsemble(network, own, n, train, posterior)
