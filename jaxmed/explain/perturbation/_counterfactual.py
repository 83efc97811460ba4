"""Counterfactuals: the nearest image that the network would answer otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxmed.core import Array, Network, PyTree
from jaxmed.explain._images import one_image
from jaxmed.explain._passes import check_count
from jaxmed.explain._target import Target, score, scorer, settled


class Counterfactual(NamedTuple):
    """Images of another answer.

    Attributes:
        images: in the inputs' shape.
        before: (batch,), the score of the inputs.
        after: (batch,), that of the images.
        distance: (batch,), root mean square difference of the voxels.
        reached: (batch,), whether the score got as far as it was asked.
    """

    images: Array
    before: Array
    after: Array
    distance: Array
    reached: Array


def counterfactual(
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    *,
    until: float = 0.0,
    steps: int = 200,
    learning_rate: float = 0.02,
    sparse: float = 0.0,
    smooth: float = 0.0,
    plausible: Callable[[Array], Array] | None = None,
    plausibility: float = 1.0,
    bounds: tuple[float, float] | None = None,
    encode: Callable[[Array], PyTree] | None = None,
    decode: Callable[[PyTree], Array] | None = None,
) -> Counterfactual:
    r"""Change an image until a score is reached, by as little as possible.

    .. math:: \max(0, u - f(x')) + \tfrac12 \overline{(x' - x)^2} + \lambda_1 \overline{|x' - x|}
              + \lambda_t TV(x' - x) + \lambda_p P(x')

    by Adam, from the image. Of all images on the way the nearest that reaches the score is kept,
    or the one with the highest score where none does, and ``reached`` says which. With ``encode``
    and ``decode`` what is changed is the code of a generative model, so that the image stays one
    that the model could make (a deep counterfactual). Without, small changes that nobody sees may
    suffice: then the counterfactual tells about the network and not about the disease.

    Args:
        network: any network.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``.
        target: a class that is wanted, one a case, or a function of the endpoints. Of classes
            ``class_score(wanted, of="log_odds")``, with ``until=0``, asks for even odds.
        until: the score u that is asked for.
        steps: of Adam.
        learning_rate: of Adam, in units of the images, or of the codes.
        sparse: weight of the mean absolute difference.
        smooth: weight of its total variation.
        plausible: ``images -> (batch,)``, low where images look true: the error of an autoencoder,
            the energy of a model of images.
        plausibility: its weight.
        bounds: the least and the greatest value of a voxel.
        encode: ``images -> codes``.
        decode: ``codes -> images``.

    Returns:
        The images and what they reached.

    Raises:
        ValueError: if only one of ``encode`` and ``decode`` is given, or bounds are not in order.

    References:
        Wachter et al. (2018), Counterfactual explanations without opening the black box, Harvard
        Journal of Law and Technology 31. Joshi et al. (2019), Towards realistic individual recourse
        and actionable explanations, arXiv:1907.09615.
    """
    images = one_image(inputs, "counterfactual")
    check_count(steps, "steps")
    if (encode is None) != (decode is None):
        raise ValueError("encode and decode are given together, or neither")
    if bounds is not None and not bounds[0] < bounds[1]:
        raise ValueError(f"bounds are a least and a greatest value, got {bounds}")
    batch, axes = len(images), tuple(range(1, images.ndim))
    target = settled(network, params, state, images, target)
    before = score(network, params, state, images, target)
    codes = images if encode is None else encode(images)
    optimizer = optax.adam(learning_rate)

    def shown(codes):
        seen = codes if decode is None else decode(codes)
        return seen if bounds is None else jnp.clip(seen, *bounds)

    def cost(codes):
        seen = shown(codes)
        change = seen - images
        reached = scorer(target)(network.apply(params, state, seen)[0])
        total = jnp.maximum(until - reached, 0) + (change**2).mean(axes) / 2
        total = total + sparse * jnp.abs(change).mean(axes)
        if smooth:
            total = total + smooth * sum(
                jnp.abs(jnp.diff(change, axis=axis)).mean(axes) for axis in axes[:-1]
            )
        if plausible is not None:
            total = total + plausibility * plausible(seen)
        return total.sum(), (seen, reached)

    def keep(best, seen, reached):
        kept, score_of_kept, distance = best
        far = jnp.sqrt(((seen - images) ** 2).mean(axes))
        there, was = reached >= until, score_of_kept >= until
        better = jnp.where(there & was, far < distance, there | (~was & (reached > score_of_kept)))
        wide = better.reshape(-1, *(1,) * (images.ndim - 1))
        return (
            jnp.where(wide, seen, kept),
            jnp.where(better, reached, score_of_kept),
            jnp.where(better, far, distance),
        )

    def step(carry, _):
        codes, moments, best = carry
        slopes, (seen, reached) = jax.grad(cost, has_aux=True)(codes)
        best = keep(best, seen, reached)
        updates, moments = optimizer.update(slopes, moments)
        return (optax.apply_updates(codes, updates), moments, best), None

    best = (images, jnp.full(batch, -jnp.inf), jnp.zeros(batch))
    carry = (codes, optimizer.init(codes), best)
    (codes, _, best), _ = jax.lax.scan(step, carry, None, length=steps)
    _, (seen, reached) = cost(codes)
    kept, after, distance = keep(best, seen, reached)
    return Counterfactual(kept, before, after, distance, after >= until)
