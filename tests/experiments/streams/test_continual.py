"""Tasks one after the other, tiny."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from jaxmed.experiments.streams._tasks import sequence

from jaxmed.cli import main

TINY = [
    *[
        "train",
        "continual",
        "--stream",
        "permuted",
        "--tasks",
        "2",
        "--seeds",
        "1",
        "--hidden",
        "16",
        "--epochs",
        "4",
    ],
    *["--batch", "20", "--learning-rate", "0.02", "--debug"],
]


def test_a_scenario_says_which_answers_are_possible(digits):
    told = {name: sequence("split", name, length=5, seed=0) for name in ("task", "domain", "class")}
    second = {name: made.tasks[1] for name, made in told.items()}
    assert {name: made.classes for name, made in told.items()} == {
        "task": 10, "domain": 2, "class": 10,
    }  # fmt: skip
    assert set(second["domain"].test["label"]) == {0, 1}
    assert set(second["class"].test["label"]) == set(second["task"].test["label"]) == {2, 3}
    assert told["task"].allowed[1].nonzero()[0].tolist() == [2, 3]
    assert told["class"].allowed.all()
    assert told["domain"].allowed.all()
    assert told["class"].earlier[2].nonzero()[0].tolist() == [0, 1, 2, 3]


def test_another_seed_is_another_order_and_pixels_only_move(digits):
    first, again, other = (sequence("split", "class", length=5, seed=s) for s in (0, 0, 1))
    assert [one.classes for one in first.tasks] == [one.classes for one in again.tasks]
    assert [one.classes for one in first.tasks] != [one.classes for one in other.tasks]
    assert sorted(c for one in other.tasks for c in one.classes) == list("0123456789")
    plain, moved = sequence("permuted", "domain", length=2, seed=3).tasks
    assert not np.array_equal(plain.test["image"], moved.test["image"])
    np.testing.assert_array_equal(
        np.sort(plain.test["image"], axis=1), np.sort(moved.test["image"], axis=1)
    )


def test_settings_are_chosen_without_the_test_images(digits):
    (digits / "t10k-images-idx3-ubyte").unlink()
    made = sequence("permuted", "domain", length=2, seed=0, chosen=True)
    assert [len(made.tasks[0].train["label"]), len(made.tasks[0].test["label"])] == [100, 20]


def test_a_scenario_that_a_sequence_does_not_have_is_refused(digits, capsys, monkeypatch):
    from jaxmed.experiments.streams import _tasks

    unlike = [_tasks._digits(False)[0] | {"image": np.zeros((120, 784))} for _ in range(2)]
    tasks = [_tasks.Task(str(i), a, a, tuple("ab" + "c" * i)) for i, a in enumerate(unlike)]
    monkeypatch.setattr(_tasks, "_medical", lambda chosen: tasks)
    command = ["train", "continual", "--stream", "medical", "--scenario", "domain"]
    assert main([*command, "--out", str(digits / "run")]) == 2
    assert "--scenario domain: the tasks of medical have different classes" in (
        capsys.readouterr().err
    )


def metrics_of(out):
    return json.loads((out / "metrics.json").read_text())["metrics"]


def test_a_run_leaves_its_accuracies_as_a_table(digits):
    out = digits / "run"
    assert main([*TINY, "--method", "replay", "--memory", "120", "--out", str(out)]) == 0
    with (out / "accuracies.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    last = [float(row["accuracy"]) for row in rows if row["after"] == "2"]
    assert len(rows) == 4
    assert np.mean(last) == pytest.approx(metrics_of(out)["accuracy"]["value"])
    assert metrics_of(out)["accuracy"]["value"] > 0.8
    assert "Task by task" in (out / "report.html").read_text()


@pytest.mark.slow
def test_a_memory_keeps_earlier_classes(digits):
    left = {}
    for method in ("none", "replay"):
        command = [*TINY, "--stream", "split", "--epochs", "10", "--memory", "120"]
        assert main([*command, "--method", method, "--out", str(digits / method)]) == 0
        left[method] = metrics_of(digits / method)["accuracy"]["value"]
    assert left["none"] < 0.25
    assert left["replay"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ewc", "si", "lwf", "replay", "a_gem", "joint"])
def test_a_run_that_was_cut_between_tasks_ends_as_one_that_was_not(digits, method, monkeypatch):
    from jaxmed.experiments.streams import continual

    command = [*TINY, "--method", method]
    assert main([*command, "--out", str(digits / "whole")]) == 0
    real, calls = continual.jm.fit, []

    def cut(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(continual.jm, "fit", cut)
    assert main([*command, "--out", str(digits / "cut")]) == 130
    monkeypatch.setattr(continual.jm, "fit", real)
    assert main([*command, "--out", str(digits / "cut")]) == 0
    tables = [(digits / name / "accuracies.csv").read_text() for name in ("whole", "cut")]
    assert tables[0] == tables[1]
