"""A network that learns which examples it will get wrong."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Inputs, Objective, network_inputs, pick
from jaxmed.paradigms.base._added import added
from jaxmed.paradigms.base._schedules import advance, check_weight, counter
from jaxmed.paradigms.base._supervised import Known, Loss, known_mask


def learning_loss(
    objective: Objective,
    loss: Loss,
    *,
    weight: float = 1.0,
    margin: float = 1.0,
    stop_after: int | None = None,
    predicted: str = "predicted_loss",
    output: str = "logits",
    target: str = "label",
    inputs: Inputs = "image",
    known: Known | None = None,
) -> Objective:
    r"""Add a term by which a head learns to rank examples by their loss.

    .. math:: \frac{\lambda}{|P|} \sum_{(i, j) \in P}
        \max\big(0,\; \xi - (\hat\ell_i - \hat\ell_j)\big), \qquad
        P = \{(i, j): \ell_i > \ell_j\}

    with the losses :math:`\ell` as constants and the predicted ones :math:`\hat\ell`: the scale of
    losses falls while a network learns, their order is what can be learned. The paper draws half
    as many pairs as there are examples in a batch; here all pairs count, which is the mean over
    all such draws and depends on no order of the batch.

    Cases without labels of high predicted loss are then asked for
    (:func:`jaxmed.protocols.ask_score`).

    Args:
        objective: what is learned.
        loss: the loss of each example that is predicted, ``(outputs, targets) -> (batch,)``,
            as a rule the one that the objective minimises.
        weight: :math:`\lambda`.
        margin: :math:`\xi`.
        stop_after: the step from which on the head learns alone, and its gradient no longer goes
            into the trunk: the paper's 120 of 200 epochs. By default it always does; 0 for never.
        predicted: the endpoint of the head, a :class:`jaxmed.networks.LossHead` in ``with_heads``.
        output: the endpoint that the loss looks at.
        target: the batch's array of targets.
        inputs: as in :func:`supervised`.
        known: as in :func:`supervised`.

    Returns:
        The objective, with the metrics ``ranking_loss`` and ``ranked``, the share of pairs whose
        order is predicted.

    Raises:
        ValueError: if the weight or ``stop_after`` is negative, or the margin not positive.
        KeyError: when traced, if the network has no such head.

    References:
        Yoo and Kweon (2019), Learning loss for active learning, CVPR.

    Examples:
        >>> import jaxmed as jm
        >>> from jaxmed import networks
        >>> from jaxmed.paradigms import Head
        >>> network = jm.with_heads(jm.from_linen(networks.cnn(classes=3, features=(4, 8))),
        ...     {"predicted_loss": Head(networks.LossHead(16), "pyramid")})
        >>> cost = jm.losses.cross_entropy
        >>> objective = learning_loss(jm.supervised(cost), cost, stop_after=600)
        >>> batch = {"image": jnp.ones((4, 8, 8, 1)), "label": jnp.array([0, 1, 2, 0])}
        >>> params, state = network.init(jax.random.key(0), batch["image"])
        >>> own = objective.init(jax.random.key(1), network, params, state, batch)
        >>> value, (_, metrics) = objective.loss(network, {"net": params, "obj": own[0]},
        ...     {"net": state, "obj": own[1]}, batch, jax.random.key(2))
        >>> sorted(metrics)
        ['ranked', 'ranking_loss']
    """
    check_weight(weight)
    if not margin > 0:
        raise ValueError(f"margin must be positive, got {margin}")
    if stop_after is not None and stop_after < 0:
        raise ValueError(f"stop_after is a step, got {stop_after}")

    def init(key, network, params, state, batch):
        del key, network, params, state, batch
        return {}, {} if stop_after is None else counter()

    def term(network, params, state, batch, key):
        endpoints, net = network.apply(
            params["net"], state["net"], network_inputs(batch, inputs), key=key, train=True
        )
        outputs, targets = pick(endpoints, output, "network"), pick(batch, target, "batch")
        counts = jnp.ones(outputs.shape[0]) if "weight" not in batch else batch["weight"]
        if known is None:
            values = loss(outputs, targets)
        else:
            where = known_mask(known, targets, batch)
            values = loss(outputs, targets, where=where)
            counts = counts * where.reshape(where.shape[0], -1).any(axis=1)
        guess = pick(endpoints, predicted, "network")
        if stop_after is not None:
            alone = pick(endpoints, f"{predicted}/detached", "network")
            guess = jnp.where(state["obj"]["step"] < stop_after, guess, alone)
        cost, ranked = _ranking(guess, jax.lax.stop_gradient(values), counts, margin)
        metrics = {"ranking_loss": cost, "ranked": ranked}
        return weight * cost, ({**state, "net": net}, metrics)

    return added(objective, Objective(init, term, lambda params, state: advance(state)))


def _ranking(guess: Array, values: Array, counts: Array, margin: float) -> tuple[Array, Array]:
    """The mean cost of pairs, and the share of them in their order."""
    counts = counts.astype(jnp.float32)
    pair = counts[:, None] * counts * (values[:, None] > values)
    gap = guess.astype(jnp.float32)[:, None] - guess.astype(jnp.float32)
    total = jnp.maximum(pair.sum(), jnp.finfo(jnp.float32).tiny)
    # A padding row may hold anything: select, for 0 * nan is nan.
    cost = jnp.where(pair > 0, pair * jnp.maximum(0, margin - gap), 0).sum() / total
    return cost, jnp.where(pair > 0, pair * (gap > 0), 0).sum() / total
