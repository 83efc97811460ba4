"""Training: fit, optimizers, devices, checkpoints, logs, predictions over a source.

:func:`fit` runs any Learner over batches, resumes where it was killed, and keeps the best state.
"""

from jaxmed.train._checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointMismatchError,
    CheckpointWarning,
    latest,
    restore,
    save,
)
from jaxmed.train._devices import data_mesh, place_batch, state_shardings
from jaxmed.train._fit import FitResult, fit
from jaxmed.train._loggers import Logger, jsonl, tensorboard
from jaxmed.train._nonfinite import NonFiniteLossError

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointMismatchError",
    "CheckpointWarning",
    "FitResult",
    "Logger",
    "NonFiniteLossError",
    "data_mesh",
    "fit",
    "jsonl",
    "latest",
    "place_batch",
    "restore",
    "save",
    "state_shardings",
    "tensorboard",
]
