"""Amplitudes of another image of the batch: its style, with one's own phase."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.augment._chain import Shape, between, check_p, rounded_to, widened
from jaxmed.core import Array, Batch, Key, View, pick, stream
from jaxmed.core._partners import partners


def fourier_mix(
    ratio: tuple[float, float] = (0.0, 1.0),
    *,
    band: float = 1.0,
    p: float = 1.0,
    domain: str | None = None,
    other: str | None = None,
    images: Sequence[str] = ("image",),
) -> View:
    r"""Mix the amplitudes of an image's frequencies with those of another image; keep its phase.

    .. math:: \mathcal F^{-1}\!\left[\big((1 - r) |\mathcal F x| + r\, |\mathcal F x'|\big)
        \frac{\mathcal F x}{|\mathcal F x|}\right]

    for each channel. Amplitudes carry what scanners and sites differ in (contrast, shading,
    texture), phases where things are. The defaults are FACT's; ``ratio=(1, 1)`` with a small
    ``band`` and ``other="unlabelled"`` is Fourier domain adaptation, whose beta is half of
    ``band``.

    Args:
        ratio: least and most r, uniform for each example; 0 leaves the image as it is.
        band: the share of each axis's frequencies, from the lowest on, that are mixed, in (0, 1].
        p: probability, for each example.
        domain: field of whole numbers, the domain of each example: partners are then of another
            one, and an example without such stays as it is. By default any other of the batch.
        other: field of images of the same size from which partners are drawn instead, such as
            unlabelled ones of a new scanner.
        images: fields ``(batch, *spatial, channels)`` that are mixed, with one partner.

    Returns:
        ``(key, batch) -> batch``. Padding rows (weight 0) are nobody's partner. Intensities may
        leave the image's range.

    Raises:
        ValueError: for a ratio that is none, no field of images, a band outside (0, 1], ``domain``
            and ``other`` together; when traced, for images that are no floating numbers, have no
            spatial axis or more than three, or another size than ``other``; for fields of different
            rows.
        KeyError: when traced, if the batch lacks a field that is named.

    References:
        Xu et al. (2021), A Fourier-based framework for domain generalization, CVPR. Yang and
        Soatto (2020), FDA: Fourier domain adaptation for semantic segmentation, CVPR.

    Examples:
        >>> batch = {"image": jnp.stack([jnp.ones((4, 4, 1)), 3 * jnp.ones((4, 4, 1))])}
        >>> mixed = fourier_mix((1.0, 1.0), domain="site")
        >>> made = mixed(jax.random.key(0), {**batch, "site": jnp.array([0, 1])})
        >>> made["image"][:, 0, 0, 0].round(2)
        Array([3., 1.], dtype=float32)
    """
    check_p(p)
    if np.shape(ratio) != (2,) or not 0 <= ratio[0] <= ratio[1] <= 1:
        raise ValueError(f"ratio is (least, most) with 0 <= least <= most <= 1, got {ratio}")
    if not 0 < band <= 1:
        raise ValueError(f"band is a share of the frequencies in (0, 1], got {band}")
    if not images:
        raise ValueError("fourier_mix mixes one field of images or more")
    if domain is not None and other is not None:
        raise ValueError("partners are of another domain or of another field: give one of the two")

    def view(key: Key, batch: Batch) -> dict[str, Array]:
        size = len(pick(batch, images[0]))
        if other is None:
            told = None if domain is None else pick(batch, domain)
            partner = partners(stream(key, "partner"), size, batch.get("weight"), told)
            alone = partner == jnp.arange(size)
        else:
            partner, there = _from(stream(key, "partner"), size, pick(batch, other), batch, other)
            alone = jnp.broadcast_to(~there, (size,))
        strength = between(jax.random.uniform(stream(key, "ratio"), (size,)), *ratio)
        chosen = jax.random.uniform(stream(key, "chosen"), (size,)) < p
        strength = jnp.where(chosen & ~alone, strength, 0)
        made = {}
        for name in images:
            x = pick(batch, name)
            theirs = x if other is None else batch[other]
            if len(x) != size:
                raise ValueError(f"{name} has {len(x)} rows, and {images[0]} {size}")
            _check(name, x, theirs)
            mixed = mixed_amplitudes(widened(x), widened(theirs)[partner], strength, band)
            still = strength.reshape(-1, *[1] * (x.ndim - 1)) == 0
            made[name] = jnp.where(still, x, rounded_to(mixed, x.dtype))
        return {**batch, **made}

    return view


def mixed_amplitudes(x: Array, other: Array, ratio: Array, band: float) -> Array:
    """Images ``(batch, *spatial, channels)`` with amplitudes mixed by a ratio each ``(batch,)``."""
    spatial = x.shape[1:-1]
    axes = tuple(range(1, x.ndim - 1))
    own, theirs = (jnp.fft.rfftn(one, axes=axes) for one in (x, other))
    amplitude = jnp.abs(own)
    # What is 0 has no phase: it takes that of a positive number.
    phase = jnp.where(amplitude > 0, own / jnp.where(amplitude > 0, amplitude, 1), 1)
    share = ratio.reshape(-1, *[1] * (x.ndim - 1)) * _low(spatial, band)[..., None]
    mixed = amplitude + share * (jnp.abs(theirs) - amplitude)
    return jnp.fft.irfftn(mixed * phase, s=spatial, axes=axes)


def _low(spatial: Shape, band: float) -> np.ndarray:
    """Which frequencies of a real transform are of the lowest share of every axis."""
    steps = [np.fft.fftfreq(n) for n in spatial[:-1]] + [np.fft.rfftfreq(spatial[-1])]
    near = [2 * np.abs(step) <= band + 1e-9 for step in steps]
    return np.prod(np.meshgrid(*near, indexing="ij"), axis=0).astype(np.float32)


def _from(
    key: Key, size: int, theirs: Array, batch: Batch, name: str
) -> tuple[Array, Array | np.bool_]:
    """A random row of another field for each row, padding left out; whether there is one."""
    weight = batch.get(f"weight_{name}")
    real = jnp.ones(len(theirs), bool) if weight is None else weight > 0
    drawn = jax.random.uniform(key, (size, len(theirs)))
    return jnp.where(real, drawn, -1.0).argmax(1), real.any()


def _check(name: str, x: Array, theirs: Array) -> None:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"fourier_mix needs a floating {name}, got {x.dtype}")
    if not 3 <= x.ndim <= 5:
        raise ValueError(
            f"{name} must be (batch, *spatial, channels) with one to three spatial axes, got "
            f"{x.shape}"
        )
    if theirs.shape[1:] != x.shape[1:]:
        raise ValueError(f"{name} is {x.shape}, its partners are {theirs.shape}: of another size")
