"""The experiments in closed form, tiny."""

from __future__ import annotations

import json

import pytest

from jaxmed.cli import main


def accuracy(folder) -> float:
    return json.loads((folder / "metrics.json").read_text())["metrics"]["accuracy"]["value"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "extreme --dataset mnist --maps 4 --units 20",
        "extreme --dataset usps --maps 4 --units 9 --choose leave-one-out --last stochastic --draw",
        "stacking --dataset usps --modules 2 --units 20 --passed out-of-fold --folds 3 --tune 3",
        "stacking --dataset mnist --modules 2 --units 20 --start rbm --start-epochs 2 --spread 2",
    ],
)
def test_a_bright_row_is_told(digits, command):
    out = digits / "run"
    assert main(["train", *command.split(), "--out", str(out), "--debug"]) == 0
    assert accuracy(out) > 0.5


def test_a_machine_that_would_see_maps_is_refused(digits, capsys):
    command = ["train", "stacking", "--maps", "3", "--start", "rbm", "--out", str(digits / "run")]
    assert main(command) == 2
    assert "leave out --maps" in capsys.readouterr().err
