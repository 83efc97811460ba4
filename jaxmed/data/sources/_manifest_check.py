"""The check of a manifest: its table, every file it names, and all of them together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxmed.data._error import DataError, Fault
from jaxmed.data.sources._manifest import open_manifest, parts
from jaxmed.data.sources._observed import Observed

_SPLITS = (
    "train", "training", "val", "valid", "validation", "dev", "test", "testing", "tuning",
    "tune", "holdout", "calibration", "internal", "external",
)  # fmt: skip


def check_manifest(path: Path, *, regression: bool = False) -> Iterator[Fault]:
    """List the faults of a table, of every file it names, and of all files together."""
    source, faults = open_manifest(path, None, None, None, regression, False)
    yield from faults
    if source is None:
        return
    first = source.rows[0]
    for field in ("label", "split"):
        if field in first:
            values = [value for row in source.rows for value in parts(row[field])]
            yield from _spellings(str(path), field, values)
    if "split" in first:
        yield from _typos(str(path), [str(row["split"]) for row in source.rows])
    observed = Observed(str(path), one_size="mask" not in first)
    seen: set[Fault] = set()
    for index, row in enumerate(source.rows):
        found: list[Fault] = []
        scan = None
        try:
            scan = source.image(index)
            found += observed.image(source.paths(index), scan, str(row.get("split", "")))
        except DataError as error:
            found += error.faults
        if row.get("mask"):
            try:
                mask = source.mask(index, like=scan)
                found += observed.mask(Path(source.name).parent / row["mask"], mask)
            except DataError as error:
                found += error.faults
        new = [f for f in found if f.rule != "exists" and f not in seen]  # the table told of those
        seen.update(new)
        yield from new
    yield from observed.faults()


def _spellings(file: str, field: str, values: Sequence[str]) -> Iterator[Fault]:
    """Find names that differ only in case or spaces and probably mean the same."""
    spelled: dict[str, list[str]] = {}
    for value in dict.fromkeys(values):
        spelled.setdefault("".join(value.casefold().split()), []).append(value)
    for names in spelled.values():
        if len(names) > 1:
            detail = f"the {field}s {', '.join(map(repr, names))}: write one of them"
            yield Fault(file, "spelling", detail)


def _typos(file: str, values: Sequence[str]) -> Iterator[Fault]:
    """Find splits whose name is one typing error away from a usual one."""
    for value in dict.fromkeys(values):
        name = value.casefold().strip()
        near = next((known for known in _SPLITS if _one_slip(name, known)), None)
        if name.isalpha() and name not in _SPLITS and near:
            yield Fault(file, "spelling", f"the split {value!r}: is {near!r} meant?")


def _one_slip(a: str, b: str) -> bool:
    """Whether two words differ by one letter too much, too little or wrong, or two exchanged."""
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) > 1 or a == b:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), len(a))
    if len(a) < len(b):
        return a[start:] == b[start + 1 :]
    rest = a[start + 1 :] == b[start + 1 :]
    exchanged = a[start : start + 2] == b[start : start + 2][::-1]
    return rest or (exchanged and a[start + 2 :] == b[start + 2 :])
