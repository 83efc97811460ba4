"""What happens to images between one hospital and the next, in five strengths."""

from __future__ import annotations

from collections.abc import Callable

from jaxmed.augment._chain import Augmentation
from jaxmed.augment._intensity import bias_field, blur, contrast, low_resolution, noise
from jaxmed.augment._motion import motion

_Made = Callable[[float], Augmentation]

# What a strength of 1 to 5 means, and whether it is a length, which grows with the image.
_LEVELS: dict[str, tuple[_Made, tuple[float, ...], bool]] = {
    "noise": (lambda s: noise((s, s)), (0.1, 0.2, 0.35, 0.5, 0.8), False),
    "blur": (lambda s: blur((s, s)), (0.5, 1.0, 1.5, 2.0, 3.0), True),
    "contrast": (lambda s: contrast((s, s)), (0.8, 0.6, 0.45, 0.3, 0.2), False),
    "resolution": (lambda s: low_resolution((s, s)), (1.5, 2.0, 3.0, 4.0, 6.0), False),
    "bias_field": (lambda s: bias_field(s), (0.2, 0.4, 0.6, 0.8, 1.0), False),
    "motion": (lambda s: motion((s, s)), (0.5, 1.0, 1.5, 2.5, 4.0), True),
}

CORRUPTIONS = tuple(_LEVELS)
"""Names of the corruptions, see :func:`corruption`."""


def corruption(name: str, strength: int, *, size: int = 128) -> Augmentation:
    """Corrupt images in one of five strengths, to measure what a model still tells.

    Not to train by: the augmentations of the same names draw their strengths. Which noise, which
    field, which motion is drawn; how much is not.

    ============== ====================================================== ======================
    name           what                                                   strengths
    ============== ====================================================== ======================
    ``noise``      Gaussian, standard deviations of the image             .1 .2 .35 .5 .8
    ``blur``       Gaussian, standard deviation in voxels                 .5 1 1.5 2 3
    ``contrast``   about the mean, factor                                 .8 .6 .45 .3 .2
    ``resolution`` sampled every so many voxels                           1.5 2 3 4 6
    ``bias_field`` standard deviation of its logarithm                    .2 .4 .6 .8 1
    ``motion``     shifts between parts of k-space, in voxels             .5 1 1.5 2.5 4
    ============== ====================================================== ======================

    Args:
        name: one of ``CORRUPTIONS``.
        strength: 1, barely seen, to 5.
        size: side of the images in voxels. The lengths of blur and motion are those of an image of
            128, and grow and shrink with it.

    Returns:
        An augmentation.

    Raises:
        ValueError: for another name or strength.

    References:
        Hendrycks and Dietterich. Benchmarking neural network robustness to common corruptions and
        perturbations. ICLR 2019.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"image": jnp.eye(8)[None, ..., None]}
        >>> made = [corruption("blur", s, size=128)(jax.random.key(0), batch) for s in (1, 5)]
        >>> bool(made[0]["image"].max() > made[1]["image"].max())
        True
    """
    if name not in _LEVELS:
        raise ValueError(f"corruptions are {', '.join(CORRUPTIONS)}, got {name!r}")
    make, levels, length = _LEVELS[name]
    if isinstance(strength, bool) or strength not in range(1, len(levels) + 1):
        raise ValueError(f"a corruption has the strengths 1 to {len(levels)}, got {strength!r}")
    if size < 1:
        raise ValueError(f"size is a side of the images in voxels, got {size}")
    return make(levels[strength - 1] * (size / 128 if length else 1.0))
