"""Explanations of one network by `jaxmed.explain` and by Captum, in batches of the same size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from benchmarks import _torch
from benchmarks._case import Case, Options, Run, UnavailableError
from benchmarks._jax import normal
from benchmarks._memory import mark
from benchmarks._peers import torch_resnet
from jaxmed import explain, from_linen
from jaxmed.networks import resnet8

_CHUNK = 8


def cases(options: Options) -> list[Case]:
    """A ResNet of 8 layers, four images of one and of three channels."""
    side, passes = (16, 16) if options.quick else (64, 1000)
    found = []
    for channels in (1, 3):
        images = normal(0, 4, side, side, channels)
        name = f"{side} x {side} x {channels}"
        found += [
            _case(f"{name}, gradient", "gradient", explain.gradient, _saliency, images, options),
            _case(
                f"{name}, integrated gradients of {passes} passes", "integrated gradients",
                partial(explain.integrated_gradients, steps=passes, chunk=_CHUNK),
                partial(_integrated, passes=passes), images, options,
            ),
            _case(
                f"{name}, occlusion", "occlusion",
                partial(explain.occlusion, window=side // 4, stride=side // 8, chunk=_CHUNK),
                partial(_occlusion, window=side // 4, stride=side // 8), images, options,
            ),
            _case(
                f"{name}, RISE of {passes} masks", "RISE",
                partial(explain.rise, samples=passes, chunk=_CHUNK),
                partial(_masked, passes=passes), images, options, compared=False,
            ),
        ]  # fmt: skip
    return found


def _case(
    name: str,
    group: str,
    method: Callable[..., Any],
    theirs: Callable[..., Any],
    images: np.ndarray,
    options: Options,
    *,
    compared: bool = True,
) -> Case:
    module = resnet8(2, width=16)
    network = from_linen(module)
    key = jax.random.key(0)
    params, state = network.init(key, images)

    def ours() -> Run:
        ask = explain.compiled(method)
        given = jax.device_put(images)
        mark()

        def call() -> Any:
            return ask(key, network, params, state, given, 1)

        def result() -> np.ndarray:
            return np.asarray(call())

        return Run(lambda: call().block_until_ready(), result if compared else None)

    def torch_side() -> Run:
        torch = _torch.torch_module(options.threads)
        model = torch_resnet(torch, module, images.shape[-1], params).eval()
        model = model.to(_torch.device(torch))
        given = _torch.images(torch, images)
        attribute = theirs(torch, model)
        mark()

        def call() -> Any:
            return attribute(given)

        def result() -> np.ndarray:
            return np.moveaxis(call().detach().cpu().numpy(), 1, -1)

        return _torch.timed(torch, call, result if compared else None)

    return Case(name, {"jaxmed": ours, "captum": torch_side}, group, processor=True, tolerance=1e-2)


def _captum() -> Any:
    try:
        import captum.attr
    except ImportError as error:
        raise UnavailableError("pip install captum") from error
    return captum.attr


def _saliency(torch: Any, model: Any) -> Callable[[Any], Any]:
    del torch
    method = _captum().Saliency(model)
    return lambda x: method.attribute(x, target=1, abs=False)


def _integrated(torch: Any, model: Any, *, passes: int) -> Callable[[Any], Any]:
    del torch
    method = _captum().IntegratedGradients(model, multiply_by_inputs=True)

    def attribute(x: Any) -> Any:
        return method.attribute(
            x, target=1, n_steps=passes, method="gausslegendre",
            internal_batch_size=_CHUNK * len(x),
        )  # fmt: skip

    return attribute


def _occlusion(torch: Any, model: Any, *, window: int, stride: int) -> Callable[[Any], Any]:
    method = _captum().Occlusion(model)

    def attribute(x: Any) -> Any:
        channels = x.shape[1]
        with torch.no_grad():
            found = method.attribute(
                x, (channels, window, window), (channels, stride, stride), target=1,
                perturbations_per_eval=_CHUNK,
            )  # fmt: skip
        return found / channels  # Captum gives every channel the whole fall, ours its share.

    return attribute


def _masked(torch: Any, model: Any, *, passes: int) -> Callable[[Any], Any]:
    """RISE, which Captum lacks: the paper's sum in a loop of batches, masks enlarged by torch."""
    generator = torch.Generator().manual_seed(0)

    def attribute(x: Any) -> Any:
        side, total = x.shape[-1], torch.zeros_like(x[:, :1])
        with torch.no_grad():
            for _ in range(0, passes, _CHUNK):
                cells = torch.rand(_CHUNK, 1, 8, 8, generator=generator) < 0.5
                cells = cells.float().to(x.device)
                masks = torch.nn.functional.interpolate(cells, (side, side), mode="bilinear")
                shown = (x[None] * masks[:, None]).flatten(0, 1)
                scores = model(shown)[:, 1].reshape(_CHUNK, len(x))
                total += torch.einsum("mn,mchw->nchw", scores, masks)
        return total / passes

    return attribute
