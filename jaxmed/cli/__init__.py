"""The `jaxmed` command: demo, train, evaluate, predict, label, data check.

`main` is the command. `run_experiment` is what `jaxmed train` does, for scripts. `train_file` runs
one experiment's file, for `python -m experiments.TASK.NAME`. The first and the last return an exit
code: 0, 1 for faults found, 2 for a mistake in what was asked, 130 when interrupted. `one_of` is a
setting of an experiment that takes a name out of a list. Nothing heavy is imported until a command
needs it.
"""

from jaxmed.cli._main import main, train_file
from jaxmed.cli.runs._runner import run_experiment
from jaxmed.cli.runs._settings import one_of

__all__ = ["main", "one_of", "run_experiment", "train_file"]
