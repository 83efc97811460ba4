"""Bag pooling layers: max, mean, log-sum-exp, attention, additive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from jaxmed.core import Array, Endpoints
from jaxmed.networks.layers._convolution import at_least_float32, he_fan_in, torch_uniform


def masked_softmax(scores: Array, mask: Array, axis: int = 1) -> Array:
    """Compute the softmax over unmasked entries; 0 elsewhere, and everywhere if all are masked.

    >>> masked_softmax(jnp.zeros((1, 3)), jnp.array([[True, True, False]])).tolist()
    [[0.5, 0.5, 0.0]]
    """
    scores = jnp.where(mask, scores, -jnp.inf)
    greatest = lax.stop_gradient(scores.max(axis, keepdims=True))
    # A difference of infinities is NaN, and reaches the gradient even where it is not selected.
    shifted = jnp.where(mask, scores - jnp.where(jnp.isfinite(greatest), greatest, 0), 0)
    parts = jnp.where(mask, jnp.exp(shifted), 0)
    total = parts.sum(axis, keepdims=True)
    return parts / jnp.where(total > 0, total, 1)


def bag_of(inputs: Mapping[str, Array]) -> tuple[Array, Array]:
    """Return features `(bags, instances, f)` and mask `(bags, instances)` of a pooling's inputs."""
    features, mask = at_least_float32(inputs["features"]), inputs["bag_mask"]
    if features.ndim != 3 or mask.shape != features.shape[:2]:
        raise ValueError(
            "a pooling takes features (bags, instances, f) and bag_mask (bags, instances), got "
            f"{features.shape} and {mask.shape}"
        )
    return features, mask.astype(bool)


def pool(values: Array, mask: Array, kind: str, sharpness: float = 1.0) -> Array:
    r"""Pool `(bags, instances, c)` over the instances of each bag; 0 for an empty bag.

    Log-sum-exp is :math:`\frac1r \log \frac1n \sum_i e^{r x_i}`: between the mean (small r) and
    the maximum (large r).
    """
    keep = mask[..., None]
    count = keep.sum(1)
    if kind == "mean":
        return jnp.where(keep, values, 0).sum(1) / jnp.maximum(count, 1)
    # Taken by its place: equal instances, computed twice by the compiler and rounded apart, would
    # lose some of the gradient of a maximum, which is divided among all that equal it.
    place = jnp.where(keep, values, -jnp.inf).argmax(1, keepdims=True)
    greatest = jnp.take_along_axis(values, place, axis=1)[:, 0]
    greatest = jnp.where(count > 0, greatest, 0)
    if kind == "max":
        return greatest
    top = lax.stop_gradient(greatest)[:, None]
    parts = jnp.where(keep, jnp.exp(sharpness * jnp.where(keep, values - top, 0)), 0)
    mean = parts.sum(1) / jnp.maximum(count, 1)
    return top[:, 0] + jnp.log(jnp.where(count > 0, mean, 1)) / sharpness


class SimplePooling(nn.Module):
    """Pool instances by their maximum, mean or log-sum-exp.

    With classes, each instance is scored and the scores are pooled: a bag is as positive as its
    most positive instance (`max`), as the average one (`mean`), or in between (`lse`).

    Attributes:
        classes: number of logits; None pools features only.
        kind: `"max"`, `"mean"` or `"lse"`.
        sharpness: the parameter r of the log-sum-exp.

    References:
        Ramon and De Raedt, Multi instance neural networks, ICML workshop 2000; Pinheiro and
        Collobert, From image-level to pixel-level labeling, CVPR 2015 (log-sum-exp).
    """

    classes: int | None = None
    kind: Literal["max", "mean", "lse"] = "max"
    sharpness: float = 1.0

    @nn.compact
    def __call__(self, inputs: Mapping[str, Array]) -> Endpoints:
        """Map `features`, `bag_mask` to `features` `(bags, f)`, `instance_logits`, `logits`."""
        features, mask = bag_of(inputs)
        endpoints = {"features": pool(features, mask, self.kind, self.sharpness)}
        if self.classes is not None:
            scores = nn.Dense(self.classes, kernel_init=torch_uniform, name="head")(features)
            scores = jnp.where(mask[..., None], scores, 0)
            endpoints["instance_logits"] = scores
            endpoints["logits"] = pool(scores, mask, self.kind, self.sharpness)
        return endpoints


class AttentionPooling(nn.Module):
    r"""Pool instances by a weighted mean with learned attention weights.

    .. math:: a_i = \mathrm{softmax}_i\; w^\top (\tanh(V h_i) \odot \sigma(U h_i)),
        \quad z = \sum_i a_i h_i

    Attributes:
        classes: number of logits, linear in z; None for no logits.
        hidden: width of V and U.
        gated: whether to use the gate :math:`\sigma(U h_i)`.

    References:
        Ilse, Tomczak and Welling, Attention-based deep multiple instance learning, ICML 2018.
    """

    classes: int | None = None
    hidden: int = 128
    gated: bool = False

    @nn.compact
    def __call__(self, inputs: Mapping[str, Array]) -> Endpoints:
        """Map `features`, `bag_mask` to `attention` `(bags, instances)`, `features`, `logits`."""
        features, mask = bag_of(inputs)
        attention = attend(self, features, mask)
        pooled = jnp.einsum("bi,bif->bf", attention, features)
        endpoints = {"features": pooled, "attention": attention}
        if self.classes is not None:
            head = nn.Dense(self.classes, kernel_init=torch_uniform, name="head")
            endpoints["logits"] = head(pooled)
        return endpoints


class AdditivePooling(nn.Module):
    r"""Attention pooling with logits that are sums of per-instance contributions.

    .. math:: \mathrm{logits} = \sum_i \psi(a_i h_i)

    with the attention of :class:`AttentionPooling`, and :math:`\psi` an MLP with one hidden layer.

    Attributes:
        classes: number of logits.
        hidden: width of the attention, and of the MLP.
        gated: whether the attention is gated.

    References:
        Javed et al., Additive MIL: intrinsically interpretable multiple instance learning for
        pathology, NeurIPS 2022.
    """

    classes: int
    hidden: int = 128
    gated: bool = True

    @nn.compact
    def __call__(self, inputs: Mapping[str, Array]) -> Endpoints:
        """Map `features`, `bag_mask` to `attention`, `instance_logits`, `features`, `logits`."""
        features, mask = bag_of(inputs)
        attention = attend(self, features, mask)
        scaled = attention[..., None] * features
        hidden = nn.relu(nn.Dense(self.hidden, kernel_init=he_fan_in, name="score_hidden")(scaled))
        shares = nn.Dense(self.classes, kernel_init=torch_uniform, name="score")(hidden)
        shares = jnp.where(mask[..., None], shares, 0)
        return {
            "features": scaled.sum(1),
            "attention": attention,
            "instance_logits": shares,
            "logits": shares.sum(1),
        }


def attend(module: nn.Module, features: Array, mask: Array) -> Array:
    """Compute the attention `(bags, instances)` of a module with `hidden` and `gated`."""
    options: dict[str, Any] = {
        "kernel_init": nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
    }
    gate = nn.tanh(nn.Dense(module.hidden, name="attention_v", **options)(features))
    if module.gated:
        gate *= nn.sigmoid(nn.Dense(module.hidden, name="attention_u", **options)(features))
    scores = nn.Dense(1, name="attention_w", **options)(gate)[..., 0]
    return masked_softmax(scores, mask)
