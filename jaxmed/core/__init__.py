"""The three algebras: networks, objectives, learners; random streams; tree tools.

A :class:`Network` is a pure function with parameters, an :class:`Objective` says what is
minimised for *any* network, a :class:`Learner` runs. A learning paradigm is a function on one
of the three, so paradigms compose by calling one on another.
"""

from jaxmed.core._inputs import Inputs, network_inputs, pick
from jaxmed.core._learner import Learner, LearnerState, Predicting, learner
from jaxmed.core._linen import as_network, from_linen
from jaxmed.core._network import Network, from_functions, share_passes
from jaxmed.core._nnx import from_nnx
from jaxmed.core._objective import Objective, merge_named, stateless, weighted_mean, within
from jaxmed.core._random import stream, streams
from jaxmed.core._tree import (
    count_parameters,
    flatten_paths,
    label_paths,
    path_mask,
    transplant,
    unflatten_paths,
)
from jaxmed.core._types import (
    Array,
    Batch,
    Batches,
    Endpoints,
    Key,
    LearnerInit,
    LearnerPredict,
    LearnerStep,
    Metrics,
    NetworkApply,
    NetworkInit,
    ObjectiveInit,
    ObjectiveLoss,
    PostStep,
    Predictors,
    PyTree,
    RowBatches,
    Variables,
    View,
)

__all__ = [
    "Array",
    "Batch",
    "Batches",
    "Endpoints",
    "Inputs",
    "Key",
    "Learner",
    "LearnerInit",
    "LearnerPredict",
    "LearnerState",
    "LearnerStep",
    "Metrics",
    "Network",
    "NetworkApply",
    "NetworkInit",
    "Objective",
    "ObjectiveInit",
    "ObjectiveLoss",
    "PostStep",
    "Predicting",
    "Predictors",
    "PyTree",
    "RowBatches",
    "Variables",
    "View",
    "as_network",
    "count_parameters",
    "flatten_paths",
    "from_functions",
    "from_linen",
    "from_nnx",
    "label_paths",
    "learner",
    "merge_named",
    "network_inputs",
    "path_mask",
    "pick",
    "share_passes",
    "stateless",
    "stream",
    "streams",
    "transplant",
    "unflatten_paths",
    "weighted_mean",
    "within",
]
