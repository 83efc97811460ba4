"""A function whose source cannot be read is told by its compiled code."""

from __future__ import annotations

import inspect
import tokenize

import pytest

from jaxmed.data.sources._told import told


@pytest.mark.parametrize("error", [OSError, TypeError, SyntaxError, tokenize.TokenError])
def test_code_that_is_in_no_file_is_told_by_what_it_compiles_to(monkeypatch, error):
    def unreadable(_):
        raise error("no such lines")

    monkeypatch.setattr(inspect, "getsource", unreadable)
    first, again, other = (
        eval(text) for text in ("lambda x: x + 1", "lambda x: x + 1", "lambda x: x + 2")
    )
    assert told(first) == told(again)
    assert told(first) != told(other)
