"""Figures of subgroups."""

from __future__ import annotations

from jaxmed.report.figures._subgroups import subgroup_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.page._tables import pretty
from jaxmed.report.results._results import ComparisonResults, Results


def subgroup_exhibits(results: Results) -> Exhibits:
    """Draw one forest plot for each grouping variable."""
    models = {"": results.metrics}
    if isinstance(results, ComparisonResults):
        models |= results.comparison.models
    whole = {(m, name): e.value for m, metrics in models.items() for name, e in metrics.items()}
    figures = []
    for i, column in enumerate(dict.fromkeys(table.column for table in results.subgroups)):
        tables = [table for table in results.subgroups if table.column == column]
        labels = {table.metric: pretty(table.metric) for table in tables}
        figures.append(
            exhibit(
                subgroup_figure(tables, labels=labels, whole=whole),
                f"subgroups-{i}",
                f"Metrics by {column}, with {100 * results.level:g}% intervals; a dotted line is "
                "the value over all cases. Smaller groups have wider intervals: look at the tests "
                "in the tables before two groups are called different.",
                f"{', '.join(labels.values())} by {column}, as in the tables below.",
                wide=True,
            )
        )
    return figures
