"""The check of listed images: every file, and all of them together."""

from __future__ import annotations

from collections.abc import Iterator

from jaxmed.data._error import DataError, Fault
from jaxmed.data.sources._manifest import ManifestSource
from jaxmed.data.sources._observed import Observed


def check_images(source: ManifestSource, told: list[str]) -> Iterator[Fault]:
    """List the faults of every file of a source, and of all files together.

    Lines on what the masks mark are added to ``told``.
    """
    observed = Observed(source.name, one_size=source.masks is None)
    seen: set[Fault] = set()
    for index, row in enumerate(source.rows):
        found: list[Fault] = []
        scan = None
        try:
            scan = source.image(index)
            found += observed.image(source.paths(index), scan, str(row.get("split", "")))
        except DataError as error:
            found += error.faults
        if source.masks is not None and source.masks[index].is_file():
            try:
                mask = source.mask(index, like=scan)
                found += observed.mask(source.masks[index], mask)
            except DataError as error:
                found += error.faults
        new = [f for f in found if f.rule != "exists" and f not in seen]  # the table told of those
        seen.update(new)
        yield from new
    told += observed.marks()
    yield from observed.faults()
