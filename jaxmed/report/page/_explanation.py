"""The page of explanations: maps over images, what tests say of them, what they are not."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxmed.report.page._explained_cases import case_exhibit
from jaxmed.report.page._page import write_page
from jaxmed.report.results._explanations import ExplainedCase, check_cases


class ExplainedModel(NamedTuple):
    """What a network's answers were explained by.

    Attributes:
        name: of the model.
        cases: the images.
        meanings: of each method what its map is, and what it is not.
        tests: of each method the text of each test's result.
        legends: of each test what it asks, by the name in ``tests``.
        facts: rows of (name, value), as text.
        notes: what must be known to read the page.
        command: that makes the page again.
    """

    name: str
    cases: Sequence[ExplainedCase]
    meanings: Mapping[str, str]
    tests: Mapping[str, Mapping[str, str]] = {}
    legends: Mapping[str, str] = {}
    facts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    command: str = ""


def write_explanations(shown: ExplainedModel, out: str | os.PathLike) -> Path:
    """Write ``report.html``: maps over images, results of tests, what each map is not.

    Args:
        shown: the cases and their maps.
        out: the folder, created if missing.

    Returns:
        The page's path. It is replaced atomically.

    Raises:
        ValueError: without a case, or for a map that has not its image's shape or is not finite.
    """
    check_cases(shown.cases)
    figures = [case_exhibit(case, f"case{number}") for number, case in enumerate(shown.cases)]
    sections = [("maps", "Maps"), ("meaning", "What a map is, and is not")]
    if shown.tests:
        sections.insert(0, ("tests", "Tests of the maps"))
    if shown.command:
        sections.append(("made", "How it was made"))
    columns = [*dict.fromkeys(name for row in shown.tests.values() for name in row)]
    return write_page(
        out,
        "explanation.html",
        title=shown.name,
        description="",
        facts=list(shown.facts),
        sections=sections,
        notes=list(shown.notes),
        columns=columns,
        tests=[(m, [row.get(name, "") for name in columns]) for m, row in shown.tests.items()],
        legends=[(name, shown.legends[name]) for name in columns if name in shown.legends],
        figures=figures,
        meanings=list(shown.meanings.items()),
        command=shown.command,
    )
