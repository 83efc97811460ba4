"""Acquisitions that ask for what a model is unsure of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from jaxmed.core import Key, stream
from jaxmed.protocols.active._pool import Acquire, Floats, Pool, generator, wanted

Places = NDArray[np.intp]
_CONFIGURATIONS = 4096
_ENTRIES = 4_000_000  # Of an array of probabilities.


def ask_random(key: Key, pool: Pool, n: int) -> Places:
    """Ask for cases at random: the baseline of every other acquisition."""
    return generator(key, "random").permutation(len(pool))[: wanted(pool, n)]


def ask_least_confident(key: Key, pool: Pool, n: int) -> Places:
    """Ask for the cases whose most probable class is least probable."""
    return _largest(key, 1 - pool.mean.max(1), wanted(pool, n))


def ask_margin(key: Key, pool: Pool, n: int) -> Places:
    """Ask for the cases whose two most probable classes are nearest to each other."""
    top = np.sort(pool.mean, axis=1)
    return _largest(key, top[:, -2] - top[:, -1], wanted(pool, n))


def ask_entropy(key: Key, pool: Pool, n: int) -> Places:
    """Ask for the cases of highest predictive entropy."""
    return _largest(key, special.entr(pool.mean).sum(1), wanted(pool, n))


def ask_score(key: Key, pool: Pool, n: int) -> Places:
    """Ask for the cases of highest score: of the loss that a network predicts of itself.

    A network with a :class:`jaxmed.networks.LossHead`, trained by
    :func:`jaxmed.paradigms.learning_loss`, gives ``scores``; so does any measure of one's own.

    References:
        Yoo and Kweon (2019), Learning loss for active learning, CVPR.
    """
    return _largest(key, pool.told(), wanted(pool, n))


def ask_score_per_cost(key: Key, pool: Pool, n: int) -> Places:
    """Ask for the cases of highest score for what their label costs.

    Of parts of scans: the score is the sum over voxels (:func:`region_scores`), the cost what it
    takes to draw them. Where no costs are stated it is :func:`ask_score`.
    """
    scores = pool.told()
    scores = scores if pool.costs is None else scores / pool.costs
    return _largest(key, scores, wanted(pool, n))


def ask_bald(key: Key, pool: Pool, n: int) -> Places:
    """Ask for the cases on which the samples disagree: BALD, by mutual information.

    References:
        Houlsby et al. (2011), Bayesian active learning for classification and preference learning.
        Gal, Islam and Ghahramani (2017), Deep Bayesian active learning with image data, ICML.
    """
    return _largest(key, mutual_information(pool), wanted(pool, n))


def ask_committee(key: Key, pool: Pool, n: int) -> Places:
    """Ask for the cases on whose class the samples' votes are spread most: vote entropy.

    References:
        Dagan and Engelson (1995), Committee-based sampling for training probabilistic classifiers,
        ICML.
    """
    samples = _several(pool)
    votes = np.eye(samples.shape[2])[samples.argmax(-1)].mean(0)
    return _largest(key, special.entr(votes).sum(1), wanted(pool, n))


def ask_power_bald(key: Key, pool: Pool, n: int) -> Places:
    """Draw cases with probability proportional to their mutual information.

    Those of highest information are often alike; drawing spreads a batch at no cost.

    References:
        Kirsch et al. (2023), Stochastic batch acquisition: a simple baseline for deep active
        learning, TMLR.
    """
    information = np.maximum(mutual_information(pool), 1e-12)
    noise = generator(key, "power").gumbel(size=len(information))
    return np.argsort(-(np.log(information) + noise), kind="stable")[: wanted(pool, n)]


def ask_batch_bald(key: Key, pool: Pool, n: int) -> Places:
    """Ask for the cases that *together* tell most of the parameters: greedy BatchBALD.

    The joint entropy of a batch is exact while it has at most 4,096 configurations of classes, and
    is then estimated from as many drawn ones. Memory grows with the number of cases, not with its
    square.

    References:
        Kirsch, van Amersfoort and Gal (2019), BatchBALD: efficient and diverse batch acquisition
        for deep Bayesian active learning, NeurIPS.
    """
    samples = _several(pool)
    n, rng = wanted(pool, n), generator(key, "batch")
    inside = special.entr(samples).sum(-1).mean(0)  # Given the parameters entropies add up.
    joint: _Joint = _Exact(np.ones((1, len(samples))))
    chosen: list[int] = []
    for _ in range(n):
        information = joint.entropies(samples) - inside - inside[chosen].sum()
        information[chosen] = -np.inf
        chosen.append(int(np.argmax(information)))
        joint = joint.extended(samples, chosen, rng)
    return np.array(chosen, np.intp)


def mutual_information(pool: Pool) -> Floats:
    """The mutual information (cases,) of each case's class and the parameters, in nats."""
    samples = _several(pool)
    return special.entr(samples.mean(0)).sum(-1) - special.entr(samples).sum(-1).mean(0)


def ask_mixed(*parts: tuple[Acquire, float]) -> Acquire:
    """Share a round among several acquisitions.

    Args:
        *parts: each an acquisition and its share of the cases, above 0; the first asks first, and a
            case that was asked for already is left to the next best.

    Returns:
        The acquisition.

    Raises:
        ValueError: for no part, or a share that is not positive.

    >>> half = ask_mixed((ask_entropy, 1), (ask_random, 1))
    """
    if not parts or not all(share > 0 for _, share in parts):
        raise ValueError("a mixture is of acquisitions with shares above 0")
    total = sum(share for _, share in parts)

    def ask(key: Key, pool: Pool, n: int) -> Places:
        wanted(pool, n)
        ends = np.rint(np.cumsum([share / total * n for _, share in parts])).astype(int)
        found: list[int] = []
        for i, ((acquire, _), end) in enumerate(zip(parts, ends, strict=True)):
            # In the worst case all that were taken before come first here.
            order = acquire(stream(key, "part", i), pool, min(len(pool), n))
            found += [j for j in order.tolist() if j not in found][: end - len(found)]
        return np.array(found, np.intp)

    return ask


class _Exact:
    """All configurations of the chosen cases' classes."""

    def __init__(self, joint: Floats):
        self.joint = joint  # (configurations, samples): the probability of each

    def entropies(self, samples: Floats) -> Floats:
        """The joint entropy of the chosen cases and each case of the pool."""
        return _over_cases(self.joint, samples, lambda p: special.entr(p).sum((0, 2)))

    def extended(self, samples: Floats, chosen: list[int], rng: Any) -> _Joint:
        count, _, classes = samples.shape
        if len(self.joint) * classes > _CONFIGURATIONS:
            own = rng.integers(count, size=_CONFIGURATIONS)
            drawn = _Drawn(np.ones((_CONFIGURATIONS, count)), own)
            for i in range(len(chosen)):
                drawn = drawn.extended(samples, chosen[: i + 1], rng)
            return drawn
        wide = self.joint[:, None] * samples[:, chosen[-1]].T[None]
        return _Exact(wide.reshape(-1, count))


class _Drawn:
    """Configurations drawn from the mixture of samples, each with the sample that it is from."""

    def __init__(self, joint: Floats, own: NDArray[np.intp]):
        self.joint, self.own = joint, own

    def entropies(self, samples: Floats) -> Floats:
        outside = self.joint.mean(1)[:, None, None]

        def estimated(p: Floats) -> Floats:
            return -(p / outside * np.log(np.maximum(p, 1e-300))).sum(2).mean(0)

        return _over_cases(self.joint, samples, estimated)

    def extended(self, samples: Floats, chosen: list[int], rng: Any) -> _Joint:
        p = samples[:, chosen[-1]]
        ends = np.cumsum(p[self.own], axis=1)
        drawn = (rng.random((len(self.own), 1)) * ends[:, -1:] >= ends).sum(1)
        drawn = np.minimum(drawn, p.shape[1] - 1)
        return _Drawn(self.joint * p[:, drawn].T, self.own)


_Joint = _Exact | _Drawn


def _over_cases(joint: Floats, samples: Floats, measure: Callable[[Floats], Floats]) -> Floats:
    """``measure`` of the probabilities (configurations, cases, classes), some cases at a time."""
    count, cases, classes = samples.shape
    size = max(1, _ENTRIES // (len(joint) * classes))
    parts = []
    for first in range(0, cases, size):
        some = samples[:, first : first + size]
        p = joint @ some.reshape(count, -1) / count
        parts.append(measure(p.reshape(len(joint), -1, classes)))
    return np.concatenate(parts)


def _several(pool: Pool) -> Floats:
    mean = pool.mean
    assert pool.samples is not None  # or there is no mean
    if len(pool.samples) < 2:
        raise ValueError(
            f"this acquisition needs several samples of the probabilities, got one of {len(mean)} "
            "cases: those of an ensemble or a posterior"
        )
    return pool.samples


def _largest(key: Key, scores: Floats, n: int) -> Places:
    """The n largest; of equal ones any, by chance."""
    tie = generator(key, "ties").random(len(scores))
    return np.lexsort((tie, -scores))[:n]
