"""Faults that only show across all files of a data set."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxmed.data._error import Fault
from jaxmed.data.formats._picture import palette, read_labels
from jaxmed.data.formats._registry import is_picture
from jaxmed.data.images._space import Scan

_WHITE = (255, 65535)
_OBJECTS = 20  # numbers in masks that are rather objects of a class than classes
_MANY = 1000  # values of one mask that are kept: more are no classes that a palette or white names


class Observed:
    """Collects images and masks one by one, and reports faults across them at the end."""

    def __init__(self, file: str, *, one_size: bool):
        """Start without observations.

        Args:
            file: the table or folder, for faults of the whole.
            one_size: whether batches are made of the images as they are.
        """
        self._file = file
        self._one_size = one_size
        self._layouts: list[tuple[str, int, int, tuple[int, ...]]] = []
        self._contents: dict[bytes, tuple[str, str]] = {}
        self._values: dict[str, frozenset[int]] = {}
        self._colours: dict[int, tuple[tuple[int, ...], str]] = {}

    def image(self, paths: tuple[Path, ...], scan: Scan, split: str = "") -> Iterator[Fault]:
        """Add an image, and yield its faults relative to the earlier ones."""
        name, array = str(paths[0]), scan.array
        self._layouts.append((name, array.ndim - 1, array.shape[-1], array.shape[:-1]))
        parts = [array] if len(paths) == 1 else np.moveaxis(array, -1, 0)
        if any(part.min() == part.max() for part in parts):
            what = "the image is" if len(paths) == 1 else "one of the channels is"
            yield Fault(name, "constant", f"{what} {float(array.min()):.6g} everywhere")
            return
        content = hashlib.blake2b(str(array.shape).encode() + array.tobytes()).digest()
        other, its_split = self._contents.setdefault(content, (name, split))
        if split != its_split:
            detail = f"the content of {other}, which is in split {its_split!r}; this in {split!r}"
            yield Fault(name, "split-disjoint", detail)
        elif other != name:
            yield Fault(name, "unique", f"the content of {other}, under another name")

    def mask(self, path: Path, mask: Scan) -> Iterator[Fault]:
        """Add a mask, and yield its faults relative to the earlier ones."""
        name = str(path)
        if name in self._values:
            return
        values = np.unique(mask.array)
        if values[0] < 0:
            detail = f"the mask holds {values[0]}; classes count from 0, the background"
            yield Fault(name, "label-range", detail)
        if is_picture(path):
            values = np.unique(read_labels(path).samples)
            for index, colour in (palette(path) or {}).items():
                known, first = self._colours.setdefault(index, (colour, name))
                if known != colour:
                    detail = f"index {index} of the palette is {colour}, in {first} {known}"
                    yield Fault(name, "mask-values", f"{detail}: are they the same class?")
                    break
        self._values[name] = frozenset(values[:_MANY].astype(np.int64).tolist())

    def marks(self) -> list[str]:
        """Lines on what the masks mark: the numbers in their files, and in how many of them."""
        counts = Counter(value for values in self._values.values() for value in values if value)
        if not counts:
            return []
        shown = [f"{value} in {n}" for value, n in sorted(counts.items())]
        few = ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "")
        lines = [f"masks mark {few} of {len(self._values)}"]
        if len(counts) > _OBJECTS and len(set(counts.values())) > 1:
            lines.append(
                f"note: {len(counts)} numbers in masks: if they count an image's objects, such as "
                "nuclei, --map 0=0 1-65535=1 makes one class of them"
            )
        return lines

    def faults(self) -> Iterator[Fault]:
        """Yield the faults of all of them together."""
        yield from self._layout_faults()
        marked = {name: values - {0} for name, values in self._values.items() if values - {0}}
        if self._values and not marked:
            detail = f"all {len(self._values)} masks are empty"
            yield Fault(self._file, "empty-masks", detail)
        white = [name for name, values in marked.items() if len(values) == 1 and values & {*_WHITE}]
        numbered = [name for name, values in marked.items() if not values & {*_WHITE}]
        if white and numbered:
            yield Fault(
                self._file,
                "mask-values",
                f"{len(white)} masks write what is marked as {max(marked[white[0]])}, such as "
                f"{white[0]}, {len(numbered)} by small numbers, such as {numbered[0]}; write all "
                "by the number of the class",
            )

    def _layout_faults(self) -> Iterator[Fault]:
        if not self._layouts:
            return
        (rank, channels), _ = Counter((r, c) for _, r, c, _ in self._layouts).most_common(1)[0]
        sizes: dict[tuple[int, ...], list[str]] = {}
        for name, r, c, size in self._layouts:
            if (r, c) == (rank, channels):
                sizes.setdefault(size, []).append(name)
                continue
            yield Fault(
                name,
                "shape",
                f"{r} spatial axes and {c} channels, where most images have {rank} and {channels}",
            )
        if self._one_size and len(sizes) > 1:
            ordered = sorted(sizes.items(), key=lambda item: -len(item[1]))
            shown = ", ".join(f"{size} ({len(names)}, {names[0]})" for size, names in ordered[:4])
            yield Fault(
                self._file,
                "example-shape",
                f"images of {len(sizes)} sizes: {shown}{', ...' if len(sizes) > 4 else ''}; bring "
                "them to one, or cut them in a transform (crop_or_pad, random_patch)",
            )
