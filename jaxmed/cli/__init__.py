"""The `jaxmed` command: demo, train, evaluate, predict, label, data check.

`main` is the command. `run_experiment` is what `jaxmed train` does, for scripts. `train_file` runs
one experiment's file, for `python -m experiments.TASK.NAME`. The first and the last return an exit
code: 0, 1 for faults found, 2 for a mistake in what was asked, 130 when interrupted. Nothing heavy
is imported until a command needs it.
"""

from jaxmed.cli._main import main, train_file
from jaxmed.cli.runs._runner import run_experiment

__all__ = ["main", "run_experiment", "train_file"]
