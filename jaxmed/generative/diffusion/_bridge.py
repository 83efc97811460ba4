"""From one image to another: bridges between pairs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Network, Objective, network_inputs, pick, stateless, stream
from jaxmed.core import weighted_mean as mean_of
from jaxmed.generative._drawing import Draw, drawing
from jaxmed.generative.diffusion._denoise import per_image, predicted
from jaxmed.generative.diffusion._denoising import checked_map, normal, spread_evenly
from jaxmed.generative.diffusion._sampler import normals

_FIRST = 1e-3


def bridging(
    *,
    source: str = "source",
    noise: float = 0.5,
    inputs: str = "image",
    output: str = "logits",
) -> Objective:
    r"""Learn the way from a source image to a target image, of pairs.

    .. math:: x_t = (1 - t)\, x_0 + t\, x_1 + \sigma \sqrt{t (1 - t)}\, \epsilon

    from the target :math:`x_0` to the source :math:`x_1`, a Brownian bridge; without noise, a
    straight line. The network sees :math:`x_t`, t and the source, and predicts
    :math:`(x_t - x_0) / c(t)` with :math:`c(t)^2 = t^2 + \sigma^2 t (1 - t)`. With noise there is a
    whole distribution of targets for a source; without, the flow from sources to targets.

    Args:
        source: the batch's source images; of as many channels as the targets.
        noise: :math:`\sigma`, for images in about [-1, 1].
        inputs: the batch's target images.
        output: the network's endpoint that predicts, of the targets' shape.

    Returns:
        The objective, for a network from a dict of ``image``, ``time`` and ``map``, such as
        :func:`jaxmed.networks.denoiser_unet`; initialise it with
        ``learner(..., inputs={"image": "image", "map": "source"})``.

    Raises:
        ValueError: for noise below 0; when traced, for a source that does not lie on the target.
        KeyError: when traced, for data without pairs.

    References:
        Liu et al. (2023), I2SB: image-to-image Schrödinger bridge, ICML. Li et al. (2023), BBDM:
        image-to-image translation with Brownian bridge diffusion models, CVPR.
    """
    _check_noise(noise)

    def loss(network, params, state, batch, key):
        target = jnp.asarray(network_inputs(batch, inputs), jnp.float32)
        own = stream(key, "bridging")
        t = _FIRST + (1 - _FIRST) * spread_evenly(stream(own, "time"), len(target))
        start = _paired(pick(batch, source), target, source)
        at = per_image(t, target)
        x = (1 - at) * target + at * start
        x = x + noise * jnp.sqrt(at * (1 - at)) * normal(stream(own, "noise"), target.shape)
        given = {"image": x, "time": t, "map": start}
        found, net = predicted(
            network, params["net"], state["net"], given, output, key=key, train=True
        )
        error = jnp.square(found - (x - target) / _scale(at, noise)).reshape(len(target), -1)
        return mean_of(error.mean(1), batch.get("weight")), ({**state, "net": net}, {})

    return stateless(loss)


def bridge_sampler(
    network: Network,
    shape: tuple[int, ...],
    *,
    noise: float = 0.5,
    steps: int = 20,
    clip: tuple[float, float] | None = None,
    output: str = "logits",
) -> Draw:
    r"""Make the draw of a network that was trained by :func:`bridging`.

    It begins at the source, ``condition["map"]``, and each step draws from the bridge between where
    it is and the target that the network expects:
    :math:`x_s = x_0 + \tfrac{s}{t} (x_t - x_0) + \sigma \sqrt{s (t - s) / t}\, z`.

    Args:
        network: the trained network.
        shape: ``(*spatial, channels)`` of the images.
        noise: that it was trained with.
        steps: calls of the network.
        clip: bounds of the expected target's values.
        output: the network's endpoint that predicts.

    Returns:
        The :class:`Draw`.

    Raises:
        ValueError: for fewer than one step, or noise below 0.
    """
    _check_noise(noise)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"sampling has at least one step, a whole number, got {steps!r}")
    times = jnp.asarray(np.linspace(1, 0, steps + 1), jnp.float32)

    def images(keys, params, state, condition):
        start = jnp.asarray(condition["map"], jnp.float32)

        def expected(x, t):
            given = {"image": x, "time": jnp.full(len(x), t), "map": start}
            found = x - _scale(t, noise) * predicted(network, params, state, given, output)[0]
            return found if clip is None else jnp.clip(found, *clip)

        def step(x, at):
            i, t, s = at
            target = expected(x, t)
            x = target + s / t * (x - target)
            if noise:
                of_step = jax.vmap(lambda key: stream(key, "step", i))(keys)
                x = x + noise * jnp.sqrt(s * (t - s) / t) * normals(of_step, shape)
            return x, None

        x, _ = jax.lax.scan(step, start, (jnp.arange(steps - 1), times[:-2], times[1:-1]))
        return expected(x, times[-2])

    return drawing(images, map_channels=shape[-1])


def _scale(t: Array, noise: float) -> Array:
    return jnp.sqrt(t**2 + noise**2 * t * (1 - t))


def _paired(start: Array, target: Array, name: str) -> Array:
    if start.shape != target.shape:
        raise ValueError(
            f"a bridge leads between pairs of one shape: {name!r} is {start.shape}, the targets "
            f"are {target.shape}. For data without pairs there is cycle(...)"
        )
    return checked_map(start, target, name).astype(jnp.float32)


def _check_noise(noise: float) -> None:
    if not noise >= 0:
        raise ValueError(f"a bridge's noise is at least 0, got {noise}")
