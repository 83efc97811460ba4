"""The directive ``.. gallery::``: every application, its numbers as a picture, and its command.

Pictures are drawn from the committed records (``benchmarks/results/applications*.json``) when the
pages are built: of numbers and their intervals, never of a patient's images.
"""

import json
import math
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from docutils.parsers.rst import Directive

from jaxmed.cli.runs._experiment import load
from jaxmed.report.figures._models import Row, forest_figure
from jaxmed.report.figures._style import to_svg
from jaxmed.stats import Estimate

_RECORDS = Path(__file__).parents[1] / "benchmarks" / "results"
# The number that an application is judged by is the first of these that it has.
_MAIN = ("dice", "auc", "accuracy", "width/intraclass correlation")
_ROWS = 10


class Entry(NamedTuple):
    """An application.

    Attributes:
        title: of its report.
        what: its first sentence.
        command: that makes the run.
        number: what it is judged by, with its interval.
        svg: the picture.
    """

    title: str
    what: str
    command: str
    number: str
    svg: str


def entries(folder=_RECORDS):
    """All applications that a record has, by the records' names; each command once."""
    found = {}
    for path in sorted(folder.glob("applications*.json")):
        for run in json.loads(path.read_text(encoding="utf-8"))["runs"]:
            command = run["command"]
            merged = {**found.get(command, run)["metrics"], **run["metrics"]}
            found[command] = {**run, "metrics": merged}
    return [_entry(i, run) for i, run in enumerate(found.values())]


def _entry(number, run):
    """One application; its picture has the shares that it measured, the main one first."""
    shares = {name: m for name, m in run["metrics"].items() if _is_share(name, m)}
    main = next(name for name in (*_MAIN, *shares) if name in shares)
    names = [main, *(name for name in shares if name != main)][:_ROWS]
    rows = [
        Row(name, *(shares[name][part] for part in ("value", "lower", "upper")), colour=i > 0)
        for i, name in enumerate(names)
    ]
    figure = forest_figure(rows, title="", label="Share, with its 95 % interval")
    told = shares[main]
    estimate = Estimate(
        *(told[part] for part in ("value", "lower", "upper", "level", "n", "unit", "method")),
        name=main,
    )
    alt = f"{run['title']}: {'; '.join(f'{row.name} {row.value:.3f}' for row in rows)}"
    experiment = load(run["command"].split()[2])
    return Entry(
        run["title"],
        experiment.description.strip().split("\n")[0],
        run["command"],
        str(estimate),
        to_svg(figure, name=f"application{number}", alt=alt),
    )


def _is_share(name, told):
    """Whether a number is a share with an interval; how large sets are is none."""
    parts = [told[part] for part in ("value", "lower", "upper")]
    known = all(isinstance(x, float | int) and math.isfinite(x) for x in parts)
    return known and min(parts) >= 0 and max(parts) <= 1 and not name.endswith("size")


class Gallery(Directive):
    """A section an application."""

    def run(self):
        """Write the sections."""
        sections = []
        for entry in entries():
            section = nodes.section(ids=[nodes.make_id(entry.command)])
            section += nodes.title(text=entry.title)
            section += nodes.paragraph(text=entry.what)
            section += nodes.literal_block(entry.command, f"$ {entry.command}", language="console")
            section += nodes.paragraph("", "", nodes.strong(text=entry.number))
            section += nodes.raw("", f'<div class="gallery">{entry.svg}</div>', format="html")
            sections.append(section)
        return sections


def setup(app):
    """Offer the directive."""
    app.add_directive("gallery", Gallery)
    return {"parallel_read_safe": True}
