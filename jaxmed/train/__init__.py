"""Training: fit, optimizers, devices, checkpoints, logs, predictions over a source.

:func:`fit` runs any Learner over batches, resumes where it was killed, and keeps the best state.
:func:`evaluator` measures a state for it, and :func:`predict` applies one to a whole source.
:func:`optimizer` and :func:`schedule` build what ``learner`` takes, by name;
:func:`online_gradient` and :func:`online_newton` are for streams;
:func:`parameter_average` makes a learner predict with averaged parameters, :func:`snapshots` by all
ends of cycles; :func:`freeze`,
:func:`layerwise` and :func:`gradual_unfreezing` treat parts of a network differently.
:func:`data_mesh` gives the devices to share batches among, :func:`hosts` those of several machines.
"""

from jaxmed.train._average import parameter_average
from jaxmed.train._checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointMismatchError,
    CheckpointWarning,
    latest,
    restore,
    save,
)
from jaxmed.train._compilation import enable_compilation_cache
from jaxmed.train._devices import data_mesh, place_batch, state_shardings
from jaxmed.train._evaluator import evaluator
from jaxmed.train._fit import FitResult, fit
from jaxmed.train._hosts import hosts
from jaxmed.train._loggers import Logger, jsonl, tensorboard
from jaxmed.train._nonfinite import NonFiniteLossError
from jaxmed.train._online import online_gradient, online_newton
from jaxmed.train._optimizers import optimizer, schedule
from jaxmed.train._pmap import PmapStep, pmap_step
from jaxmed.train._predict import predict
from jaxmed.train._settings import Evaluation, Output, Placement
from jaxmed.train._snapshots import snapshots
from jaxmed.train._transfer import decayed, freeze, gradual_unfreezing, layerwise

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointMismatchError",
    "CheckpointWarning",
    "Evaluation",
    "FitResult",
    "Logger",
    "NonFiniteLossError",
    "Output",
    "Placement",
    "PmapStep",
    "data_mesh",
    "decayed",
    "enable_compilation_cache",
    "evaluator",
    "fit",
    "freeze",
    "gradual_unfreezing",
    "hosts",
    "jsonl",
    "latest",
    "layerwise",
    "online_gradient",
    "online_newton",
    "optimizer",
    "parameter_average",
    "place_batch",
    "pmap_step",
    "predict",
    "restore",
    "save",
    "schedule",
    "snapshots",
    "state_shardings",
    "tensorboard",
]
