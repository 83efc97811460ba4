"""Outputs of a linearised network in closed form: moments, draws, probabilities, scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from jaxmed.bayes.posteriors._block import Block, covariances
from jaxmed.bayes.posteriors._likelihood import Likelihood
from jaxmed.bayes.posteriors._model import place
from jaxmed.bayes.posteriors._posterior import arrays_of
from jaxmed.core import Array, Batch, Key, Network, PyTree, stream

Moments = Callable[[Array, Sequence[float]], tuple[Array, Array]]


def output_moments(
    network: Network,
    params: PyTree,
    state: PyTree,
    output: str,
    leaves: Mapping[str, Array],
    blocks: Sequence[Block],
) -> Moments:
    """Return a function for the output moments of a linearised network at several prior precisions.

    Returns:
        ``(inputs, precisions) -> (mean (batch, outputs), covariance (precisions, batch, outputs,
        outputs))``. Jacobians are computed once for all precisions.
    """
    names = [block.paths for block in blocks]

    @jax.jit
    def moments(leaves, arrays, inputs, precisions):
        def one(x):
            def outputs(v):
                alone = jax.tree.map(lambda leaf: leaf[None], x)
                return network.apply(place(params, v), state, alone)[0][output][0]

            mean = outputs(leaves)
            if mean.ndim != 1:
                raise ValueError(
                    f"the closed form is for outputs (batch, outputs), not {(1, *mean.shape)}: "
                    "take samples from predictive"
                )
            jacobian = jax.jacrev(outputs)(leaves)
            spread = jnp.zeros((len(precisions), mean.size, mean.size), mean.dtype)
            for (values, basis), own in zip(arrays, names):
                rows = jnp.concatenate([jacobian[p].reshape(mean.size, -1) for p in own], axis=1)
                spread = spread + covariances(Block(values, basis, own), rows, precisions)
            return mean, spread

        mean, spread = jax.lax.map(one, inputs, batch_size=16)
        return mean, jnp.moveaxis(spread, 1, 0)

    arrays = [(block.values, block.basis) for block in blocks]
    return lambda inputs, precisions: moments(
        leaves, arrays, arrays_of(inputs, jnp.asarray), jnp.asarray(precisions, float)
    )


def held_out_scores(
    moments: Moments,
    likelihood: Likelihood,
    batches: Sequence[Batch],
    precisions: Sequence[float],
    *,
    draws: int = 200,
) -> np.ndarray:
    """Compute the mean log predictive probability of held-out examples at each prior precision.

    The same output draws are used for all precisions, so that their ranking does not depend on
    the draws.
    """

    @jax.jit
    def summed(key, mean, spread, targets):
        def at(spread):
            f = function_samples(key, mean, spread, draws)
            each = jax.vmap(lambda f: likelihood.log_prob(f, targets))(f)
            return (jax.nn.logsumexp(each, axis=0) - jnp.log(draws)).sum()

        return jax.lax.map(at, spread)

    total, count = np.zeros(len(precisions)), 0
    for i, batch in enumerate(batches):
        inputs, targets = likelihood.inputs_of(batch), batch[likelihood.target]
        key = stream(jax.random.key(0), i)
        total += np.asarray(summed(key, *moments(inputs, precisions), targets), np.float64)
        count += len(targets)
    return total / count


def function_samples(key: Key, mean: Array, covariance: Array, n: int) -> Array:
    """Draw outputs independently per example from the moments given by :attr:`Laplace.function`.

    At each example the distribution is that of the linearised network's draws, and for a large
    network this is much cheaper; but draw `i` is not the same network at all examples.

    Args:
        key: random key.
        mean: ``(batch, outputs)``.
        covariance: ``(batch, outputs, outputs)``.
        n: number of draws.

    Returns:
        ``(n, batch, outputs)``.

    >>> cov = jnp.broadcast_to(4.0 * jnp.eye(2), (3, 2, 2))
    >>> draws = function_samples(jax.random.key(0), jnp.ones((3, 2)), cov, 4000)
    >>> draws.shape, round(float(draws.std()), 1)
    ((4000, 3, 2), 2.0)
    """
    values, basis = jnp.linalg.eigh(covariance)
    z = jax.random.normal(key, (n, *mean.shape), mean.dtype)
    return mean + jnp.einsum("bij,nbj->nbi", basis * jnp.sqrt(jnp.maximum(values, 0))[:, None], z)


def probit_probabilities(mean: Any, covariance: Any) -> np.ndarray:
    r"""Compute class probabilities of normal logits by MacKay's approximation.

    .. math:: \text{softmax}\left(\mu / \sqrt{1 + \tfrac{\pi}{8} \text{diag}\,\Sigma}\right)

    Args:
        mean: ``(batch, classes)``; one column is the logit of the positive class.
        covariance: ``(batch, classes, classes)``.

    Returns:
        ``(batch, classes)``, or ``(batch,)`` of the positive class for one column.

    >>> probit_probabilities([[2.0]], [[[0.0]]]).round(3)
    array([0.881])
    """
    m, v = np.asarray(mean, float), np.asarray(covariance, float)
    scaled = m / np.sqrt(1 + np.pi / 8 * np.diagonal(v, axis1=1, axis2=2))
    return special.expit(scaled[:, 0]) if m.shape[1] == 1 else special.softmax(scaled, axis=1)


def logistic_normal_mean(mean: Any, variance: Any, *, points: int = 80) -> np.ndarray:
    """Compute the mean of ``sigmoid(f)`` for normal ``f`` by Gauss-Hermite quadrature.

    Args:
        mean: ``(...,)`` mean of the logit.
        variance: ``(...,)`` variance of the logit.
        points: number of quadrature points.

    >>> logistic_normal_mean([0.0, 2.0], [1.0, 0.0]).round(3)
    array([0.5  , 0.881])
    """
    x, w = np.polynomial.hermite_e.hermegauss(points)
    m, s = np.asarray(mean, float), np.sqrt(np.asarray(variance, float))
    return special.expit(m[..., None] + s[..., None] * x) @ w / np.sqrt(2 * np.pi)
