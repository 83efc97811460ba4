"""Recorders for a run: duration of its stages, sizes of its splits."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxmed.data import column
from jaxmed.report.results._parts import Split


@contextlib.contextmanager
def stage(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add the duration of the block to `seconds[name]`.

    Examples:
        >>> seconds = {}
        >>> with stage(seconds, "data"):
        ...     pass
        >>> list(seconds)
        ['data']
    """
    begun = time.monotonic()
    try:
        yield
    finally:
        seconds[name] = seconds.get(name, 0.0) + time.monotonic() - begun


def split_sizes(
    sources: Mapping[str, Any], *, classes: Sequence[str] = (), label: str = "label"
) -> tuple[Split, ...]:
    """Count the cases, patients and classes of each part of the data.

    Args:
        sources: name of the part to its source; `groups` of a source are its patients.
        classes: names of the classes; without them no classes are counted.
        label: the field that holds (cases,) classes or (cases, tasks) 0/1.

    Examples:
        >>> split_sizes({"train": {"label": [0, 1, 1]}}, classes=["healthy", "ill"])[0].counts
        {'healthy': 1, 'ill': 2}
    """
    return tuple(_split(name, source, classes, label) for name, source in sources.items())


def _split(name: str, source: Any, classes: Sequence[str], label: str) -> Split:
    counts: dict[str, int] = {}
    groups = getattr(source, "groups", None)
    cases = len(next(iter(source.values()))) if isinstance(source, Mapping) else len(source)
    if classes:
        is_mapping = isinstance(source, Mapping)
        labels = np.asarray(source[label] if is_mapping else column(source, label))
        found = labels.sum(0) if labels.ndim == 2 else np.bincount(labels, minlength=len(classes))
        counts = {c: int(n) for c, n in zip(classes, found, strict=True)}
    return Split(name, cases, None if groups is None else len(set(groups)), counts)
