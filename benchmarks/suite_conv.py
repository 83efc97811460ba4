"""Convolutions of ResNet-18 and U-Nets: forward plus both gradients; the gradient to an image.

Sides: ours as it chooses (``jaxmed``), the plain-JAX form (``pure``), stock XLA (``xla``), torch in
channels-last (``torch``). Loops are compared with stock XLA in the same loop, and with our own
convolution outside of it (``straight``); gradients to images of few channels, as saliency needs
them, with oneDNN's kernel (``onednn``) too. On an accelerator, where ours is XLA's own convolution,
all compute in bfloat16, against torch alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks import _torch
from benchmarks._case import Case, Options, Run
from benchmarks._jax import compiled, normal
from jaxmed import ops
from jaxmed.ops import build


class Shape(NamedTuple):
    """A convolution: its origin, images, window, output channels and stride."""

    name: str
    images: tuple[int, ...]
    window: int
    out: int
    stride: int = 1

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.images) - 2

    @property
    def kernel(self) -> tuple[int, ...]:
        """Shape of the kernel."""
        return (*(self.window,) * self.rank, self.images[-1], self.out)

    @property
    def flops(self) -> float:
        """Operations of forward and both gradients: three products of the same size."""
        voxels = math.prod(-(-n // self.stride) for n in self.images[1:-1])
        return 6.0 * self.images[0] * voxels * math.prod(self.kernel)

    def small(self) -> Shape:
        """The same with a tenth of the voxels, for a smoke test."""
        spatial = tuple(max(self.window, n // 8) for n in self.images[1:-1])
        return self._replace(images=(1, *spatial, min(self.images[-1], 4)), out=min(self.out, 4))


SHAPES = (
    Shape("ResNet-18, 28: 3x3, 64", (128, 28, 28, 64), 3, 64),
    Shape("ResNet-18, 28: 3x3 / 2, 64 to 128", (128, 28, 28, 64), 3, 128, 2),
    Shape("ResNet-18, 28: 1x1 / 2, 64 to 128", (128, 28, 28, 64), 1, 128, 2),
    Shape("ResNet-18, 28: 3x3, 128", (128, 14, 14, 128), 3, 128),
    Shape("ResNet-18, 28: 3x3, 512", (128, 4, 4, 512), 3, 512),
    Shape("ResNet-18, 224: 7x7 / 2, 3 to 64", (8, 224, 224, 3), 7, 64, 2),
    Shape("ResNet-18, 224: 3x3, 64", (8, 56, 56, 64), 3, 64),
    Shape("ResNet-18, 224: 3x3, 256", (8, 14, 14, 256), 3, 256),
    Shape("U-Net 2D: 3x3, 32, 256^2", (2, 256, 256, 32), 3, 32),
    Shape("U-Net 2D: 3x3, 128 to 64, 128^2", (2, 128, 128, 128), 3, 64),
    Shape("U-Net 3D: 3x3x3, 1 to 16", (2, 48, 64, 48, 1), 3, 16),
    Shape("U-Net 3D: 3x3x3, 16", (2, 32, 48, 32, 16), 3, 16),
    Shape("U-Net 3D: 3x3x3, 32", (2, 32, 48, 32, 32), 3, 32),
    Shape("U-Net 3D: 3x3x3 / 2, 16 to 32", (2, 48, 64, 48, 16), 3, 32, 2),
    Shape("U-Net 3D: 3x3x3, 64", (4, 12, 16, 12, 64), 3, 64),
    Shape("U-Net 3D: 3x3x3, 128", (4, 6, 8, 6, 128), 3, 128),
)
_IMAGES = (
    Shape("gradient to an image: 3x3, 3 to 32, 224^2", (8, 224, 224, 3), 3, 32),
    Shape("gradient to an image: 3x3 / 2, 3 to 32, 224^2", (8, 224, 224, 3), 3, 32, 2),
    Shape("gradient to an image: 7x7 / 2, 3 to 64, 224^2", (8, 224, 224, 3), 7, 64, 2),
    Shape("gradient to an image: 3x3, 1 to 32, 28^2", (32, 28, 28, 1), 3, 32),
    Shape("gradient to an image: 3x3x3, 1 to 32, 64^3", (1, 64, 64, 64, 1), 3, 32),
    Shape("gradient to an image: 3x3x3, 4 to 32, 64^3", (1, 64, 64, 64, 4), 3, 32),
)
_TRANSPOSED = (
    Shape("2x2 transposed, 64 to 32", (4, 64, 64, 64), 2, 32, 2),
    Shape("2x2x2 transposed, 32 to 16", (2, 24, 32, 24, 32), 2, 16, 2),
    Shape("2x2x2 transposed, 128 to 64", (4, 6, 8, 6, 128), 2, 64, 2),
)
_LOOPS = (SHAPES[3], SHAPES[12])
_POOLED = ((16, 64, 64, 32), (2, 48, 64, 48, 16))
_LOOP_STEPS = 2


def cases(options: Options) -> list[Case]:
    """Every case of the suite."""
    shapes = [s.small() if options.quick else s for s in SHAPES]
    images = [s.small() if options.quick else s for s in _IMAGES]
    transposed = [s.small() if options.quick else s for s in _TRANSPOSED]
    loops = [s.small() if options.quick else s for s in _LOOPS]
    found = [_convolution(s, options) for s in shapes]
    found += [_image_gradient(s, options) for s in images]
    found += [_transposed(s, options) for s in transposed]
    found += [_loop(s) for s in loops]
    pooled = [(1, *(n // 8 for n in s[1:-1]), 4) if options.quick else s for s in _POOLED]
    found += [_max_pool(s, options) for s in pooled]
    found += [_upsample(s, options) for s in pooled]
    return found


def _same(window: int, rank: int) -> list[tuple[int, int]]:
    return [((window - 1) // 2, window // 2)] * rank


def _with_gradients(forward: Callable) -> Callable:
    """`(x, k, g) -> (y, dx, dk)`."""

    def run(x: Any, k: Any, g: Any) -> tuple[Any, Any, Any]:
        y, pull = jax.vjp(forward, x, k)
        return (y, *pull(g))

    return run


def _arrays(shape: Shape, forward: Callable) -> tuple[Any, Any, Any]:
    x, k = normal(0, *shape.images), normal(1, *shape.kernel) / math.sqrt(shape.images[-1])
    return x, k, normal(2, *jax.eval_shape(forward, x, k).shape)


def _on_accelerator() -> bool:
    return jax.default_backend() != "cpu"


def _image_gradient_of(forward: Callable) -> Callable:
    """`(x, k, g) -> dx`."""

    def run(x: Any, k: Any, g: Any) -> Any:
        return jax.vjp(lambda x: forward(x, k), x)[1](g)[0]

    return run


def _sides(
    forward: Callable, shape: Shape, torch_side: Callable, of: Callable = _with_gradients
) -> dict[str, Callable[[], Run]]:
    """Ours in its forms, and torch: of `forward`, what `of` makes of it."""

    def side(form: str) -> Callable[[], Run]:
        def make() -> Run:
            arrays = [a.astype(_precision()) for a in _arrays(shape, forward)]
            return compiled(of(forward), *arrays, form=form)

        return make

    if _on_accelerator():
        return {"jaxmed": side("auto"), "torch": torch_side}
    sides = {"jaxmed": side("auto"), "xla": side("xla"), "pure": side("pure"), "torch": torch_side}
    if of is _image_gradient_of and build.available("float32"):
        sides["onednn"] = side("onednn")
    return sides


def _precision() -> Any:
    return jnp.bfloat16 if _on_accelerator() else np.float32


def _case(name: str, sides: dict[str, Callable[[], Run]], group: str, flops: float) -> Case:
    half = _on_accelerator()
    precision = "bfloat16" if half else "float32"
    return Case(name, sides, group, flops, precision=precision, tolerance=3e-2 if half else 1e-3)


def _convolution(shape: Shape, options: Options) -> Case:
    padding = _same(shape.window, shape.rank)

    def forward(x: Any, k: Any) -> Any:
        return ops.conv(x, k, stride=shape.stride, padding=padding)

    def torch_side() -> Run:
        torch = _torch.torch_module(options.threads)
        call = getattr(torch.nn.functional, f"conv{shape.rank}d")
        x, k, g = _arrays(shape, forward)
        return _torch_gradients(
            torch, functools.partial(call, stride=shape.stride, padding=padding[0][0]), x, k, g
        )

    return _case(shape.name, _sides(forward, shape, torch_side), f"{shape.rank}D", shape.flops)


def _image_gradient(shape: Shape, options: Options) -> Case:
    padding = _same(shape.window, shape.rank)

    def forward(x: Any, k: Any) -> Any:
        return ops.conv(x, k, stride=shape.stride, padding=padding)

    def torch_side() -> Run:
        torch = _torch.torch_module(options.threads)
        gradient = getattr(torch.nn.grad, f"conv{shape.rank}d_input")
        dtype = torch.bfloat16 if _on_accelerator() else torch.float32
        x, k, g = _arrays(shape, forward)
        size = _torch.images(torch, x).shape
        kt, gt = _torch.kernels(torch, k).to(dtype), _torch.images(torch, g).to(dtype)

        def call() -> Any:
            return gradient(size, kt, gt, stride=shape.stride, padding=padding[0][0])

        return _torch.timed(torch, call, lambda: _torch.to_channels_last(call()))

    sides = _sides(forward, shape, torch_side, _image_gradient_of)
    return _case(shape.name, sides, f"{shape.rank}D, to an image", shape.flops / 3)


def _transposed(shape: Shape, options: Options) -> Case:
    def forward(x: Any, k: Any) -> Any:
        return ops.conv_transpose(x, k, stride=shape.stride)

    def torch_side() -> Run:
        torch = _torch.torch_module(options.threads)
        call = getattr(torch.nn.functional, f"conv_transpose{shape.rank}d")
        x, k, g = _arrays(shape, forward)
        return _torch_gradients(
            torch, functools.partial(call, stride=shape.stride), x, k, g, transposed=True
        )

    # Every voxel of the input is multiplied by every kernel entry, three times.
    flops = 6.0 * math.prod(shape.images[:-1]) * math.prod(shape.kernel)
    return _case(shape.name, _sides(forward, shape, torch_side), "transposed", flops)


def _torch_gradients(
    torch: Any, forward: Callable, x: Any, k: Any, g: Any, *, transposed: bool = False
) -> Run:
    dtype = torch.bfloat16 if _on_accelerator() else torch.float32
    xt = _torch.images(torch, x).to(dtype).requires_grad_()
    kt = _torch.kernels(torch, k, transposed=transposed).to(dtype).requires_grad_()
    gt = _torch.images(torch, g).to(dtype)

    def call() -> Any:
        y = forward(xt, kt)
        return (y, *torch.autograd.grad(y, (xt, kt), gt))

    def result() -> Any:
        y, dx, dk = call()
        images = [_torch.to_channels_last(v) for v in (y, dx)]
        return (*images, _torch.to_kernel(dk, transposed=transposed))

    return _torch.timed(torch, call, result)


def _loop(shape: Shape) -> Case:
    """The gradients inside `lax.scan`, and as often without the loop."""
    padding = _same(shape.window, shape.rank)

    def forward(x: Any, k: Any) -> Any:
        return ops.conv(x, k, stride=shape.stride, padding=padding)

    once = _with_gradients(forward)

    def looped(x: Any, k: Any, g: Any) -> Any:
        # Each step depends on the previous one, or the compiler would hoist the work.
        def step(carry: Any, _: None) -> tuple[Any, None]:
            x, k = carry
            y, dx, dk = once(x, k, g)
            return (x - 1e-3 * dx - 1e-6 * y.mean(), k - 1e-3 * dk), None

        return lax.scan(step, (x, k), None, length=_LOOP_STEPS)[0]

    def straight(x: Any, k: Any, g: Any) -> Any:
        for _ in range(_LOOP_STEPS):
            y, dx, dk = once(x, k, g)
            x, k = x - 1e-3 * dx - 1e-6 * y.mean(), k - 1e-3 * dk
        return x, k

    def side(function: Callable, form: str) -> Callable[[], Run]:
        def make() -> Run:
            arrays = [a.astype(_precision()) for a in _arrays(shape, forward)]
            return compiled(function, *arrays, form=form)

        return make

    sides = {"jaxmed": side(looped, "auto"), "straight": side(straight, "auto")}
    if not _on_accelerator():
        sides |= {"xla": side(looped, "xla"), "pure": side(looped, "pure")}
    return _case(f"{shape.name}, in scan", sides, "in scan", _LOOP_STEPS * shape.flops)


def _max_pool(shape: tuple[int, ...], options: Options) -> Case:
    rank = len(shape) - 2
    window = (1, *(2,) * rank, 1)

    def stock(x: Any) -> Any:
        return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")

    def side(pool: Callable) -> Callable[[], Run]:
        return lambda: compiled(jax.grad(lambda x: (pool(x) ** 2).sum()), normal(0, *shape))

    def torch_side() -> Run:
        torch = _torch.torch_module(options.threads)
        pool = getattr(torch.nn.functional, f"max_pool{rank}d")
        return _torch_image_gradient(torch, lambda x: pool(x, 2), shape)

    sides = {"jaxmed": side(lambda x: ops.max_pool(x, 2)), "xla": side(stock), "torch": torch_side}
    return Case(f"max pool {rank}D, gradient", sides, "max pool")


def _upsample(shape: tuple[int, ...], options: Options) -> Case:
    rank = len(shape) - 2
    small = (shape[0], *(max(n // 2, 2) for n in shape[1:-1]), shape[-1])
    large = (shape[0], *(2 * n for n in small[1:-1]), shape[-1])

    def stock(x: Any) -> Any:
        return jax.image.resize(x, large, "linear")

    def side(up: Callable) -> Callable[[], Run]:
        return lambda: compiled(jax.grad(lambda x: (up(x) ** 2).sum()), normal(0, *small))

    def torch_side() -> Run:
        torch = _torch.torch_module(options.threads)
        mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[rank]
        up = functools.partial(torch.nn.functional.interpolate, scale_factor=2.0, mode=mode)
        return _torch_image_gradient(torch, up, small)

    sides = {"jaxmed": side(lambda x: ops.upsample(x, 2)), "xla": side(stock), "torch": torch_side}
    return Case(f"upsample {rank}D, forward and gradient", sides, "upsample")


def _torch_image_gradient(torch: Any, forward: Callable, shape: tuple[int, ...]) -> Run:
    x = _torch.images(torch, normal(0, *shape)).requires_grad_()

    def call() -> Any:
        return torch.autograd.grad((forward(x) ** 2).sum(), x)[0]

    return _torch.timed(torch, call, lambda: _torch.to_channels_last(call()))
