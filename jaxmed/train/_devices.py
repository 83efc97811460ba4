"""Devices: meshes, where the arrays of a run lie on them, a pmap step to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxmed.core import PyTree

AXIS = "data"

Device = Any  # a jax.Device, which type checkers cannot see


def data_mesh(n: int | None = None, *, devices: Sequence[Device] | None = None) -> Mesh:
    """A mesh with one axis, ``data``, over which the rows of a batch are shared out.

    Args:
        n: how many devices, the first ones; all by default.
        devices: which, instead of :func:`jax.devices`.

    Returns:
        The mesh. Its axis is of type ``Auto``: the compiler places the arrays in between, and
        Flax modules work as they do on one device.

    Raises:
        ValueError: if ``n`` is not positive, or more than there are.

    >>> data_mesh(1).axis_names
    ('data',)
    """
    devices = list(jax.devices() if devices is None else devices)
    n = len(devices) if n is None else n
    if not 1 <= n <= len(devices):
        raise ValueError(f"a mesh of {n} devices was asked for, and there are {len(devices)}")
    # make_mesh gives explicit axes by default, in which Linen's Dropout fails.
    return Mesh(np.asarray(devices[:n]), (AXIS,), axis_types=(AxisType.Auto,))


def choose_mesh(mesh: Mesh | None, devices: int | Sequence[Device] | None) -> Mesh | None:
    """The mesh that :func:`fit`'s arguments ask for; ``None`` for the default device alone."""
    if mesh is not None and devices is not None:
        raise ValueError("fit takes a mesh or devices, not both")
    if devices is not None:
        return data_mesh(devices) if isinstance(devices, int) else data_mesh(devices=devices)
    if mesh is None and jax.process_count() > 1:
        return data_mesh()
    if mesh is not None and len(mesh.axis_names) != 1:
        raise ValueError(f"fit needs a mesh with one axis, got {mesh.axis_names}")
    return mesh


def state_shardings(
    mesh: Mesh, state: PyTree, *, shard_parameters: bool = False, minimum: int = 2**16
) -> PyTree:
    """Where each array of a state lies on a mesh.

    Args:
        mesh: a mesh with one axis.
        state: arrays, or their shapes.
        shard_parameters: whether arrays of at least ``minimum`` elements are shared out along
            the longest of their axes that the mesh divides (fully sharded data parallelism:
            parameters, optimizer state and averages alike). All others are on every device.
        minimum: elements from which on sharing out is worth its communication.

    Returns:
        A tree of ``NamedSharding``.
    """
    name = mesh.axis_names[0]

    def place(leaf: Any) -> NamedSharding:
        shape = leaf.shape
        spec = PartitionSpec()
        if shard_parameters and int(np.prod(shape)) >= minimum:
            fitting = [axis for axis, size in enumerate(shape) if size % mesh.size == 0]
            if fitting:
                # The last of equally long axes: an output axis, whose gradient is local.
                longest = max(fitting, key=lambda axis: (shape[axis], axis))
                spec = PartitionSpec(*[name if i == longest else None for i in range(len(shape))])
        return NamedSharding(mesh, spec)

    return jax.tree.map(place, state)


def place_batch(
    batch: Mapping[str, Any], mesh: Mesh | None, *, local: bool = False
) -> Mapping[str, Any]:
    """Put a batch from the host on the devices, its rows shared out over the mesh.

    Args:
        batch: NumPy arrays by name. Those that hold no numbers (names, paths) are left out.
        mesh: the mesh, or ``None`` for the default device.
        local: whether ``batch`` holds this process's rows only. If not, every process gives the
            same whole batch, of which its devices take their rows.

    Returns:
        Arrays on the devices.

    Raises:
        ValueError: if the rows do not divide over the devices.
    """
    arrays = {name: np.asarray(value) for name, value in batch.items()}
    arrays = {name: value for name, value in arrays.items() if value.dtype.kind in "biufcV"}
    if mesh is None:
        return arrays
    whole = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec(mesh.axis_names[0]))
    placed = {}
    for name, value in arrays.items():
        value = value.astype(jax.dtypes.canonicalize_dtype(value.dtype), copy=False)
        devices = len(mesh.local_devices) if local else mesh.size
        if value.ndim and value.shape[0] % devices:
            raise ValueError(
                f"a batch of {value.shape[0]} rows ({name!r}) does not divide over {devices} "
                f"devices: choose a batch size that is a multiple of {devices}"
            )
        sharding = split if value.ndim else whole
        if local:
            placed[name] = jax.make_array_from_process_local_data(sharding, value)
        else:
            placed[name] = jax.make_array_from_callback(
                value.shape, sharding, lambda at, value=value: value[at]
            )
    return placed
