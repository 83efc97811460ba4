"""Pooling layers that relate the instances of a bag to each other: dual-stream, transformer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from flax.linen.initializers import xavier_uniform

from jaxmed.core import Array, Endpoints
from jaxmed.networks.bags._pooling import bag_of, masked_softmax, pool
from jaxmed.networks.layers._convolution import torch_uniform


class DualStreamPooling(nn.Module):
    r"""Pool by two streams: the highest-scoring instance, and attention to similar instances.

    With instance scores :math:`s_i = W h_i`, and :math:`m_c` the instance that scores highest for
    class c, the attention is :math:`a_{ic} = \mathrm{softmax}_i\, q_i^\top q_{m_c} / \sqrt d`, and
    the logits are the mean of the two streams' :math:`\max_i s_i` and
    :math:`U [\sum_i a_{ic} v_i]_c`.

    Both streams are endpoints. To train each with its own loss, as in the paper, use a
    :func:`~jaxmed.paradigms.weighted` of two :func:`~jaxmed.paradigms.supervised`.

    Attributes:
        classes: number of logits.
        hidden: width of the queries.

    References:
        Li, Li and Eliceiri, Dual-stream multiple instance learning network for whole slide image
        classification with self-supervised contrastive learning, CVPR 2021.
    """

    classes: int
    hidden: int = 128

    @nn.compact
    def __call__(self, inputs: Mapping[str, Array]) -> Endpoints:
        """Map `features`, `bag_mask` to the endpoints.

        These are `attention` and `instance_logits` `(bags, instances, classes)`, `max_logits`,
        `bag_logits`, their mean `logits`, and `features` `(bags, classes * f)`.
        """
        features, mask = bag_of(inputs)
        scores = nn.Dense(self.classes, kernel_init=torch_uniform, name="instance")(features)
        queries = nn.relu(nn.Dense(self.hidden, name="query_hidden")(features))
        queries = nn.tanh(nn.Dense(self.hidden, name="query")(queries))
        values = nn.Dense(features.shape[-1], name="value")(features)
        critical = jnp.where(mask[..., None], scores, -jnp.inf).argmax(1)
        theirs = jnp.take_along_axis(queries, critical[..., None], axis=1)
        similar = jnp.einsum("bid,bcd->bic", queries, theirs) / math.sqrt(self.hidden)
        attention = masked_softmax(similar, mask[..., None])
        pooled = jnp.einsum("bic,bif->bcf", attention, values)
        pooled = pooled.reshape(pooled.shape[0], -1)
        bag = nn.Dense(self.classes, kernel_init=torch_uniform, name="head")(pooled)
        greatest = pool(scores, mask, "max")
        return {
            "features": pooled,
            "attention": attention,
            "instance_logits": jnp.where(mask[..., None], scores, 0),
            "max_logits": greatest,
            "bag_logits": bag,
            "logits": (greatest + bag) / 2,
        }


class TransformerPooling(nn.Module):
    """Pool by a transformer with a class token that attends to the instances.

    Uses blocks of pre-norm self-attention without positions, since a bag has no order. The
    `attention` endpoint is that of the class token in the last block, averaged over heads.

    Attributes:
        classes: number of logits; None for no logits.
        width: width of the tokens.
        heads: number of attention heads; must divide the width.
        layers: number of blocks.

    References:
        Lee et al., Set transformer, ICML 2019; Shao et al., TransMIL, NeurIPS 2021.
    """

    classes: int | None = None
    width: int = 64
    heads: int = 4
    layers: int = 2

    @nn.compact
    def __call__(self, inputs: Mapping[str, Array]) -> Endpoints:
        """Map `features`, `bag_mask` to `attention` `(bags, instances)`, `features`, `logits`."""
        features, mask = bag_of(inputs)
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} must divide width={self.width}")
        x = nn.Dense(self.width, kernel_init=xavier_uniform(), name="embed")(features)
        token = self.param("token", nn.initializers.normal(0.02), (self.width,))
        x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, self.width)), x], axis=1)
        seen = jnp.concatenate([jnp.ones((len(x), 1), bool), mask], axis=1)
        for layer in range(self.layers):
            x, attention = self._block(x, seen, f"block{layer + 1}")
        pooled = nn.LayerNorm(name="norm")(x[:, 0])
        # The token's attention to itself belongs to no instance.
        attention = masked_softmax(jnp.log(attention + 1e-12), mask)
        endpoints = {"features": pooled, "attention": attention}
        if self.classes is not None:
            head = nn.Dense(self.classes, kernel_init=torch_uniform, name="head")
            endpoints["logits"] = head(pooled)
        return endpoints

    def _block(self, x: Array, seen: Array, name: str) -> tuple[Array, Array]:
        """Apply one block: return `(bags, tokens, width)` and the first token's attention."""
        y = nn.LayerNorm(name=f"{name}_norm1")(x)
        each = self.width // self.heads
        split = (*y.shape[:2], 3, self.heads, each)
        qkv = nn.Dense(3 * self.width, kernel_init=xavier_uniform(), name=f"{name}_qkv")(y)
        q, k, v = jnp.moveaxis(qkv.reshape(split), 2, 0)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(each)
        attention = masked_softmax(scores, seen[:, None, None, :], axis=-1)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", attention, v).reshape(x.shape)
        x = x + nn.Dense(self.width, kernel_init=xavier_uniform(), name=f"{name}_out")(mixed)
        y = nn.LayerNorm(name=f"{name}_norm2")(x)
        y = nn.gelu(nn.Dense(2 * self.width, name=f"{name}_mlp1")(y))
        x = x + nn.Dense(self.width, name=f"{name}_mlp2")(y)
        return x, attention[:, :, 0, 1:].mean(1)
