"""Images moved by fields, forward and backward, against torch's ``grid_sample``.

Torch gets points between -1 and 1, made beforehand; ours are made of the field in the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import _torch
from benchmarks._case import Case, Options, Run
from benchmarks._jax import compiled, normal
from benchmarks._memory import mark
from jaxmed import ops


def cases(options: Options) -> list[Case]:
    """A slice and a volume of one channel; a field of three channels moved along itself."""
    shapes = [(12, 10), (8, 6, 7)] if options.quick else [(384, 384), (48, 64, 48)]
    found = []
    for shape in shapes:
        for channels in dict.fromkeys((1, len(shape))):
            image, field = _image(shape, channels), _field(shape)
            label = f"{' x '.join(map(str, shape))}, {channels} channel{'s' * (channels > 1)}"
            for what, ours, theirs in (
                ("forward", _forward, _torch_forward),
                ("gradient of the field", _to_field, _torch_to_field),
                ("gradient of both", _to_both, _torch_to_both),
            ):
                found.append(_case(f"{label}, {what}", what, ours, theirs, image, field, options))
    return found


def _image(shape: tuple[int, ...], channels: int) -> np.ndarray:
    return normal(0, *shape, channels)


def _field(shape: tuple[int, ...]) -> np.ndarray:
    """Displacements of some voxels that change slowly, as of a registration."""
    coarse = jnp.asarray(normal(1, *(max(n // 8, 2) for n in shape), len(shape)))
    return 3 * np.asarray(jax.image.resize(coarse, (*shape, len(shape)), "cubic"), np.float32)


def _case(
    name: str,
    what: str,
    ours: Callable,
    theirs: Callable,
    image: np.ndarray,
    field: np.ndarray,
    options: Options,
) -> Case:
    seed = normal(2, *image.shape)

    def torch_side() -> Run:
        torch = _torch.torch_module(options.threads)
        return theirs(torch, image, field, seed)

    sides = {"jaxmed": lambda: compiled(ours, image, field, seed), "torch": torch_side}
    points = field.size // field.shape[-1]
    return Case(name, sides, what, items=points, unit="points", processor=True)


def _forward(image: jax.Array, field: jax.Array, seed: jax.Array) -> jax.Array:
    del seed
    return ops.warp(image, field)


def _to_field(image: jax.Array, field: jax.Array, seed: jax.Array) -> jax.Array:
    return jax.vjp(lambda u: ops.warp(image, u, mode="nearest"), field)[1](seed)[0]


def _to_both(image: jax.Array, field: jax.Array, seed: jax.Array) -> tuple[jax.Array, ...]:
    return jax.vjp(lambda x, u: ops.warp(x, u, mode="nearest"), image, field)[1](seed)


def _arguments(torch: Any, image: np.ndarray, field: np.ndarray) -> tuple[Any, Any, np.ndarray]:
    """The image, the points as torch wants them (last axis first), voxels to half widths."""
    where = _torch.device(torch)
    half = (np.array(field.shape[:-1], np.float32) - 1) / 2
    points = (np.asarray(ops.identity_grid(field.shape[:-1])) + field) / half - 1
    grid = torch.from_numpy(np.ascontiguousarray(points[..., ::-1])[None]).to(where)
    moved = np.ascontiguousarray(np.moveaxis(image, -1, 0))[None]
    return torch.from_numpy(moved).to(where), grid, half


def _sampled(torch: Any, image: Any, grid: Any, padding: str) -> Any:
    return torch.nn.functional.grid_sample(image, grid, "bilinear", padding, align_corners=True)


def _torch_forward(torch: Any, image: np.ndarray, field: np.ndarray, seed: np.ndarray) -> Run:
    del seed
    x, grid, _ = _arguments(torch, image, field)
    mark()

    def call() -> Any:
        with torch.no_grad():
            # Outside, ours is 0 at once and torch's falls to 0 over a voxel.
            return _sampled(torch, x, grid, "zeros")

    return _torch.timed(torch, call)


def _torch_backward(
    torch: Any, image: np.ndarray, field: np.ndarray, seed: np.ndarray, both: bool
) -> Run:
    x, grid, half = _arguments(torch, image, field)
    y = torch.from_numpy(np.ascontiguousarray(np.moveaxis(seed, -1, 0))[None]).to(x.device)
    grid.requires_grad_()
    x.requires_grad_(both)
    mark()

    def call() -> Any:
        return torch.autograd.grad(_sampled(torch, x, grid, "border"), [x] * both + [grid], y)

    def result() -> Any:
        *image_slope, grid_slope = (g[0].detach().cpu().numpy() for g in call())
        found = [np.moveaxis(g, 0, -1) for g in image_slope]
        inner = grid_slope[..., ::-1] / half
        return [*found, inner] if both else inner

    return _torch.timed(torch, call, result)


def _torch_to_field(torch: Any, image: np.ndarray, field: np.ndarray, seed: np.ndarray) -> Run:
    return _torch_backward(torch, image, field, seed, False)


def _torch_to_both(torch: Any, image: np.ndarray, field: np.ndarray, seed: np.ndarray) -> Run:
    return _torch_backward(torch, image, field, seed, True)
