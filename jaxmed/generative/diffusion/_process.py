"""The process by which an image becomes noise, and what a network is asked on the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from jaxmed.core import Array

Path = Literal["linear", "cosine", "karras", "straight"]
Predicts = Literal["noise", "image", "velocity", "flow", "residual"]
Times = Literal["uniform", "log-normal", "logit-normal"]
Weight = Literal["prediction", "min-snr"]

_BETA = (0.1, 20.0)
_OFFSET = 0.008
_SNR = 5.0


class Process(NamedTuple):
    r"""How an image :math:`x_0` becomes noise: :math:`x_t = a(t)\, x_0 + b(t)\, \epsilon`.

    At time 0 the image is as it was, at the last time nearly all is noise. Made by :func:`ddpm`,
    :func:`edm` and :func:`flow`; plain data, so that it can be written down with the network.

    Attributes:
        path: signal :math:`a` and noise :math:`b` as functions of the time: a name, or a function
            ``t -> (a, b)`` of one's own, with ``(1, 0)`` at 0.
        predicts: what the network predicts: the ``"noise"`` :math:`\epsilon`; the ``"image"``
            :math:`x_0`; the ``"velocity"`` :math:`a \epsilon - b x_0`; the ``"flow"``
            :math:`\epsilon - x_0`; or Karras's ``"residual"``, what is missing of
            :math:`x_0` beside the best linear guess, in units of its standard deviation.
        times: distribution of the times of training.
        first: smallest time of training, and of sampling before 0.
        last: largest time.
        spread: mean and standard deviation of the normal distribution of ``times``: of the
            logarithm of b/a, or of the logit of t.
        data: standard deviation of the images. The network's input is divided by that of
            :math:`x_t`; None leaves it as it is.
        weight: of a squared error: ``"prediction"``, in the units of what is predicted; or
            ``"min-snr"``, as that of the image, times its signal-to-noise ratio cut off at 5.
        rho: curvature of the times of sampling; 1 spaces them evenly.
    """

    path: Path | Callable[[Array], tuple[Array, Array]]
    predicts: Predicts = "noise"
    times: Times = "uniform"
    first: float = 1e-3
    last: float = 1.0
    spread: tuple[float, float] = (0.0, 1.0)
    data: float | None = None
    weight: Weight = "prediction"
    rho: float = 1.0

    def levels(self, t: Array) -> tuple[Array, Array]:
        """Signal a and noise b at times."""
        if callable(self.path):
            return self.path(t)
        return _PATHS[self.path](t)

    def slopes(self, t: Array) -> tuple[Array, Array]:
        """The derivatives of signal and noise in time."""
        return jax.jvp(self.levels, (t,), (jnp.ones_like(t),))[1]

    def noisy(self, images: Array, noise: Array, t: Array) -> Array:
        """Images at times ``(n,)``, with the noise given."""
        a, b = (_like(level, images) for level in self.levels(t))
        return a * images + b * noise

    def input_scale(self, t: Array) -> Array:
        """What the network's input is multiplied by."""
        a, b = self.levels(t)
        return jnp.ones_like(a) if self.data is None else (a**2 * self.data**2 + b**2) ** -0.5

    def told_time(self, t: Array) -> Array:
        r"""What the network is told of the time: t; for Karras's path :math:`\ln(b) / 4`."""
        return jnp.log(t) / 4 if self.path == "karras" else t

    def parts(self, t: Array) -> tuple[Array, Array]:
        """What the image is made of: ``x_0 = skip * x_t + gain * prediction``; ``(skip, gain)``."""
        a, b = self.levels(t)
        if self.predicts == "noise":
            return 1 / a, -b / a
        if self.predicts == "image":
            return jnp.zeros_like(a), jnp.ones_like(a)
        if self.predicts == "velocity":
            return a / (a**2 + b**2), -b / (a**2 + b**2)
        if self.predicts == "flow":
            return 1 / (a + b), -b / (a + b)
        spread = 1.0 if self.data is None else self.data
        total = a**2 * spread**2 + b**2
        return a * spread**2 / total, b * spread * total**-0.5

    def target(self, images: Array, noise: Array, t: Array) -> Array:
        """What the network should predict at times ``(n,)``."""
        if self.predicts == "noise":
            return noise
        if self.predicts == "image":
            return images
        if self.predicts == "flow":
            return noise - images
        a, b = (_like(level, images) for level in self.levels(t))
        if self.predicts == "velocity":
            return a * noise - b * images
        spread = 1.0 if self.data is None else self.data
        # (x_0 - skip x_t) / gain, without its cancellation where there is little noise.
        return (b * images / spread - a * spread * noise) * (a**2 * spread**2 + b**2) ** -0.5

    def loss_weight(self, t: Array) -> Array:
        """What a squared error of the prediction is multiplied by."""
        if self.weight == "prediction":
            return jnp.ones_like(t)
        a, b = self.levels(t)
        gain = self.parts(t)[1]
        return gain**2 * jnp.minimum((a / b) ** 2, _SNR)

    def training_times(self, uniform: Array) -> Array:
        """The times of training by numbers from [0, 1)."""
        if self.times == "uniform":
            return self.first + (self.last - self.first) * uniform
        # A float's largest number below 1 would be five standard deviations, and 1 infinite.
        u = jnp.clip(uniform, 1e-6, 1 - 1e-6)
        mean, spread = self.spread
        normal = mean + spread * ndtri(u)
        t = jnp.exp(normal) if self.times == "log-normal" else jax.nn.sigmoid(normal)
        return t if self.times == "log-normal" else jnp.clip(t, self.first, self.last)

    def sampling_times(self, steps: int) -> np.ndarray:
        """The times of sampling, ``(steps + 1,)`` from the last one to 0.

        Raises:
            ValueError: for fewer than one step.
        """
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(f"sampling has at least one step, a whole number, got {steps!r}")
        if self.path == "karras":
            high, low = self.last ** (1 / self.rho), self.first ** (1 / self.rho)
            grid = (high + np.arange(steps) / max(steps - 1, 1) * (low - high)) ** self.rho
            return np.append(grid, 0).astype(np.float32)
        return (self.last * np.linspace(1, 0, steps + 1) ** self.rho).astype(np.float32)


def ddpm(
    schedule: Literal["linear", "cosine"] = "cosine",
    *,
    predicts: Predicts = "velocity",
    weight: Weight = "prediction",
) -> Process:
    """The variance-preserving process of denoising diffusion models, in continuous time.

    Args:
        schedule: ``"linear"``, whose rate of noise grows from 0.1 to 20 (in 1,000 steps of the
            discrete process from 1e-4 to 0.02); or ``"cosine"``.
        predicts: what the network predicts, see :class:`Process`. ``"noise"`` is the first
            publication's.
        weight: of the squared error, see :class:`Process`.

    Returns:
        The process.

    Raises:
        ValueError: for another name.

    References:
        Ho, Jain and Abbeel (2020), Denoising diffusion probabilistic models, NeurIPS. Nichol and
        Dhariwal (2021), Improved denoising diffusion probabilistic models, ICML. Salimans and Ho
        (2022), Progressive distillation for fast sampling of diffusion models, ICLR. Hang et al.
        (2023), Efficient diffusion training via min-SNR weighting strategy, ICCV.

    >>> a, b = ddpm("linear").levels(jnp.float32(1))
    >>> round(float(a), 4), round(float(a**2 + b**2), 4)
    (0.0066, 1.0)
    """
    _one_of("schedule", schedule, ("linear", "cosine"))
    _one_of("predicts", predicts, get_args(Predicts))
    _one_of("weight", weight, get_args(Weight))
    # At the very end of the cosine there is no signal, and what divides by it has no value.
    last = 1.0 if schedule == "linear" else 0.995
    return Process(schedule, predicts, last=last, weight=weight)


def edm(
    *,
    data: float = 0.5,
    lowest: float = 0.002,
    highest: float = 80.0,
    spread: tuple[float, float] = (-1.2, 1.2),
    rho: float = 7.0,
) -> Process:
    """Karras's process: noise is added to an image that stays as it is, the time is its deviation.

    The network's input, output and loss have unit variance at all levels of noise.

    Args:
        data: standard deviation of the images' values.
        lowest: level of noise of the last step of sampling.
        highest: level of noise at which sampling begins.
        spread: mean and standard deviation of the logarithm of the level in training.
        rho: how much the steps of sampling crowd at low levels.

    Returns:
        The process.

    Raises:
        ValueError: for levels that are not positive and in order.

    References:
        Karras et al. (2022), Elucidating the design space of diffusion-based generative models,
        NeurIPS.
    """
    if not (0 < lowest < highest and data > 0 and spread[1] > 0 and rho > 0):
        raise ValueError(
            "edm has 0 < lowest < highest and a positive data, deviation and rho, got "
            f"lowest={lowest}, highest={highest}, data={data}, spread={spread}, rho={rho}"
        )
    return Process(
        "karras", "residual", "log-normal", first=lowest, last=highest,
        spread=(float(spread[0]), float(spread[1])), data=data, rho=rho,
    )  # fmt: skip


def flow(
    *,
    times: Literal["uniform", "logit-normal"] = "logit-normal",
    spread: tuple[float, float] = (0.0, 1.0),
) -> Process:
    """Straight paths from image to noise, along which the network predicts the velocity.

    This is flow matching with Gaussian noise, alias rectified flow.

    Args:
        times: distribution of the times of training; ``"logit-normal"`` looks oftener at the middle
            of the path, where the answer is hardest.
        spread: mean and standard deviation of the logit.

    Returns:
        The process.

    Raises:
        ValueError: for another distribution.

    References:
        Lipman et al. (2023), Flow matching for generative modeling, ICLR. Liu, Gong and Liu (2023),
        Flow straight and fast, ICLR. Esser et al. (2024), Scaling rectified flow transformers for
        high-resolution image synthesis, ICML.
    """
    _one_of("times", times, ("uniform", "logit-normal"))
    if not spread[1] > 0:
        raise ValueError(f"the logit's standard deviation is positive, got {spread[1]}")
    return Process("straight", "flow", times, spread=(float(spread[0]), float(spread[1])))


def _linear(t: Array) -> tuple[Array, Array]:
    low, high = _BETA
    total = low * t + (high - low) * t**2 / 2
    return jnp.exp(-total / 2), jnp.sqrt(-jnp.expm1(-total))


def _cosine(t: Array) -> tuple[Array, Array]:
    quarter = np.pi / 2 / (1 + _OFFSET)
    start, angle = _OFFSET * quarter, t * quarter
    # 1 - a^2 as a product, which does not cancel where there is little noise.
    squared = jnp.sin(angle) * jnp.sin(angle + 2 * start)
    return jnp.cos(angle + start) / np.cos(start), jnp.sqrt(squared) / np.cos(start)


def _karras(t: Array) -> tuple[Array, Array]:
    return jnp.ones_like(t), t


def _straight(t: Array) -> tuple[Array, Array]:
    return 1 - t, t


_PATHS: dict[str, Callable[[Array], tuple[Array, Array]]] = {
    "linear": _linear,
    "cosine": _cosine,
    "karras": _karras,
    "straight": _straight,
}


def _like(level: Array, images: Array) -> Array:
    """One number an image, to be multiplied with it."""
    return level.reshape(level.shape + (1,) * (images.ndim - level.ndim)).astype(images.dtype)


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} is one of {', '.join(map(repr, known))}, got {value!r}")
