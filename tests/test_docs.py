"""Every Python block of the README and the pages runs, page by page, top to bottom."""

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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
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
