"""One training step of ResNet-18 at 28x28 and of a 3D U-Net, against the same in torch and MONAI.

Both sides begin with equal weights, and their losses over three steps must agree before anything is
timed. On a GPU both compute in bfloat16, torch compiled and channels-last.
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
from benchmarks._case import Case, Options, Run, UnavailableError
from benchmarks._jax import normal
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

    def peer(*, compiled: bool = False) -> Run:
        torch = _torch.torch_module(options.threads)
        variables = _init(network, data)[0]
        model = _peers.torch_resnet(torch, network, 3, variables)
        loss = torch.nn.functional.cross_entropy
        return _torch_steps(torch, model, loss, data, "label", compiled=compiled)

    sides = {
        **_ours(network, jm.losses.cross_entropy, data, "label"),
        "torch": peer,
        "torch-compiled": lambda: peer(compiled=True),
    }
    return Case(f"ResNet-18, {size}x{size}, batch {batch}", sides, tolerance=_tolerance())


def _unet(options: Options) -> Case:
    size, batch = ((8, 16, 8), 2) if options.quick else ((48, 64, 48), 4)
    features = (4, 8, 8) if options.quick else (16, 32, 64, 128)
    network = unet_of(features, 3, _dtype())
    mask = np.digitize(normal(1, batch, *size), [-0.5, 0.5]).astype(np.int32)
    data = {"image": normal(0, batch, *size, 1), "mask": mask}

    def peer(*, channels_last: bool = False, compiled: bool = False) -> Run:
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
    if jax.default_backend() != "cpu":
        sides["monai-compiled"] = lambda: peer(channels_last=True, compiled=True)
    name = "x".join(map(str, size))
    return Case(f"U-Net 3D, {name}, batch {batch}", sides, tolerance=_tolerance())


def _dtype() -> Any:
    return None if jax.default_backend() == "cpu" else jnp.bfloat16


def _tolerance() -> float:
    return 5e-3 if jax.default_backend() == "cpu" else 5e-2


def _init(network: Any, data: dict[str, np.ndarray]) -> tuple[Any, Any]:
    made = jm.from_linen(network)
    return jax.jit(made.init)(jax.random.key(0), data["image"])


def _ours(
    network: Any, loss: Callable, data: dict[str, np.ndarray], target: str
) -> dict[str, Callable[[], Run]]:
    def side(form: str) -> Callable[[], Run]:
        return lambda: _jax_steps(network, loss, data, target, form)

    return {"jaxmed": side("auto"), "pure": side("pure"), "xla": side("xla")}


def _jax_steps(
    network: Any, loss: Callable, data: dict[str, np.ndarray], target: str, form: str
) -> Run:
    learner = jm.learner(
        jm.from_linen(network),
        jm.supervised(loss, target=target),
        optax.sgd(_RATE, momentum=_MOMENTUM),
    )
    mark()
    with jm.ops.config(conv=form):
        batch = jax.device_put(data)
        state = jax.jit(learner.init)(jax.random.key(0), batch)
        params, extra = _init(network, data)  # the peer's initial weights
        state = state._replace(
            params={**state.params, "net": params}, state={**state.state, "net": extra}
        )
        step = jax.jit(learner.step, donate_argnums=0).lower(state, batch).compile()
    held = [state]
    losses: list[float] = []

    def call() -> None:
        held[0], metrics = step(held[0], batch)
        jax.block_until_ready(held[0])
        if len(losses) < _CHECKED_STEPS:
            losses.append(float(metrics["loss"]))

    return Run(call, lambda: _first(losses, call))


def _torch_steps(
    torch: Any,
    model: Any,
    loss: Callable,
    data: dict[str, np.ndarray],
    target: str,
    *,
    channels_last: bool = True,
    compiled: bool = False,
) -> Run:
    images = _torch.images(torch, data["image"])
    model = model.to(_torch.device(torch)).train()
    if channels_last:
        model = model.to(memory_format=_torch.memory_format(torch, images.ndim))
    else:
        images = images.contiguous()
    truth = torch.from_numpy(data[target]).long().to(_torch.device(torch))
    optimizer = torch.optim.SGD(model.parameters(), lr=_RATE, momentum=_MOMENTUM)
    forward = model
    if compiled:
        try:
            forward = torch.compile(model)
            forward(images)
        except Exception as error:  # no compiler on this machine, say
            raise UnavailableError(f"torch.compile: {type(error).__name__}") from error
    on_gpu = _torch.device(torch) == "cuda"
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
