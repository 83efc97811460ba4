"""How the steps of a stretch of training are run: one by one, or as one program."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxmed.core import Batch, Batches, RowBatches
from jaxmed.data import take
from jaxmed.train._devices import place_batch
from jaxmed.train._program import Carry, Program, Report

Runner = Callable[[Carry, int, int], Iterator[tuple[Carry, int, Report]]]
"""``(carry, start, stop)`` yields ``(carry, steps, report)``, the report's arrays with a leading
axis of steps where ``steps`` were made by one program."""


@contextlib.contextmanager
def stepwise(
    compiled: Program, batches: Batches, start: int, mesh: Mesh | None, *, local: bool
) -> Iterator[Runner]:
    """Run each step as it is called for; batches are read ahead from ``start`` on."""
    feed: Any = iter(batches.iterate(start))
    shapes: dict[str, Any] = {}

    def run(carry: Carry, start: int, stop: int) -> Iterator[tuple[Carry, int, Report]]:
        for step in range(start, stop):
            # A step is only begun here, so the next batch goes to the device while it runs.
            batch = place_batch(next(feed), mesh, local=local)
            _same_shapes(shapes, batch, step)
            carry, report = compiled.step(carry, batch)
            yield carry, 1, report

    try:
        yield run
    finally:
        if hasattr(feed, "close"):
            feed.close()


@contextlib.contextmanager
def scanned(
    compiled: Program, batches: Batches, start: int, mesh: Mesh | None, *, local: bool
) -> Iterator[Runner]:
    """Run all steps of a stretch as one program, on data kept on the device.

    The host draws the order of the examples, so that it is the one of :func:`stepwise`.
    """
    del start
    if local:
        raise ValueError("compile_epochs needs the whole data in each process: no shard=")
    if getattr(batches, "transform", None) is not None:
        raise ValueError(
            "compile_epochs cannot run a transform on the host: move it to the device, "
            "or read the transformed examples into memory first"
        )
    if not isinstance(batches, RowBatches):
        raise ValueError(
            f"compile_epochs needs batches as jaxmed.data.batches makes them, "
            f"not {type(batches).__name__}"
        )
    arrays = _whole(take(batches.source, np.arange(len(batches.source))), mesh)

    def run(carry: Carry, start: int, stop: int) -> Iterator[tuple[Carry, int, Report]]:
        rows, weights = zip(*(batches.rows(step) for step in range(start, stop)), strict=True)
        rows, weights = np.stack(rows), np.stack(weights)
        carry, reports = compiled.scan(carry, arrays, rows, weights)
        yield carry, stop - start, reports

    yield run


def _whole(examples: Mapping[str, Any], mesh: Mesh | None) -> Batch:
    """All examples on the device, or on each device of the mesh."""
    arrays = {name: np.asarray(value) for name, value in examples.items()}
    arrays = {name: value for name, value in arrays.items() if value.dtype.kind in "biufcV"}
    if mesh is None:
        return jax.device_put(arrays)
    whole = NamedSharding(mesh, PartitionSpec())
    return {
        name: jax.make_array_from_callback(value.shape, whole, lambda at, value=value: value[at])
        for name, value in arrays.items()
    }


def _same_shapes(shapes: dict[str, Any], batch: Batch, step: int) -> None:
    """Refuse a batch for which the step would have to be compiled anew."""
    found = {name: (value.shape, value.dtype) for name, value in batch.items()}
    if not shapes:
        shapes.update(found)
    if found != shapes:
        name = next(n for n in [*shapes, *found] if shapes.get(n) != found.get(n))
        raise ValueError(
            f"all batches must have the same arrays: {name!r} was {shapes.get(name)} and is "
            f"{found.get(name)} at step {step}. Pad the last batch, bring images to one shape"
        )
