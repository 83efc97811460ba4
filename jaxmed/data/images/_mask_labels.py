"""What the numbers or colours of a mask's file mean: classes, regions, voxels left out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxmed.data._error import fault

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class MaskLabels:
    """The classes of a data set's masks, and how its files write them.

    Attributes:
        classes: names, the background first; empty where nothing names them.
        values: ``{number in the file: class}``; a number that is not listed is refused. Empty where
            the file holds the classes themselves.
        colours: ``{(red, green, blue): class}`` for masks in colour.
        ignore: the number in the file of voxels that nobody labelled; they are class 0 in the
            mask, and False in ``known``.
        regions: overlapping structures, ``{name: classes}``, of which each is predicted for
            itself (a tumour's core inside the whole); empty where classes exclude each other.
        region_order: the class that each region writes, in the order in which they are painted
            when a prediction is stored as one mask.
    """

    classes: tuple[str, ...] = ()
    values: Mapping[int, int] | None = None
    colours: Mapping[Colour, int] | None = None
    ignore: int | None = None
    regions: Mapping[str, tuple[int, ...]] | None = None
    region_order: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.values and self.colours:
            raise ValueError("a mask is written in numbers or in colours: give values or colours")

    def read(self, path: Path, array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Turn the numbers of a file into classes.

        Args:
            path: the file, for messages.
            array: (*spatial,) whole numbers, or (*spatial, 3) of a mask in colour.

        Returns:
            The classes, (*spatial,) int32, and which voxels are labelled, (*spatial,) bool, None
            where all are.

        Raises:
            DataError: a number or a colour without a class.
        """
        if self.colours:
            return self._of_colours(path, array), None
        known = None
        if self.ignore is not None:
            known = array != self.ignore
            array = np.where(known, array, 0)
            known = None if known.all() else known
        if self.values:
            array = self._mapped(path, array, known)
        if self.classes:
            self._check(path, array)
        return array.astype(np.int32), known

    def _mapped(self, path: Path, array: np.ndarray, known: np.ndarray | None) -> np.ndarray:
        assert self.values is not None
        out = np.zeros(array.shape, np.int32)
        stray = []
        for value in np.unique(array if known is None else array[known]).tolist():
            if value in self.values:
                out[array == value] = self.values[value]
            else:
                stray.append(value)
        if stray:
            shown = ", ".join(f"{value}={label}" for value, label in [*self.values.items()][:10])
            more = ", ..." if len(self.values) > 10 else ""
            raise fault(
                path,
                "label-range",
                f"the mask holds {_shown(stray)}, which the mapping ({shown}{more}) does not name; "
                "add them (--map)",
            )
        return out if known is None else np.where(known, out, 0)

    def _check(self, path: Path, array: np.ndarray) -> None:
        outside = np.unique(array[(array < 0) | (array >= len(self.classes))]).tolist()
        if outside:
            hint = ""
            if len(self.classes) == 2 and len(outside) == 1:
                hint = f"; if {outside[0]} means {self.classes[1]}, say so: --map {outside[0]}=1"
            detail = f"classes [{_shown(outside)}] are outside 0..{len(self.classes) - 1}"
            raise fault(path, "label-range", detail + hint)

    def _of_colours(self, path: Path, array: np.ndarray) -> np.ndarray:
        assert self.colours is not None
        if array.shape[-1] == 4:
            array = array[..., :3]  # alpha says nothing of the class
        if array.shape[-1] != 3:
            detail = f"the mapping names colours, but the mask has {array.shape[-1]} channel(s)"
            raise fault(path, "mask-shape", detail)
        out = np.full(array.shape[:-1], -1, np.int32)
        for colour, label in self.colours.items():
            out[np.all(array == np.array(colour), axis=-1)] = label
        if np.any(out < 0):
            stray = np.unique(array[out < 0], axis=0)[:5].tolist()
            found = int((out < 0).sum())
            raise fault(
                path,
                "label-range",
                f"{found} pixels have colours without a class, such as "
                f"{', '.join(','.join(map(str, c)) for c in stray)}; add them (--map), or save the "
                "mask without smoothing",
            )
        return out


def parse_map(pairs: Sequence[str]) -> tuple[dict[int, int], dict[Colour, int]]:
    """Read a mapping as it is written on the command line: numbers and colours of classes.

    Raises:
        ValueError: a pair that is not ``NUMBER=CLASS``, ``FROM-TO=CLASS`` or
            ``RED,GREEN,BLUE=CLASS``.

    >>> parse_map(["255=1", "0=0"]), parse_map(["255,0,0=1"])
    (({255: 1, 0: 0}, {}), ({}, {(255, 0, 0): 1}))
    >>> parse_map(["0=0", "1-3=1"])[0]
    {0: 0, 1: 1, 2: 1, 3: 1}
    """
    values: dict[int, int] = {}
    colours: dict[Colour, int] = {}
    for pair in pairs:
        left, _, right = pair.partition("=")
        several = re.fullmatch(r"(\d+)-(\d+)=(\d+)", pair)
        if several:
            low, high, label = map(int, several.groups())
            if not low <= high < 2**16:
                raise ValueError(f"a range of numbers is 0-65535 at most, got {pair!r}")
            values |= dict.fromkeys(range(low, high + 1), label)
            continue
        try:
            numbers, label = [int(part) for part in left.split(",")], int(right)
        except ValueError:
            numbers, label = [], 0
        if len(numbers) == 1:
            values[numbers[0]] = label
        elif len(numbers) == 3:
            colours[numbers[0], numbers[1], numbers[2]] = label
        else:
            raise ValueError(
                "a mapping is NUMBER=CLASS, FROM-TO=CLASS or RED,GREEN,BLUE=CLASS, such as 255=1, "
                f"got {pair!r}"
            )
    if values and colours:
        raise ValueError(f"a mask is written in numbers or in colours, got both: {list(pairs)}")
    return values, colours


def _shown(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:10])) + (", ..." if len(values) > 10 else "")
