"""Figures of tasks that were learned one after the other."""

from __future__ import annotations

from jaxmed.report.figures._task_matrix import task_matrix_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.results._results import ContinualResults


def task_exhibits(results: ContinualResults) -> Exhibits:
    """Draw what each task left of those before it."""
    caption = (
        "Accuracy on each task after each, mean over seeds. Down a column is what later tasks left "
        "of one; right of the diagonal are tasks that had not come yet."
    )
    names = ", ".join(results.sequence)
    figure = task_matrix_figure(results.matrix, tasks=results.sequence)
    return [exhibit(figure, "tasks", caption, f"Matrix of accuracies of the tasks {names}.")]
