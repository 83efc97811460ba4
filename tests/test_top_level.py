"""The lazy top level: what tools read in its stub is what Python finds."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import types
from pathlib import Path

import pytest

import jaxmed

SUBPACKAGES = [
    module.name
    for module in pkgutil.iter_modules(jaxmed.__path__, "jaxmed.")
    if module.ispkg and not module.name.rpartition(".")[2].startswith("_")
]


def _stub() -> dict[str, str]:
    """The module from which the stub takes each name."""
    tree = ast.parse(Path(jaxmed.__file__).with_suffix(".pyi").read_text())
    return {
        alias.asname: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name  # `import x as x`: offered again, not merely used
    }


def test_the_stub_offers_what_the_package_offers():
    stub = _stub()
    assert sorted([*stub, "__version__"]) == jaxmed.__all__ == dir(jaxmed)
    for name, module in stub.items():
        found = getattr(jaxmed, name)
        if inspect.ismodule(found):
            assert found.__name__ == f"{module}.{name}"
        else:
            assert found is getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", SUBPACKAGES)
def test_a_subpackage_shows_its_names_and_no_feature_of_python(name):
    module = importlib.import_module(name)
    shown = [n for n in dir(module) if not n.startswith("_")]
    strays = [
        n
        for n in shown
        if n not in module.__all__ and not isinstance(getattr(module, n), types.ModuleType)
    ]
    assert strays == []
    assert len(set(module.__all__)) == len(module.__all__)


def test_the_design_page_names_every_shelf_and_no_other():
    page = (Path(__file__).parents[1] / "docs" / "design.md").read_text()
    package, named = "", set()
    for line in page.split("## Where things stand")[1].split("## Decisions")[0].splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:3]]
        if len(cells) == 2 and any(cell.startswith("`") for cell in cells):
            package = cells[0].strip("`") or package
            named.add(f"jaxmed.{package}" + (f".{cells[1].strip('`')}" if cells[1] else ""))
    shelves = {
        module.name
        for name in SUBPACKAGES
        for module in pkgutil.iter_modules(importlib.import_module(name).__path__, f"{name}.")
        if module.ispkg and not module.name.rpartition(".")[2].startswith("_")
    }
    assert named == {*SUBPACKAGES, *shelves}
