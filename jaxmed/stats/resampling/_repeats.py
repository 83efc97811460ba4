"""Warning about several rows of a patient counted as independent."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.stats._result import Estimate, TestResult
from jaxmed.stats.checks import as_array

Result = TypeVar("Result", Estimate, TestResult)


def warn_repeats(result: Result, patients: ArrayLike, *, remedy: str = "give groups=") -> Result:
    """Add a warning to a result whose rows share patients, made without `groups=`.

    Args:
        result: an estimate or a test.
        patients: (rows,) patient of each row.
        remedy: what to do about it, in the words of the caller's interface.

    Returns:
        The result, with a note where a patient has several rows and the result counts rows.

    Examples:
        >>> from jaxmed.stats import accuracy
        >>> warn_repeats(accuracy([1, 1, 0], [1, 1, 0]), ["a", "a", "b"]).notes
        ('3 rows of 2 patients were counted as independent: give groups=, the interval is too
        narrow',)
    """
    names = np.unique(as_array(patients, "patients"))
    rows = len(as_array(patients, "patients"))
    # With groups the result counts patients: no warning is needed. A rate of one class may count
    # fewer rows than there are patients, and still several of the same patient.
    by_patient = result.unit == "patient" or (result.unit != "case" and result.n <= names.size)
    if names.size == rows or by_patient:
        return result
    note = (
        f"{rows} rows of {names.size} patients were counted as independent: {remedy}, "
        "the interval is too narrow"
    )
    return dataclasses.replace(result, notes=(*result.notes, note))
