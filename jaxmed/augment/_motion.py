"""Motion during an acquisition in k-space."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.augment._chain import Augmentation, Draw, between
from jaxmed.augment._intensity import Range, _range, _step
from jaxmed.core import Array, stream


def motion(
    amount: Range = (0.0, 2.0), *, segments: int = 6, axis: int = 0, p: float = 1.0
) -> Augmentation:
    r"""Ghost and blur as an MR image does whose subject moved while its lines were read.

    The lines of k-space along the axis of phase encoding are read in contiguous segments, the
    subject lying elsewhere in each: with shifts :math:`d_s`,

    .. math:: y = |F^{-1}(e^{-2\pi i k \cdot d_{s(k)}} F(x - \min x))| + \min x

    The segment with the mean of the image is not shifted, so the image as a whole stays in place.

    Args:
        amount: least and most standard deviation of a shift, in voxels along each axis, uniform.
        segments: how many parts the lines are read in, at least 2.
        axis: spatial axis of phase encoding.
        p: probability.

    Returns:
        An augmentation.

    Raises:
        ValueError: for fewer than two segments, or when traced an axis that the image has not.

    References:
        Shaw et al. MRI k-space motion artefact augmentation: model robustness and task-specific
        uncertainty. MIDL 2019.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"image": jnp.zeros((1, 8, 8, 1)).at[0, 2:6, 2:6].set(1.0)}
        >>> moved = motion((1.0, 1.0))(jax.random.key(0), batch)["image"]
        >>> bool(jnp.abs(moved - batch["image"]).max() > 0.05)
        True
    """
    _range("amount", amount, 0)
    if segments < 2:
        raise ValueError(
            f"lines that are read at once see no motion: segments >= 2, got {segments}"
        )

    def apply(draw: Draw, x: Array) -> Array:
        shape = x.shape[:-1]
        if not -len(shape) <= axis < len(shape):
            raise ValueError(f"axis {axis} is none of an image of the shape {shape}")
        line = axis % len(shape)
        spread = between(draw.uniform[1], *amount)
        shifts = jax.random.normal(stream(draw.key, "shifts"), (segments * len(shape),))
        shifts = spread * shifts.reshape(segments, len(shape))
        # Lines in the order in which they are read, from one end of k-space to the other.
        n = shape[line]
        order = jnp.fft.fftshift(jnp.arange(n))
        part = jnp.zeros(n, jnp.int32).at[order].set(jnp.arange(n) * segments // n)
        shifts = shifts.at[part[0]].set(0.0)
        phase = jnp.zeros(shape)
        for i, m in enumerate(shape):
            frequency = jnp.fft.fftfreq(m).reshape([m if a == i else 1 for a in range(len(shape))])
            along = shifts[part, i].reshape([n if a == line else 1 for a in range(len(shape))])
            phase += frequency * along
        axes = tuple(range(len(shape)))
        least = x.min()  # air is dark, and shifts it little
        read = jnp.fft.fftn(x - least, axes=axes) * jnp.exp(-2j * jnp.pi * phase)[..., None]
        return jnp.abs(jnp.fft.ifftn(read, axes=axes)) + least

    return _step("motion", apply, p)
