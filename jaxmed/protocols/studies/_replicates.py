"""Trainings of one learner on different data and keys, sequentially or as one program."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Key, Learner, LearnerState, PyTree
from jaxmed.data import batches as cut
from jaxmed.data import subset, take
from jaxmed.train import NonFiniteLossError, fit

Strategy = Literal["auto", "sequential", "vmap"]


class Replicate(NamedTuple):
    """One training: cases, order of batches, key and number of steps.

    Attributes:
        name: unique in a study.
        train: positions of the cases.
        key: random key of the run.
        order: seed of the batch order.
        steps: number of steps.
    """

    name: str
    train: np.ndarray
    key: Key
    order: int
    steps: int


class Rows(NamedTuple):
    """Rows of a batch: positions in the whole data and in the training part, and weights."""

    whole: Any
    own: Any
    weight: Any


class Trained(NamedTuple):
    """A completed training: its state, or the reason why there is none."""

    replicate: Replicate
    state: LearnerState | None
    error: str


def train_replicates(
    learner: Learner,
    source: Any,
    replicates: Sequence[Replicate],
    *,
    size: int,
    strategy: Strategy = "auto",
    width: int = 8,
) -> Iterator[Trained]:
    """Train each replicate, with the same result as `train.fit` for it alone.

    Args:
        learner: any learner. It is compiled once, whatever the number of replicates.
        source: the whole data.
        replicates: the trainings.
        size: batch size.
        strategy: `sequential`, one after the other with one compiled step; `vmap`, as one program
            that steps `width` replicates at once on data kept on the device, equal up to rounding.
            `auto` is `vmap` on GPU and TPU, which one small training leaves underused, and
            `sequential` on CPU, where stacked convolutions are slow.
        width: replicates per program; memory grows with it.

    Yields:
        Each training as it ends. One whose loss or parameters stop being finite has no state.

    Raises:
        ValueError: if the strategy is unknown, or the width is below 1.
    """
    if strategy == "auto":
        strategy = "sequential" if jax.default_backend() == "cpu" else "vmap"
    if strategy not in ("sequential", "vmap"):
        raise ValueError(f"unknown strategy {strategy!r}: auto, sequential or vmap")
    if width < 1:
        raise ValueError(f"width is at least 1, got {width}")
    if strategy == "sequential":
        for one in replicates:
            yield _alone(learner, source, one, size)
        return
    arrays = take(source, np.arange(len(source)))
    arrays = {name: np.asarray(value) for name, value in arrays.items()}
    arrays = jax.device_put({k: v for k, v in arrays.items() if v.dtype.kind in "biufcV"})
    for start in range(0, len(replicates), width):
        yield from _together(learner, source, arrays, replicates[start : start + width], size)


def _alone(learner: Learner, source: Any, one: Replicate, size: int) -> Trained:
    try:
        made = fit(
            learner,
            cut(subset(source, one.train), size, seed=one.order),
            key=one.key,
            steps=one.steps,
            progress=False,
        )
    except NonFiniteLossError as error:
        where, cases, *_ = str(error).split("; ")
        return Trained(one, None, f"{where}; {cases}")
    return Trained(one, made.state, "")


def _together(
    learner: Learner, source: Any, arrays: PyTree, group: Sequence[Replicate], size: int
) -> Iterator[Trained]:
    feeds = [cut(subset(source, one.train), size, seed=one.order) for one in group]
    longest = max(one.steps for one in group)
    init, run = _programs(learner)

    def rows_of(steps: range) -> tuple[Rows, np.ndarray]:
        """Return each batch's rows and the replicates still running; (steps, group, ...)."""
        found = [[feed.rows(step) for feed in feeds] for step in steps]
        own = np.array([[r for r, _ in row] for row in found], np.int32)
        whole = np.array(
            [[one.train[r] for one, (r, _) in zip(group, row, strict=True)] for row in found],
            np.int32,
        )
        weights = np.array([[w for _, w in row] for row in found], np.float32)
        active = np.array([[step < one.steps for one in group] for step in steps])
        return Rows(whole, own, weights), active

    keys = jnp.stack([one.key for one in group])
    rows, _ = rows_of(range(1))
    state = init(keys, arrays, jax.tree.map(lambda x: x[0], rows))
    alive = jnp.ones(len(group), bool)
    ended = np.full(len(group), -1)
    # One stretch is one compiled loop; all have the same length, so that there is one program.
    stretch = min(longest, 64)
    for start in range(0, longest, stretch):
        rows, active = rows_of(range(start, start + stretch))
        state, alive, good = run(state, alive, arrays, rows, active)
        bad = np.argwhere(~np.asarray(good))
        for step, i in bad:
            if ended[i] < 0:
                ended[i] = start + step
    for i, one in enumerate(group):
        if ended[i] >= 0:
            yield Trained(one, None, f"the loss or a parameter is not finite at step {ended[i]}")
        else:
            yield Trained(one, jax.tree.map(lambda leaf, i=i: leaf[i], state), "")


@functools.lru_cache(maxsize=8)
def _programs(learner: Learner) -> tuple[Callable, Callable]:
    """Compile the start and the stretch of a group of replicates."""

    def batch_of(arrays: PyTree, rows: Rows) -> PyTree:
        batch = {name: array[rows.whole] for name, array in arrays.items()}
        weight = rows.weight * batch["weight"] if "weight" in batch else rows.weight
        return {**batch, "weight": weight, "index": rows.own}

    def start(keys: Key, arrays: PyTree, rows: Rows) -> LearnerState:
        return jax.vmap(lambda key, rows: learner.init(key, batch_of(arrays, rows)))(keys, rows)

    def one(
        arrays: PyTree, state: LearnerState, alive: jax.Array, rows: Rows, active: jax.Array
    ) -> tuple[LearnerState, jax.Array]:
        """Make one step; a non-finite step changes nothing and ends only its replicate."""
        new, metrics = learner.step(state, batch_of(arrays, rows))
        good = jnp.isfinite(metrics["loss"]).all()
        for leaf in jax.tree.leaves(new.params):
            if jnp.issubdtype(leaf.dtype, jnp.inexact):
                good &= jnp.isfinite(leaf).all()
        alive &= good | ~active
        keep = alive & active
        return jax.tree.map(lambda old, new: jnp.where(keep, new, old), state, new), alive

    def stretch(
        state: LearnerState, alive: jax.Array, arrays: PyTree, rows: Rows, active: jax.Array
    ) -> tuple[LearnerState, jax.Array, jax.Array]:
        step = jax.vmap(functools.partial(one, arrays))

        def body(carry: tuple, at: tuple) -> tuple[tuple, jax.Array]:
            carry = step(*carry, *at)
            return carry, carry[1]

        (state, alive), good = jax.lax.scan(body, (state, alive), (rows, active))
        return state, alive, good

    return jax.jit(start), jax.jit(stretch, donate_argnums=0)
