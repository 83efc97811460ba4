"""What an acquisition sees of the cases that have no label yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.core import Key
from jaxmed.stats import checks
from jaxmed.unsupervised._seed import numpy_seed

Floats = NDArray[np.float64]


class Pool(NamedTuple):
    """The cases that may be asked for, as the present model sees them.

    Attributes:
        samples: (samples, cases, classes) probabilities: of a posterior, of an ensemble's members,
            of one network alone as a single sample. None where no model has been trained.
        features: (cases, f), for acquisitions that look for cover; or None.
        labelled: (labelled, f) features of the cases that have labels; or None.
    """

    samples: Floats | None = None
    features: Floats | None = None
    labelled: Floats | None = None

    def __len__(self) -> int:
        seen = self.samples
        return (
            len(self.features)
            if seen is None and self.features is not None
            else (0 if seen is None else seen.shape[1])
        )

    @property
    def mean(self) -> Floats:
        """(cases, classes), the mean of the samples.

        Raises:
            ValueError: if there are none.
        """
        if self.samples is None:
            raise ValueError("this acquisition needs probabilities, and no model was trained yet")
        return self.samples.mean(0)

    def places(self) -> Floats:
        """The features (cases, f).

        Raises:
            ValueError: if there are none.
        """
        if self.features is None:
            raise ValueError("this acquisition needs features: let the model give them")
        return self.features


Acquire = Callable[[Key, Pool, int], NDArray[np.intp]]
"""``(key, pool, n) -> positions (n,)`` in the pool, the first asked for first."""


def pool_of(
    samples: ArrayLike | None = None,
    features: ArrayLike | None = None,
    labelled: ArrayLike | None = None,
) -> Pool:
    """Check what is known of unlabelled cases and put it together.

    Args:
        samples: (samples, cases, classes) probabilities, or (cases, classes) of one network.
        features: (cases, ...).
        labelled: (labelled, ...) features of labelled cases.

    Raises:
        ValueError: for nothing at all, values that are not finite or no probabilities, or arrays
            of different numbers of cases or features.

    >>> len(pool_of([[0.2, 0.8], [0.5, 0.5]]))
    2
    """
    p = None
    if samples is not None:
        p = checks.finite(samples, "samples", ndim=None)
        p = p[None] if p.ndim == 2 else p
        if p.ndim != 3 or p.shape[2] < 2 or p.min() < 0 or not np.allclose(p.sum(-1), 1, atol=1e-3):
            raise ValueError(
                "samples must be probabilities (samples, cases, classes) or (cases, classes) that "
                f"add up to 1, got the shape {np.shape(samples)}"
            )
    x, known = (None if a is None else _rows(a, n) for a, n in (
        (features, "features"), (labelled, "labelled"),
    ))  # fmt: skip
    if p is None and x is None:
        raise ValueError("a pool has probabilities or features")
    if p is not None and x is not None and p.shape[1] != len(x):
        raise ValueError(f"samples are of {p.shape[1]} cases, features of {len(x)}")
    if x is not None and known is not None and len(known) and known.shape[1] != x.shape[1]:
        raise ValueError(f"labelled cases have {known.shape[1]} features, the others {x.shape[1]}")
    return Pool(p, x, known)


def generator(key: Key, name: str) -> np.random.Generator:
    """NumPy's random numbers from a named stream of a key."""
    return np.random.default_rng(numpy_seed(key, name))


def wanted(pool: Pool, n: int) -> int:
    """How many cases are asked for.

    Raises:
        ValueError: for fewer than one, or more than there are.
    """
    n = checks.check_whole(n, "n", 1)
    if n > len(pool):
        raise ValueError(f"{n} cases are asked for, and the pool has {len(pool)}")
    return n


def _rows(values: ArrayLike, name: str) -> Floats:
    found = checks.finite(values, name, ndim=None)
    return found.reshape(len(found), -1)
