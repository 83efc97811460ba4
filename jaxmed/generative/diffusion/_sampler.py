"""Images out of noise: the samplers of diffusion models and flows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, Network, PyTree, stream
from jaxmed.generative._drawing import Draw, drawing
from jaxmed.generative.diffusion._denoise import denoiser_given, image_of, per_image, predicted
from jaxmed.generative.diffusion._denoising import condition_rows, normal
from jaxmed.generative.diffusion._process import Process

Method = Literal["ancestral", "ddim", "euler", "heun"]

Denoise = Callable[[Array, Array], Array]
"""``(noisy, t) -> the image``, t a scalar."""


def diffusion_sampler(
    network: Network,
    shape: tuple[int, ...],
    *,
    process: Process,
    steps: int = 50,
    method: Method = "heun",
    eta: float = 0.0,
    churn: float = 0.0,
    guidance: float = 1.0,
    clip: tuple[float, float] | None = None,
    quantile: float | None = None,
    classes: int = 0,
    map_channels: int = 0,
    optional: bool = False,
    output: str = "logits",
) -> Draw:
    r"""Make the draw of a network that was trained by :func:`denoising`.

    All steps are one ``jax.lax.scan``. With the denoised image :math:`D` and the noise
    :math:`\hat\epsilon = (x_t - a_t D) / b_t`:

    - ``"ddim"``: :math:`x_s = a_s D + \sqrt{b_s^2 - \sigma^2}\, \hat\epsilon + \sigma z`, where
      :math:`\sigma` is ``eta`` times the deviation of :math:`x_s` given :math:`x_t` and
      :math:`x_0`; without noise by default;
    - ``"ancestral"``: the same with ``eta`` 1, as denoising diffusion models first drew;
    - ``"euler"``: a step along :math:`dx/dt = a' D + b' \hat\epsilon`, which for :func:`edm` and
      :func:`flow` is that of ``"ddim"``;
    - ``"heun"``: Euler's step, corrected by the slope where it ends, two calls of the network a
      step: of second order (for :func:`ddpm`, whose noise rises from 0 like a root, of order 3/2).

    The last step goes to the denoised image.

    Args:
        network: the trained network.
        shape: ``(*spatial, channels)`` of the images.
        process: that it was trained with.
        steps: from noise to image; ``"heun"`` calls the network ``2 * steps - 1`` times, the others
            ``steps`` times.
        method: see above.
        eta: share of noise that is drawn anew in each step of ``"ddim"``, 0 to 1.
        churn: stochastic sampling as Karras et al. do it, for :func:`edm`: noise is raised before
            each step of ``"euler"`` and ``"heun"`` by up to ``churn / steps`` of itself. 0 is
            without.
        guidance: weight w of the condition, :math:`D = D_0 + w (D_c - D_0)` of the denoised images
            without and with it: 1 draws by the condition, 0 without it, more exaggerates it. Other
            weights than 1 need a network trained with ``drop``, and other than 0 and 1 two calls.
        clip: bounds of the denoised image's values, such as ``(-1, 1)``.
        quantile: a dynamic threshold (Saharia et al.), such as 0.995: denoised images whose
            quantile of absolute values exceeds 1 are clipped there and divided by it.
        classes: number of classes of ``condition["label"]``.
        map_channels: channels of ``condition["map"]``.
        optional: whether images may be drawn without conditions too: of a network trained with
            ``drop``.
        output: the network's endpoint that predicts.

    Returns:
        The :class:`Draw`; give it to :func:`draw_images`.

    Raises:
        ValueError: for an option out of range, or options that do not go together.

    References:
        Song, Meng and Ermon (2021), Denoising diffusion implicit models, ICLR. Karras et al.
        (2022), Elucidating the design space of diffusion-based generative models, NeurIPS. Ho and
        Salimans (2022), Classifier-free diffusion guidance. Saharia et al. (2022), Photorealistic
        text-to-image diffusion models with deep language understanding, NeurIPS.
    """
    if method not in get_args(Method):
        raise ValueError(f"method is one of {', '.join(get_args(Method))}, got {method!r}")
    if not 0 <= eta <= 1 or (eta and method != "ddim"):
        raise ValueError(f"eta, from 0 to 1, is of method='ddim'; got {eta} for {method!r}")
    if churn < 0 or (churn and (process.path != "karras" or method in ("ddim", "ancestral"))):
        raise ValueError(
            "churn, at least 0, is of edm's process and the methods 'euler' and 'heun'; for noise "
            "in other steps take 'ancestral', or 'ddim' with eta"
        )
    if guidance != 1 and not (classes or map_channels):
        raise ValueError("guidance weighs a condition, and there is none: give classes or a map")
    process.sampling_times(steps)
    eta = 1.0 if method == "ancestral" else eta

    def images(keys, params, state, condition):
        denoise = guided(
            network, params, state, condition, process=process, guidance=guidance,
            map_channels=map_channels, output=output, shape=(len(keys), *shape),
        )  # fmt: skip
        denoise = limited(denoise, clip, quantile)
        times = jnp.asarray(process.sampling_times(steps))

        def step(x, at):
            i, t, s = at
            of_step = jax.vmap(lambda key: stream(key, "step", i))(keys)
            if method in ("ddim", "ancestral"):
                z = normals(of_step, shape) if eta else None
                return ddim_step(process, denoise, x, t, s, eta, z), None
            if churn:
                x, t = _churned(process, x, t, churn / steps, normals(of_step, shape))
            return ode_step(process, denoise, x, t, s, heun=method == "heun"), None

        x = process.levels(times[0])[1] * normals(_named(keys, "start"), shape)
        x, _ = jax.lax.scan(step, x, (jnp.arange(steps - 1), times[:-2], times[1:-1]))
        return denoise(x, times[-2])

    return drawing(
        images, classes=classes, map_channels=map_channels, optional=optional or guidance == 0
    )


def guided(
    network: Network,
    params: PyTree,
    state: PyTree,
    condition: dict[str, Array],
    *,
    process: Process,
    guidance: float,
    map_channels: int,
    output: str,
    shape: tuple[int, ...],
) -> Denoise:
    """A network's denoised image, by its condition and without."""
    told = condition_rows(condition)
    if map_channels and "map" not in told:
        told["map"] = jnp.zeros((*shape[:-1], map_channels))
    count, known = shape[0], jnp.ones(shape[0])
    if not condition or guidance == 0:
        known = jnp.zeros(count)

    def once(x, t, told, known):
        times = jnp.full(len(x), t)
        extra = {**told, "known": known} if told else {}
        given = denoiser_given(process, x, times, extra)
        return image_of(process, x, predicted(network, params, state, given, output)[0], times)

    def denoise(x, t):
        if not condition or guidance in (0, 1):
            return once(x, t, told, known)
        # One pass of twice as many rows: with the condition, and without.
        twice = {name: jnp.concatenate([array, array]) for name, array in told.items()}
        both = once(jnp.concatenate([x, x]), t, twice, jnp.concatenate([known, 0 * known]))
        by, without = jnp.split(both, 2)
        return without + guidance * (by - without)

    return denoise


def limited(denoise: Denoise, clip: tuple[float, float] | None, quantile: float | None) -> Denoise:
    """Denoised images within bounds, or below a quantile of their own values."""
    if quantile is not None and not 0 < quantile < 1:
        raise ValueError(f"quantile is in (0, 1), got {quantile}")
    if clip is not None and not clip[0] < clip[1]:
        raise ValueError(f"clip is a lower and a higher bound, got {clip}")

    def bounded(x, t):
        image = denoise(x, t)
        if quantile is not None:
            flat = jnp.abs(image).reshape(len(image), -1)
            most = per_image(jnp.maximum(jnp.quantile(flat, quantile, axis=1), 1.0), image)
            image = jnp.clip(image, -most, most) / most
        return image if clip is None else jnp.clip(image, *clip)

    return bounded


def ddim_step(
    process: Process,
    denoise: Denoise,
    x: Array,
    t: Array,
    s: Array,
    eta: float = 0.0,
    z: Array | None = None,
) -> Array:
    """From time t to an earlier one, s > 0; ``z`` is the noise drawn anew."""
    (a, b), (a_s, b_s) = process.levels(t), process.levels(s)
    image = denoise(x, t)
    noise = (x - a * image) / b
    if z is None:
        return a_s * image + b_s * noise
    # The variance of x_s given x_t and x_0, by Bayes.
    ratio = (a / a_s) * (b_s / b)
    sigma = eta * b_s * jnp.sqrt(jnp.maximum(1 - ratio**2, 0))
    return a_s * image + jnp.sqrt(jnp.maximum(b_s**2 - sigma**2, 0)) * noise + sigma * z


def ode_step(
    process: Process, denoise: Denoise, x: Array, t: Array, s: Array, *, heun: bool
) -> Array:
    """A step of Euler or Heun from time t to an earlier one, s > 0."""

    def slope(x, t):
        (a, b), (da, db) = process.levels(t), process.slopes(t)
        image = denoise(x, t)
        return da * image + db * (x - a * image) / b

    first = slope(x, t)
    there = x + (s - t) * first
    return x + (s - t) / 2 * (first + slope(there, s)) if heun else there


def normals(keys: Key, shape: tuple[int, ...]) -> Array:
    """Normal numbers for each image, by its own key."""
    return jax.vmap(lambda key: normal(key, shape))(keys)


def _named(keys: Key, name: str) -> Key:
    return jax.vmap(lambda key: stream(key, name))(keys)


def _churned(process: Process, x: Array, t: Array, share: float, z: Array) -> tuple[Array, Array]:
    """Noise raised before a step (Karras et al., algorithm 2), and the time of that noise."""
    raised = t * (1 + min(share, 2**0.5 - 1))
    return x + jnp.sqrt(raised**2 - t**2) * z, raised
