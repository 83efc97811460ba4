"""Checks that networks, objectives, learners and augmentations obey the laws of the library.

In the spirit of scikit-learn's ``check_estimator``: each function raises ``AssertionError`` with
the name of the violated law, and returns the names of the laws checked.
"""

from jaxmed.testing._augment import check_augment
from jaxmed.testing._learner import check_learner
from jaxmed.testing._network import check_network
from jaxmed.testing._objective import check_objective
from jaxmed.testing._wrapper import check_wrapper

__all__ = [
    "check_augment",
    "check_learner",
    "check_network",
    "check_objective",
    "check_wrapper",
]
