"""Laplace approximation: a normal distribution around the trained parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from jaxmed.bayes.posteriors._block import Block, solve
from jaxmed.bayes.posteriors._curvature import STRUCTURES, curvature, real_rows
from jaxmed.bayes.posteriors._function_space import held_out_scores, output_moments
from jaxmed.bayes.posteriors._likelihood import Likelihood
from jaxmed.bayes.posteriors._model import last_layer, place, select
from jaxmed.bayes.posteriors._posterior import Posterior, make_posterior
from jaxmed.core import Array, Batch, Endpoints, Network, PyTree, stream


class Laplace(NamedTuple):
    """A Laplace approximation; the first two fields are those of a posterior.

    Attributes:
        sample: as in :class:`Posterior`.
        predictive: as in :class:`Posterior`; linearised by default.
        function: ``(inputs) -> (mean (batch, outputs), covariance (batch, outputs, outputs))`` of
            the linearised network's outputs, in closed form.
        log_evidence: Laplace approximation of the log marginal likelihood at ``prior_precision``.
        evidence_at: the same as a function of the precision.
        at: ``(prior_precision) -> Laplace``, the same curvature under another prior.
        prior_precision: prior precision used.
        effective_parameters: effective number of parameters determined by the data, between 0 and
            ``parameters``.
        parameters: number of random parameters.
        log_likelihood: log likelihood of the data at the mode.
        examples: number of examples.
        blocks: the curvature.
        validation: mean log predictive probability of the validation examples at each candidate
            precision, if it was chosen by validation.
        notes: warnings.
    """

    sample: Callable[..., PyTree]
    predictive: Callable[..., Endpoints]
    function: Callable[[Array], tuple[Array, Array]]
    log_evidence: float
    evidence_at: Callable[[float], float]
    at: Callable[[float], Laplace]
    prior_precision: float
    effective_parameters: float
    parameters: int
    log_likelihood: float
    examples: int
    blocks: list[Block]
    validation: Mapping[float, float]
    notes: tuple[str, ...] = ()


# Candidates of `prior_precision="validation"`.
PRECISIONS = tuple(np.logspace(-4, 6, 41).tolist())


def laplace(
    network: Network,
    params: PyTree,
    state: PyTree,
    batches: Iterable[Batch] | Batch,
    likelihood: Likelihood,
    *,
    structure: Literal["full", "diag", "kron"] = "kron",
    subset: str | None = None,
    prior_precision: float | Literal["evidence", "validation"] = "evidence",
    validation: Iterable[Batch] | Batch | None = None,
    linearise: bool = True,
    default: int = 30,
) -> Laplace:
    r"""Approximate the posterior by a normal distribution at the trained parameters.

    .. math:: q = N\left(\theta_*, (G + \tau I)^{-1}\right), \qquad
        G = \sum_n J_n^T \Lambda_n J_n

    with the generalised Gauss-Newton matrix `G` of the likelihood alone, and predictions by the
    linearised network :math:`f(x; \theta_*) + J(x)(\theta - \theta_*)`: the network itself would
    predict poorly with these draws, since `G` is the curvature of the linearised one.

    Args:
        network: any network, Linen or NNX or functions.
        params: trained parameters: the mode of the mean loss with weight decay :math:`\tau` divided
            by the number of examples.
        state: state of the network; BatchNorm is used in evaluation mode.
        batches: the training batches of one epoch, or one batch with all examples.
        likelihood: :func:`categorical`, :func:`bernoulli` or :func:`normal`.
        structure: ``full``, for a few thousand parameters or, in a larger network, a few hundred
            examples: if ``J`` has fewer rows than parameters, the rows are stored instead of the
            matrix; ``kron``: Kronecker factors per kernel and a full block per bias, using K-FAC
            for Linen's dense layers and, for convolutions and all other networks, factors from the
            second moments of per-example gradients, which preserve the trace; ``diag``.
        subset: a regular expression for the random parameters; ``last_layer`` finds the last
            layer; all by default.
        prior_precision: :math:`\tau`; or ``evidence``: the maximum of the marginal likelihood; or
            ``validation``: the one of 41 values from 1e-4 to 1e6 at which the linearised network's
            mixture predicts ``validation`` best. For a whole network trained with normalisation and
            augmentation, whose weights are not described by a prior of one scale, the marginal
            likelihood may choose a prior so weak that predictions are far too uncertain. The
            curvature is computed once in any case; :attr:`Laplace.at` takes other precisions later.
        validation: batches, or one batch, not used for training; for ``validation``.
        linearise: whether to predict with the linearised network.
        default: default number of samples.

    Returns:
        The approximation.

    Raises:
        ValueError: for no examples, an unknown structure, a log likelihood that is not finite, a
            ``full`` matrix of over 2 GB, or validation examples that are missing or not needed.

    References:
        MacKay (1992), Neural Computation 4:448. Ritter, Botev, Barber (2018), ICLR (Kronecker).
        Immer, Korzepa, Bauer (2021), AISTATS (linearised, precision by validation). Daxberger et
        al. (2021), Laplace redux, NeurIPS.
    """
    if structure not in STRUCTURES:
        raise ValueError(f"structure must be one of {sorted(STRUCTURES)}, got {structure!r}")
    if (validation is None) == (prior_precision == "validation"):
        raise ValueError('validation goes with prior_precision="validation", and with that alone')
    batches = _epoch(batches)
    first = batches[0]
    if subset == "last_layer":
        subset = last_layer(network, params, state, likelihood.inputs_of(first))
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

    content = {"params": params, "state": state, "blocks": [(b.values, b.basis) for b in blocks]}
    paths, sizes = [b.paths for b in blocks], [b.size for b in blocks]

    def draw(content, key, i):
        del i
        mode, tau = content["params"], content["precision"]
        new = select(mode, subset)
        for j, ((block_values, basis), names) in enumerate(zip(content["blocks"], paths)):
            z = jax.random.normal(stream(key, "block", j), (sizes[j],), block_values.dtype)
            # A symmetric root makes the draw independent of the signs of the basis, as in `solve`.
            step = solve(Block(block_values, basis, names), z, tau, -0.5)
            moved = _cut(step, {name: leaves[name] for name in names})
            new |= {name: new[name] + moved[name] for name in names}
        return place(mode, new), content["state"]

    def linear_predict(content, drawn, inputs, key):
        del key
        mode = select(content["params"], subset)
        new = select(drawn[0], subset)

        def endpoints(v):
            return network.apply(place(content["params"], v), content["state"], inputs)[0]

        value, change = jax.jvp(endpoints, (mode,), ({p: new[p] - mode[p] for p in mode},))

        def add(a, b):
            return a + b if jnp.issubdtype(jnp.result_type(a), jnp.inexact) else a

        return jax.tree.map(add, value, change)

    moments = output_moments(network, params, state, likelihood.output, leaves, blocks)

    def under(tau: float, scores: Mapping[float, float] | None = None, notes=()) -> Laplace:
        tau = float(tau)
        if not tau > 0:
            raise ValueError(f"prior_precision must be positive, got {tau!r}")

        def function(inputs: Array) -> tuple[Array, Array]:
            mean, spread = moments(inputs, [tau])
            return mean, spread[0]

        made: Posterior = make_posterior(
            network, {**content, "precision": tau}, draw, default=default,
            predict=linear_predict if linearise else None,
        )  # fmt: skip
        effective = float((values / (values + tau)).sum())
        return Laplace(
            made.sample, made.predictive, function, evidence_at(tau), evidence_at, under, tau,
            effective, size, log_likelihood, examples, blocks, dict(scores or {}), tuple(notes),
        )  # fmt: skip

    if prior_precision == "evidence":
        found = optimize.minimize_scalar(
            lambda t: -evidence_at(math.exp(t)), bounds=(-12, 18), method="bounded"
        )
        tau = float(np.exp(found.x))
        bounded = -11.9 < found.x < 17.9
        note = f"the evidence has no maximum: the prior precision ran to {tau:.3g}"
        return under(tau, notes=() if bounded else (note,))
    if prior_precision == "validation":
        held = real_rows(_epoch(validation), likelihood)
        found = held_out_scores(moments, likelihood, held, PRECISIONS)
        best = int(found.argmax())
        note = f"the best precision is at an end of those tried, {PRECISIONS[best]:.3g}"
        notes = (note,) if best in (0, len(PRECISIONS) - 1) else ()
        return under(PRECISIONS[best], dict(zip(PRECISIONS, found.tolist())), notes)
    return under(float(prior_precision))


def _epoch(batches: Any) -> list[Batch]:
    """Return the batches of one epoch; a single batch counts as an epoch."""
    if isinstance(batches, Mapping):
        return [batches]
    endless = hasattr(batches, "iterate")
    return [batches[step] for step in range(len(batches))] if endless else list(batches)


def _cut(flat: Array, leaves: Mapping[str, Array]) -> dict[str, Array]:
    found, start = {}, 0
    for path in sorted(leaves):
        size = math.prod(leaves[path].shape)
        found[path] = flat[start : start + size].reshape(leaves[path].shape)
        start += size
    return found
