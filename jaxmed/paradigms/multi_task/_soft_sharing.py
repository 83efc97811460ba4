"""Soft sharing: parameters of two parts drawn together."""

from __future__ import annotations

import jax.numpy as jnp

from jaxmed.core import Objective, flatten_paths, merge_named
from jaxmed.paradigms.base._schedules import check_weight


def soft_sharing(
    objective: Objective, between: tuple[str, str], *, weight: float = 1e-3
) -> Objective:
    r"""Add the squared distance between the parameters of two parts of the network.

    .. math:: \lambda \sum_i \| \theta^a_i - \theta^b_i \|^2

    Args:
        objective: what the parts learn.
        between: the paths of the two, such as ``("grade", "site")`` of :func:`towers`. Leaves of
            the same path below them, and of one shape, are drawn together.
        weight: :math:`\lambda`.

    Returns:
        The objective, with the metric ``distance`` (the sum of squares).

    Raises:
        ValueError: if the weight is negative or not finite; when traced, if the two have no leaf in
            common.

    References:
        Duong et al. (2015), Low resource dependency parsing: cross-lingual parameter sharing in a
        neural network parser, ACL.

    >>> import jaxmed as jm
    >>> both = jm.weighted(
    ...     {"a": jm.supervised(jm.losses.mse, output="a"), "b": jm.supervised(jm.losses.mse)}
    ... )
    >>> shared = soft_sharing(both, ("a", "b"), weight=0.1)
    """
    check_weight(weight)

    def loss(network, params, state, batch, key):
        value, (state, metrics) = objective.loss(network, params, state, batch, key)
        leaves = flatten_paths(params["net"])
        one, two = (
            {
                path.removeprefix(f"{part}/"): leaf
                for path, leaf in leaves.items()
                if path.startswith(f"{part}/")
            }
            for part in between
        )
        pairs = [
            (x, two[path]) for path, x in one.items() if path in two and two[path].shape == x.shape
        ]
        if not pairs:
            raise ValueError(
                f"no parameters below {between[0]!r} and {between[1]!r} correspond; there are "
                f"{sorted({path.split('/')[0] for path in leaves})}"
            )
        distance = sum(jnp.square(x - y).sum() for x, y in pairs)
        return value + weight * distance, (state, merge_named(metrics, {"distance": distance}))

    return objective._replace(loss=loss)
