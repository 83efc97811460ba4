"""Renamed public names keep working, and say so."""

import sys
import types

import pytest

from jaxmed._deprecated import deprecated_names


def _module(monkeypatch, names, otherwise=None):
    module = types.ModuleType("jaxmed_renamed")
    module.new = object()
    module.__getattr__ = deprecated_names("jaxmed_renamed", names, otherwise)
    monkeypatch.setitem(sys.modules, "jaxmed_renamed", module)
    return module


def test_an_old_name_is_the_new_object_and_warns_where_it_is_used(monkeypatch):
    module = _module(monkeypatch, {"old": "new", "gone": "math:sqrt"})
    with pytest.warns(DeprecationWarning, match="old is now jaxmed_renamed.new") as caught:
        assert module.old is module.new
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="gone is now math.sqrt") as caught:
        from jaxmed_renamed import gone
    assert gone(9) == 3
    assert caught[0].filename == __file__


def test_other_names_are_asked_of_the_module_or_refused(monkeypatch):
    with pytest.raises(AttributeError, match="'other'"):
        _ = _module(monkeypatch, {"old": "new"}).other
    assert _module(monkeypatch, {"old": "new"}, otherwise=str.upper).other == "OTHER"
