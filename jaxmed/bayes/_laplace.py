"""Laplace's approximation: a normal around the trained parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize, special

from jaxmed.bayes._block import Block, covariance, solve
from jaxmed.bayes._curvature import STRUCTURES, curvature
from jaxmed.bayes._likelihood import Likelihood
from jaxmed.bayes._model import last_layer, place, select
from jaxmed.bayes._posterior import Posterior, make_posterior
from jaxmed.core import Array, Batch, Endpoints, Key, Network, PyTree, stream


class Laplace(NamedTuple):
    """A Laplace approximation; the first two fields are a posterior's.

    Attributes:
        sample: as :class:`Posterior`.
        predictive: as :class:`Posterior`; linearised unless asked otherwise.
        function: ``(inputs) -> (mean (batch, outputs), covariance (batch, outputs, outputs))`` of
            the linearised network's outputs, in closed form.
        log_evidence: Laplace's log marginal likelihood at ``prior_precision``.
        evidence_at: the same as a function of the precision.
        prior_precision: the one used.
        effective_parameters: how many directions the data determine, between 0 and ``parameters``.
        parameters: number of random parameters.
        log_likelihood: of the data at the mode.
        examples: how many.
        blocks: the curvature.
        notes: warnings.
    """

    sample: Callable[..., PyTree]
    predictive: Callable[..., Endpoints]
    function: Callable[[Array], tuple[Array, Array]]
    log_evidence: float
    evidence_at: Callable[[float], float]
    prior_precision: float
    effective_parameters: float
    parameters: int
    log_likelihood: float
    examples: int
    blocks: list[Block]
    notes: tuple[str, ...] = ()


def laplace(
    network: Network,
    params: PyTree,
    state: PyTree,
    batches: Iterable[Batch] | Batch,
    likelihood: Likelihood,
    *,
    structure: str = "kron",
    subset: str | None = None,
    prior_precision: float | str = "evidence",
    linearise: bool = True,
    default: int = 30,
) -> Laplace:
    r"""Approximate the posterior by a normal at the trained parameters.

    .. math:: q = N\left(\theta_*, (G + \tau I)^{-1}\right), \qquad
        G = \sum_n J_n^T \Lambda_n J_n

    with the generalised Gauss-Newton matrix `G` of the likelihood alone, and predictions of the
    linearised network :math:`f(x; \theta_*) + J(x)(\theta - \theta_*)`: the network itself under
    these draws would predict badly, for `G` is the curvature of the linearised one.

    Args:
        network: any network, Linen or NNX or functions.
        params: trained parameters: the mode, with weight decay :math:`\tau` over the number of
            examples on their mean loss.
        state: its state; BatchNorm is used in evaluation.
        batches: the training batches of one epoch, or one batch with all.
        likelihood: :func:`categorical`, :func:`bernoulli` or :func:`normal`.
        structure: ``full``, for a few thousand parameters or, of a larger network, a few hundred
            examples: where it has fewer rows ``J`` than parameters, these are kept in its place;
            ``kron``: Kronecker factors a kernel, a full block a bias, K-FAC's for Linen's dense
            layers and, for convolutions and all other networks, factors by the second moments of
            each example's gradient, which keep the trace; ``diag``.
        subset: a regular expression for the parameters that are random; ``last_layer`` finds the
            last layer; all by default.
        prior_precision: :math:`\tau`, or ``evidence``: where the marginal likelihood is highest.
        linearise: whether predictions are of the linearised network.
        default: number of samples where none is asked for.

    Returns:
        The approximation.

    Raises:
        ValueError: for no examples, an unknown structure, a log likelihood that is not finite, or
            a ``full`` matrix of over 2 GB.

    References:
        MacKay (1992), Neural Computation 4:448. Ritter, Botev, Barber (2018), ICLR (Kronecker).
        Immer, Korzepa, Bauer (2021), AISTATS (linearised). Daxberger et al. (2021), NeurIPS.
    """
    if structure not in STRUCTURES:
        raise ValueError(f"structure must be one of {sorted(STRUCTURES)}, got {structure!r}")
    if isinstance(batches, Mapping):
        batches = [batches]
    batches = list(batches) if not hasattr(batches, "iterate") else _epoch(batches)
    first = batches[0]
    if subset == "last_layer":
        subset = last_layer(network, params, state, first[likelihood.inputs])
    leaves = {p: jnp.asarray(x) for p, x in sorted(select(params, subset).items())}
    size = sum(math.prod(x.shape) for x in leaves.values())
    blocks, log_likelihood, examples = curvature(
        network, params, state, batches, likelihood, leaves, structure
    )
    values = np.concatenate([np.asarray(b.values, np.float64) for b in blocks])
    square = float(sum(np.sum(np.asarray(x, np.float64) ** 2) for x in leaves.values()))

    def evidence_at(precision: float) -> float:
        log_det = float(np.log1p(values / precision).sum())
        return log_likelihood - 0.5 * (log_det + precision * square)

    notes: tuple[str, ...] = ()
    if prior_precision == "evidence":
        found = optimize.minimize_scalar(
            lambda t: -evidence_at(math.exp(t)), bounds=(-12, 18), method="bounded"
        )
        tau = float(np.exp(found.x))
        if not -11.9 < found.x < 17.9:
            notes = (f"the evidence has no maximum: the prior precision ran to {tau:.3g}",)
    else:
        tau = float(prior_precision)
        if not tau > 0:
            raise ValueError(f"prior_precision must be positive, got {prior_precision!r}")
    content = {"params": params, "state": state, "blocks": [(b.values, b.basis) for b in blocks]}
    paths, sizes = [b.paths for b in blocks], [b.size for b in blocks]

    def deviation(content, key):
        moved = {}
        for i, ((block_values, basis), names) in enumerate(zip(content["blocks"], paths)):
            z = jax.random.normal(stream(key, "block", i), (sizes[i],), block_values.dtype)
            # A symmetric root keeps this the draw that `solve` defines, whatever the basis' signs.
            step = solve(Block(block_values, basis, names), z, tau, -0.5)
            moved |= _cut(step, {name: leaves[name] for name in names})
        return moved

    def draw(content, key, i):
        del i
        moved = deviation(content, key)
        mode = content["params"]
        new = {p: x + moved[p] for p, x in select(mode, subset).items()}
        return place(mode, new), content["state"]

    def linear_predict(content, drawn, inputs, key):
        del key
        mode = select(content["params"], subset)
        at = select(drawn[0], subset)

        def endpoints(v):
            return network.apply(place(content["params"], v), content["state"], inputs)[0]

        value, change = jax.jvp(endpoints, (mode,), ({p: at[p] - mode[p] for p in mode},))

        def add(a, b):
            return a + b if jnp.issubdtype(jnp.result_type(a), jnp.inexact) else a

        return jax.tree.map(add, value, change)

    made: Posterior = make_posterior(
        network, content, draw, default=default, predict=linear_predict if linearise else None
    )
    function = _function(network, params, state, likelihood, leaves, blocks, tau)
    return Laplace(
        made.sample,
        made.predictive,
        function,
        evidence_at(tau),
        evidence_at,
        tau,
        float((values / (values + tau)).sum()),
        size,
        log_likelihood,
        examples,
        blocks,
        notes,
    )


def _epoch(batches: Any) -> list[Batch]:
    return [batches[step] for step in range(len(batches))]


def _cut(flat: Array, leaves: Mapping[str, Array]) -> dict[str, Array]:
    found, start = {}, 0
    for path in sorted(leaves):
        size = math.prod(leaves[path].shape)
        found[path] = flat[start : start + size].reshape(leaves[path].shape)
        start += size
    return found


def _function(network, params, state, likelihood, leaves, blocks, tau):
    names = [block.paths for block in blocks]

    @jax.jit
    def moments(leaves, arrays, inputs):
        def one(x):
            def outputs(v):
                return network.apply(place(params, v), state, x[None])[0][likelihood.output][0]

            mean = outputs(leaves)
            if mean.ndim != 1:
                raise ValueError(
                    f"the closed form is for outputs (batch, outputs), not {(1, *mean.shape)}: "
                    "take samples from predictive"
                )
            jacobian = jax.jacrev(outputs)(leaves)
            spread = jnp.zeros((mean.size, mean.size), mean.dtype)
            for (values, basis), own in zip(arrays, names):
                rows = jnp.concatenate([jacobian[p].reshape(mean.size, -1) for p in own], axis=1)
                spread = spread + covariance(Block(values, basis, own), rows, tau)
            return mean, spread

        return jax.lax.map(one, inputs, batch_size=16)

    def function(inputs: Array) -> tuple[Array, Array]:
        return moments(leaves, [(b.values, b.basis) for b in blocks], jnp.asarray(inputs))

    return function


def function_samples(key: Key, mean: Array, covariance: Array, n: int) -> Array:
    """Draw outputs from the normal of each example by itself, as :attr:`Laplace.function` gives it.

    Of the same law at each example as draws of the linearised network, and for a large network far
    cheaper; but draw `i` is not the same network at all examples.

    Args:
        key: a key.
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
    r"""Class probabilities of normal logits by MacKay's approximation.

    .. math:: \text{softmax}\left(\mu / \sqrt{1 + \tfrac{\pi}{8} \text{diag}\,\Sigma}\right)

    Args:
        mean: ``(batch, classes)``; one column is a logit of "yes".
        covariance: ``(batch, classes, classes)``.

    Returns:
        ``(batch, classes)``, or ``(batch,)`` of "yes" for one column.

    >>> probit_probabilities([[2.0]], [[[0.0]]]).round(3)
    array([0.881])
    """
    m, v = np.asarray(mean, float), np.asarray(covariance, float)
    scaled = m / np.sqrt(1 + np.pi / 8 * np.diagonal(v, axis1=1, axis2=2))
    return special.expit(scaled[:, 0]) if m.shape[1] == 1 else special.softmax(scaled, axis=1)


def logistic_normal_mean(mean: Any, variance: Any, *, points: int = 80) -> np.ndarray:
    """The mean of ``sigmoid(f)`` for normal ``f``, by Gauss and Hermite's quadrature.

    Args:
        mean: ``(...,)`` of the logit.
        variance: ``(...,)`` of the logit.
        points: of the quadrature.

    >>> logistic_normal_mean([0.0, 2.0], [1.0, 0.0]).round(3)
    array([0.5  , 0.881])
    """
    x, w = np.polynomial.hermite_e.hermegauss(points)
    m, s = np.asarray(mean, float), np.sqrt(np.asarray(variance, float))
    return special.expit(m[..., None] + s[..., None] * x) @ w / np.sqrt(2 * np.pi)
