"""The `jaxmed` command: demo, train, evaluate, predict, data check.

`main` is the command; `train_file` runs one experiment's file, for `python -m
experiments.TASK.NAME`.
Both return an exit code: 0, 1 for faults found, 2 for a mistake in what was asked, 130 when
interrupted. Nothing heavy is imported until a command needs it.
"""

from jaxmed.cli._main import main, train_file

__all__ = ["main", "train_file"]
