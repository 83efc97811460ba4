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

# Whole batches in each process, stopped half way and resumed.
options = {"out": folder / "out", "progress": False}
train.fit(toy.learner(), toy.batches(), epochs=1, **options)
whole = train.fit(toy.learner(), toy.batches(), epochs=2, **options)
# Each process reads its own rows only.
sharded = train.fit(toy.learner(), toy.batches(shard=(index, 2)), epochs=2)
logits = train.predict(toy.learner(), whole.state, toy.arrays(9, seed=1))
leaves = {}
for name, result in (("params", whole), ("sharded", sharded)):
    for j, leaf in enumerate(jax.tree.leaves(result.state.params)):
        leaves[f"{name}{j}"] = np.asarray(leaf)
np.savez(folder / f"leaves{index}.npz", logits=logits, **leaves)
jax.distributed.shutdown()
