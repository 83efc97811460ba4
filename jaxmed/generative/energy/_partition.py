"""The partition function of a restricted Boltzmann machine: exactly, or by annealing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from jaxmed.core import Array, Key, stream
from jaxmed.generative.energy._enumerate import enumerable, exact_draws, exact_log_partition
from jaxmed.generative.energy._rbm import (
    checked,
    draw_visible,
    flat,
    free_energy,
    gibbs,
    hidden_field,
    is_gaussian,
    log_scale,
    start_chains,
    visible_mean,
    whole,
)
from jaxmed.stats import Estimate

Method = Literal["exact", "ais", "reverse_ais", "bracket"]
_DRAWN = 20  # Units up to which the reverse chains begin at independent exact draws.
_FEW = 0.1  # Share of the chains that must count, or a note says so.


def log_partition(
    key: Key | None,
    params: Mapping[str, Array],
    *,
    method: Method = "exact",
    chains: int = 100,
    temperatures: int | Sequence[float] = 1000,
    mean: Array | None = None,
    start: Array | None = None,
    burn_in: int = 1000,
    level: float = 0.95,
) -> Estimate:
    r"""Estimate the logarithm of a machine's partition function, in nats.

    *Exact*: all states of the smaller side are added up, to 25 units. *Annealed importance
    sampling* moves chains from a machine without interactions, whose Z is known, through machines
    between it and this one: the mean of their weights is unbiased for Z, so its logarithm is too
    low on average, and a likelihood made of it too high. *Reverse* annealing begins at draws from
    this machine and goes back: its estimate is too high on average where those are exact draws.
    Both together
    *bracket* it: the interval is from the lower limit of the one to the upper limit of the other,
    the value midway between them.

    Args:
        key: random key; for ``"exact"`` None will do.
        params: of an :func:`~jaxmed.generative.rbm`, or what
            :func:`~jaxmed.generative.as_rbm` makes of a deep machine's.
        method: how.
        chains: number of chains, each with one weight.
        temperatures: how many steps, evenly from 0 to 1, or the inverse temperatures themselves.
        mean: (pixels, or their shape) the mean image of the data, which the machine without
            interactions is given: the nearer it is to this one, the shorter the way. By default the
            mean of chains of ``burn_in`` Gibbs steps from noise.
        start: (chains, ...) draws from this machine from which reverse annealing begins, such as
            persistent chains. By default exact draws of machines of up to 20 units on the
            smaller side, and else chains of ``burn_in`` Gibbs steps from noise, which a note says.
        burn_in: see ``mean`` and ``start``.
        level: of the interval, which is a normal one for the mean weight, on the log scale.

    Returns:
        The estimate. ``details`` has ``sd_log_weights`` and ``effective_chains`` of each
        annealing; a note says where few chains carry the mean.

    Raises:
        ValueError: parameters that are no RBM's, a method that does not exist, more states than can
            be enumerated, fewer than two chains, inverse temperatures that do not rise from 0 to
            1, a mean of binary pixels outside (0, 1), a ``start`` of another shape, or no key for
            annealing.

    References:
        Salakhutdinov and Murray (2008), On the quantitative analysis of deep belief networks, ICML.
        Burda, Grosse and Salakhutdinov (2015), Accurate and conservative estimates of MRF
        log-likelihood using reverse annealing, AISTATS.

    >>> params = {"kernel": jnp.zeros((3, 2)), "visible_bias": jnp.zeros(3),
    ...           "hidden_bias": jnp.zeros(2)}
    >>> round(log_partition(None, params).value, 3)  # log 32
    3.466
    """
    checked(params)
    if not 0 < level < 1:
        raise ValueError(f"level is in (0, 1), got {level}")
    if method == "exact":
        return _exact(params, level)
    if method not in ("ais", "reverse_ais", "bracket"):
        raise ValueError(f"method is 'exact', 'ais', 'reverse_ais' or 'bracket', got {method!r}")
    if key is None:
        raise ValueError(f"method={method!r} needs a random key")
    if chains < 2 or not whole(chains):
        raise ValueError(f"an interval needs at least two chains, got {chains}")
    betas = _betas(temperatures)
    base = _base(stream(key, "mean"), params, mean, chains, burn_in)
    found: dict[str, tuple[float, float, dict[str, float]]] = {}
    notes: tuple[str, ...] = ()
    if method != "reverse_ais":
        weights = _forward(stream(key, "ais"), params, base, betas, chains)
        found["ais"] = _summary(weights, _log_base(params, base), +1)
    if method != "ais":
        begin, notes = _starts(stream(key, "start"), params, chains, start, burn_in)
        weights = _backward(stream(key, "reverse"), params, base, betas, begin)
        found["reverse_ais"] = _summary(weights, _log_base(params, base), -1)
    return _estimate(found, chains, len(betas), level, notes)


def _exact(params: Mapping[str, Array], level: float) -> Estimate:
    value, states = exact_log_partition(params), 2 ** enumerable(params)
    note = f"a sum over {states} states, no error but rounding's"
    return Estimate(
        value, value, value, level, states, "state", "enumeration", (note,), name="log Z"
    )


def _estimate(
    found: Mapping[str, tuple[float, float, dict[str, float]]],
    chains: int,
    temperatures: int,
    level: float,
    notes: tuple[str, ...],
) -> Estimate:
    z = float(norm.ppf(0.5 + 0.5 * level))
    limits = [value + side * z * se for value, se, _ in found.values() for side in (-1, 1)]
    values = [value for value, _, _ in found.values()]
    names = {"ais": "annealed importance sampling", "reverse_ais": "reverse annealing"}
    details = {}
    for name, (_, _, more) in found.items():
        prefix = "" if len(found) == 1 else f"{name}/"
        details |= {prefix + key: number for key, number in more.items()}
        if more["effective_chains"] < max(_FEW * chains, 2):
            notes += (
                f"{names[name]}: {more['effective_chains']:.1f} of {chains} chains carry the mean "
                f"weight, so that the interval is too narrow: take more temperatures",
            )
    method = " and ".join(names[name] for name in found) + f", {temperatures} temperatures"
    return Estimate(
        float(np.mean(values)), min(limits), max(limits), level, chains, "chain", method, notes,
        se=next(iter(found.values()))[1] if len(found) == 1 else None,
        details={**details, **{name: value for name, (value, _, _) in found.items()}},
        name="log Z",
    )  # fmt: skip


def _summary(weights: Array, log_base: float, sign: int) -> tuple[float, float, dict[str, float]]:
    """The estimate of log Z, its standard error by the delta method, and what tells of both.

    ``sign`` is -1 where the weights are those of going back, whose mean is of one over Z.
    """
    w = np.asarray(weights, np.float64)
    n = len(w)
    relative = np.exp(w - logsumexp(w) + np.log(n))  # of mean 1
    value = log_base + sign * float(logsumexp(w) - np.log(n))
    se = float(relative.std(ddof=1) / n**0.5)
    effective = float(n**2 / np.square(relative).sum())
    return value, se, {"sd_log_weights": float(w.std(ddof=1)), "effective_chains": effective}


def _betas(temperatures: int | Sequence[float]) -> Array:
    if isinstance(temperatures, int | np.integer):
        if temperatures < 1:
            raise ValueError(f"annealing makes at least one step, got {temperatures}")
        return jnp.linspace(0.0, 1.0, int(temperatures) + 1)
    betas = np.asarray(temperatures, np.float64)
    if betas.ndim != 1 or len(betas) < 2 or betas[0] != 0 or betas[-1] != 1:
        raise ValueError("inverse temperatures are a sequence from 0 to 1, both included")
    if (np.diff(betas) <= 0).any():
        raise ValueError("inverse temperatures rise from each to the next")
    return jnp.asarray(betas, jnp.float32)


def _base(
    key: Key, params: Mapping[str, Array], mean: Array | None, chains: int, burn_in: int
) -> Array:
    """The visible biases of the machine without interactions.

    They may be anything that the chains of annealing do not see. This machine's own biases are no
    good: what its hidden units add to them in the mean is missing.
    """
    bias = params["visible_bias"]
    if mean is None:
        noise = start_chains(stream(key, "noise"), params, chains)
        moved = gibbs(stream(key, "gibbs"), params, noise, steps=burn_in)
        mean = visible_mean(params, jax.nn.sigmoid(hidden_field(params, moved))).mean(0)
    given = np.asarray(mean, np.float32).ravel()
    if given.shape != bias.shape:
        raise ValueError(f"the mean has {given.size} pixels, the machine {bias.size}")
    if not np.isfinite(given).all():
        raise ValueError("the mean image holds values that are not finite")
    if is_gaussian(params):
        return jnp.asarray(given)
    if given.min() < 0 or given.max() > 1:
        raise ValueError(
            f"means of binary pixels are in [0, 1], got {given.min():g} to {given.max():g}"
        )
    inside = np.clip(given, 0.01, 0.99)  # A pixel that never varied in the data still may.
    return jnp.asarray(np.log(inside) - np.log1p(-inside))


def _log_base(params: Mapping[str, Array], base: Array) -> float:
    """Log Z of the machine without interactions."""
    free = params["hidden_bias"].size * np.log(2.0)
    if is_gaussian(params):
        scale = np.asarray(log_scale(params), np.float64)
        return float(free + (scale + 0.5 * np.log(2 * np.pi)).sum())
    return float(free + np.logaddexp(0, np.asarray(base, np.float64)).sum())


def tempered(params: Mapping[str, Array], base: Array, beta: Array) -> dict[str, Array]:
    """The machine on the way, again an RBM: its interactions and hidden biases times ``beta``."""
    return {
        **params,
        "kernel": beta * params["kernel"],
        "visible_bias": (1 - beta) * base + beta * params["visible_bias"],
        "hidden_bias": beta * params["hidden_bias"],
    }


@jax.jit
def _annealed(key, params, base, betas, visible):
    """The log weights of chains that go through the machines of ``betas`` in their order."""

    def move(carry, step):
        v, log_weight = carry
        before, after = (tempered(params, base, betas[step + i]) for i in range(2))
        log_weight += free_energy(before, v) - free_energy(after, v)
        return (gibbs(stream(key, step), after, v), log_weight), None

    start = visible, jnp.zeros(len(visible))
    return jax.lax.scan(move, start, jnp.arange(len(betas) - 1))[0][1]


def _forward(key, params, base, betas, chains):
    free = tempered(params, base, jnp.zeros(()))
    hidden = jnp.zeros((chains, params["hidden_bias"].size))
    first = draw_visible(stream(key, "base"), free, hidden)
    with jax.default_matmul_precision("highest"):
        return _annealed(stream(key, "anneal"), params, base, betas, first)


def _backward(key, params, base, betas, begin):
    with jax.default_matmul_precision("highest"):
        return _annealed(stream(key, "anneal"), params, base, betas[::-1], begin)


def _starts(key, params, chains, start, burn_in) -> tuple[Array, tuple[str, ...]]:
    """Draws from the machine itself."""
    if start is not None:
        begin = flat(start)
        checked(params, begin)
        if len(begin) != chains:
            raise ValueError(f"{chains} chains begin at as many draws, got {len(begin)}")
        return begin, ("reverse chains begin at given draws, taken for draws from the machine",)
    if enumerable(params) <= _DRAWN:
        return exact_draws(key, params, chains), ()
    noise = start_chains(stream(key, "noise"), params, chains)
    note = f"reverse chains begin after {burn_in} Gibbs steps, which may be too few"
    return gibbs(stream(key, "burn in"), params, noise, steps=burn_in), (note,)
