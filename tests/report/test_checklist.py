"""The checklist answers what the results know, and asks for the rest by the field's name."""

from __future__ import annotations

import re

import numpy as np
import pytest

from jaxmed import report

Y = np.arange(40) % 2
P = np.clip(np.random.default_rng(0).normal(0.3 + 0.4 * Y, 0.2), 0, 1)


def answers(results):
    return {item.topic: item for item in report.checklist(results)}


def test_what_no_software_knows_is_not_reported_and_names_its_field():
    found = answers(report.classification(Y, P))
    for item in found.values():
        assert item.known != item.answer.startswith(report.NOT_REPORTED)
    missing = found["Reference standard"]
    assert re.search(r"NOT REPORTED: fill `reference_standard` \(.+\)", missing.answer)
    assert {name for name in report.FIELDS if any(f"`{name}`" in i.answer for i in found.values())}


def test_each_field_of_the_study_fills_an_item():
    empty = report.classification(Y, P)
    before = sum(item.known for item in report.checklist(empty))
    study = dict.fromkeys(report.FIELDS, "as written in the protocol")
    items = report.checklist(empty.replace(study=study))
    assert before < len(items)
    assert all(item.known for item in items)
    for name in report.FIELDS:
        only = report.checklist(empty.replace(study={name: "as written"}))
        assert any(item.answer.startswith("as written") for item in only), name


def test_the_run_answers_what_it_knows():
    results = report.classification(Y, P, groups=np.arange(40) // 2).replace(
        seed=3,
        openings=2,
        partition="by patient, checked",
        failures=("c7: unreadable",),
        environment=report.environment(),
        splits=(report.Split("test", 40, 20, {"0": 20, "1": 20}),),
        study={"tuning_trials": "12"},
    )
    found = answers(report.with_subgroups(results, {"sex": ["f", "m", "m", "f"] * 10}))
    assert found["Tuning trials"].answer == "12"
    assert "2 times" in found["Times the test set was opened"].answer
    assert found["Failures"].answer.startswith("1 of 40 cases failed")
    assert "20 patients" in found["Unit of analysis"].answer
    assert "seed 3" in found["Seeds"].answer
    assert found["Subgroups and fairness"].answer.startswith("by sex")
    assert found["Partitions and their unit; leak check"].known
    assert "jax" in found["Software and hardware"].answer
    page = report.html(results)
    assert "NOT REPORTED" in page
    assert "CLAIM" in page
    assert "unreadable" in page


def test_every_item_of_the_guidelines_is_mapped():
    items = report.checklist(report.classification(Y, P))
    claim = {int(n) for item in items for n in re.findall(r"\d+", item.claim)}
    # CLAIM 2024: 1, 2 are title and abstract, 41 is about other work: outside a results page.
    assert set(range(1, 45)) - claim <= {1, 2, 41}
    tripod = {int(n) for item in items for n in re.findall(r"\d+", item.tripod)}
    assert set(range(1, 28)) - tripod <= {1, 2, 24, 25, 27}


def test_a_field_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="no field 'refrence'"):
        report.check_study({"refrence": "x"})
