"""The reader of reference cases: defaults where the schema has them, names of what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference_cases import paired, proportions
from reference_cases.compare import Case, SchemaError, differences


def case(inputs, params, expected):
    raw = {"input": inputs, "params": params, "expected": expected, "rtol": 1e-6, "atol": 1e-6}
    return Case("00_topic", raw, Path())


def test_an_optional_parameter_has_the_schemas_default():
    inputs = {"x": 81, "n": 263}
    given, absent = (
        proportions.run(case(inputs, {"method": "wilson", **more}, {}))
        for more in ({"conf_level": 0.95}, {})
    )
    assert given == absent


def test_a_parameter_that_a_case_needs_is_named():
    with pytest.raises(SchemaError, match=r"no parameter .method. .given: conf_level"):
        proportions.run(case({"x": 3, "n": 9}, {"conf_level": 0.9}, {}))


def test_what_an_adapter_did_not_read_is_known():
    one = case({"x": 3, "n": 9}, {"method": "wilson", "frobnicate": 3}, {"lower": 0.5})
    assert differences(proportions.run(one), one.expected, one.rtol, one.atol)
    assert one.params.unread == ["frobnicate"]


def test_filters_are_read_in_any_combination():
    table = {"reader": np.array([1, 2, 3, 3]), "site": np.array(["a", "b", "a", "b"])}
    for told, want in (
        ("reader==3", [0, 0, 1, 1]),
        ("reader>=2 & site==a", [0, 0, 1, 0]),
        ("site=='b'; pooled", [0, 1, 0, 1]),
        ("", [1, 1, 1, 1]),
    ):
        assert case({"filter": told}, {}, {}).rows(table).tolist() == [bool(w) for w in want]
    with pytest.raises(SchemaError, match="no reading of the filter"):
        case({"filter": "unknown==1"}, {}, {}).rows(table)


def test_the_two_tests_of_a_file_are_found_among_its_columns():
    table = {
        "patient": np.array([1.0, 1, 2]), "age": np.array([50.0, 50, 61]),
        "a": np.array([0.0, 1, 1]), "b": np.array([1.0, 1, 0]),
    }  # fmt: skip
    assert paired._tests(case({"cluster": "patient"}, {}, {}), table) == ["a", "b"]
    named = case({"cluster": "patient", "test1": "b", "test2": "a"}, {}, {})
    assert paired._tests(named, table) == ["b", "a"]
