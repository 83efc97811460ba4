"""jaxmed: a functional JAX library for medical image analysis.

Subpackages are imported when first named, so that ``import jaxmed`` costs nothing::

    import jaxmed as jm

    network = jm.from_linen(jm.networks.resnet18(classes=2))
    objective = jm.supervised(jm.losses.cross_entropy)
    learner = jm.learner(network, objective, optax.adam(1e-3))
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_SUBPACKAGES = (
    "augment",
    "bayes",
    "core",
    "data",
    "detection",
    "explain",
    "generative",
    "inference",
    "losses",
    "metrics",
    "networks",
    "ops",
    "paradigms",
    "planning",
    "protocols",
    "quantities",
    "registration",
    "reinforcement",
    "report",
    "rules",
    "stats",
    "testing",
    "train",
    "unsupervised",
)

# What type checkers and editors see of both is in `__init__.pyi`.
# The names one types most, and the subpackage each lives in.
_NAMES = {
    "Learner": "core",
    "LearnerState": "core",
    "Network": "core",
    "Objective": "core",
    "alternate": "paradigms",
    "augmented": "paradigms",
    "ensemble": "paradigms",
    "fit": "train",
    "from_functions": "core",
    "from_linen": "core",
    "from_nnx": "core",
    "learner": "core",
    "mean_teacher": "paradigms",
    "mixup": "paradigms",
    "multiple_instance": "paradigms",
    "pseudo_label": "paradigms",
    "stream": "core",
    "supervised": "paradigms",
    "weighted": "paradigms",
    "with_heads": "paradigms",
}

__all__ = sorted([*_SUBPACKAGES, *_NAMES, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a subpackage, or a name out of one, on first use (PEP 562)."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"jaxmed.{name}")
    if name in _NAMES:
        value = getattr(importlib.import_module(f"jaxmed.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'jaxmed' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
