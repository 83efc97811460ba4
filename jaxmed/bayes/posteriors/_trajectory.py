"""Posteriors from training runs: snapshots, SWA and SWAG; mixtures of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.bayes.posteriors._posterior import Posterior, make_posterior, members
from jaxmed.bayes.posteriors._refresh import refreshed_statistics
from jaxmed.core import Array, Endpoints, Key, Learner, LearnerState, Network, PyTree, stream


def ensemble_posterior(network: Network, state: LearnerState) -> Posterior:
    """Return the posterior of an ensemble trained by :func:`jaxmed.ensemble`.

    Args:
        network: network of the members.
        state: state of the ensemble's learner.

    Returns:
        A posterior with one sample per member, each with its own state.

    References:
        Lakshminarayanan, Pritzel, Blundell (2017), NeurIPS. Wilson and Izmailov (2020), NeurIPS.
    """
    return members(network, state.params["net"], state.state["net"])


def trajectory(
    learner: Learner, state: LearnerState, batches: Any, *, steps: int, every: int
) -> tuple[LearnerState, PyTree, PyTree]:
    """Continue training and collect snapshots of the parameters at regular intervals.

    Each step is a compiled program called from the host, not a compiled loop of steps.

    Args:
        learner: any learner of a single network (not an ensemble).
        state: state to continue from; it is not changed.
        batches: as returned by :func:`jaxmed.data.batches`, or a function from step to batch.
        steps: number of steps.
        every: steps between two snapshots; the last one is at the last step if it divides
            ``steps``.

    Returns:
        The last state, and the stacked parameters and network states of the snapshots. Pass these
        to :func:`members` (snapshot ensemble) or :func:`swag`.

    Raises:
        ValueError: if ``steps`` holds no snapshot.

    References:
        Huang et al. (2017), Snapshot ensembles, ICLR, with :func:`cyclical_rate`.
    """
    if not 1 <= every <= steps:
        raise ValueError(f"every must lie in 1..steps={steps}, got {every}")
    step = jax.jit(learner.step)
    take = batches if callable(batches) else batches.__getitem__
    params, states = [], []
    at = int(np.max(np.asarray(state.step)))
    for i in range(1, steps + 1):
        state, _ = step(state, take(at + i - 1))
        if i % every == 0:
            params.append(jax.tree.map(np.asarray, state.params["net"]))
            states.append(jax.tree.map(np.asarray, state.state["net"]))

    def stack(trees):
        return jax.tree.map(lambda *x: np.stack(x), *trees)

    return state, stack(params), stack(states)


def cyclical_rate(rate: float, period: int) -> Callable[[Array], Array]:
    r"""Create a cosine learning rate schedule that restarts every ``period`` steps.

    .. math:: \tfrac{r}{2} \left(1 + \cos \frac{\pi (t \bmod T)}{T}\right)

    Args:
        rate: learning rate at the start of each cycle.
        period: steps per cycle.

    Returns:
        An Optax schedule.

    >>> float(cyclical_rate(0.2, 10)(10)), round(float(cyclical_rate(0.2, 10)(5)), 3)
    (0.20000000298023224, 0.1)
    """

    def schedule(step):
        return 0.5 * rate * (1 + jnp.cos(jnp.pi * (jnp.asarray(step) % period) / period))

    return schedule


class SwagMoments(NamedTuple):
    """First and second moments of a run's parameters.

    Attributes:
        mean: (parameters,), the SWA solution.
        diagonal: (parameters,) mean square minus squared mean.
        deviations: (rank, parameters) from the running mean, of the last snapshots.
    """

    mean: Array
    diagonal: Array
    deviations: Array

    def covariance(self) -> Array:
        """Covariance (parameters, parameters): half diagonal, half low-rank."""
        k = len(self.deviations)
        low = self.deviations.T @ self.deviations / (2 * max(k - 1, 1))
        return jnp.diag(0.5 * self.diagonal) + low


def swag_moments(draws: Any, *, rank: int | None = None) -> SwagMoments:
    """Compute moments of snapshots by algorithm 1 of Maddox et al.

    Args:
        draws: (snapshots, parameters).
        rank: number of the last deviations kept; all by default.

    Raises:
        ValueError: for fewer than two snapshots, or a snapshot that is not finite.
    """
    x = jnp.asarray(draws)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"two or more snapshots (snapshots, parameters), not {x.shape}")
    if not bool(jnp.isfinite(x).all()):
        raise ValueError("a snapshot holds NaN or infinities: the run diverged")
    count = jnp.arange(1, len(x) + 1, dtype=x.dtype)[:, None]
    running = jnp.cumsum(x, axis=0) / count
    mean = running[-1]
    diagonal = jnp.maximum((x**2).mean(axis=0) - mean**2, 0)
    kept = len(x) if rank is None else min(rank, len(x))
    return SwagMoments(mean, diagonal, (x - running)[-kept:])


def swag(
    network: Network,
    params: PyTree,
    states: PyTree,
    *,
    rank: int = 20,
    scale: float = 1.0,
    refresh: Any = None,
    default: int = 30,
) -> Posterior:
    r"""Return the normal posterior with the moments of a run's snapshots (SWAG).

    .. math:: N\left(\bar\theta, \tfrac12 \left(\text{diag} + D D^T / (K - 1)\right)\right)

    Args:
        network: any network.
        params: stacked snapshots, as returned by :func:`trajectory`, from a run at a constant,
            rather high learning rate.
        states: stacked states; their mean is used unless ``refresh`` is given.
        rank: number of deviations kept.
        scale: scale of the covariance; 0 gives SWA, the mean alone.
        refresh: training inputs (batches, batch, ...), an array or a tree of them, from which
            BatchNorm's running statistics are recomputed for each sample, as the method requires,
            whatever the layer's momentum. Costs one pass per batch, and one more.
        default: number of samples where none is asked for.

    Returns:
        A posterior. Several runs make MultiSWAG by :func:`mixture`.

    Raises:
        ValueError: as :func:`swag_moments`.

    References:
        Maddox et al. (2019), A simple baseline for Bayesian uncertainty in deep learning, NeurIPS.
    """
    leaves, structure = jax.tree.flatten(params)
    shapes = [np.shape(leaf)[1:] for leaf in leaves]
    flat = jnp.concatenate([jnp.asarray(x).reshape(len(x), -1) for x in leaves], axis=1)
    moments = swag_moments(flat, rank=rank)
    mean_state = jax.tree.map(_mean_state, states)
    content = (moments, mean_state, jax.tree.map(jnp.asarray, refresh))

    def draw(content, key, i):
        del i
        moments, state, inputs = content
        k = len(moments.deviations)
        one = jax.random.normal(stream(key, "diagonal"), moments.mean.shape, moments.mean.dtype)
        two = jax.random.normal(stream(key, "low rank"), (k,), moments.mean.dtype)
        step = jnp.sqrt(0.5 * moments.diagonal) * one
        step = step + two @ moments.deviations / jnp.sqrt(2.0 * max(k - 1, 1))
        vector = moments.mean + jnp.sqrt(jnp.asarray(scale, step.dtype)) * step
        parts = jnp.split(vector, np.cumsum([int(np.prod(s)) for s in shapes])[:-1])
        drawn = structure.unflatten([p.reshape(s) for p, s in zip(parts, shapes)])
        if inputs is not None:

            def update(state, x, at):
                at_key = stream(key, "refresh", at)
                return network.apply(drawn, state, x, key=at_key, train=True)[1]

            state = refreshed_statistics(update, state, inputs)
        return drawn, state

    once = refresh is not None
    return make_posterior(network, content, draw, default=default, draw_once=once)


def _mean_state(leaf: Any) -> Array:
    leaf = jnp.asarray(leaf)
    return leaf.mean(axis=0) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf[-1]


def mixture(posteriors: Sequence[Any], *, default: int = 30) -> Posterior:
    """Return the equal mixture of several posteriors of a network: MultiSWAG, chains, runs.

    Args:
        posteriors: any posteriors with the same parameter structure.
        default: default number of samples, divided among the components.

    Returns:
        A posterior.

    Raises:
        ValueError: for no posteriors, or fewer samples than components.
    """
    parts = list(posteriors)
    if not parts:
        raise ValueError("a mixture has at least one part")

    def shares(n: int | None) -> list[int]:
        n = default if n is None else n
        if n < len(parts):
            raise ValueError(f"{n} samples of a mixture of {len(parts)} parts")
        return [n // len(parts) + (i < n % len(parts)) for i in range(len(parts))]

    def join(found: list[Any]) -> Any:
        return jax.tree.map(lambda *x: jnp.concatenate(x), *found)

    def sample(key: Key, n: int | None = None) -> PyTree:
        pieces = enumerate(zip(parts, shares(n)))
        return join([p.sample(stream(key, "part", i), k) for i, (p, k) in pieces])

    def predictive(key: Key, inputs: PyTree, n: int | None = None, **options: Any) -> Endpoints:
        pieces = enumerate(zip(parts, shares(n)))
        return join(
            [p.predictive(stream(key, "part", i), inputs, k, **options) for i, (p, k) in pieces]
        )

    return Posterior(sample, predictive)
