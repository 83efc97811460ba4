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
