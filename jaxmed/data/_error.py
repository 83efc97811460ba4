"""The data error, and the rules it can name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from jaxmed.data._optional import MissingPackage

RULES: dict[str, str] = {
    "box-corners": "a box has its corners as numbers, the far one beyond the near one",
    "box-inside": "a box lies in its image",
    "burned-in": "pixels show no text that tells who was imaged",
    "catalogue": "a data set has the sizes, shapes and class count its catalogue entry states",
    "codec-missing": "the package or codec that a file's format needs is installed",
    "checksum": "a downloaded file has the checksum its catalogue states",
    "constant": "an image holds more than one value",
    "empty-masks": "some mask of a data set marks something",
    "example-shape": "the examples of one batch have one shape",
    "exists": "every file that is named exists",
    "finite": "an image, a label, a score or an affine holds only finite numbers",
    "identity": "a header does not tell who was imaged, when and where",
    "integer-mask": "a mask or class label holds whole numbers, of 32 bits at most",
    "label-range": "every label lies inside the declared classes",
    "length": "all arrays of one source have the same length",
    "lossless-mask": "a mask is stored without loss",
    "mask-affine": "a mask has the affine of its image",
    "mask-overlap": "the segments of a mask do not overlap",
    "mask-shape": "a mask has the spatial size of its image",
    "mask-values": "all masks of a data set write a class in the same way",
    "non-empty": "a data set, a split and an image hold at least one element",
    "one-series": "a folder that is read as one image holds one DICOM series",
    "orientation-mixed": "the slices of a series have one direction",
    "prepared": "a folder of prepared examples was made from these cases in this way",
    "readable": "a file can be read to its end in the format its name states",
    "pixel-size": "a slide states how many micrometres its pixels measure",
    "real": "an image holds real numbers",
    "same-cases": "tables and folders that are joined by case hold the same cases",
    "same-grid": "the images that are joined as channels lie on one grid",
    "shape": "an image has the rank and the channels its data set states",
    "slice-missing": "a series has every slice between its first and its last",
    "slice-twice": "a series has one image of each slice and of what repeats there",
    "spacing-uneven": "the slices of a series have one distance",
    "spelling": "a name is written in one way throughout a table",
    "split-disjoint": "no case and no patient is in two splits",
    "table": "a table, manifest or dataset.json has the columns, rows and cells that it is read by",
    "unique": "a case is listed once",
}
"""Every rule a data set can break: its short name and what it asks."""


class Fault(NamedTuple):
    """One violated rule in one file: ``rule`` is a key of ``RULES``, ``detail`` the finding."""

    file: str
    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.file}: {self.detail} [rule {self.rule}: {RULES[self.rule]}]"


class DataError(ValueError):
    """Raised for malformed data, named by file and rule; ``faults`` lists the findings.

    Examples:
        >>> from jaxmed.data import DataError, Fault
        >>> print(DataError.of([Fault("a.png", "finite", "3 of 64 values are NaN")]))
        a.png: 3 of 64 values are NaN [rule finite: an image, a label, a score or an affine holds \
only finite numbers]
    """

    faults: tuple[Fault, ...] = ()

    @classmethod
    def of(cls, faults: Iterable[Fault], *, show: int = 20) -> DataError:
        """Combine several faults into one error; the message shows the first ``show``."""
        faults = tuple(faults)
        lines = [str(fault) for fault in faults[:show]]
        if len(faults) > 1:
            lines.insert(0, f"{len(faults)} faults")
        if len(faults) > show:
            lines.append(f"... and {len(faults) - show} more")
        error = cls("\n".join(lines))
        error.faults = faults
        return error


def fault(file: str | os.PathLike, rule: str, detail: str) -> DataError:
    """Build the error of a single fault (to be raised by the caller)."""
    return DataError.of([Fault(os.fspath(file), rule, detail)])


@contextlib.contextmanager
def reading(file: str | os.PathLike, what: str) -> Iterator[None]:
    """Convert any exception of a reader on a broken file into a fault of rule ``readable``.

    Any exception means that the file cannot be read: damaged headers have raised all kinds, from
    ``OverflowError`` to ``LinAlgError``, and an unforeseen one would end the check of a whole data
    set.
    """
    try:
        yield
    except DataError:
        raise
    except MissingPackage as error:
        raise fault(file, "codec-missing", str(error)) from error
    except Exception as error:
        detail = f"{what} cannot be read: {error or type(error).__name__}"
        raise fault(file, "readable", detail) from error


DataError.__module__ = "jaxmed.data"  # what a traceback shows is the name a user can import
