"""What `jaxmed` offers, for type checkers and editors: at run time it is imported on first use."""

from jaxmed import augment as augment
from jaxmed import bayes as bayes
from jaxmed import core as core
from jaxmed import data as data
from jaxmed import detection as detection
from jaxmed import explain as explain
from jaxmed import generative as generative
from jaxmed import inference as inference
from jaxmed import losses as losses
from jaxmed import metrics as metrics
from jaxmed import networks as networks
from jaxmed import ops as ops
from jaxmed import paradigms as paradigms
from jaxmed import planning as planning
from jaxmed import protocols as protocols
from jaxmed import quantities as quantities
from jaxmed import registration as registration
from jaxmed import reinforcement as reinforcement
from jaxmed import report as report
from jaxmed import rules as rules
from jaxmed import stats as stats
from jaxmed import testing as testing
from jaxmed import train as train
from jaxmed import unsupervised as unsupervised
from jaxmed.core import Learner as Learner
from jaxmed.core import LearnerState as LearnerState
from jaxmed.core import Network as Network
from jaxmed.core import Objective as Objective
from jaxmed.core import from_functions as from_functions
from jaxmed.core import from_linen as from_linen
from jaxmed.core import from_nnx as from_nnx
from jaxmed.core import learner as learner
from jaxmed.core import stream as stream
from jaxmed.paradigms import alternate as alternate
from jaxmed.paradigms import augmented as augmented
from jaxmed.paradigms import ensemble as ensemble
from jaxmed.paradigms import mean_teacher as mean_teacher
from jaxmed.paradigms import mixup as mixup
from jaxmed.paradigms import multiple_instance as multiple_instance
from jaxmed.paradigms import pseudo_label as pseudo_label
from jaxmed.paradigms import supervised as supervised
from jaxmed.paradigms import weighted as weighted
from jaxmed.paradigms import with_heads as with_heads
from jaxmed.train import fit as fit

__version__: str
