"""The names that signatures use, and the types of the functions of the three ideas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax

if TYPE_CHECKING:
    from jaxmed.core._learner import LearnerState
    from jaxmed.core._network import Network

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array
"""A typed PRNG key, as made by ``jax.random.key``."""
PyTree: TypeAlias = Any
Batch: TypeAlias = Mapping[str, Array]
"""Arrays by name, the examples along each one's first axis."""
Endpoints: TypeAlias = dict[str, Any]
"""What a network returns: named arrays, such as ``features``, ``pyramid``, ``logits``."""
Metrics: TypeAlias = dict[str, Array]
"""Scalars by name."""


class Variables(NamedTuple):
    """What a network is applied to inputs with.

    Attributes:
        params: the network's parameters.
        state: the network's state.
    """

    params: PyTree
    state: PyTree


class View(Protocol):
    """What shows a batch otherwise: any pure ``(key, batch) -> batch``, as in `jaxmed.augment`."""

    def __call__(self, key: Key, batch: dict[str, Array], /) -> dict[str, Array]: ...


class NetworkInit(Protocol):
    """``(key, inputs) -> (params, state)``."""

    def __call__(self, key: Key, inputs: PyTree, /) -> tuple[PyTree, PyTree]: ...


class NetworkApply(Protocol):
    """``(params, state, inputs, *, key=None, train=False) -> (endpoints, state)``."""

    def __call__(
        self,
        params: PyTree,
        state: PyTree,
        inputs: PyTree,
        /,
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Endpoints, PyTree]: ...


class ObjectiveInit(Protocol):
    """``(key, network, params, state, batch) -> (own_params, own_state)``."""

    def __call__(
        self, key: Key, network: Network, params: PyTree, state: PyTree, batch: Batch, /
    ) -> tuple[PyTree, PyTree]: ...


class ObjectiveLoss(Protocol):
    """``(network, params, state, batch, key) -> (scalar, (state, metrics))``."""

    def __call__(
        self, network: Network, params: PyTree, state: PyTree, batch: Batch, key: Key, /
    ) -> tuple[Array, tuple[PyTree, Metrics]]: ...


class PostStep(Protocol):
    """``(params, state) -> state``, once the optimizer has stepped."""

    def __call__(self, params: PyTree, state: PyTree, /) -> PyTree: ...


class Predictors(Protocol):
    """``(params, state) -> {name: Variables}``: what else could predict than the network itself."""

    def __call__(self, params: PyTree, state: PyTree, /) -> dict[str, Variables]: ...


class LearnerInit(Protocol):
    """``(key, batch) -> LearnerState``."""

    def __call__(self, key: Key, batch: Batch, /) -> LearnerState: ...


class LearnerStep(Protocol):
    """``(learner_state, batch) -> (learner_state, metrics)``."""

    def __call__(self, state: LearnerState, batch: Batch, /) -> tuple[LearnerState, Metrics]: ...


class LearnerPredict(Protocol):
    """``(learner_state, inputs) -> endpoints``."""

    def __call__(self, state: LearnerState, inputs: PyTree, /) -> Endpoints: ...


@runtime_checkable
class Batches(Protocol):
    """What is trained on: an endless sequence of batches, each a pure function of its step.

    ``len(b)`` is the number of steps of an epoch, ``b[step]`` the batch of a global step, and
    ``b.iterate(start)`` yields those of the steps from ``start`` on. This is all that ``fit`` and
    the posteriors ask for.

    Where present these are used too: ``shard`` ``(process, processes)``, a batch being one
    process's rows of the whole; ``case_ids(step)``, names for error messages; ``identity()``, a
    dict of what the batches are cut from and in which order, by which ``fit`` refuses to go on
    with another run's.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, step: int, /) -> Mapping[str, Any]: ...

    def iterate(self, start: int = 0, /) -> Iterator[Mapping[str, Any]]: ...


@runtime_checkable
class RowBatches(Batches, Protocol):
    """Batches that are rows of a source: what compiled epochs and predictions need besides.

    Attributes:
        source: the examples, with a length.
        size: rows of a batch.
    """

    source: Any
    size: int

    def rows(self, step: int, /) -> tuple[Any, Any]:
        """Positions in the source, and weights, of all rows of a step's batch."""
        ...
