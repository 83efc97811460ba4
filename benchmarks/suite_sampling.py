"""Images drawn by a diffusion model: all steps in one program, against steps called one by one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._case import Case, Options, Run
from benchmarks._jax import flops_of, waiting
from benchmarks._memory import mark
from jaxmed import networks
from jaxmed.core import as_network
from jaxmed.generative import diffusion_sampler, edm


def cases(options: Options) -> list[Case]:
    """Pictures of 64 pixels, and volumes."""
    q = options.quick
    return [
        _case((8, 8, 1) if q else (64, 64, 1), 2 if q else 64, (4,) if q else (32, 64, 128)),
        _case((4, 4, 4, 1) if q else (32, 32, 32, 1), 2 if q else 8, (4,) if q else (32, 64)),
    ]


def _case(shape: tuple[int, ...], count: int, widths: tuple[int, ...]) -> Case:
    steps = 4 if len(widths) == 1 else 20
    dtype = None if jax.default_backend() == "cpu" else jnp.bfloat16
    groups = min(8, widths[0])
    module = networks.denoiser_unet(
        1, widths=widths, attention=(), groups=groups, embedding=4 * widths[0], dtype=dtype
    )
    network, process = as_network(module), edm(highest=20.0)
    keys = jax.random.split(jax.random.key(0), count)

    def weights() -> tuple:
        return jax.jit(network.init)(jax.random.key(1), jnp.ones((1, *shape)))

    def ours() -> Run:
        params, state = weights()
        draw = diffusion_sampler(network, shape, process=process, steps=steps, method="euler")
        call = jax.jit(lambda: draw(keys, params, state, count))
        jax.block_until_ready(call())
        mark()
        return waiting(call)

    def one_by_one() -> Run:
        params, state = weights()
        call = jax.jit(lambda x, t: network.apply(params, state, {"image": x, "time": t})[0])
        times = [jnp.full(count, t, jnp.float32) for t in np.geomspace(20, 0.02, steps)]
        noise = jax.random.normal(jax.random.key(2), (count, *shape))
        jax.block_until_ready(call(noise, times[0]))
        mark()

        def steps_from_the_host() -> jax.Array:
            x = noise
            for t, s in zip(times, [*times[1:], jnp.zeros(count)], strict=True):
                at = t.reshape(-1, *(1,) * len(shape))
                to = s.reshape(at.shape)
                denoised = call(x, t)["logits"]
                x = denoised + (to / at) * (x - denoised)
            return x

        return waiting(steps_from_the_host)

    def once(x: jax.Array, t: jax.Array) -> jax.Array:
        params, state = jax.eval_shape(network.init, jax.random.key(1), jnp.ones((1, *shape)))
        params, state = (jax.tree.map(jnp.zeros_like, tree) for tree in (params, state))
        return network.apply(params, state, {"image": x, "time": t})[0]["logits"]

    given = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((count, *shape), (count,))]
    size = " x ".join(map(str, shape[:-1]))
    return Case(
        f"{count} images of {size}, {steps} steps",
        {"jaxmed": ours, "steps one by one": one_by_one},
        items=count,
        unit="images",
        flops=steps * flops_of(once, *given),
        precision="float32" if dtype is None else "bfloat16",
    )
