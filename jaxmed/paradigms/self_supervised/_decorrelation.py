"""VICReg and Barlow Twins: two views agree, and dimensions say different things."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jaxmed.core import Array, Metrics, Objective, network_inputs, stream
from jaxmed.networks import ProjectionHead
from jaxmed.paradigms.base._views import View, deinterleave, interleave, row_weights, two_views
from jaxmed.paradigms.self_supervised._embedding import Head, embedding


def vicreg(
    view: View,
    second_view: View | None = None,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    projector: Head = ProjectionHead(512, hidden=(512, 512)),  # noqa: B008 (a frozen dataclass)
    output: str = "features",
    inputs: str = "image",
) -> Objective:
    r"""Two views agree, each dimension varies, and no two dimensions go together.

    .. math:: \lambda \frac{1}{nd} \sum_i |z_i - z'_i|^2 + \frac{\mu}{d} \sum_j \frac{h_j + h'_j}{2}
        + \frac{\nu}{d} \sum_{j \neq k} (C_{jk}^2 + C'^2_{jk}), \qquad
        h_j = \max(0, 1 - \sqrt{C_{jj} + 10^{-4}})

    C is the covariance of the projections of one view over the batch, over all devices.

    Args:
        view: of each image, as in :mod:`jaxmed.augment`; it may move voxels.
        second_view: of each image; ``view`` drawn again by default.
        invariance: lambda.
        variance: mu.
        covariance: nu.
        projector: what stands between the endpoint and the loss; parameters of the objective.
        output: the endpoint, ``(batch, features)``.
        inputs: the batch's images; padding rows enter no moment.

    Returns:
        The objective, with the metrics ``invariance``, ``variance`` and ``covariance``.

    Raises:
        ValueError: when traced, if the endpoint has not one vector per example.

    References:
        Bardes, Ponce and LeCun (2022), VICReg: variance-invariance-covariance regularization, ICLR.
    """

    def value(first: Array, second: Array, weight: Array):
        n, d = jnp.maximum(weight.sum(), 1), first.shape[-1]

        def spread(z):
            z = z - (weight * z).sum(0) / n
            c = (weight * z).T @ z / jnp.maximum(n - 1, 1)
            deviation = jnp.sqrt(jnp.diag(c) + 1e-4)
            off = jnp.square(c).sum() - jnp.square(jnp.diag(c)).sum()
            return jnp.maximum(0, 1 - deviation).mean(), off / d

        agree = (weight * jnp.square(first - second)).sum() / (n * d)
        (h1, c1), (h2, c2) = spread(first), spread(second)
        parts = {"invariance": agree, "variance": (h1 + h2) / 2, "covariance": c1 + c2}
        factors = {"invariance": invariance, "variance": variance, "covariance": covariance}
        total: Any = sum(factors[name] * part for name, part in parts.items())
        return total, parts

    return _two_batches(view, second_view, projector, output, inputs, value)


def barlow_twins(
    view: View,
    second_view: View | None = None,
    *,
    redundancy: float = 5e-3,
    projector: Head = ProjectionHead(512, hidden=(512, 512)),  # noqa: B008 (a frozen dataclass)
    output: str = "features",
    inputs: str = "image",
) -> Objective:
    r"""The correlation between the dimensions of two views is the identity.

    .. math:: \sum_j (1 - C_{jj})^2 + \lambda \sum_{j \neq k} C_{jk}^2

    C is the correlation over the batch, over all devices, of dimension j of one view's projections
    and dimension k of the other's; a dimension's variance has 1e-5 added to it.

    Args:
        view: of each image, as in :mod:`jaxmed.augment`; it may move voxels.
        second_view: of each image; ``view`` drawn again by default.
        redundancy: lambda.
        projector: what stands between the endpoint and the loss; parameters of the objective.
        output: the endpoint, ``(batch, features)``.
        inputs: the batch's images; padding rows enter no moment.

    Returns:
        The objective, with the metrics ``on_diagonal`` and ``off_diagonal``.

    Raises:
        ValueError: when traced, if the endpoint has not one vector per example.

    References:
        Zbontar et al. (2021), Barlow Twins: self-supervised learning via redundancy reduction,
        ICML.
    """

    def value(first: Array, second: Array, weight: Array):
        n = jnp.maximum(weight.sum(), 1)

        def standard(z):
            z = z - (weight * z).sum(0) / n
            return z / jnp.sqrt((weight * jnp.square(z)).sum(0) / n + 1e-5)

        c = (weight * standard(first)).T @ standard(second) / n
        diagonal = jnp.diag(c)
        on = jnp.square(1 - diagonal).sum()
        off = jnp.square(c).sum() - jnp.square(diagonal).sum()
        return on + redundancy * off, {"on_diagonal": on, "off_diagonal": off}

    return _two_batches(view, second_view, projector, output, inputs, value)


Value = Callable[[Array, Array, Array], tuple[Array, Metrics]]


def _two_batches(view, second_view, projector, output: str, inputs: str, value: Value):
    embed = embedding({"projector": projector}, output)

    def init(key, network, params, state, batch):
        return embed.init(key, network, params, state, network_inputs(batch, inputs))

    def loss(network, params, state, batch, key):
        key, images = stream(key, "decorrelation"), network_inputs(batch, inputs)
        pair = interleave(*two_views(view, second_view, key, images))
        z, state = embed.apply(network, params, state, pair, stream(key, "network"))
        weight = row_weights(batch, inputs)
        weight = jnp.ones(len(images)) if weight is None else weight.astype(jnp.float32)
        first, second = deinterleave(z["projector"], 2)
        # A padding row may hold anything: select, for 0 * nan is nan.
        real = weight[:, None] > 0
        total, metrics = value(
            jnp.where(real, first, 0), jnp.where(real, second, 0), weight[:, None]
        )
        return total, (state, metrics)

    return Objective(init, loss)
