"""Every public name of version 0.1.0 still imports; one that has been renamed says so."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

import pytest


def _published() -> dict[str, list[str]]:
    """Names by module: a line of the module, indented lines of its names."""
    names: dict[str, list[str]] = {}
    module = ""
    for line in Path(__file__).with_name("public_names_0_1.txt").read_text().splitlines():
        if line.startswith(" "):
            names[module] += line.split()
        else:
            module = line
            names[module] = []
    return names


@pytest.mark.parametrize("module", _published())
def test_names_of_version_0_1_still_import(module):
    owner = importlib.import_module(module)
    now = set(owner.__all__)
    for name in _published()[module]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert getattr(owner, name) is not None
        told = [w for w in caught if issubclass(w.category, DeprecationWarning)]
        assert name in now or told, f"{module}.{name} has left __all__ without a warning"
