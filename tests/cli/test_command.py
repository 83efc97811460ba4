"""The command itself: help, versions, one line an error, experiments by name and path."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import jaxmed
from jaxmed.cli import main

EXPERIMENT = '''"""A sum, as an experiment."""

from __future__ import annotations

import dataclasses

import jaxmed as jm


@dataclasses.dataclass(frozen=True)
class Config:
    """What it takes.

    Args:
        seed: of the noise.
        shift: between the classes.
    """

    seed: int = 0
    shift: float = 0.5


def run(config, out):
    """Measure made-up scores."""
    labels = [0, 1] * 10
    scores = [min(max(0.25 + config.shift * y, 0), 1) for y in labels]
    return jm.report.classification(labels, scores, title="made up")
'''


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "made_up.py"
    path.write_text(EXPERIMENT)
    return str(path)


def test_help_version_and_list(capsys):
    assert main(["--help"]) == 0
    assert "evaluate" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"jaxmed {jaxmed.__version__}"
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert "medmnist" in listed
    assert "hippocampus" in listed
    assert main([]) == 2
    assert main(["fly"]) == 2
    assert "no command 'fly'" in capsys.readouterr().err


def test_an_experiment_by_path_writes_all_that_a_run_owes(experiment, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["train", experiment, "--shift", "0.3", "--seed", "7", "--out", str(out)]) == 0
    found = json.loads((out / "metrics.json").read_text())
    assert found["config"] == {"seed": 7, "shift": 0.3}
    assert found["metrics"]["auc"]["value"] == 1.0
    assert set(found["metrics"]["auc"]) >= {"value", "lower", "upper", "level", "n", "method"}
    assert found["seed"] == 7
    assert "made_up.py --shift 0.3" in found["command"]
    assert {path.name for path in out.iterdir()} >= {
        "config.json", "metrics.json", "predictions.csv", "report.html",
    }  # fmt: skip
    assert main(["train", experiment, "--shift", "0.1", "--out", str(out)]) == 2
    assert "shift was 0.3 and is 0.1" in capsys.readouterr().err


def test_mistakes_are_told_in_one_line(experiment, tmp_path, capsys):
    assert main(["train", "no_such_experiment"]) == 2
    told = capsys.readouterr().err
    assert "no_such_experiment" in told
    assert "Traceback" not in told
    with pytest.raises(SystemExit):
        main(["train", experiment, "--no-such-field", "3"])


def test_the_command_starts_without_the_heavy_libraries():
    code = (
        "import sys; from jaxmed.cli import main; main(['--help']); "
        "heavy = {'jax', 'flax', 'matplotlib', 'scipy', 'nibabel'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
