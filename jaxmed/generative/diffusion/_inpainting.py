"""Missing parts of images filled in by a model that knows whole ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Network, stream
from jaxmed.generative._drawing import Draw, drawing
from jaxmed.generative.diffusion._process import Process
from jaxmed.generative.diffusion._sampler import ddim_step, guided, limited, normals


def inpainting_sampler(
    network: Network,
    shape: tuple[int, ...],
    *,
    process: Process,
    steps: int = 50,
    jump: int = 10,
    rounds: int = 5,
    eta: float = 1.0,
    guidance: float = 1.0,
    clip: tuple[float, float] | None = None,
    classes: int = 0,
    output: str = "logits",
) -> Draw:
    """Make the draw that fills in what is missing, by a network trained on whole images.

    After each step, what is known is put in place, with as much noise as the step has. After every
    ``jump`` steps noise is added again, as much as before them, and they are repeated, ``rounds``
    times in all, so that what is drawn and what is known come to fit. The known voxels of the
    result are exactly those given. The more rounds, the nearer draws are to the distribution of
    what is missing given what is known; it is not reached exactly.

    It draws by a condition of ``known`` ``(count, *spatial, channels)``, the images, and ``where``
    ``(count, *spatial, 1)``, 1 (or True) at known voxels and 0 at missing ones; what ``known`` has
    there does not matter. A lesion is removed by calling it missing.

    Args:
        network: trained by :func:`denoising`.
        shape: ``(*spatial, channels)`` of the images.
        process: that it was trained with.
        steps: from noise to image, rounded up to whole jumps and one.
        jump: steps that are repeated together.
        rounds: how often they are made; 1 only replaces, and edges may show.
        eta: share of noise that is drawn anew in each step, see :func:`diffusion_sampler`.
        guidance: weight of the class.
        clip: bounds of the denoised image's values.
        classes: number of classes of ``condition["label"]``.
        output: the network's endpoint that predicts.

    Returns:
        The :class:`Draw`. It calls the network ``rounds`` times as often as there are steps.

    Raises:
        ValueError: for an option out of range; when drawn, for masks or images of another shape.

    References:
        Lugmayr et al. (2022), RePaint: inpainting using denoising diffusion probabilistic models,
        CVPR.
    """
    for name, value in (("jump", jump), ("rounds", rounds)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is a whole number of at least 1, got {value!r}")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is from 0 to 1, got {eta}")
    if guidance != 1 and not classes:
        raise ValueError("guidance weighs a class, and there is none")
    process.sampling_times(steps)
    jumps = -(-(steps - 1) // jump)
    times = jnp.asarray(process.sampling_times(jumps * jump + 1))

    def images(keys, params, state, condition):
        where, given = _checked(condition, len(keys), shape)
        told = {"label": condition["label"]} if classes else {}
        denoise = guided(
            network, params, state, told, process=process, guidance=guidance, map_channels=0,
            output=output, shape=(len(keys), *shape),
        )  # fmt: skip
        denoise = limited(denoise, clip, None)

        def noise(name, *numbers):
            return normals(jax.vmap(lambda key: stream(key, name, *numbers))(keys), shape)

        def jumped(x, block):
            """One block of steps, made ``rounds`` times."""

            def once(turn, x):
                def step(x, i):
                    t, s = times[i], times[i + 1]
                    a, b = process.levels(s)
                    z = noise("step", i, turn) if eta else None
                    x = ddim_step(process, denoise, x, t, s, eta, z)
                    return jnp.where(where, a * given + b * noise("known", i, turn), x), None

                x, _ = jax.lax.scan(step, x, block * jump + jnp.arange(jump))
                # Back to where the block began, but for the last round.
                (a, b), (a_s, b_s) = (process.levels(times[(block + end) * jump]) for end in (0, 1))
                ratio = a / a_s
                spread = jnp.sqrt(jnp.maximum(b**2 - (ratio * b_s) ** 2, 0))
                back = ratio * x + spread * noise("back", block, turn)
                return jnp.where(turn < rounds - 1, back, x)

            return jax.lax.fori_loop(0, rounds, once, x), None

        x = process.levels(times[0])[1] * noise("start")
        x, _ = jax.lax.scan(jumped, x, jnp.arange(jumps))
        return jnp.where(where, given, denoise(x, times[-2]))

    return drawing(images, classes=classes, needs=("known", "where"))


def _checked(condition, n, shape):
    where, given = condition["where"], condition["known"]
    if where.shape != (n, *shape[:-1], 1):
        raise ValueError(
            f"condition['where'] is (count, *spatial, 1), here {(n, *shape[:-1], 1)}, got "
            f"{where.shape}"
        )
    if given.shape != (n, *shape):
        raise ValueError(f"condition['known'] is {(n, *shape)}, the images, got {given.shape}")
    known = where.astype(bool)
    # What is missing may hold anything, NaN too.
    return known, jnp.where(known, given, 0).astype(jnp.float32)
