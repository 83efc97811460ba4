"""One of two processes that train together; see test_devices.py."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import jax
import numpy as np

port, folder, index = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=index)

import toy  # noqa: E402

from jaxmed import train  # noqa: E402

warnings.simplefilter("error")
assert jax.device_count() == 4

# Whole batches in each process; stopped half way and resumed.
logs = [train.jsonl(folder / "metrics.jsonl")]
options = {"out": train.Output(folder, loggers=logs), "progress": False}
train.fit(toy.linear(), toy.batches(), epochs=1, **options)
whole = train.fit(toy.linear(), toy.batches(), epochs=2, **options)
# Each process reads its own rows alone.
parts = train.fit(toy.linear(), toy.batches(shard=(index, 2)), epochs=2)
logits = train.predict(toy.linear(), whole.state, toy.arrays(9, seed=1))
np.savez(
    folder / f"found{index}.npz",
    whole=np.asarray(whole.state.params["net"]["w"]),
    parts=np.asarray(parts.state.params["net"]["w"]),
    logits=logits,
)
jax.distributed.shutdown()
