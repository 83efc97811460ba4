"""Inference over a large volume in overlapping windows, against MONAI with the same network."""

from __future__ import annotations

import contextlib

import jax
import numpy as np

import jaxmed as jm
from benchmarks import _peers, _torch
from benchmarks._case import Case, Options, Run
from benchmarks._jax import flops_of, normal
from benchmarks._memory import mark
from benchmarks.suite_train_step import unet_of

_OVERLAP = 0.25


def cases(options: Options) -> list[Case]:
    """One volume; run with ``--memory`` for the peaks."""
    size, window, batch = (20, 16, 2) if options.quick else (256, 96, 2)
    on_cpu = jax.default_backend() == "cpu"
    dtype = None if on_cpu else jax.numpy.bfloat16
    network = unet_of((4, 8, 8) if options.quick else (16, 32, 64), 2, dtype)
    volume = normal(0, size, size, size, 1)
    windows = (window,) * 3
    made = jm.from_linen(network)

    def weights() -> tuple:
        return jax.jit(made.init)(jax.random.key(0), volume[None, :window, :window, :window])

    def ours() -> Run:
        params, state = weights()
        predict = jax.jit(lambda x: made.apply(params, state, x)[0]["logits"])
        predict(np.zeros((batch, *windows, 1), np.float32))  # compiled before memory is marked
        mark()

        def call() -> object:
            return jm.inference.sliding_window(
                predict, volume, windows, overlap=_OVERLAP, size=batch
            )

        return Run(call)

    def monai() -> Run:
        torch = _torch.torch_module(options.threads)
        model = _peers.monai_unet(torch, network, 1, weights()[0]).eval()
        model = model.to(_torch.device(torch))
        if not on_cpu:
            model = model.to(memory_format=torch.channels_last_3d)
        from monai.inferers import sliding_window_inference

        tensor = torch.from_numpy(volume[None, ..., 0][None]).to(_torch.device(torch))

        def call() -> object:
            half = contextlib.nullcontext() if on_cpu else torch.autocast("cuda", torch.bfloat16)
            with torch.inference_mode(), half:
                return sliding_window_inference(
                    tensor, windows, batch, model, overlap=_OVERLAP, mode="gaussian"
                )

        return _torch.timed(torch, call)

    def one(x: jax.Array) -> jax.Array:
        params, state = jax.eval_shape(made.init, jax.random.key(0), x)
        params, state = (jax.tree.map(jax.numpy.zeros_like, tree) for tree in (params, state))
        return made.apply(params, state, x)[0]["logits"]

    step = int(window * (1 - _OVERLAP))
    count = (-(-(size - window) // step) + 1) ** 3
    shape = jax.ShapeDtypeStruct((1, *windows, 1), np.float32)
    return [
        Case(
            f"{size}^3 in windows of {window}^3",
            {"jaxmed": ours, "monai": monai},
            items=size**3,
            unit="voxels",
            flops=count * flops_of(one, shape),
            precision="float32" if on_cpu else "bfloat16",
        )
    ]
