"""Memory a device where a training's state is shared out: ``python -m benchmarks sharded``.

The devices are virtual ones of the CPU, so that only bytes are told and no times: of what a device
holds of the state (parameters and Adam's moments), and of what the compiled step asks for besides.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_DEVICES = (1, 2, 4, 8)
_STEPS = 3


def measure() -> dict[str, Any]:
    """The record: a row for each number of devices, and how far its parameters are from one's."""
    import jax

    jax.config.update("jax_num_cpu_devices", max(_DEVICES))
    import optax

    import jaxmed as jm
    from benchmarks._record import environment, now

    learner = jm.learner(
        jm.networks.resnet18(10, stem="small"),
        jm.supervised(jm.losses.cross_entropy),
        optax.adam(1e-3, eps=1e-3),  # of gradients near 0 Adam would make steps of rounding
    )
    rng = np.random.default_rng(0)
    data = {
        "image": rng.normal(size=(16, 16, 16, 3)).astype(np.float32),
        "label": np.arange(16) % 10,
    }
    batches = jm.data.batches(data, 16, seed=0)
    rows: list[dict[str, Any]] = []
    alone: list[np.ndarray] = []
    for n in _DEVICES:
        state = _trained(learner, batches, n)
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state.params)]
        alone = alone or leaves
        apart = max(float(np.abs(a - b).max()) for a, b in zip(leaves, alone, strict=True))
        rows.append(
            {"devices": n, **_bytes(learner, batches, n, state), "apart": float(f"{apart:.2g}")}
        )
        print(rows[-1], flush=True)
    head = [
        "devices",
        "state a device, MB",
        "besides in a step, MB",
        "parameters from one device's",
    ]
    table = [
        [
            str(r["devices"]),
            f"{r['state'] / 1e6:.1f}",
            f"{r['temporary'] / 1e6:.1f}",
            f"{r['apart']:g}",
        ]
        for r in rows
    ]
    return {
        "created": now(),
        "environment": environment(1),
        "rows": rows,
        "tables": {"memory": {"head": head, "rows": table}},
    }


def _trained(learner: Any, batches: Any, n: int) -> Any:
    import jaxmed as jm

    placed = jm.train.Placement(n, shard_parameters=True)
    return jm.fit(learner, batches, steps=_STEPS, devices=placed, progress=False).state


def _bytes(learner: Any, batches: Any, n: int, state: Any) -> dict[str, int]:
    """Bytes of the state on the first device, and of what the compiled step has besides."""
    import jax

    from jaxmed.train import data_mesh, place_batch
    from jaxmed.train._program import program

    held = sum(
        shard.data.nbytes
        for leaf in jax.tree.leaves(state)
        for shard in leaf.addressable_shards
        if shard.device == jax.devices()[0]
    )
    mesh = data_mesh(n)
    batch = place_batch(batches[0], mesh)
    compiled = program(learner, jax.random.key(0), batch, mesh=mesh, shard_parameters=True)
    step = compiled.step.lower(compiled.begin(state), batch).compile()
    return {"state": held, "temporary": step.memory_analysis().temp_size_in_bytes}
