"""Likelihoods of targets given a network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Batch, Inputs, Network, PyTree, network_inputs, pick


class Likelihood(NamedTuple):
    """A distribution of targets given a network's outputs, and their names in a batch.

    Attributes:
        name: ``categorical``, ``bernoulli`` or ``normal``.
        distribution: ``(outputs) -> NumPyro distribution`` of the targets.
        factor: ``(outputs) -> (*outputs.shape, k)``, a square root ``S`` of the curvature:
            ``S S^T`` is minus the Hessian of the log likelihood in the outputs (Fisher
            information).
        inputs: name of the batch array passed to the network.
        target: name of the batch array of targets.
        output: name of the network's endpoint.
    """

    name: str
    distribution: Callable[[Array], Any]
    factor: Callable[[Array], Array]
    inputs: Inputs
    target: str
    output: str

    def log_prob(self, outputs: Array, targets: Array) -> Array:
        """Compute the log likelihood per example, ``(batch,)``, summed over voxels and outputs."""
        values = self.distribution(outputs).log_prob(self.aligned(targets, outputs))
        return values.reshape(values.shape[0], -1).sum(axis=1)

    def aligned(self, targets: Array, outputs: Array) -> Array:
        """Reshape targets to the shape of the outputs' :attr:`distribution`.

        Raises:
            ValueError: if the shapes do not match.
        """
        wanted = self.distribution(outputs).batch_shape
        if targets.ndim == len(wanted) - 1 and wanted[-1] == 1:
            targets = targets[..., None]
        if targets.shape != wanted:
            raise ValueError(
                f"outputs {outputs.shape} of a {self.name} likelihood need targets {wanted}, "
                f"not {targets.shape}"
            )
        return targets

    def examples(self, batch: Batch) -> dict[str, np.ndarray]:
        """Return inputs and targets of a batch without its padding, on the host.

        Raises:
            KeyError: if the batch lacks either of them.
            ValueError: if the inputs take the instances of bags without their ``bag_mask``.
        """
        found = dict(self.arrays(batch))
        weight = found.pop("weight", None)
        kept = slice(None) if weight is None else np.flatnonzero(np.asarray(weight) > 0)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[kept], found)

    def arrays(self, batch: Batch) -> dict[str, Any]:
        """The arrays of a batch that the likelihood looks at: inputs, targets, the weight if any.

        Raises:
            KeyError: if the batch lacks the inputs or the targets.
            ValueError: if the inputs take the instances of bags without their ``bag_mask``.
        """
        self.inputs_of(batch)
        pick(batch, self.target)
        return {name: batch[name] for name in (*self.names, "weight") if name in batch}

    @property
    def names(self) -> tuple[str, ...]:
        """Which of a batch's arrays are looked at: the inputs, then the targets."""
        given = self.inputs
        if isinstance(given, str):
            return given, self.target
        return (*(given.values() if isinstance(given, Mapping) else given), self.target)

    def inputs_of(self, batch: Mapping[str, Any]) -> PyTree:
        """What the network is given of a batch: an array, or a dict of several."""
        return network_inputs(batch, self.inputs)

    def outputs_of(self, network: Network, params: PyTree, state: PyTree, batch: Batch) -> Array:
        """Return the endpoint for a batch, in evaluation mode."""
        endpoints = network.apply(params, state, self.inputs_of(batch))[0]
        if self.output not in endpoints:
            raise KeyError(f"the network has no {self.output!r}; it has {sorted(endpoints)}")
        return endpoints[self.output]

    def total(self, network: Network, params: PyTree, state: PyTree, batch: Batch) -> Array:
        """Compute the log likelihood of a batch; rows of weight 0 do not count."""
        values = self.log_prob(self.outputs_of(network, params, state, batch), batch[self.target])
        weight = batch.get("weight")
        return values.sum() if weight is None else jnp.where(weight > 0, values * weight, 0).sum()


def categorical(
    *, inputs: Inputs = "image", target: str = "label", output: str = "logits"
) -> Likelihood:
    """Softmax likelihood of classes: one label per example, or per voxel (``target="mask"``).

    Args:
        inputs: the batch's array the network is given, or several, as a bag's are.
        target: name of the batch array of class indices.
        output: name of the endpoint of logits, ``(..., classes)``.
    """

    def distribution(outputs):
        from numpyro import distributions

        return distributions.Categorical(logits=outputs)

    def factor(outputs):
        p = jax.nn.softmax(outputs, axis=-1)
        root = jnp.sqrt(p)
        return root[..., None, :] * (jnp.eye(p.shape[-1], dtype=p.dtype) - p[..., :, None])

    return Likelihood("categorical", distribution, factor, inputs, target, output)


def bernoulli(
    *, inputs: Inputs = "image", target: str = "label", output: str = "logits"
) -> Likelihood:
    """Bernoulli likelihood with one logit per label: binary or multi-label.

    Args:
        inputs: the batch's array the network is given, or several, as a bag's are.
        target: name of the 0/1 targets, ``(batch,)`` for one output, or of the outputs' shape.
        output: name of the endpoint of logits.
    """

    def distribution(outputs):
        from numpyro import distributions

        return distributions.Bernoulli(logits=outputs)

    def factor(outputs):
        p = jax.nn.sigmoid(outputs)
        return jnp.sqrt(p * (1 - p))[..., None] * jnp.eye(outputs.shape[-1], dtype=outputs.dtype)

    return Likelihood("bernoulli", distribution, factor, inputs, target, output)


def normal(
    scale: float | None = None,
    *,
    rounding: float = 0.0,
    inputs: Inputs = "image",
    target: str = "label",
    output: str = "logits",
) -> Likelihood:
    """Normal likelihood of numbers, with known noise or noise predicted by the network.

    Args:
        scale: standard deviation of the noise, in the target's unit. ``None``: the endpoint is
            ``(..., 2)``, the mean and the logarithm of the standard deviation. A head gives noise
            that depends on the input (heteroscedastic); a parameter without input gives one number
            that is inferred with the weights.
        rounding: the step that targets were rounded to, in their unit (a score of 1, 2, 3: 1); 0
            for none. The likelihood is then the probability of ``y - step / 2`` to
            ``y + step / 2``, divided by the step: still a density comparable with others, but one
            that cannot become infinite by noise collapsing onto a target. Its curvature is that of
            a normal with variance increased by ``step^2 / 12`` (Sheppard), which holds if the
            noise is not below half a step.
        inputs: the batch's array the network is given, or several, as a bag's are.
        target: name of the targets, ``(batch,)`` for one output, or of the outputs' shape; with
            ``scale=None``, of that shape without its last axis.
        output: name of the endpoint of means.

    Raises:
        ValueError: if the scale is not positive, or ``None`` with a number of outputs other than
            two; if the rounding is negative.

    References:
        Nix and Weigend (1994), Estimating the mean and variance of the target probability
        distribution, ICNN. Heitjan (1989), Inference from grouped continuous data, Stat Sci 4:164.

    >>> bool(normal().log_prob(jnp.zeros((1, 2)), jnp.zeros(1))[0] == normal(1.0).log_prob(
    ...     jnp.zeros((1, 1)), jnp.zeros(1))[0])
    True
    """
    if scale is not None and not scale > 0:
        raise ValueError(f"scale must be positive, got {scale!r}")
    if not rounding >= 0:
        raise ValueError(f"rounding must be a step of 0 or more, got {rounding!r}")

    def law(mean, sd):
        if rounding:
            from jaxmed.bayes.posteriors._rounded import RoundedNormal

            return RoundedNormal(mean, sd, rounding)
        from numpyro import distributions

        return distributions.Normal(mean, sd)

    def distribution(outputs):
        if scale is not None:
            return law(outputs, scale)
        if outputs.shape[-1:] != (2,):
            raise ValueError(
                f"normal() without a scale needs outputs (..., 2), mean and log scale, "
                f"not {outputs.shape}"
            )
        return law(outputs[..., 0], jnp.exp(outputs[..., 1]))

    def factor(outputs):
        eye = jnp.eye(outputs.shape[-1], dtype=outputs.dtype)
        more = rounding**2 / 12
        if scale is not None:
            root = eye / (scale**2 + more) ** 0.5
            return jnp.broadcast_to(root, (*outputs.shape, outputs.shape[-1]))
        variance = jnp.exp(2 * outputs[..., 1])
        # Square root of the Fisher information, diag(1, 2 variance) / variance without rounding.
        root = jnp.stack([jnp.ones_like(variance), (2 / (variance + more)) ** 0.5 * variance], -1)
        return (root / jnp.sqrt(variance + more)[..., None])[..., None] * eye

    return Likelihood("normal", distribution, factor, inputs, target, output)
