"""`jaxmed power` as a user calls it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from jaxmed import stats
from jaxmed.cli import main

PLANS = {
    "proportions 0.8 0.9": "199 cases in each group (398 in all)",
    "proportions 0.85 0.85 --margin 0.1 --alpha 0.025": "201 cases in each group",
    "paired-proportions 0.1 0.2": "234 pairs",
    "means 0.02 --sd 0.08 --power 0.9": "171 cases",
    "means 0.5 --sd 1 --n 34": "power: 80.8%",
    "auc 0.7 --power 0.9": "41 positive and 41 negative",
    "auc 0.7 --above 0.65 --power 0.9": "489 positive and 489 negative",
    "two-aucs --first 0.9 --second 0.85": "in all",
    "precision 0.9": "141 cases",
    "precision 0.9 --prevalence 0.1": "1410 cases, of which 141",
    "kappa 0.6": "246 cases",
    "icc 0.8 --raters 3": "36 subjects",
    "agreement --half-width 0.34": "103 cases",
    "model 20 --prevalence 0.2 --auc 0.8": "events a parameter",
    "simulate mean 0.88 0.85 --sd 0.1 --n 60 --studies 500": "error of 500 simulated studies",
}


def test_values_may_stand_alone_and_older_words_are_understood(capsys):
    told = []
    for command in (
        "proportions 0.8 0.9 --n 100",
        "proportions --n 100 0.8 0.9",
        "proportions --second 0.9 --n=100 --first 0.8",
        "means 0.5 --sd 1 --unpaired --n 34",
        "means --design two-sample --sd 1 --effect 0.5 --n 34",
    ):
        assert main(["power", *command.split()]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] == told[2]
    assert told[3] == told[4]
    assert "34 cases in each group" in told[3]


@pytest.mark.parametrize("command", PLANS)
def test_a_plan_is_told_with_assumptions_and_a_sentence(command, capsys):
    assert main(["power", *command.split()]) == 0
    told = capsys.readouterr().out
    assert PLANS[command] in told
    assert "assumptions:\n  - " in told
    assert "for the protocol:\n  With " in told


def test_a_curve_is_drawn_and_the_plan_kept(tmp_path, capsys):
    command = ["power", "proportions", "0.8", "0.9", "--plot", "curve.png", "--json", "plan.json"]
    command[-3], command[-1] = str(tmp_path / "curve.png"), str(tmp_path / "plan.json")
    assert main(command) == 0
    picture = np.asarray(Image.open(tmp_path / "curve.png").convert("L"))
    assert min(picture.shape) > 300
    assert picture.std() > 5
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["size"] == 199
    assert plan["options"]["first"] == 0.8
    assert plan["sentence"] in capsys.readouterr().out
    for extra in ("precision 0.9", "auc 0.8 --above 0.7", "model 9 --prevalence 0.3 --auc 0.7"):
        assert main(["power", *extra.split(), "--plot", str(tmp_path / "more.svg")]) == 0


def test_pilots_are_read(tmp_path, capsys):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 40)
    a, b = rng.normal(size=(2, 80)) + np.array([[1.5], [0.8]]) * y
    lines = ["label,new,old", *(f"{t},{u},{v}" for t, u, v in zip(y, a, b))]
    (tmp_path / "pilot.csv").write_text("\n".join(lines))
    command = ["power", "two-aucs", "--pilot", str(tmp_path / "pilot.csv")]
    assert main([*command, "--scores", "new", "old"]) == 0
    needed = stats.power_two_aucs_pilot(y, a, b, power=0.8).positives
    assert f"{int(np.ceil(needed))} positive" in capsys.readouterr().out
    assert main(command) == 2
    assert "no column 'first'; it has label, new, old" in capsys.readouterr().err
    rows = ["reader,treatment,case,truth,rating"]
    rows += [
        f"{r},{t},{c},{c % 2},{rng.normal() + (c % 2) * (1 + 0.5 * t)}"
        for r in range(4) for t in (0, 1) for c in range(40)
    ]  # fmt: skip
    (tmp_path / "readers.csv").write_text("\n".join(rows))
    command = ["power", "readers", str(tmp_path / "readers.csv"), "--readers", "8", "--n", "200"]
    assert main(command) == 0
    assert "8 readers" in capsys.readouterr().out
    # The same as others write it: readers by name, semicolons, decimal commas.
    german = [rows[0].replace(",", ";")]
    german += ["R" + row.replace(",", ";").replace(".", ",") for row in rows[1:]]
    (tmp_path / "readers.csv").write_text("\n".join(german))
    assert main(command) == 0
    assert "8 readers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("0.7,1,2", "row 4: label is '0.7', not 0 or 1"),
        ("1,nan,2", "row 4: new is missing ('nan')"),
        ("1,inf,2", "row 4: new is 'inf'"),
        ("1,a,2", "row 4: new is 'a', not a number"),
    ],
)
def test_a_pilots_cell_that_is_no_number_is_named(tmp_path, capsys, cell, message):
    rows = ["label,new,old", "0,1,2", "1,2,2", cell, "0,1,3"]
    (tmp_path / "pilot.csv").write_text("\n".join(rows))
    command = ["power", "two-aucs", "--pilot", str(tmp_path / "pilot.csv")]
    assert main([*command, "--scores", "new", "old"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("nothing", "there is no design 'nothing'; there are proportions"),
        ("proportions 0.8 1.2", "p2 must lie in (0, 1)"),
        ("proportions 0.8 1.2", "(p2 is --second)"),
        ("proportions 0.8 0.8", "is there an effect"),
        ("proportions 0.8 0.9 --n 100 --power 0.8", "not both"),
        ("means 0.1 --sd 0", "sd must be positive"),
        ("auc 0.8 --prevalence 0", "--prevalence must lie in (0, 1)"),
        ("auc 0.8 --above 0.7 --n 10", "--above solves for the size"),
        ("two-aucs", "give --first and --second, or --pilot"),
        ("simulate mean 0.9 0.8", "--sd"),
        ("simulate rate 0.9 0.8 --unpaired", "--unpaired is for auc"),
        ("readers none.csv --readers 5", "none.csv"),
    ],
)
def test_bad_plans_are_refused_in_one_line(command, message, capsys):
    assert main(["power", *command.split()]) == 2
    assert message in capsys.readouterr().err
