"""Trainings of one learner on different data and keys, sequentially or as one program."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Key, Learner, LearnerState, PyTree
from jaxmed.data import MemberBatches, subset, take
from jaxmed.data import batches as cut
from jaxmed.train import NonFiniteLossError, fit
from jaxmed.train._program import all_finite, batch_of_rows

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
        return Trained(one, None, why_ended(error))
    return Trained(one, made.state, "")


def why_ended(error: NonFiniteLossError) -> str:
    """Return why a training has no result, in the words of a study's report."""
    where, cases, *_ = str(error).split("; ")
    return f"{where}; {cases}"


def _together(
    learner: Learner, source: Any, arrays: PyTree, group: Sequence[Replicate], size: int
) -> Iterator[Trained]:
    batches = _batches(source, group, size)
    init, run = _programs(learner)
    keys = jnp.stack([one.key for one in group])
    own = np.zeros((len(group), len(source)), np.int32)  # of each position, the place in the part
    for i, one in enumerate(group):
        own[i, one.train] = np.arange(len(one.train))
    state = init(keys, arrays, own, *batches.rows(0))
    alive = jnp.ones(len(group), bool)
    ended = np.full(len(group), -1)
    # One stretch is one compiled loop; all have the same length, so that there is one program.
    stretch = min(len(batches), 64)
    for start in range(0, len(batches), stretch):
        steps = range(start, start + stretch)
        rows, weights = map(np.stack, zip(*map(batches.rows, steps), strict=True))
        active = np.array([[step < one.steps for one in group] for step in steps])
        state, alive, good = run(state, alive, arrays, own, rows, weights, active)
        bad = np.argwhere(~np.asarray(good))
        for step, i in bad:
            if ended[i] < 0:
                ended[i] = start + step
    for i, one in enumerate(group):
        if ended[i] >= 0:
            yield Trained(one, None, f"the loss or a parameter is not finite at step {ended[i]}")
        else:
            yield Trained(one, jax.tree.map(lambda leaf, i=i: leaf[i], state), "")


def _batches(source: Any, group: Sequence[Replicate], size: int) -> MemberBatches:
    """The batches of each replicate, as it would have them alone, members of one batch."""
    feeds = [cut(subset(source, one.train), size, seed=one.order) for one in group]

    def plan(step: int) -> tuple[np.ndarray, np.ndarray]:
        rows, weights = zip(*(feed.rows(step) for feed in feeds), strict=True)
        whole = [one.train[r] for one, r in zip(group, rows, strict=True)]
        return np.array(whole, np.int32), np.array(weights, np.float32)

    return MemberBatches(source, plan, max(one.steps for one in group))


@functools.lru_cache(maxsize=8)
def _programs(learner: Learner) -> tuple[Callable, Callable]:
    """Compile the start and the stretch of a group of replicates."""

    def batch_of(arrays: PyTree, own: Array, rows: Array, weight: Array) -> PyTree:
        # A learner knows an example by its place in the part that it is trained on.
        return {**batch_of_rows(arrays, rows, weight), "index": own[rows]}

    def start(keys: Key, arrays: PyTree, *members: Array) -> LearnerState:
        init = lambda key, *member: learner.init(key, batch_of(arrays, *member))  # noqa: E731
        return jax.vmap(init)(keys, *members)

    def one(
        arrays: PyTree,
        state: LearnerState,
        alive: Array,
        own: Array,
        rows: Array,
        weight: Array,
        active: Array,
    ) -> tuple[LearnerState, Array]:
        """Make one step; a non-finite step changes nothing and ends only its replicate."""
        new, metrics = learner.step(state, batch_of(arrays, own, rows, weight))
        alive &= all_finite(new, metrics) | ~active
        keep = alive & active
        return jax.tree.map(lambda old, new: jnp.where(keep, new, old), state, new), alive

    def stretch(
        state: LearnerState,
        alive: Array,
        arrays: PyTree,
        own: Array,
        rows: Array,
        weights: Array,
        active: Array,
    ) -> tuple[LearnerState, Array, Array]:
        step = jax.vmap(functools.partial(one, arrays))

        def body(carry: tuple, at: tuple) -> tuple[tuple, Array]:
            rows, weight, active = at
            state, alive = carry
            carry = step(state, alive, own, rows, weight, active)
            return carry, carry[1]

        (state, alive), good = jax.lax.scan(body, (state, alive), (rows, weights, active))
        return state, alive, good

    return jax.jit(start), jax.jit(stretch, donate_argnums=0)
