"""Compatibility with the flat `Results` of 0.1.0, with a deprecation warning."""

from __future__ import annotations

import warnings
from typing import Any

_FIELDS = ("title", "task", "classes", "metrics")  # in their positional order
_OF_A_TASK = ("scores", "overlap", "masks", "comparison", "threshold", "uncertainty")


class FlatResults(type):
    """Metaclass by which `Results(title, task, classes, metrics, ...)` creates the task's type."""

    def __call__(cls, *args: Any, **fields: Any) -> Any:
        """Create results; the base class selects the type by task."""
        from jaxmed.report.results import _results

        if cls is not _results.Results:
            return super().__call__(*args, **fields)
        warnings.warn(
            "Results(task=...) is now a type for each task: ClassificationResults, "
            "RegressionResults, SegmentationResults or ComparisonResults; the old call will be "
            "removed in a later release",
            DeprecationWarning,
            stacklevel=2,
        )
        given = dict(zip(_FIELDS, args)) | fields
        task = given.pop("task")
        known = {name: value for name, value in given.items() if value is not None}
        return _results.results_of(task, **known)


def moved(self: Any, name: str) -> Any:
    """Read a field by its old name: `__getattr__` of results."""
    from jaxmed.report.results import _results

    if name in _OF_A_TASK:  # a field of another task: it was None or empty
        found: Any = {} if name == "masks" else None
        new = "no field of this type"
    elif name in _results.PART_OF:
        part = _results.PART_OF[name]
        found, new = getattr(getattr(self, part), name), f"`{part}.{name}`"
    else:
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")
    warnings.warn(
        f"Results.{name} is now {new}; the old name will be removed in a later release",
        DeprecationWarning,
        stacklevel=2,
    )
    return found
