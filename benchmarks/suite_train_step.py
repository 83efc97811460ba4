"""One training step of ResNet-18 at 28x28 and of a 3D U-Net, against torch and MONAI.

Both sides begin with equal weights, and their losses over three steps must agree before anything is
timed. On a GPU both compute in bfloat16, torch channels-last, as it is, compiled (``-compiled``),
and compiled into CUDA graphs (``-graphs``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmed as jm
from benchmarks import _peers, _torch
from benchmarks._case import Case, Options, Run
from benchmarks._jax import flops_of, normal, program_bytes, waiting
from benchmarks._memory import mark

_RATE, _MOMENTUM = 1e-2, 0.9
_CHECKED_STEPS = 3


def cases(options: Options) -> list[Case]:
    """The two networks."""
    return [_resnet(options), _unet(options)]


def unet_of(features: tuple[int, ...], classes: int, dtype: Any = None) -> Any:
    """A 3D U-Net that has a counterpart in MONAI."""
    n = len(features)
    plan = jm.networks.UNetPlan(features, (1, *(2,) * (n - 1)), (3,) * n, (2,) * n, (2,) * (n - 1))
    return jm.networks.unet(classes, plan=plan, bias=False, dtype=dtype)


def _resnet(options: Options) -> Case:
    size, batch, width = (16, 8, 4) if options.quick else (28, 128, 64)
    network = jm.networks.resnet18(2, width=width, dtype=_dtype())
    data = {
        "image": normal(0, batch, size, size, 3),
        "label": (np.arange(batch) % 2).astype(np.int32),
    }

    def peer(*, compiled: str = "") -> Run:
        torch = _torch.torch_module(options.threads)
        variables = _init(network, data)[0]
        model = _peers.torch_resnet(torch, network, 3, variables)
        loss = torch.nn.functional.cross_entropy
        return _torch_steps(torch, model, loss, data, "label", compiled=compiled)

    sides = {
        **_ours(network, jm.losses.cross_entropy, data, "label"),
        "torch": peer,
        "torch-compiled": lambda: peer(compiled="default"),
    }
    if _on_accelerator():
        sides["torch-graphs"] = lambda: peer(compiled="reduce-overhead")
    return Case(
        f"ResNet-18, {size}x{size}, batch {batch}",
        sides,
        tolerance=_tolerance(),
        flops=_flops(network, jm.losses.cross_entropy, data, "label"),
        precision=_precision(),
    )


def _unet(options: Options) -> Case:
    size, batch = ((8, 16, 8), 2) if options.quick else ((48, 64, 48), 4)
    features = (4, 8, 8) if options.quick else (16, 32, 64, 128)
    network = unet_of(features, 3, _dtype())
    mask = np.digitize(normal(1, batch, *size), [-0.5, 0.5]).astype(np.int32)
    data = {"image": normal(0, batch, *size, 1), "mask": mask}

    def peer(*, channels_last: bool = False, compiled: str = "") -> Run:
        torch = _torch.torch_module(options.threads)
        model = _peers.monai_unet(torch, network, 1, _init(network, data)[0])
        from monai.losses import DiceCELoss  # loaded with the network, before memory is marked

        criterion = DiceCELoss(
            include_background=False,
            to_onehot_y=True,
            softmax=True,
            smooth_nr=1e-5,
            smooth_dr=1e-5,
        )

        def loss(logits: Any, truth: Any) -> Any:
            return criterion(logits, truth[:, None])

        return _torch_steps(
            torch, model, loss, data, "mask", channels_last=channels_last, compiled=compiled
        )

    sides = {
        **_ours(network, jm.losses.dice_ce, data, "mask"),
        "monai": peer,
        "monai-channels-last": lambda: peer(channels_last=True),
    }
    if _on_accelerator():
        sides["monai-compiled"] = lambda: peer(channels_last=True, compiled="default")
        sides["monai-graphs"] = lambda: peer(channels_last=True, compiled="reduce-overhead")
    name = "x".join(map(str, size))
    return Case(
        f"U-Net 3D, {name}, batch {batch}",
        sides,
        tolerance=_tolerance(),
        flops=_flops(network, jm.losses.dice_ce, data, "mask"),
        precision=_precision(),
    )


def _on_accelerator() -> bool:
    return jax.default_backend() != "cpu"


def _precision() -> str:
    return "bfloat16" if _on_accelerator() else "float32"


def _dtype() -> Any:
    return jnp.bfloat16 if _on_accelerator() else None


def _tolerance() -> float:
    return 5e-2 if _on_accelerator() else 5e-3


def _flops(network: Any, loss: Callable, data: dict[str, np.ndarray], target: str) -> float:
    """Count the operations of one step, as reported by our own primitives."""
    learner = _learner(network, loss, target)
    state = jax.eval_shape(learner.init, jax.random.key(0), data)
    return flops_of(learner.step, state, data)


def _init(network: Any, data: dict[str, np.ndarray]) -> tuple[Any, Any]:
    made = jm.from_linen(network)
    return jax.jit(made.init)(jax.random.key(0), data["image"])


def _ours(
    network: Any, loss: Callable, data: dict[str, np.ndarray], target: str
) -> dict[str, Callable[[], Run]]:
    def side(form: str) -> Callable[[], Run]:
        return lambda: _jax_steps(network, loss, data, target, form)

    if _on_accelerator():  # where ours is XLA's own convolution
        return {"jaxmed": side("auto")}
    return {"jaxmed": side("auto"), "pure": side("pure"), "xla": side("xla")}


def _jax_steps(
    network: Any, loss: Callable, data: dict[str, np.ndarray], target: str, form: str
) -> Run:
    learner = _learner(network, loss, target)
    make = jax.jit(learner.init).lower(jax.random.key(0), data).compile()
    weights = jax.jit(jm.from_linen(network).init).lower(jax.random.key(0), data["image"]).compile()
    state = jax.eval_shape(learner.init, jax.random.key(0), data)
    with jm.ops.config(conv=form):
        step = jax.jit(learner.step, donate_argnums=0).lower(state, data).compile()
    mark()
    batch = jax.device_put(data)
    state = make(jax.random.key(0), batch)
    params, extra = weights(jax.random.key(0), batch["image"])  # the peer's initial weights
    state = state._replace(
        params={**state.params, "net": params}, state={**state.state, "net": extra}
    )
    held = [state]
    losses: list[float] = []

    def call() -> Any:
        held[0], metrics = step(held[0], batch)
        if len(losses) < _CHECKED_STEPS:
            losses.append(float(metrics["loss"]))
        return held[0]

    return waiting(call, lambda: _first(losses, call), memory=program_bytes(step))


def _learner(network: Any, loss: Callable, target: str) -> Any:
    return jm.learner(
        jm.from_linen(network),
        jm.supervised(loss, target=target),
        optax.sgd(_RATE, momentum=_MOMENTUM),
    )


def _torch_steps(
    torch: Any,
    model: Any,
    loss: Callable,
    data: dict[str, np.ndarray],
    target: str,
    *,
    channels_last: bool = True,
    compiled: str = "",
) -> Run:
    images = _torch.images(torch, data["image"])
    model = model.to(_torch.device(torch)).train()
    if channels_last:
        model = model.to(memory_format=_torch.memory_format(torch, images.ndim))
    else:
        images = images.contiguous()
    truth = torch.from_numpy(data[target]).long().to(_torch.device(torch))
    on_gpu = _torch.device(torch) == "cuda"
    optimizer = torch.optim.SGD(
        model.parameters(), lr=_RATE, momentum=_MOMENTUM, fused=on_gpu or None
    )
    forward = model
    if compiled:
        forward = torch.compile(model, mode=compiled)
    losses: list[float] = []

    def call() -> None:
        half = torch.autocast("cuda", torch.bfloat16) if on_gpu else contextlib.nullcontext()
        optimizer.zero_grad(set_to_none=True)
        with half:
            value = loss(forward(images), truth)
        value.backward()
        optimizer.step()
        if len(losses) < _CHECKED_STEPS:
            losses.append(float(value.detach()))

    return _torch.timed(torch, call, lambda: _first(losses, call))


def _first(losses: list[float], call: Callable[[], None]) -> np.ndarray:
    while len(losses) < _CHECKED_STEPS:
        call()
    return np.array(losses)
