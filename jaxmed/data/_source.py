"""Sources: objects with a length whose items are examples as dicts of arrays."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from jaxmed.data._error import fault

Example = dict[str, Any]
Indices = Sequence[int] | np.ndarray


@runtime_checkable
class Source(Protocol):
    """Protocol of a source; lists of dicts, Grain and tfds sources satisfy it.

    Optional attributes, used if present: ``take(indices)`` (a stacked batch),
    ``column(name)`` (one small field of all examples without reading images), ``case_ids``,
    ``groups`` (a patient per example), ``classes``, ``notes`` (lines for the report).
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...


def shown(source: Any) -> str:
    """Show a source in one line, however large it is."""
    classes = f", classes={tuple(source.classes)}" if len(source.classes) else ""
    return f"{type(source).__name__}({len(source)} examples{classes})"


@dataclass(frozen=True, repr=False)
class ArraySource:
    """A source held in memory: a dict of arrays with one leading axis.

    Args:
        arrays: ``{name: (n, ...)}``.
        case_ids: a name per example; the position by default.
        groups: a patient per example, if examples share patients.
        classes: names of the classes.
        notes: lines for a report on these data.

    Raises:
        DataError: the arrays differ in length, or are empty.

    Examples:
        >>> import numpy as np
        >>> source = ArraySource({"image": np.zeros((3, 8, 8, 1)), "label": np.arange(3)})
        >>> len(source), source[2]["label"].item(), source.take([0, 2])["image"].shape
        (3, 2, (2, 8, 8, 1))
    """

    arrays: Mapping[str, np.ndarray]
    case_ids: Sequence[str] = ()
    groups: Sequence[Any] | None = None
    classes: Sequence[str] = ()
    notes: Sequence[str] = ()
    name: str = field(default="arrays", kw_only=True)

    def __post_init__(self) -> None:
        arrays = {key: np.asarray(value) for key, value in self.arrays.items()}
        if not arrays:
            raise fault(self.name, "non-empty", "there are no arrays")
        scalars = [key for key, value in arrays.items() if value.ndim == 0]
        if scalars:
            raise fault(self.name, "length", f"array {scalars[0]!r} has no leading axis")
        lengths = {key: len(value) for key, value in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise fault(self.name, "length", f"the lengths are {lengths}")
        n = next(iter(lengths.values()))
        if n == 0:
            raise fault(self.name, "non-empty", "the arrays have length 0")
        case_ids = tuple(self.case_ids) or tuple(str(i) for i in range(n))
        for key, names in (("case_ids", case_ids), ("groups", self.groups)):
            if names is not None and len(names) != n:
                raise fault(self.name, "length", f"{len(names)} {key} for {n} examples")
        object.__setattr__(self, "arrays", arrays)
        object.__setattr__(self, "case_ids", case_ids)

    def __repr__(self) -> str:
        return shown(self)

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, index: int) -> Example:
        return {key: value[index] for key, value in self.arrays.items()}

    def take(self, indices: Indices) -> Example:
        """Read several examples at once, stacked."""
        rows = np.asarray(indices, dtype=np.int64)
        return {key: value[rows] for key, value in self.arrays.items()}

    def column(self, name: str) -> np.ndarray:
        """Read one field of all examples."""
        return self.arrays[name]


@dataclass(frozen=True, repr=False)
class SubsetSource:
    """Some examples of another source; made by `subset`."""

    source: Source
    indices: np.ndarray
    case_ids: Sequence[str]
    groups: Sequence[Any] | None
    classes: Sequence[str]
    notes: Sequence[str]

    def __repr__(self) -> str:
        return shown(self)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Example:
        return self.source[int(self.indices[index])]

    def take(self, indices: Indices) -> Example:
        """Read several examples at once, stacked."""
        return take(self.source, self.indices[np.asarray(indices, dtype=np.int64)])

    def column(self, name: str) -> np.ndarray:
        """Read one field of all examples."""
        return column(self.source, name)[self.indices]


@dataclass(frozen=True, repr=False)
class MappedSource:
    """Another source with a function applied to its examples; made by `map_source`."""

    source: Source
    function: Callable[[Example], Example]
    batched: bool
    changes: Sequence[str] | None
    case_ids: Sequence[str]
    groups: Sequence[Any] | None
    classes: Sequence[str]
    notes: Sequence[str]

    def __repr__(self) -> str:
        return shown(self)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        if not self.batched:
            return self.function(self.source[index])
        return {key: value[0] for key, value in self.take([index]).items()}

    def take(self, indices: Indices) -> Example:
        """Read several examples at once, stacked."""
        if self.batched:
            return self.function(take(self.source, indices))
        return stack([self[int(i)] for i in indices], indices, self.case_ids)

    def column(self, name: str) -> np.ndarray:
        """Read one field of all examples, after the function."""
        if self.changes is not None and name not in self.changes:
            return column(self.source, name)
        if not self.batched:
            return np.stack([np.asarray(self[i][name]) for i in range(len(self))])
        # In chunks: the images of all examples at once may not fit into memory.
        pieces = np.array_split(np.arange(len(self)), -(-len(self) // 256))
        return np.concatenate([np.asarray(self.take(piece)[name]) for piece in pieces])


def case_ids(source: Source) -> Sequence[str]:
    """Return the names of a source's examples; positions if the source has no names."""
    return getattr(source, "case_ids", None) or tuple(str(i) for i in range(len(source)))


def fingerprint(source: Source) -> int:
    """A checksum of a source's examples in memory, and of their names: cheap, no image is read.

    Of a large array evenly spaced examples are taken, of 64 MB together.
    """
    found = zlib.crc32("\0".join(map(str, case_ids(source))).encode())
    for name, array in sorted(getattr(source, "arrays", {}).items()):
        found = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), found)
        if array.dtype.kind in "biufcV":
            every = -(-array.nbytes // 2**26)
            found = zlib.crc32(np.ascontiguousarray(array[:: max(every, 1)]).tobytes(), found)
    return found


def about(source: Source) -> dict[str, Any]:
    """Collect the optional attributes of a source, to pass them on."""
    return {
        "case_ids": case_ids(source),
        "groups": getattr(source, "groups", None),
        "classes": tuple(getattr(source, "classes", ()) or ()),
        "notes": tuple(getattr(source, "notes", ()) or ()),
    }


def subset(source: Source, indices: Indices) -> SubsetSource:
    """Keep the examples at ``indices``, in that order.

    Args:
        source: any source.
        indices: (m,) positions in ``source``.

    Returns:
        A source of length m; names, patients, classes and notes are kept.

    Raises:
        DataError: no indices.
        IndexError: an index outside the source.

    Examples:
        >>> import numpy as np
        >>> half = subset(ArraySource({"label": np.arange(6)}), [5, 1])
        >>> half[0]["label"].item(), half.case_ids
        (5, ('5', '1'))
    """
    rows = np.asarray(indices)
    if rows.size == 0:
        raise fault(getattr(source, "name", "source"), "non-empty", "the subset has no examples")
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
    if rows.ndim != 1:
        raise ValueError(f"subset needs indices of shape (m,), got {rows.shape}")
    if rows.size == 0 or rows.min() < 0 or rows.max() >= len(source):
        raise IndexError(f"subset needs indices in [0, {len(source)}), got {rows}")
    kept = about(source)
    kept["case_ids"] = tuple(kept["case_ids"][i] for i in rows)
    if kept["groups"] is not None:
        kept["groups"] = tuple(kept["groups"][i] for i in rows)
    return SubsetSource(source, rows, **kept)


def map_source(
    source: Source,
    function: Callable[[Example], Example],
    *,
    batched: bool = False,
    changes: Sequence[str] | None = None,
) -> MappedSource:
    """Apply a function to every example as it is read.

    Args:
        source: any source.
        function: ``example -> example``; if ``batched``, ``stacked examples -> stacked examples``.
        batched: whether the function takes a leading axis. Faster for array sources.
        changes: the fields that the function changes, if not all: `column` then reads the others
            without calling it.

    Returns:
        A source of the same length.

    Examples:
        >>> import numpy as np
        >>> source = map_source([{"x": np.ones(2)}], lambda e: {"x": 2 * e["x"]})
        >>> source[0]["x"].tolist()
        [2.0, 2.0]
    """
    return MappedSource(source, function, batched, changes, **about(source))


def stack(examples: Sequence[Example], indices: Indices, names: Sequence[str]) -> Example:
    """Stack examples into a batch; raise naming the example with a different shape."""
    first = {key: np.asarray(value) for key, value in examples[0].items()}
    for position, example in zip(indices, examples, strict=True):
        if example.keys() != first.keys():
            raise fault(
                names[int(position)],
                "example-shape",
                f"fields {sorted(example)}, but {names[int(indices[0])]} has {sorted(first)}",
            )
        for key, value in example.items():
            if np.shape(value) != first[key].shape:
                raise fault(
                    names[int(position)],
                    "example-shape",
                    f"{key} has shape {np.shape(value)}, but that of {names[int(indices[0])]} is "
                    f"{first[key].shape} (bring them to one shape with a transform, for example "
                    "random_patch or map_source with crop_or_pad)",
                )
    return {key: np.stack([np.asarray(e[key]) for e in examples]) for key in first}


def take(source: Source, indices: Indices) -> Example:
    """Read several examples of any source, stacked into ``{name: (m, ...)}``.

    Raises:
        DataError: the examples differ in shape or fields; the case is named.
    """
    own: Any = source  # what a source may offer beyond the protocol
    if hasattr(source, "take"):
        return own.take(indices)
    positions = [int(i) for i in indices]
    if hasattr(source, "__getitems__"):
        return stack(own.__getitems__(positions), positions, case_ids(source))
    return stack([source[i] for i in positions], positions, case_ids(source))


def column(source: Source, name: str) -> np.ndarray:
    """Read one field of every example, without the images if the source supports it."""
    if hasattr(source, "column"):
        own: Any = source
        return np.asarray(own.column(name))
    return np.stack([np.asarray(source[i][name]) for i in range(len(source))])


def in_memory(source: Source) -> ArraySource | ListSource:
    """Load a source into memory: as arrays if all examples have one shape, else as a list.

    Reading everything up front also makes errors appear before training.

    Examples:
        >>> import numpy as np
        >>> in_memory([{"x": np.zeros(2)}, {"x": np.ones(2)}]).arrays["x"].shape
        (2, 2)
    """
    kept = about(source)
    if _stacked(source):
        return ArraySource(take(source, np.arange(len(source))), **kept)
    examples = [source[i] for i in range(len(source))]
    shapes = {tuple((k, np.shape(v)) for k, v in sorted(e.items())) for e in examples}
    if len(shapes) == 1:
        arrays = stack(examples, range(len(examples)), kept["case_ids"])
        return ArraySource(arrays, **kept)
    return ListSource(tuple(examples), **kept)


def _stacked(source: Source) -> bool:
    if isinstance(source, SubsetSource):
        return _stacked(source.source)
    if isinstance(source, MappedSource):
        return source.batched and _stacked(source.source)
    return isinstance(source, ArraySource)


@dataclass(frozen=True, repr=False)
class ListSource:
    """Examples of different shapes held in memory; made by `in_memory`."""

    examples: Sequence[Example]
    case_ids: Sequence[str]
    groups: Sequence[Any] | None
    classes: Sequence[str]
    notes: Sequence[str]

    def __repr__(self) -> str:
        return shown(self)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


def as_source(data: Any, *, names: Sequence[str] | Mapping[str, str] | None = None) -> Source:
    """Make a source from a dict of arrays, a list, a tfds or Grain source, or a torch data set.

    Args:
        data: a dict of arrays with one leading axis, or anything with a length and an item.
        names: for items that are tuples, the name of each part; for items that are dicts,
            ``{theirs: ours}``, which also drops the fields that are not listed.

    Returns:
        A source whose examples are dicts.

    Raises:
        TypeError: no length or item, or items that are no dicts and have no names.
        DataError: no examples.

    Examples:
        >>> import numpy as np
        >>> pairs = [(np.zeros((4, 4, 1)), 1), (np.zeros((4, 4, 1)), 0)]
        >>> as_source(pairs, names=("image", "label"))[0]["label"].item()
        1
    """
    if isinstance(data, Mapping):
        data = ArraySource(data)
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise TypeError(f"a source needs a length and an item, got {type(data).__name__}")
    if len(data) == 0:
        raise fault(getattr(data, "name", type(data).__name__), "non-empty", "no examples")
    if names is None:
        if not isinstance(data[0], Mapping):
            raise TypeError(
                f"examples must be dicts, got {type(data[0]).__name__}: pass names=(...), "
                "a name for each part"
            )
        return data
    if isinstance(names, Mapping):
        renames = dict(names)
        return map_source(data, lambda e: {new: np.asarray(e[old]) for old, new in renames.items()})
    parts = tuple(names)
    return map_source(data, lambda e: {key: np.asarray(v) for key, v in zip(parts, e, strict=True)})
