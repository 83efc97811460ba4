"""Subgroups as a forest plot: a row a group, a panel a metric, a colour a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from jaxmed.report.figures._style import INK, MUTED, colour_of, new_figure, short_names, style
from jaxmed.report.results._by_group import in_order
from jaxmed.report.results._parts import SubgroupTable

_PANELS = 4  # Metrics beside each other.


def subgroup_figure(
    tables: Sequence[SubgroupTable],
    *,
    labels: Mapping[str, str] | None = None,
    whole: Mapping[tuple[str, str], float] | None = None,
) -> Figure:
    """Draw the metrics of one column's subgroups with their intervals.

    Args:
        tables: the tables of one column.
        labels: metric to its title.
        whole: (model, metric) to the value over all cases, a dotted line.
    """
    metrics = list(dict.fromkeys(table.metric for table in tables))
    models = list(dict.fromkeys(table.model for table in tables))
    groups = in_order({group for table in tables for group in table.found.estimates})
    counts = {
        group: max(t.found.estimates[group].n for t in tables if group in t.found.estimates)
        for group in groups
    }
    unit = next(iter(tables[0].found.estimates.values())).unit
    short = short_names(map(str, groups), 30)
    names = [f"{short[str(group)]} (n = {counts[group]})" for group in groups]
    columns = min(len(metrics), _PANELS)
    rows = -(-len(metrics) // columns)
    each = max(0.3, 0.14 * len(models) + 0.12) * len(groups) + 0.85
    legend = 0.25 * (len(models) > 1) * -(-len(models) // 3)
    with style():
        figure, axes = new_figure(
            0.075 * max(map(len, names)) + 2.1 * columns + 0.3, each * rows + legend, rows=rows,
            columns=columns, sharey=True,
        )  # fmt: skip
        for panel in axes[len(metrics) :]:
            panel.set_axis_off()
        for panel, metric in zip(axes, metrics):
            for table in tables:
                if table.metric != metric:
                    continue
                m = models.index(table.model)
                shift = (m - (len(models) - 1) / 2) * 0.7 / max(len(models), 2)
                value = (whole or {}).get((table.model, metric))
                if value is not None:
                    panel.axvline(
                        value, color=colour_of(m) if len(models) > 1 else MUTED, linewidth=1,
                        linestyle=":",
                    )  # fmt: skip
                for i, group in enumerate(groups):
                    found = table.found.estimates.get(group)
                    if found is None:
                        continue
                    if all(map(math.isfinite, (found.lower, found.upper))):
                        limits = [found.lower, found.upper]
                        panel.plot(limits, [i + shift] * 2, color=colour_of(m), linewidth=2)
                    panel.plot(found.value, i + shift, "o", color=colour_of(m), markersize=5)
            panel.set(
                yticks=range(len(groups)), ylim=(len(groups) - 0.5, -0.5),
                xlabel=(labels or {}).get(metric, metric),
            )  # fmt: skip
            panel.set_yticklabels(names)
            panel.grid(visible=False, axis="y")
        axes[0].set_title(f"By {tables[0].column} (n of {unit}s)")
        if len(models) > 1:
            marks = [axes[0].plot([], [], "o-", color=colour_of(m))[0] for m in range(len(models))]
            figure.legend(
                marks, [*short_names(models, 34).values()], loc="outside lower center",
                ncols=min(3, len(models)), labelcolor=INK,
            )  # fmt: skip
    return figure
