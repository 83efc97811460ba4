"""One training step of an LSTM and of a GRU on sequences, against torch's with the same weights.

Forward, backward and a step of gradient descent; the losses of the first three steps must agree.
Sizes are those of electrocardiograms and of digits read by rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

import jaxmed as jm
from benchmarks import _peers, _torch
from benchmarks._case import Case, Options, Run
from benchmarks._jax import normal, program_bytes, waiting
from benchmarks._memory import mark

_RATE = 1e-2
_CHECKED_STEPS = 3
_CLASSES = 5
_SIZES = ((64, 140, 1, 64), (128, 28, 28, 128))  # batch, time, channels, units


def cases(options: Options) -> list[Case]:
    """Both cells, one way and both ways."""
    sizes = ((4, 6, 2, 3),) if options.quick else _SIZES
    return [
        _case(options, cell, both, size)
        for cell in ("lstm", "gru") for size in sizes for both in (False, True)
    ]  # fmt: skip


def _case(options: Options, cell: Any, both: bool, size: tuple[int, int, int, int]) -> Case:
    batch, time, channels, units = size
    network = jm.networks.recurrent(_CLASSES, features=(units,), cell=cell, bidirectional=both)
    data = {
        "image": normal(0, batch, time, channels),
        "label": (np.arange(batch) % _CLASSES).astype(np.int32),
    }
    ways = "both ways" if both else "one way"
    return Case(
        f"{cell.upper()} {ways}, {time} steps of {channels} to {units}, batch {batch}",
        {"jaxmed": lambda: _ours(network, data), "torch": lambda: _theirs(options, network, data)},
        cell.upper(),
        items=batch,
        unit="sequence",
    )


def _ours(network: Any, data: dict[str, np.ndarray]) -> Run:
    learner = jm.learner(
        jm.from_linen(network), jm.supervised(jm.losses.cross_entropy), optax.sgd(_RATE)
    )
    state = jax.jit(learner.init)(jax.random.key(0), data)
    params, _ = _weights(network, data)
    step = jax.jit(learner.step, donate_argnums=0).lower(state, data).compile()
    mark()
    batch = jax.device_put(data)
    held = [state._replace(params={**state.params, "net": params})]
    losses: list[float] = []

    def call() -> Any:
        held[0], metrics = step(held[0], batch)
        if len(losses) < _CHECKED_STEPS:
            losses.append(float(metrics["loss"]))
        return held[0]

    return waiting(call, lambda: _first(losses, call), memory=program_bytes(step))


def _theirs(options: Options, network: Any, data: dict[str, np.ndarray]) -> Run:
    torch = _torch.torch_module(options.threads)
    params, _ = _weights(network, data)
    on = _torch.device(torch)
    body = _peers.torch_recurrent(torch, network, data["image"].shape[-1], params).to(on)
    kernel, bias = (np.asarray(params["head"]["linear"][name]) for name in ("kernel", "bias"))
    head = torch.nn.Linear(*kernel.shape).to(on)
    with torch.no_grad():
        head.weight.copy_(torch.tensor(kernel.T))
        head.bias.copy_(torch.tensor(bias))
    sequences = torch.tensor(data["image"]).to(on)
    truth = torch.tensor(data["label"]).long().to(on)
    optimizer = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=_RATE)
    losses: list[float] = []

    def call() -> None:
        optimizer.zero_grad(set_to_none=True)
        ends = body(sequences)[1]
        ends = ends[0] if network.cell == "lstm" else ends
        features = torch.cat(tuple(ends), dim=-1)  # of one layer: each way's last step
        value = torch.nn.functional.cross_entropy(head(features), truth)
        value.backward()
        optimizer.step()
        if len(losses) < _CHECKED_STEPS:
            losses.append(float(value.detach()))

    return _torch.timed(torch, call, lambda: _first(losses, call))


def _weights(network: Any, data: dict[str, np.ndarray]) -> tuple[Any, Any]:
    """The weights with which both sides begin."""
    return jax.jit(jm.from_linen(network).init)(jax.random.key(0), data["image"])


def _first(losses: list[float], call: Callable[[], Any]) -> np.ndarray:
    while len(losses) < _CHECKED_STEPS:
        call()
    return np.array(losses)
