"""Rounds of a training that was given more time, where no plan keeps them."""

from __future__ import annotations

import json

import pytest

from experiments._common.rounds import Round, ends, kept_rounds, may_differ


def finished(out, epochs):
    (out / "metrics.json").write_text(json.dumps({"config": {"epochs": epochs}}))


def test_a_run_that_ended_gets_a_round_for_what_is_added(tmp_path):
    assert kept_rounds(tmp_path, 10) == [Round(0, 10)]
    assert kept_rounds(tmp_path, 10) == [Round(0, 10)]  # it was cut, and goes on
    finished(tmp_path, 10)
    assert kept_rounds(tmp_path, 15) == [Round(0, 10), Round(1, 5)]
    assert kept_rounds(tmp_path, 15) == [Round(0, 10), Round(1, 5)]
    finished(tmp_path, 15)
    third = kept_rounds(tmp_path, 30)
    assert third == [Round(0, 10), Round(1, 5), Round(2, 15)]
    assert ends(third) == (10, 15)


def test_a_run_from_before_rounds_were_kept_goes_on_too(tmp_path):
    finished(tmp_path, 10)
    assert kept_rounds(tmp_path, 12) == [Round(0, 10), Round(1, 2)]


def test_only_more_of_a_finished_run_is_let_pass(tmp_path):
    before = {"epochs": 10, "seed": 0}
    with pytest.raises(ValueError, match="has not ended"):
        may_differ(before, before | {"epochs": 20}, tmp_path, "epochs")
    finished(tmp_path, 10)
    assert may_differ(before, before | {"epochs": 20}, tmp_path, "epochs")
    assert not may_differ(before, {"epochs": 20, "seed": 1}, tmp_path, "epochs")
    with pytest.raises(ValueError, match="cannot become one of 5"):
        may_differ(before, before | {"epochs": 5}, tmp_path, "epochs")
    kept_rounds(tmp_path, 20)
    with pytest.raises(ValueError, match="a run of 20 epochs"):
        may_differ(before, before | {"epochs": 15}, tmp_path, "epochs")
