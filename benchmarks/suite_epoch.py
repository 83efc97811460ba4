"""An epoch over small images: compiled whole, looped on the host, and by torch's DataLoader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

import jaxmed as jm
from benchmarks import _peers, _torch
from benchmarks._case import Case, Options, Run
from benchmarks._jax import normal


def cases(options: Options) -> list[Case]:
    """A small ResNet, whose steps are short enough for host overhead to show."""
    examples, batch = (32, 8) if options.quick else (1024, 64)
    network = jm.networks.ResNet(2, depths=(1, 1), width=4 if options.quick else 16)
    data = {
        "image": normal(0, examples, 28, 28, 1),
        "label": (np.arange(examples) % 2).astype(np.int32),
    }

    def torch_side() -> Run:
        torch = _torch.torch_module(options.threads)
        params, _ = jm.from_linen(network).init(jax.random.key(0), data["image"][:1])
        model = _peers.torch_resnet(torch, network, 1, params)
        return _torch_epoch(torch, model, data, batch)

    sides: dict[str, Callable[[], Run]] = {
        "jaxmed": lambda: _epoch(network, data, batch, compile_epochs=True),
        "host loop": lambda: _epoch(network, data, batch, compile_epochs=False),
        "torch": torch_side,
    }
    return [
        Case(f"{examples} images of 28x28, batch {batch}", sides, items=examples, unit="images")
    ]


def _epoch(network: Any, data: dict[str, np.ndarray], batch: int, *, compile_epochs: bool) -> Run:
    learner = jm.learner(
        jm.from_linen(network),
        jm.supervised(jm.losses.cross_entropy),
        optax.sgd(1e-2, momentum=0.9),
    )
    batches = jm.data.batches(data, batch)
    held = [jax.jit(learner.init)(jax.random.key(0), batches[0])]

    def call() -> None:
        result = jm.fit(
            learner,
            batches,
            state=held[0]._replace(step=jax.numpy.zeros_like(held[0].step)),
            epochs=1,
            progress=False,
            devices=jm.train.Placement(compile_epochs=compile_epochs),
        )
        held[0] = jax.block_until_ready(result.state)

    return Run(call)


def _torch_epoch(torch: Any, model: Any, data: dict[str, np.ndarray], batch: int) -> Run:
    where = _torch.device(torch)
    model = model.to(where).train().to(memory_format=torch.channels_last)
    images = torch.from_numpy(data["image"].transpose(0, 3, 1, 2).copy())
    dataset = torch.utils.data.TensorDataset(images, torch.from_numpy(data["label"]).long())
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=batch, shuffle=True, pin_memory=where == "cuda"
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)

    def call() -> None:
        for image, label in loader:
            image = image.to(where, memory_format=torch.channels_last, non_blocking=True)
            optimizer.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(model(image), label.to(where))
            loss.backward()
            optimizer.step()

    return _torch.timed(torch, call)
