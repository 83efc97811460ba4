"""Objectives that need neither chains nor a partition function."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from jaxmed.core import Inputs, Objective, pick, stateless, stream, weighted_mean
from jaxmed.generative.energy._pixels import Binarise, visible_rows


def pseudo_likelihood(
    *, pixels: int | None = None, binarise: Binarise = "draw", inputs: Inputs = "image"
) -> Objective:
    r"""Maximise the probability of each binary pixel given all others.

    .. math:: \ell = -\sum_i \log p(v_i \mid v_{-i})
        = \sum_i \log\left(1 + e^{F(v) - F(v^{(i)})}\right)

    where :math:`v^{(i)}` has pixel i flipped. Where the images are draws from a machine of the same
    form, its parameters minimise it.

    Args:
        pixels: how many pixels of each image, drawn anew at each step, stand for all of them; all
            by default, at a forward pass for each.
        binarise: how grey values become binary pixels, see
            :func:`~jaxmed.generative.binarised`.
        inputs: the batch's images.

    Returns:
        The objective, for any network with an endpoint ``free_energy`` of binary pixels, in nats an
        image.

    Raises:
        ValueError: for no pixel; when traced, for more pixels than an image has.

    References:
        Besag (1975), Statistical analysis of non-lattice data, The Statistician 24.
    """
    if pixels is not None and pixels < 1:
        raise ValueError(f"at least one pixel is looked at, got {pixels}")

    def loss(network, params, state, batch, key):
        key = stream(key, "pseudo_likelihood")
        rows, weight = visible_rows(stream(key, "binarise"), batch, inputs, binarise)
        n, count = rows.shape
        if pixels is not None and pixels > count:
            raise ValueError(f"an image has {count} pixels, so no {pixels} can be drawn")

        def energy(v):
            ends, net = network.apply(params["net"], state["net"], v, key=key, train=True)
            return pick(ends, "free_energy", "network"), net

        here, net = energy(rows)

        @jax.checkpoint
        def of_pixel(at):
            flipped = rows.at[jnp.arange(n), at].set(1 - rows[jnp.arange(n), at])
            return jax.nn.softplus(here - energy(flipped)[0])

        if pixels is None:
            places = jnp.broadcast_to(jnp.arange(count)[:, None], (count, n))
        else:
            # A choice of its own for each row, none twice.
            order = jax.random.uniform(stream(key, "pixels"), (n, count))
            places = jax.lax.top_k(order, pixels)[1].T
        values = jax.lax.map(of_pixel, places).sum(0) * (count / len(places))
        return weighted_mean(values, weight), ({**state, "net": net}, {})

    return stateless(loss)


def score_matching(
    *,
    method: Literal["exact", "sliced", "denoising"] = "exact",
    noise: float = 0.1,
    inputs: Inputs = "image",
) -> Objective:
    r"""Fit the slope of the log density, for which no partition function is needed.

    With :math:`s(v) = -\nabla F(v)`:

    .. math:: \ell = \sum_i \left(\tfrac12 s_i(v)^2 + \partial_i s_i(v)\right)

    exactly, at a forward pass for each pixel; *sliced*, where the second term is
    :math:`\epsilon^\top \nabla s\, \epsilon` for one random :math:`\epsilon` of signs an image; or
    *denoising*, :math:`\tfrac12 |s(v + \sigma \epsilon) + \epsilon / \sigma|^2` of noise
    :math:`\sigma \epsilon`, which fits the density of the noisy images.

    Args:
        method: which of the three.
        noise: the standard deviation :math:`\sigma`, for ``"denoising"``.
        inputs: the batch's images, real numbers.

    Returns:
        The objective, for any network with an endpoint ``free_energy`` of real numbers: an
        :func:`~jaxmed.generative.rbm` of Gaussian pixels.

    Raises:
        ValueError: for another method, or noise that is not positive.

    References:
        Hyvärinen (2005), Estimation of non-normalized statistical models by score matching, JMLR 6.
        Vincent (2011), A connection between score matching and denoising autoencoders, Neural
        Computation 23. Song et al. (2019), Sliced score matching, UAI.
    """
    if method not in ("exact", "sliced", "denoising"):
        raise ValueError(f"method is 'exact', 'sliced' or 'denoising', got {method!r}")
    if not noise > 0:
        raise ValueError(f"noise is positive, got {noise}")

    def loss(network, params, state, batch, key):
        key = stream(key, "score_matching")
        rows, weight = visible_rows(key, batch, inputs, "none")

        def energy(v):
            ends, net = network.apply(params["net"], state["net"], v, key=key, train=True)
            return -pick(ends, "free_energy", "network").sum(), net

        net = energy(rows)[1]

        def score(v):
            return jax.grad(lambda v: energy(v)[0])(v)

        if method == "denoising":
            drawn = jax.random.normal(stream(key, "noise"), rows.shape)
            values = 0.5 * jnp.square(score(rows + noise * drawn) + drawn / noise).sum(-1)
            return weighted_mean(values, weight), ({**state, "net": net}, {})

        @jax.checkpoint
        def curvature(direction):
            _, along = jax.jvp(score, (rows,), (jnp.broadcast_to(direction, rows.shape),))
            return (along * direction).sum(-1)

        if method == "sliced":
            trace = curvature(jax.random.rademacher(stream(key, "slice"), rows.shape, rows.dtype))
        else:
            trace = jax.lax.map(curvature, jnp.eye(rows.shape[1])).sum(0)
        values = 0.5 * jnp.square(score(rows)).sum(-1) + trace
        return weighted_mean(values, weight), ({**state, "net": net}, {})

    return stateless(loss)
