"""The contrastive loss that SimCLR and supervised contrast share."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.paradigms.self_supervised._embedding import unit

# Of what may not be chosen: far below any cosine over any sensible temperature, and finite.
NEVER = -1e9


def contrast(vectors: Array, same: Array, valid: Array, temperature: float) -> Array:
    r"""Tell the partners of each vector from all others.

    .. math:: \ell_i = -\frac{1}{|P_i|} \sum_{p \in P_i} \log
        \frac{e^{s_{ip} / \tau}}{\sum_{a \neq i} e^{s_{ia} / \tau}}

    with cosines s and the partners :math:`P_i`.

    Args:
        vectors: ``(n, d)``, of any length.
        same: ``(n, n)``, whether two are partners; the diagonal does not count.
        valid: ``(n,)``, False for padding rows, which are nobody's partner nor negative.
        temperature: tau.

    Returns:
        ``(n,)``; 0 for one without a partner.
    """
    z = unit(vectors.astype(jnp.float32))
    others = ~jnp.eye(len(z), dtype=bool) & valid[None, :]
    logits = jnp.where(others, z @ z.T / temperature, NEVER)
    log_p = jax.nn.log_softmax(logits, axis=1)
    partners = same & others
    return -jnp.where(partners, log_p, 0).sum(1) / jnp.maximum(partners.sum(1), 1)
