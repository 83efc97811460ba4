"""Mixup and CutMix: an objective on blends of two examples."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Batch, Key, Objective, network_inputs, share_passes, stream
from jaxmed.core._partners import partners


def mixup(objective: Objective, *, alpha: float = 0.2, inputs: str = "image") -> Objective:
    r"""The objective on convex combinations of images, and of their losses.

    With :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)`, drawn once a step, and a random partner
    j of each example i, the loss at :math:`\lambda x_i + (1 - \lambda) x_j` is
    :math:`\lambda` times that for the targets of i and :math:`1 - \lambda` times that for the
    targets of j: for the cross-entropy the same as mixing one-hot labels. One forward pass.

    Args:
        objective: any objective that looks at ``inputs``. What an example's targets are need not
            be said: all arrays of the batch but ``inputs``, weights and unlabelled images.
        alpha: of the Beta distribution, positive; small ones mix little.
        inputs: the images that are mixed.

    Returns:
        The objective. Its metrics are mixed as the loss is. What the objective keeps in its state
        is what the targets of i made of it.

    Raises:
        ValueError: if ``alpha`` is not positive, or ``inputs`` is not one name.

    References:
        Zhang et al. (2018), mixup: beyond empirical risk minimization, ICLR.
    """

    def mix(key: Key, share: Array, batch: Batch, partner: Array):
        images = network_inputs(batch, inputs)
        return {inputs: share * images + (1 - share) * images[partner]}, share

    return _mixed(objective, mix, alpha, inputs, "mixup")


def cutmix(objective: Objective, *, alpha: float = 1.0, inputs: str = "image") -> Objective:
    r"""The objective on images with a box of another image in them.

    The box has the share :math:`1 - \lambda` of the volume, :math:`\lambda \sim
    \mathrm{Beta}(\alpha, \alpha)`, its centre is uniform and it is cut at the border, as in the
    paper. Arrays of the images' grid, such as masks, are cut and pasted with them; for all other
    targets the loss is mixed as in :func:`~jaxmed.paradigms.mixup`, by the volume that remains.

    Args:
        objective: any objective that looks at ``inputs``. Which voxels are known must be said voxel
            by voxel, as ``known=lambda mask: mask >= 0`` does, that it is cut with the mask.
        alpha: of the Beta distribution, positive; 1 draws the volume uniformly.
        inputs: the images, ``(batch, *spatial, channels)``.

    Returns:
        The objective; its metrics are mixed as the loss is.

    Raises:
        ValueError: if ``alpha`` is not positive, or ``inputs`` is not one name; when traced, if the
            images have no spatial axes.

    References:
        Yun et al. (2019), CutMix, ICCV.
    """

    def mix(key: Key, share: Array, batch: Batch, partner: Array):
        spatial = batch[inputs].shape[1:-1]
        if not spatial:
            raise ValueError(
                f"cutmix needs images (batch, *spatial, channels), got {batch[inputs].shape}"
            )
        side = (1 - share) ** (1 / len(spatial))
        inside = jnp.ones((), bool)
        for axis, n in enumerate(spatial):
            centre = jax.random.uniform(stream(key, "box", axis), (), maxval=float(n))
            near = jnp.abs(jnp.arange(n) + 0.5 - centre) < side * n / 2
            inside = inside & near.reshape(-1, *[1] * (len(spatial) - axis - 1))
        pasted = {}
        for name in _targets(batch, inputs) | {inputs}:
            array = batch[name]
            if array.shape[1 : 1 + len(spatial)] == spatial:
                box = inside.reshape(*spatial, *[1] * (array.ndim - 1 - len(spatial)))
                pasted[name] = jnp.where(box, array[partner], array)
        return pasted, 1 - inside.mean(dtype=jnp.float32)

    return _mixed(objective, mix, alpha, inputs, "cutmix")


Mix = Callable[[Key, Array, Batch, Array], tuple[dict[str, Array], Array]]


def _mixed(objective: Objective, mix: Mix, alpha: float, inputs: str, name: str) -> Objective:
    if alpha <= 0:
        raise ValueError(f"alpha must be positive, got {alpha}")
    if not isinstance(inputs, str):
        raise ValueError(
            f"{name} mixes one array of the batch, by its name, not {inputs!r}: of several "
            "modalities mix one, and the others go with the targets"
        )

    def loss(network, params, state, batch, key):
        own = stream(key, name)
        size = network_inputs(batch, inputs).shape[0]
        partner = partners(stream(own, "partner"), size, batch.get("weight"))
        share = jax.random.beta(stream(own, "share"), alpha, alpha)
        changed, share = mix(own, share, batch, partner)
        first = {**batch, **changed}
        second = dict(first)
        for target in _targets(batch, inputs) - set(changed):
            second[target] = batch[target][partner]
        # The images are the same: one forward pass serves both.
        network = share_passes(network)
        value, (after, metrics) = objective.loss(network, params, state, first, key)
        other, (_, measured) = objective.loss(network, params, state, second, key)

        def blend(one, two):
            return share * one + (1 - share) * two

        return blend(value, other), (after, jax.tree.map(blend, metrics, measured))

    return objective._replace(loss=loss)


def _targets(batch: Batch, inputs: str) -> set[str]:
    size = batch[inputs].shape[0]
    return {
        name
        for name, array in batch.items()
        if name != inputs
        and not name.startswith(("weight", "unlabelled"))
        and getattr(array, "shape", ())[:1] == (size,)
    }
