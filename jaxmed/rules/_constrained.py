"""Premises in training: what they forbid costs."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Objective, network_inputs, pick, stream, weighted_mean
from jaxmed.paradigms.base._added import added
from jaxmed.paradigms.base._schedules import Scheduled, advance, check_weight, counter_for, value_at
from jaxmed.paradigms.base._views import row_weights
from jaxmed.rules.formulas._formula import LUKASIEWICZ, PRODUCT
from jaxmed.rules.formulas._knowledge import Knowledge, log_probability

Kind = Literal["semantic", "product", "lukasiewicz"]


def constrained(
    objective: Objective,
    known: Knowledge,
    *,
    weight: Scheduled = 1.0,
    kind: Kind = "semantic",
    activation: Literal["sigmoid", "softmax"] = "sigmoid",
    output: str = "logits",
    inputs: str = "unlabelled",
) -> Objective:
    r"""Add what it costs that predictions break premises, in nats an image.

    * *semantic*: :math:`-\log P(\text{all premises hold})`, exactly, as if the statements were
      independent given the image. Equivalent premises cost the same.
    * *product*: :math:`-\sum_r \log t_r`, where the truth :math:`t_r` of each premise is made by
      products, as if its parts were independent: an approximation for many statements.
    * *lukasiewicz*: :math:`\sum_r (1 - t_r)` with Łukasiewicz's connectives, whose slopes do not
      vanish where little is missing. They add truths up: a third of each of three statements is
      as good as one of them, so that what is thresholded may still break a premise.

    Args:
        objective: what is learned from labels.
        known: the premises; its statements are the output's channels, in their order.
        weight: of the cost, or a function of the step.
        kind: which cost.
        activation: what makes probabilities of the output: ``"sigmoid"`` for statements,
            ``"softmax"`` for classes, whose probabilities are then taken one by one.
        output: the endpoint, ``(batch, statements)``, or with spatial axes between: then each voxel
            is a case of the premises.
        inputs: the images; ``"image"`` for those with labels.

    Returns:
        The objective, with the metrics ``broken`` (the cost) and ``holding`` (the share of images,
        or voxels, whose thresholded statements satisfy all premises).

    Raises:
        ValueError: for a weight that is negative or not finite, another kind or activation, or
            premises with too many satisfying assignments for ``"semantic"``; when traced, if the
            output has another number of channels.

    References:
        Xu et al. (2018), A semantic loss function for deep learning with symbolic knowledge, ICML.
        Diligenti, Gori and Saccà (2017), Semantic-based regularization for learning and inference,
        Artificial Intelligence 244.
    """
    check_weight(weight)
    if kind not in ("semantic", "product", "lukasiewicz"):
        raise ValueError(f"kind must be 'semantic', 'product' or 'lukasiewicz', got {kind!r}")
    if activation not in ("sigmoid", "softmax"):
        raise ValueError(f"activation must be 'sigmoid' or 'softmax', got {activation!r}")
    if kind == "semantic" and not known.exact:
        log_probability(known, jnp.zeros(len(known.atoms)))  # says which statements are too many

    def init(key, network, params, state, batch):
        return {}, counter_for(weight)

    def loss(network, params, state, batch, key):
        key = stream(key, "constrained")
        endpoints, net = network.apply(
            params["net"], state["net"], network_inputs(batch, inputs), key=key, train=True
        )
        logits = pick(endpoints, output, "network").astype(jnp.float32)
        if logits.shape[-1] != len(known.atoms):
            raise ValueError(
                f"{output!r} has {logits.shape[-1]} channels, and there are {len(known.atoms)} "
                f"statements: {known.atoms}"
            )
        if activation == "softmax":
            logits = one_by_one(logits)
        cost = _cost(known, logits, kind)
        costs = cost.reshape(len(cost), -1).mean(1)
        rows = row_weights(batch, inputs)
        value = weighted_mean(costs, rows)
        held = _holding(known, logits)
        metrics = {
            "broken": value,
            "holding": weighted_mean(held.reshape(len(held), -1).mean(1), rows),
        }
        return value_at(weight, state["obj"]) * value, ({**state, "net": net}, metrics)

    return added(objective, Objective(init, loss, lambda params, state: advance(state)))


def one_by_one(logits: Array) -> Array:
    """Logits of each class against all others, of logits over classes."""
    log_p = jax.nn.log_softmax(logits, axis=-1)
    return log_p - jnp.log(-jnp.expm1(jnp.minimum(log_p, -1e-7)))


def _cost(known: Knowledge, logits: Array, kind: Kind) -> Array:
    if kind == "semantic":
        return -log_probability(known, logits)
    p = jax.nn.sigmoid(logits)
    truth = {name: p[..., i] for i, name in enumerate(known.atoms)}
    algebra = PRODUCT if kind == "product" else LUKASIEWICZ
    held = [premise.evaluate(truth, algebra) for premise in known.premises]
    if kind == "product":
        return -sum(jnp.log(jnp.maximum(t, 1e-12)) for t in held)  # pyright: ignore
    return sum(1 - t for t in held)  # pyright: ignore


def _holding(known: Knowledge, logits: Array) -> Array:
    """1 where all premises hold of the thresholded statements."""
    truth = {name: (logits[..., i] > 0).astype(jnp.float32) for i, name in enumerate(known.atoms)}
    # Of certain statements Łukasiewicz's truths are 0 and 1.
    held = [premise.evaluate(truth, LUKASIEWICZ) for premise in known.premises]
    return jnp.stack(jnp.broadcast_arrays(*held)).min(0)
