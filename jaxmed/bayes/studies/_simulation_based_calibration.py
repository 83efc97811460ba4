"""Simulation-based calibration of samplers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as law

from jaxmed.core import Key, stream
from jaxmed.stats.checks import Floats

# Number of simulations after which JAX's caches are cleared. A sampler compiles for each data set,
# with some 400 memory maps each time, and Linux allows a process 65,530.
_KEPT = 40


class SimulationRanks(NamedTuple):
    """Ranks of the true quantities among posterior draws.

    ranks: (runs, quantities), each in 0..draws; draws; p_values: (quantities,) of uniformity, by a
    chi-square test over bins; p_value: the least, times their number (Bonferroni).
    """

    ranks: np.ndarray
    draws: int
    p_values: Floats
    p_value: float


def simulation_ranks(
    key: Key,
    simulate: Callable[[Key], tuple[ArrayLike, Any]],
    infer: Callable[[Key, Any], ArrayLike],
    *,
    runs: int = 200,
    bins: int = 20,
) -> SimulationRanks:
    """Check a posterior by simulation: truths from the prior must rank uniformly among its draws.

    JAX's compilation caches are cleared periodically, so earlier programs are recompiled.

    Args:
        key: random key.
        simulate: ``(key) -> (truth (quantities,), data)``: parameters from the prior, data from the
            model given these, and the quantities to be ranked.
        infer: ``(key, data) -> (draws, quantities)``, nearly independent draws: thin a chain.
        runs: number of simulations.
        bins: number of bins of the chi-square test; about 10 runs per bin are needed.

    Returns:
        The ranks and the test. A U-shaped rank histogram means a posterior that is too narrow, a
        hill one that is too wide, a slope a biased one.

    Raises:
        ValueError: if draws and truth differ in the number of quantities, or are not finite.

    References:
        Talts et al. (2018), Validating Bayesian inference algorithms with simulation-based
        calibration, arXiv 1804.06788.

    >>> import jax
    >>> def simulate(key):
    ...     return jax.random.normal(key, (1,)), None
    >>> infer = lambda key, data: jax.random.normal(key, (99, 1))
    >>> found = simulation_ranks(jax.random.key(0), simulate, infer, runs=40, bins=4)
    >>> found.p_value > 0.01
    True
    """
    ranks = []
    count = 0
    for i in range(runs):
        if i and i % _KEPT == 0:
            jax.clear_caches()
        truth, data = simulate(stream(key, "simulate", i))
        truth = np.asarray(truth, np.float64)
        draws = np.asarray(infer(stream(key, "infer", i), data), np.float64)
        if draws.ndim != 2 or draws.shape[1:] != truth.shape:
            raise ValueError(f"draws {draws.shape} do not fit the truth's {truth.shape}")
        if not np.isfinite(draws).all():
            raise ValueError(f"simulation {i} has draws that are not finite")
        count = len(draws)
        ranks.append((draws < truth).sum(axis=0))
    found = np.array(ranks)
    edges = np.linspace(0, count + 1, bins + 1)
    # Bins hold different numbers of ranks where these do not divide evenly.
    expected = np.diff(np.ceil(edges)) / (count + 1) * runs
    p = []
    for column in found.T:
        observed = np.histogram(column, np.ceil(edges) - 0.5)[0]
        p.append(float(law.chisquare(observed, expected).pvalue))
    return SimulationRanks(found, count, np.array(p), float(min(1.0, min(p) * len(p))))
