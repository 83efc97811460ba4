"""Several processes that train as one: how they join, and what they must agree on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from jaxmed.core import Batches, PyTree
from jaxmed.data import Batches as Cut
from jaxmed.train._identity import differences

_BLOCK = 1024  # bytes: texts of other lengths would each compile a program


@contextlib.contextmanager
def hosts(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    patience: int = 100,
) -> Iterator[None]:
    """Join the processes of a run for the time of the block, before JAX computes anything.

    Every process runs the same program. :func:`fit` then shares each batch among the devices of all
    of them, and each reads its own rows alone. Under SLURM, Open MPI, Kubernetes and on TPUs JAX
    finds the others by itself; elsewhere say who they are.

    Args:
        coordinator: ``HOST:PORT`` of process 0, any free port of it.
        processes: how many there are.
        process: which of them this one is, from 0.
        patience: seconds without a sign of life after which a process counts as lost. The others
            are then ended by JAX, and the same call with those that are left goes on from the last
            checkpoint.

    Raises:
        ValueError: what was not given cannot be found out, or contradicts itself.
        RuntimeError: JAX has computed already, or the others do not come.
    """
    # A process that is told to end shall end: its last checkpoint is what the others go on from.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator, processes, process, heartbeat_timeout_seconds=patience
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"the processes of the run are not known ({str(error).rstrip('.')}): start them under "
            "SLURM, MPI or Kubernetes, or say each HOST:PORT of process 0, how many there are, and "
            "which of them it is"
        ) from error
    yield
    # Not after an error: the others could not come, and JAX ends them when this process is gone.
    jax.distributed.shutdown()


def shared_out(batches: Batches) -> Batches:
    """The same batches, of which each process reads its own rows alone, where that is known how."""
    n = jax.process_count()
    if n == 1 or not isinstance(batches, Cut) or batches.shard[1] > 1 or batches.size % n:
        return batches
    return dataclasses.replace(batches, shard=(jax.process_index(), n))


def agreed(value: Any) -> Any:
    """What process 0 says, of anything that JSON holds; all must ask."""
    if jax.process_count() == 1:
        return value
    text = json.dumps(value).encode()
    size = int(_of_first(np.array([len(text)], np.uint32))[0])
    room = -(-size // _BLOCK) * _BLOCK
    # What the others would say may be longer, and is not looked at.
    padded = np.frombuffer(text[:room].ljust(room), np.uint8)
    return json.loads(_of_first(padded).tobytes()[:size])


def _of_first(array: np.ndarray) -> np.ndarray:
    return np.asarray(multihost_utils.broadcast_one_to_all(array))


def check_alike(shared: Mapping[str, Any]) -> None:
    """Refuse to train together with process 0 where it trains something else.

    Raises:
        ValueError: says how this process differs.
    """
    if changed := differences(agreed(shared), shared):
        raise ValueError(
            f"process {jax.process_index()} trains something else than process 0 "
            f"({'; '.join(changed)}): give all the same data, settings and versions"
        )


def wait(name: str) -> None:
    """Wait until all processes have come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def own(state: PyTree) -> PyTree:
    """A copy of a state, whole on each device of a mesh, on this process's first device."""

    def copied(leaf: jax.Array) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            kind = jax.random.key_impl(leaf)
            return jax.random.wrap_key_data(copied(jax.random.key_data(leaf)), impl=kind)
        return jnp.asarray(np.asarray(leaf))

    return jax.tree.map(copied, state)
