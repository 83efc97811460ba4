"""What an acquisition sees of the cases that have no label yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.core import Key
from jaxmed.stats import checks
from jaxmed.unsupervised._seed import numpy_seed

Floats = NDArray[np.float64]


# No NamedTuple: those count their own fields by `len`, which here is that of the cases.
@dataclass(frozen=True, eq=False)
class Pool:
    """The cases that may be asked for, as the present model sees them.

    Attributes:
        samples: (samples, cases, classes) probabilities: of a posterior, of an ensemble's members,
            of one network alone as a single sample. None where no model has been trained.
        features: (cases, f), for acquisitions that look for cover; or None.
        labelled: (labelled, f) features of the cases that have labels; or None.
        scores: (cases,) what a label of each should tell, in the model's own measure, such as the
            loss that it predicts or the doubt of a region's voxels; or None.
        costs: (cases,) what the label of each costs; None where all cost the same.
    """

    samples: Floats | None = None
    features: Floats | None = None
    labelled: Floats | None = None
    scores: Floats | None = None
    costs: Floats | None = None

    def __len__(self) -> int:
        if self.samples is not None:
            return self.samples.shape[1]
        known = self.features if self.features is not None else self.scores
        return 0 if known is None else len(known)

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

    def told(self) -> Floats:
        """The scores (cases,).

        Raises:
            ValueError: if there are none.
        """
        if self.scores is None:
            raise ValueError("this acquisition needs scores: let the model give them")
        return self.scores


Acquire = Callable[[Key, Pool, int], NDArray[np.intp]]
"""``(key, pool, n) -> positions (n,)`` in the pool, the first asked for first."""


def pool_of(
    samples: ArrayLike | None = None,
    features: ArrayLike | None = None,
    labelled: ArrayLike | None = None,
    *,
    scores: ArrayLike | None = None,
    costs: ArrayLike | None = None,
) -> Pool:
    """Check what is known of unlabelled cases and put it together.

    Args:
        samples: (samples, cases, classes) probabilities, or (cases, classes) of one network.
        features: (cases, ...).
        labelled: (labelled, ...) features of labelled cases.
        scores: (cases,) what a label of each should tell, more is better.
        costs: (cases,) above 0.

    Raises:
        ValueError: for nothing at all, values that are not finite or no probabilities, costs that
            are not positive, or arrays of different numbers of cases or features.

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
    told, price = (None if a is None else checks.finite(a, n) for a, n in (
        (scores, "scores"), (costs, "costs"),
    ))  # fmt: skip
    if p is None and x is None and told is None:
        raise ValueError("a pool has probabilities or features, or scores")
    lengths = {
        name: n
        for name, n in (
            ("samples", None if p is None else p.shape[1]), ("features", _length(x)),
            ("scores", _length(told)), ("costs", _length(price)),
        )
        if n is not None
    }  # fmt: skip
    if len(set(lengths.values())) > 1:
        raise ValueError(", ".join(f"{name} are of {n} cases" for name, n in lengths.items()))
    if price is not None and len(price) and price.min() <= 0:
        raise ValueError(f"costs are above 0, got {price.min():g}")
    if x is not None and known is not None and len(known) and known.shape[1] != x.shape[1]:
        raise ValueError(f"labelled cases have {known.shape[1]} features, the others {x.shape[1]}")
    return Pool(p, x, known, told, price)


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


def _length(values: Floats | None) -> int | None:
    return None if values is None else len(values)


def _rows(values: ArrayLike, name: str) -> Floats:
    found = checks.finite(values, name, ndim=None)
    return found.reshape(len(found), -1)
