"""One style of docstrings: what ruff's rules of Google's style leave open."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECTION = re.compile(r"^( *)(Args|Attributes|Raises|Returns|Yields|References|Examples?):$")
ENTRY = re.compile(r"^\*{0,2}[\w., *]+?(?: \(.*?\))?: ([A-Z][a-z]*)\b(?![-\w])")
# Words that begin with a capital wherever they stand.
WORDS = "Cox Dice Dirichlet Gaussian Gibbs Laplace Optax Riley Student Torch True False None Wilson"
NAMES = frozenset(WORDS.split())


def _docstrings(tree: ast.AST) -> list[ast.Constant]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, kinds) and node.body]
    found = [body[0].value for body in bodies if isinstance(body[0], ast.Expr)]
    return [c for c in found if isinstance(c, ast.Constant) and isinstance(c.value, str)]


def _slips(path: Path) -> list[str]:
    text = path.read_text()
    lines, slips = text.splitlines(), []
    for doc in _docstrings(ast.parse(text)):
        section, depth = "", 0
        for number, line in enumerate(lines[doc.lineno - 1 : doc.end_lineno], start=doc.lineno):
            if head := SECTION.match(line):
                depth, section = len(head[1]), head[2]
                slips += [f"{path}:{number}: Examples:, not Example:"] * (section == "Example")
            elif line.strip() and len(line) - len(line.lstrip()) <= depth:
                section = ""
            elif section in ("Args", "Attributes", "Raises"):
                indented = line.startswith(" " * (depth + 4)) and line[depth + 4 : depth + 5] != " "
                entry = ENTRY.match(line.strip()) if indented else None
                if entry and entry[1] not in NAMES and len(entry[1]) + (entry[1] == "A") > 1:
                    slips.append(f"{path}:{number}: {entry[1]!r} begins an entry: in lower case")
    return slips


@pytest.mark.parametrize("folder", ["jaxmed", "experiments", "benchmarks"])
def test_entries_begin_in_lower_case_and_examples_are_several(folder):
    slips = [slip for path in sorted((ROOT / folder).rglob("*.py")) for slip in _slips(path)]
    assert not slips, "\n".join(slips[:20])
