"""Views of a critic's images through which gradients flow."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from jaxmed.augment import Augmentation, Draw, Intensity, chain, flip
from jaxmed.core import Array


def differentiable_augmentation(
    *,
    p: float = 0.8,
    translation: float = 0.125,
    cutout: float = 0.5,
    brightness: float = 0.5,
    contrast: float = 0.5,
    flips: int | Sequence[int] = (),
) -> Augmentation:
    """Shift, cut out and shade what a critic is shown: for small data sets.

    A critic that has learned its few real images by heart teaches a generator nothing. It learns
    them later if it never sees the same twice. Because made images are shown alike, and a step is
    left out at times, the generator learns images as they were before (Karras et al. 2020).

    Args:
        p: probability of each step for each image. At 1 a step may leak into what is generated.
        translation: largest shift along each axis, as a share of it, by whole voxels; 0 comes in.
        cutout: side of a box of zeros, as a share of each axis.
        brightness: largest shift of intensities.
        contrast: largest change of the factor by which they are spread about their mean.
        flips: spatial axes that images are mirrored along with probability 0.5; only such as
            images have either way, for these do leak.

    Returns:
        The view, a ``(key, batch) -> batch``; of a step whose amount is 0 there is none. Amounts
        suit images in [-1, 1].

    Raises:
        ValueError: for a probability or a share outside [0, 1], or a negative amount.

    References:
        Zhao et al. (2020), Differentiable augmentation for data-efficient GAN training, NeurIPS.
        Karras et al. (2020), Training generative adversarial networks with limited data, NeurIPS.

    >>> import jax
    >>> view = differentiable_augmentation(p=1.0, cutout=0, brightness=0, contrast=0)
    >>> shown = view(jax.random.key(0), {"image": jnp.ones((9, 8, 8, 1))})["image"]
    >>> sorted(set(shown.ravel().tolist()))
    [0.0, 1.0]
    """
    for name, share in (("p", p), ("translation", translation), ("cutout", cutout)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {share}")
    if brightness < 0 or contrast < 0:
        raise ValueError(f"amounts are not negative, got {brightness} and {contrast}")

    def translate(draw: Draw, image: Array) -> Array:
        # A matrix an axis: the gradient is a product too, and no scatter.
        for axis, n in enumerate(image.shape[:-1]):
            room = round(translation * n)
            shift = jnp.floor(draw.uniform[1 + axis] * (2 * room + 1)) - room
            moved = (jnp.arange(n)[:, None] + shift == jnp.arange(n)).astype(image.dtype)
            image = jnp.moveaxis(
                jnp.tensordot(moved, image, ((1,), (axis,)), precision="highest"), 0, axis
            )
        return image

    def cut(draw: Draw, image: Array) -> Array:
        inside = jnp.ones(image.shape, bool)
        for axis, n in enumerate(image.shape[:-1]):
            side = round(cutout * n)
            start = jnp.floor(draw.uniform[1 + axis] * (n - side + 1))
            at = lax.broadcasted_iota(jnp.float32, image.shape, axis)
            inside &= (at >= start) & (at < start + side)
        return jnp.where(inside, 0, image)

    def shade(draw: Draw, image: Array) -> Array:
        return image + brightness * (2 * draw.uniform[1] - 1)

    def spread(draw: Draw, image: Array) -> Array:
        mean = image.mean()
        return (image - mean) * (1 + contrast * (2 * draw.uniform[1] - 1)) + mean

    steps = {
        "shade": (brightness, shade),
        "spread": (contrast, spread),
        "translate": (translation, translate),
        "cut": (cutout, cut),
    }

    def sometimes(step):
        def apply(draw: Draw, image: Array) -> Array:
            return jnp.where(draw.uniform[0] < p, step(draw, image), image)

        return apply

    mirrored = [] if flips == () else [flip(flips)]
    used = [Intensity(name, sometimes(step)) for name, (amount, step) in steps.items() if amount]
    return chain(*mirrored, *used)
