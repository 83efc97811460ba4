"""Information criteria of networks: pointwise likelihoods for LOO and WAIC; AIC and BIC."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed import stats
from jaxmed.bayes.posteriors._laplace import Laplace
from jaxmed.bayes.posteriors._likelihood import Likelihood
from jaxmed.bayes.posteriors._posterior import predict_samples
from jaxmed.core import Batch, Key


def pointwise_log_likelihood(
    posterior: Any,
    key: Key,
    batch: Batch,
    likelihood: Likelihood,
    n: int | None = None,
    *,
    size: int = 64,
) -> np.ndarray:
    """Compute the log likelihood of each case at each draw, for ``stats.psis_loo`` and ``waic``.

    Args:
        posterior: any posterior.
        key: random key of the draws.
        batch: the cases the posterior was fitted to; rows of weight 0 are left out.
        likelihood: the likelihood it was fitted with.
        n: number of draws.
        size: number of cases computed at a time.

    Returns:
        ``(draws, cases)``.
    """
    weight = np.asarray(batch.get("weight", np.ones(len(batch[likelihood.target]))))
    kept = np.flatnonzero(weight > 0)
    outputs = predict_samples(
        posterior,
        key,
        jax.tree.map(lambda x: np.asarray(x)[kept], likelihood.inputs_of(batch)),
        n,
        output=likelihood.output,
        size=size,
    )
    targets = jnp.asarray(np.asarray(batch[likelihood.target])[kept])
    return np.stack([np.asarray(likelihood.log_prob(jnp.asarray(o), targets)) for o in outputs])


class NetworkCriteria(NamedTuple):
    """Information criteria of a network.

    effective: with the effective number of parameters from the Laplace approximation; counted:
    with all parameters, which is meaningless for most networks; effective_parameters, parameters;
    notes: reasons.
    """

    effective: stats.InformationCriteria
    counted: stats.InformationCriteria | None
    effective_parameters: float
    parameters: int
    notes: tuple[str, ...]


def network_criteria(fit: Laplace) -> NetworkCriteria:
    """Compute AIC and BIC of a network with its effective number of parameters.

    Args:
        fit: result of :func:`laplace` over all parameters.

    Returns:
        The criteria. AIC and BIC assume a regular model with fewer parameters than cases; the notes
        say where that fails, and `counted` is then left out. To compare networks use
        ``fit.log_evidence`` or PSIS-LOO of :func:`pointwise_log_likelihood`.

    References:
        MacKay (1992), Neural Computation 4:415 (effective number). Watanabe (2009), Algebraic
        Geometry and Statistical Learning Theory (why BIC fails for networks).
    """
    effective = max(1, round(fit.effective_parameters))
    notes = [
        "a network's likelihood has many equivalent and degenerate optima: AIC's and BIC's theory "
        "does not hold; the effective number of parameters is a local stand-in"
    ]
    counted = None
    if fit.parameters < fit.examples - 1:
        counted = stats.information_criteria(fit.log_likelihood, fit.parameters, fit.examples)
    else:
        notes.append(
            f"{fit.parameters} parameters for {fit.examples} cases: to count all is meaningless"
        )
    return NetworkCriteria(
        stats.information_criteria(fit.log_likelihood, effective, fit.examples),
        counted,
        fit.effective_parameters,
        fit.parameters,
        tuple(notes),
    )
