"""Every Python block of the README and the pages runs, top to bottom; tables keep their cells."""

from __future__ import annotations

import ast
import contextlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [
    path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if BLOCK.search(path.read_text())
]


# Other tests hold what these pages say: their code runs by `-m slow`, its names are looked up.
LONG = {
    "architectures.md", "concepts.md", "continual.md", "detection.md", "energy.md",
    "ensembles.md", "evaluating.md", "explaining.md", "generating.md", "instances.md",
    "least-squares.md", "noise.md",
    "recurrent.md", "registration.md", "reinforcement.md", "self-supervised.md",
    "semi-supervised.md", "shift.md", "studies.md", "supervised.md", "transductive.md",
    "transfer.md", "uncertainty.md", "unsupervised.md",
}  # fmt: skip


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=pytest.mark.slow if page.name in LONG else ())
        for page in PAGES
    ],
)
def test_the_code_on_a_page_runs(page, tmp_path, monkeypatch):
    """And what it prints is what the comment beside says, where that is a value and not prose."""
    monkeypatch.chdir(tmp_path)
    code = "\n".join(BLOCK.findall(page.read_text()))
    lines = code.splitlines()

    def told(*values):
        print(*values)
        line = lines[sys._getframe(1).f_lineno - 1]
        with contextlib.suppress(SyntaxError, ValueError):
            expected = ast.literal_eval(line.rpartition("# ")[2].strip() if "# " in line else "")
            assert ast.literal_eval(str(*values)) == expected, line

    exec(compile(code, str(page), "exec"), {"__name__": "__main__", "print": told})


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name in LONG], ids=lambda p: p.name
)
def test_what_a_page_names_is_there(page):
    """Each name that is taken from a module of the library."""
    tree = ast.parse("\n".join(BLOCK.findall(page.read_text())))
    modules, taken = {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(ast.unparse(node), modules)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node).partition(".")[0] in modules:
            name = ast.unparse(node)
            if re.fullmatch(r"[\w.]+", name) and name not in taken:
                taken.append(name)
    assert taken
    for name in taken:
        eval(name, modules)  # an AttributeError names what is not there


def test_a_row_of_a_table_has_as_many_cells_as_its_head():
    """A bar in code ends a cell too, unless it is escaped."""
    wrong = []
    for page in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            bars = [len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()]
            wrong += [row for row, n in zip(table.splitlines(), bars) if n != bars[0]]
    assert not wrong
