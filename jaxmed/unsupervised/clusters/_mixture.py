"""Mixtures of Gaussians by expectation and maximisation."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, special

from jaxmed.core import Key, stream
from jaxmed.stats import checks
from jaxmed.unsupervised._rows import (
    computed_in,
    constant_features,
    parts,
    row_weights,
    rows,
    same_features,
)
from jaxmed.unsupervised.clusters._kmeans import kmeans


class GaussianMixture(NamedTuple):
    """A weighted sum of Gaussian densities; made by :func:`gaussian_mixture`.

    Attributes:
        weights: (k,), of sum 1.
        means: (k, d).
        covariances: (k, d, d); (k, d) variances of a diagonal mixture.
        log_likelihood: mean log density of the rows it was fitted to, in nats.
        steps: iterations made.
        converged: whether the likelihood had come to rest before ``max_steps``.
        floored: how many of the components' variances (eigenvalues) are held at the floor. Above 0
            it says that components have collapsed onto few or coplanar rows.
    """

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    covariances: NDArray[np.float64]
    log_likelihood: float
    steps: int
    converged: bool
    floored: int

    def log_density(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return the log density (n,) of rows (n, d), in nats, computed in float64."""
        return special.logsumexp(self._joint(x), axis=1)

    def responsibilities(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return the probability (n, k) that a row (n, d) comes from each component."""
        joint = self._joint(x)
        return np.exp(joint - special.logsumexp(joint, axis=1, keepdims=True))

    def assign(self, x: ArrayLike) -> NDArray[np.intp]:
        """Return the most probable component (n,) of rows (n, d)."""
        return self._joint(x).argmax(axis=1)

    def sample(self, key: Key, n: int) -> NDArray[np.float64]:
        """Draw n rows (n, d)."""
        n = checks.check_whole(n, "n", 1)
        logits = jnp.log(jnp.asarray(self.weights))
        which = np.asarray(jax.random.categorical(stream(key, "component"), logits, shape=(n,)))
        d = self.means.shape[1]
        noise = np.asarray(jax.random.normal(stream(key, "noise"), (n, d)), np.float64)
        if self.covariances.ndim == 2:
            return self.means[which] + noise * np.sqrt(self.covariances)[which]
        factors = np.linalg.cholesky(self.covariances)
        return self.means[which] + np.einsum("nij,nj->ni", factors[which], noise)

    def _joint(self, x: ArrayLike) -> NDArray[np.float64]:
        given = rows(x).astype(np.float64)
        same_features(given, self.means.shape[1], "x", "the mixture")
        found = np.empty((len(given), len(self.means)))
        for k, (weight, mean, spread) in enumerate(
            zip(self.weights, self.means, self.covariances, strict=True)
        ):
            centred = given - mean
            if spread.ndim == 1:
                squared, half = (centred**2 / spread).sum(axis=1), np.log(spread).sum() / 2
            else:
                factor = linalg.cholesky(spread, lower=True)
                solved = linalg.solve_triangular(factor, centred.T, lower=True)
                squared, half = (solved**2).sum(axis=0), np.log(np.diag(factor)).sum()
            constant = given.shape[1] / 2 * np.log(2 * np.pi)
            with np.errstate(divide="ignore"):  # a component that nothing belongs to
                found[:, k] = np.log(weight) - constant - half - squared / 2
        return found


def gaussian_mixture(
    key: Key,
    x: ArrayLike,
    k: int,
    *,
    covariance: Literal["full", "diagonal"] = "full",
    start: Literal["kmeans"] | ArrayLike = "kmeans",
    restarts: int = 1,
    max_steps: int = 200,
    tolerance: float = 1e-5,
    floor: float = 1e-4,
    weight: ArrayLike | None = None,
) -> GaussianMixture:
    """Fit a mixture of Gaussians by expectation and maximisation.

    Features are brought to variance 1 within. No eigenvalue of a component's covariance, no
    variance of a diagonal one, falls below ``floor`` there, so that a component cannot collapse
    onto one row; covariances are the likeliest under this bound, so that the likelihood never
    falls from step to step.

    Args:
        key: random key, for the starts.
        x: (n, d) rows.
        k: the number of components.
        covariance: of each component: ``"full"`` or ``"diagonal"``.
        start: ``"kmeans"``, or means (k, d) whose nearest rows begin each component.
        restarts: how many starts are tried; the likeliest end is kept.
        max_steps: most iterations.
        tolerance: stop once the mean log-likelihood of a row rises by less, in nats.
        floor: least variance of a component, as a share of the feature's in all rows.
        weight: (n,) how much each row counts; one of weight 0 not at all.

    Returns:
        The mixture.

    Raises:
        ValueError: for NaN, more components than rows, or a feature that is constant, along which
            a density is infinite.

    References:
        Dempster, Laird and Rubin (1977), Maximum likelihood from incomplete data via the EM
        algorithm, Journal of the Royal Statistical Society B 39:1.

    Examples:
        >>> x = np.concatenate([np.random.default_rng(0).normal(m, 1, 60) for m in (0, 20)])
        >>> found = gaussian_mixture(jax.random.key(0), x, 2)
        >>> found.weights.round(2).tolist(), sorted(found.means.round().ravel().tolist())
        ([0.5, 0.5], [0.0, 20.0])
    """
    given = rows(x, minimum=2).astype(np.float64)
    w = row_weights(weight, len(given))
    k = parts(k, int((w > 0).sum()))
    if covariance not in ("full", "diagonal"):
        raise checks.unknown("covariance", covariance, ("full", "diagonal"))
    floor = checks.check_number(floor, "floor", above=0)
    max_steps = checks.check_whole(max_steps, "max_steps", 1)
    restarts = checks.check_whole(restarts, "restarts", 1)
    share = w / w.sum()
    mean = share @ given
    deviations = np.sqrt(share @ (given - mean) ** 2)
    constant_features(given[w > 0], "a density along it is infinite")
    z = (given - mean) / deviations
    if not isinstance(start, str):
        means = rows(start, "start")
        same_features(means, z.shape[1], "start", "x")
        if len(means) != k:
            raise ValueError(f"start has {len(means)} means, but k is {k}")
        begins: list[Any] = [(means - mean) / deviations]
        restarts = 1
    elif start == "kmeans":
        begins = ["++"] * restarts
    else:
        raise checks.unknown("start", start, ("kmeans", "or the means themselves"))
    kind = computed_in()
    rows_, mass = jnp.asarray(z.astype(kind)), jnp.asarray((share * len(z)).astype(kind))
    best = None
    for i, begin in enumerate(begins):
        steps = 100 if isinstance(begin, str) else 1
        clusters = kmeans(
            stream(key, "start", i), z, k, start=begin, weight=weight, max_steps=steps
        )
        at = begin if not isinstance(begin, str) else clusters.centres
        labels = clusters._replace(centres=np.asarray(at)).assign(z).labels
        ended = _climb(
            rows_, mass, jnp.asarray(labels), k, floor, tolerance,
            full=covariance == "full", max_steps=max_steps,
        )  # fmt: skip
        if best is None or float(ended[1]) > float(best[1]):
            best = ended
    assert best is not None
    (weights, centres, values, vectors), likelihood, steps, resting = best
    spreads = np.asarray(values, np.float64)
    held = int((spreads <= floor * (1 + 1e-5)).sum())
    if covariance == "full":
        turned = np.asarray(vectors, np.float64) * deviations[:, None]
        covariances = np.einsum("kij,kj,klj->kil", turned, spreads, turned)
    else:
        covariances = spreads * deviations**2
    weights = np.asarray(weights, np.float64)
    return GaussianMixture(
        weights / weights.sum(),
        np.asarray(centres, np.float64) * deviations + mean,
        covariances,
        float(likelihood) - float(np.log(deviations).sum()),
        int(steps),
        bool(resting),
        held,
    )


@partial(jax.jit, static_argnums=3, static_argnames=("full", "max_steps"))
def _climb(z, mass, labels, k, floor, tolerance, *, full, max_steps):
    """Iterate from clusters to rest: parameters, mean log-likelihood, steps, whether at rest."""
    n, d = z.shape
    high = jax.lax.Precision.HIGHEST

    def log_joint(parameters):
        weights, means, values, vectors = parameters

        def one(part):
            mean, value, vector = part
            turned = jnp.matmul(z - mean, vector, precision=high) if full else z - mean
            return -((turned**2 / value).sum(1) + jnp.log(value).sum()) / 2

        densities = jax.lax.map(one, (means, values, vectors))  # (k, n)
        return densities + jnp.log(weights)[:, None] - d / 2 * jnp.log(2 * jnp.pi)

    def maximised(shares, parameters):
        """The likeliest parameters for responsibilities (k, n), none below the floor."""
        counts = (shares * mass).sum(1)
        lost = counts < 1e-6  # what nothing belongs to stays where it was

        def one(part):
            share, count, old = part
            rates = share * mass / jnp.maximum(count, 1e-6)
            mean = jnp.matmul(rates, z, precision=high)
            centred = z - mean
            if full:
                spread = jnp.matmul((centred * rates[:, None]).T, centred, precision=high)
                values, vectors = jnp.linalg.eigh(spread)
            else:
                values = jnp.matmul(rates, centred**2, precision=high)
                vectors = jnp.zeros((0, 0), z.dtype)
            new = mean, jnp.maximum(values, floor), vectors
            return jax.tree.map(lambda a, b: jnp.where(count < 1e-6, b, a), new, old)

        found = jax.lax.map(one, (shares, counts, parameters[1:]))
        return (jnp.where(lost, 0, counts) / n, *found)

    def step(carried):
        parameters, before, steps, _ = carried
        joint = log_joint(parameters)
        each = jax.scipy.special.logsumexp(joint, axis=0)
        likelihood = (mass * each).sum() / n
        return (
            maximised(jnp.exp(joint - each), parameters),
            likelihood,
            steps + 1,
            likelihood - before < tolerance,
        )

    size = (k, d, d) if full else (k, 0, 0)
    unit = jnp.broadcast_to(jnp.eye(size[1], dtype=z.dtype), size)
    blank = jnp.ones((k,), z.dtype) / k, jnp.zeros((k, d), z.dtype), jnp.ones((k, d), z.dtype), unit
    first = maximised(jax.nn.one_hot(labels, k, axis=0, dtype=z.dtype), blank)
    carried = first, jnp.asarray(-jnp.inf, z.dtype), jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    parameters, _, steps, resting = jax.lax.while_loop(
        lambda carried: ~carried[3] & (carried[2] < max_steps), step, carried
    )
    ended = jax.scipy.special.logsumexp(log_joint(parameters), axis=0)
    return parameters, (mass * ended).sum() / n, steps, resting
