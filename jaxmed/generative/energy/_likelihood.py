"""The log-likelihood of images under a machine whose partition function was estimated."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm, t

from jaxmed.core import Array, Key, Network, Variables
from jaxmed.generative.energy._pixels import HOW, Binarise, binarised
from jaxmed.stats import Estimate, checks


def log_likelihood(
    network: Network,
    variables: Variables,
    images: Array,
    log_z: Estimate,
    *,
    binarise: Binarise,
    key: Key | None = None,
    chunk: int = 1000,
    level: float = 0.95,
) -> Estimate:
    r"""Estimate the mean log-likelihood of images, in nats an image.

    .. math:: \overline{\log p(v)} = -\overline{F(v)} - \log Z

    The interval is for the population that the images are drawn from: half its width is the root of
    the sum of squares of the half widths of :math:`\overline{F}`, a t interval, and of
    :math:`\log Z`, each side with its own.

    Args:
        network: with an endpoint ``free_energy``, such as an
            :func:`~jaxmed.generative.rbm`; or ``free_energy_bound``, a deep machine's: then this is
            a lower bound. A belief network's is :func:`~jaxmed.generative.belief_bound`.
        variables: its parameters and state, such as ``learner.predicting.get(state)``.
        images: (n, ...) test images.
        log_z: of :func:`~jaxmed.generative.log_partition`.
        binarise: how grey values become binary pixels, see
            :func:`~jaxmed.generative.binarised`. A note says it.
        key: random key, where pixels are drawn.
        chunk: images at a time.
        level: of the interval. Where ``log_z`` has another, its width is rescaled as a normal
            one's.

    Returns:
        The estimate. Where ``log_z`` is too low on average, as by annealed importance sampling, it
        is too high.

    Raises:
        ValueError: for fewer than two images, a chunk of none, a draw without a key, grey values
            outside [0, 1], a level outside (0, 1), or a free energy that is not finite.
        TypeError: for a ``log_z`` that is no estimate.
        KeyError: if the network has no free energy.
    """
    check_plan(log_z, chunk, level)
    rows = np.asarray(images)
    if len(rows) < 2:
        raise ValueError(f"an interval needs at least two images, got {len(rows)}")
    visible = np.asarray(binarised(key, jnp.asarray(rows), binarise))
    shaped = visible.reshape(rows.shape)
    apply = jax.jit(
        lambda variables, part: network.apply(variables.params, variables.state, part)[0]
    )
    parts = []
    bound = False
    with jax.default_matmul_precision("highest"):
        for first in range(0, len(rows), chunk):
            endpoints = apply(variables, shaped[first : first + chunk])
            bound = "free_energy" not in endpoints
            name = "free_energy_bound" if bound else "free_energy"
            if name not in endpoints:
                raise KeyError(f"the network has no free energy; it has {sorted(endpoints)}")
            parts.append(np.asarray(endpoints[name], np.float64))
    return from_energies(
        np.concatenate(parts),
        log_z,
        level,
        method="t interval of the free energy",
        notes=(HOW[binarise],),
        name="log-likelihood, lower bound" if bound else "log-likelihood",
    )


def check_plan(log_z: Estimate, chunk: int, level: float) -> None:
    """Refuse what no likelihood is measured with.

    Raises:
        TypeError: for a log Z that is no estimate.
        ValueError: for a chunk of no image, or a level outside (0, 1).
    """
    if not isinstance(log_z, Estimate):
        raise TypeError(f"log_z is the estimate that log_partition gives, got {log_z!r}")
    checks.check_whole(chunk, "chunk", 1)
    checks.check_level(level)


def from_energies(
    energy: np.ndarray,
    log_z: Estimate,
    level: float,
    *,
    method: str,
    notes: tuple[str, ...],
    name: str,
) -> Estimate:
    """The mean log-likelihood of images whose free energies, in float64, are known.

    Raises:
        ValueError: for a free energy that is not finite.
    """
    if not np.isfinite(energy).all():
        raise ValueError(f"{int((~np.isfinite(energy)).sum())} free energies are not finite")
    value = float(-energy.mean() - log_z.value)
    own = float(energy.std(ddof=1) / len(energy) ** 0.5)
    z = float(norm.ppf(0.5 + 0.5 * level))
    ratio = z / float(norm.ppf(0.5 + 0.5 * log_z.level))
    half = float(t.ppf(0.5 + 0.5 * level, len(energy) - 1)) * own
    below, above = ratio * (log_z.upper - log_z.value), ratio * (log_z.value - log_z.lower)
    return Estimate(
        value,
        value - float(np.hypot(half, below)),
        value + float(np.hypot(half, above)),
        level,
        len(energy),
        "image",
        f"{method}, log Z by {log_z.method}",
        (*notes, *log_z.notes),
        details={"log_z": log_z.value, "se_free_energy": own},
        name=name,
    )
