"""Integrated and expected gradients: what the way from an absence to the image adds."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Key, Network, PyTree, stream
from jaxmed.explain._images import Baseline, absent
from jaxmed.explain._passes import check_count, sum_over
from jaxmed.explain._target import Target, score, settled
from jaxmed.explain.gradients._gradient import gradients


def integrated_gradients(
    key: Key | None,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    *,
    baseline: Baseline = 0.0,
    steps: int = 64,
    chunk: int = 8,
    rule: Literal["gauss-legendre", "midpoint"] = "gauss-legendre",
) -> Array:
    r"""Integral of the gradient on the straight way from a baseline to the image.

    .. math:: (x - x')\, \int_0^1 \nabla f(x' + t (x - x'))\, dt

    It is complete: it sums to the score less that of the baseline. :func:`completeness_gap` tells
    by how much the finite number of steps misses that.

    Args:
        key: not used; part of the common signature.
        network: any network.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)`` or any other array of floats.
        target: a class, one a case, or a function of the endpoints.
        baseline: what stands for absence: a number, one a channel, an image, or one a case.
        steps: points on the way.
        chunk: how many are computed at once; bounds the memory and changes no result but by
            rounding.
        rule: where they lie: of Gauss and Legendre, or in the middles of equal parts.

    Returns:
        A signed map in the inputs' shape.

    Raises:
        ValueError: if the baseline does not fit the images, or an option is unknown.

    References:
        Sundararajan et al. (2017), Axiomatic attribution for deep networks, ICML.

    Examples:
        >>> import jaxmed as jm
        >>> net = jm.core.from_functions(lambda key, x: {}, lambda params, x: (x**2).sum((1, 2)))
        >>> image = jnp.array([[[1.0], [3.0]]])
        >>> integrated_gradients(None, net, {}, {}, image, 1).ravel().round(3).tolist()
        [1.0, 9.0]
    """
    del key
    images = jnp.asarray(inputs)
    start = absent(baseline, images)
    check_count(steps, "steps")
    target = settled(network, params, state, images, target)
    if rule == "gauss-legendre":
        at, weight = np.polynomial.legendre.leggauss(steps)
        at, weight = (at + 1) / 2, weight / 2
    elif rule == "midpoint":
        at, weight = (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)
    else:
        raise ValueError(f'rule is "gauss-legendre" or "midpoint", got {rule!r}')
    at, weight = jnp.asarray(at, jnp.float32), jnp.asarray(weight, jnp.float32)

    def part(numbers, weights):
        t = at[numbers].reshape(-1, *(1,) * images.ndim).astype(images.dtype)
        slopes = gradients(network, params, state, start + t * (images - start), target)
        return jnp.tensordot(weights * weight[numbers], slopes, 1)

    return (images - start) * sum_over(part, steps, chunk)


def expected_gradients(
    key: Key,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    *,
    references: Array | np.ndarray,
    samples: int = 64,
    chunk: int = 8,
) -> Array:
    r"""Integrated gradients, averaged over reference images and points on the way.

    .. math:: E_{x',\, t}\, (x - x')\, \nabla f(x' + t (x - x'))

    No image of zeros has to stand for absence: other patients do. In expectation it sums to the
    score less the mean score of the references.

    Args:
        key: random key: which reference and which point.
        network: any network.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``.
        target: a class, one a case, or a function of the endpoints.
        references: ``(references, *spatial, channels)``, as of the training set.
        samples: number of draws, each of one reference for each case; the references are used
            equally often, and the points are one in each of as many equal parts of the way.
        chunk: how many are computed at once; bounds the memory and changes no result but by
            rounding.

    Returns:
        A signed map in the inputs' shape.

    Raises:
        ValueError: if references and images differ in shape.

    References:
        Erion et al. (2021), Improving performance of deep learning models with axiomatic
        attribution priors and expected gradients, Nature Machine Intelligence 3.
    """
    images, others = jnp.asarray(inputs), jnp.asarray(references)
    if others.ndim != images.ndim or others.shape[1:] != images.shape[1:] or not len(others):
        raise ValueError(
            f"references are images of {images.shape[1:]}, got {others.shape[1:]} in {others.shape}"
        )
    check_count(samples, "samples")
    batch = images.shape[0]
    target = settled(network, params, state, images, target)

    def of_case(case):
        own = stream(key, "case", case)
        order = jax.random.permutation(stream(own, "order"), samples)
        jitter = jax.random.uniform(stream(own, "point"), (samples,))
        first = jax.random.randint(stream(own, "first"), (), 0, len(others))
        return (order + first) % len(others), (jnp.arange(samples) + jitter) / samples

    which, at = jax.vmap(of_case, out_axes=1)(jnp.arange(batch))

    def part(numbers, weights):
        reference = others[which[numbers]]
        t = at[numbers].reshape(-1, batch, *(1,) * (images.ndim - 1)).astype(images.dtype)
        slopes = gradients(network, params, state, reference + t * (images - reference), target)
        return jnp.tensordot(weights, (images - reference) * slopes, 1)

    return sum_over(part, samples, chunk) / samples


def completeness_gap(
    attribution: Array,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    *,
    baseline: Baseline | None = None,
    references: Array | np.ndarray | None = None,
) -> Array:
    """By how much a map misses what it should sum to: the score less that of the baseline.

    Of any complete map: :func:`integrated_gradients`, :func:`expected_gradients`,
    :func:`exact_shapley`, :func:`kernel_shap`; of :func:`lrp` with a score of 0 for absence the
    gap is what the biases took.

    Args:
        attribution: the map, in the inputs' shape.
        network: as the map was made with.
        params: likewise.
        state: likewise.
        inputs: likewise.
        target: likewise.
        baseline: what stood for absence; None for a score of 0 there.
        references: images in its place, of whose scores the mean is taken.

    Returns:
        (batch,): the sum of the map less that difference.

    Raises:
        ValueError: if both a baseline and references are given.
    """
    images = jnp.asarray(inputs)
    if baseline is not None and references is not None:
        raise ValueError("absence is a baseline or references, not both")
    target = settled(network, params, state, images, target)
    owed = score(network, params, state, images, target)
    if baseline is not None:
        owed = owed - score(network, params, state, absent(baseline, images), target)
    elif references is not None:
        shape = (len(references), *images.shape)
        many = jnp.broadcast_to(jnp.asarray(references)[:, None], shape)
        owed = owed - jax.lax.map(
            lambda one: score(network, params, state, one, target), many
        ).mean(0)
    return attribution.reshape(len(images), -1).sum(1) - owed
