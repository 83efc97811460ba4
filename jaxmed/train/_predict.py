"""Predictions over a whole source."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding

from jaxmed.core import Inputs, Learner, LearnerState, PyTree, network_inputs
from jaxmed.data import as_source
from jaxmed.data import batches as cut
from jaxmed.train._devices import place_batch

_AHEAD = 2  # Batches under way on the device while the host takes in results.


def predict(
    learner: Learner,
    state: LearnerState,
    source: Any,
    *,
    size: int = 128,
    inputs: Inputs = "image",
    outputs: str | Sequence[str] = "logits",
    axis: int = 0,
) -> Any:
    """Predict every example of a source, in its order.

    Examples go through the compiled network in batches; the last one is padded, and the
    padding's rows are taken off again. A state on a mesh of devices shares each batch among them.

    Args:
        learner: any learner.
        state: its state.
        source: a source, a dict of arrays, or batches as :func:`jaxmed.data.batches` makes them,
            whose size and transform are then used.
        size: rows of a batch.
        inputs: the array that the network takes, or several (:func:`jaxmed.core.pick`).
        outputs: the endpoint wanted, or several. An endpoint may be a tree of arrays.
        axis: where the examples are in an endpoint: 1 for an ensemble, whose members come first.

    Returns:
        The endpoint as NumPy arrays; a dict if ``outputs`` names several.

    Raises:
        KeyError: if the examples have no ``inputs``, or the network no such endpoint.
        ValueError: if batches leave out examples or do not divide over the devices, or an endpoint
            has not the examples along ``axis``.

    >>> from jaxmed.core import from_functions, learner, stateless
    >>> import optax
    >>> double = from_functions(lambda key, x: {}, lambda params, x: 2 * x)
    >>> run = learner(double, stateless(lambda *args: None), optax.sgd(0.1))
    >>> data = {"image": np.arange(5.0, dtype=np.float32)[:, None]}
    >>> state = run.init(jax.random.key(0), data)
    >>> predict(run, state, data, size=2)[:, 0].tolist()
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    mesh = mesh_of(state)
    if hasattr(source, "iterate"):
        batches, total = source, len(source.source)
    else:
        source = as_source(source)
        total, devices = len(source), 1 if mesh is None else mesh.size
        batches = cut(source, -(-min(size, total) // devices) * devices, shuffle=False)
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    # jit remembers programs by the function, so that a second call of predict compiles nothing.
    run = jax.jit(learner.predict)

    rows: list[np.ndarray] = []
    parts: list[PyTree] = []
    pending: deque[tuple[np.ndarray, PyTree]] = deque()

    def collect() -> None:
        real, endpoints = pending.popleft()
        rows.append(real)
        parts.append(jax.tree.map(lambda x: host(x).take(range(len(real)), axis), endpoints))

    feed = batches.iterate(0)
    for step in range(len(batches)):
        batch = next(feed)
        given = network_inputs(batch, inputs)
        whole = given if isinstance(given, dict) else {"": given}
        placed = place_batch(whole, mesh)
        endpoints = run(state, placed if whole is given else placed[""])
        missing = [name for name in names if name not in endpoints]
        if missing:
            raise KeyError(
                f"the network has no endpoint {missing[0]!r}; it has {sorted(endpoints)}"
            )
        wanted = {name: endpoints[name] for name in names}
        _check_axis(wanted, axis, len(next(iter(whole.values()))))
        pending.append((batches.indices(step), wanted))
        if len(pending) > _AHEAD:
            collect()
    feed.close()
    while pending:
        collect()

    positions = np.concatenate(rows)
    if not np.array_equal(np.sort(positions), np.arange(total)):
        raise ValueError(
            f"the batches of an epoch hold {len(positions)} of {total} examples: "
            f"remainder='drop' leaves some out"
        )
    order = np.argsort(positions)
    found = jax.tree.map(lambda *xs: np.concatenate(xs, axis).take(order, axis), *parts)
    return found[outputs] if isinstance(outputs, str) else found


def _check_axis(endpoints: PyTree, axis: int, rows: int) -> None:
    for path, leaf in jax.tree.flatten_with_path(endpoints)[0]:
        if leaf.ndim <= axis or leaf.shape[axis] != rows:
            raise ValueError(
                f"the endpoint {jax.tree_util.keystr(path)} has the shape {leaf.shape}: its axis "
                f"{axis} does not have the {rows} rows of the batch. Name its axis of examples by "
                "axis="
            )


def host(x: jax.Array) -> np.ndarray:
    """Return an array, one of several processes included."""
    if not x.is_fully_addressable:
        return np.asarray(multihost_utils.process_allgather(x, tiled=True))
    return np.asarray(x)


def mesh_of(state: LearnerState) -> Mesh | None:
    """The mesh on which a state lies, if it is one of several devices."""
    for leaf in jax.tree.leaves(state.params):
        sharding = getattr(leaf, "sharding", None)
        if sharding is None or not isinstance(sharding, NamedSharding):
            continue
        if isinstance(sharding.mesh, Mesh) and len(sharding.device_set) > 1:
            return sharding.mesh
    return None
