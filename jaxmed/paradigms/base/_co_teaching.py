"""Co-teaching: two networks, each trained on what the other finds easy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from jaxmed.core import (
    Array,
    Batch,
    Inputs,
    Key,
    Learner,
    Network,
    Objective,
    PyTree,
    learner,
    merge_named,
    network_inputs,
    pick,
    stream,
    within,
)
from jaxmed.paradigms.base._alternate import alternate
from jaxmed.paradigms.base._schedules import Scheduled, advance, counter_for, value_at
from jaxmed.paradigms.base._supervised import Known, Loss, known_mask

PLAYERS = ("first", "second")


def co_teaching(
    network: Network,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    loss: Loss,
    forget: Scheduled,
    output: str = "logits",
    target: str = "label",
    inputs: Inputs = "image",
    known: Known | None = None,
) -> Learner:
    """Two networks that step in turn, each on those examples whose labels the other believes.

    Networks learn right labels first, and wrong ones later by heart. In each step a network is
    asked for the loss of every example; the share ``forget`` of the batch with the greatest losses
    does not count when the *other* steps, as two networks of different beginnings do not err
    alike. Players of :func:`alternate`: the second sees the first as it is after its step.

    Args:
        network: of both; they begin differently.
        objective: what both minimise, on the examples that are left: any that heeds ``weight``,
            such as ``supervised(losses.cross_entropy)``, augmented or not.
        optimizer: of each.
        loss: by which an example is judged, one value an example, as :mod:`jaxmed.losses` has them.
        forget: the share of the examples left out, in [0, 1), about that of wrong labels; or a
            function of the step. The paper's rises from 0 over the first epochs, before networks
            know labels by heart: ``optax.linear_schedule(0.0, 0.4, steps)``.
        output: the endpoint that is judged.
        target: the batch's array of labels.
        inputs: what the network is given.
        known: which targets are known, as in :func:`supervised`. Examples without one count as the
            objective has it, and are never left out.

    Returns:
        The learner, which predicts by its ``first`` network. Its metrics are those of
        :func:`alternate`, of players ``first`` and ``second``; each has ``kept``, the share of
        examples that counted.

    Raises:
        ValueError: if ``forget`` is a number outside [0, 1); when traced, if the losses are not
            one an example.

    References:
        Han et al. (2018), Co-teaching: robust training of deep neural networks with extremely
        noisy labels, NeurIPS.

    >>> import flax.linen as nn, jaxmed as jm
    >>> judge, network = jm.losses.cross_entropy, jm.from_linen(nn.Dense(2))
    >>> run = co_teaching(
    ...     network, jm.supervised(judge), optax.sgd(0.1), loss=judge, forget=0.25
    ... )
    >>> batch = {"image": jnp.ones((4, 3)), "label": jnp.array([0, 0, 0, 1])}
    >>> state, metrics = run.step(run.init(jax.random.key(0), batch), batch)
    >>> float(metrics["first/kept"])
    0.75
    """
    if not callable(forget) and not 0 <= forget < 1:
        raise ValueError(f"forget is a share in [0, 1), got {forget}")

    def judged(peer: PyTree, batch: Batch, key: Key) -> tuple[Array, Array]:
        """The loss of each example by the other network, and whether it may be left out."""
        endpoints, _ = network.apply(
            peer["params"]["net"],
            peer["state"]["net"],
            network_inputs(batch, inputs),
            key=stream(key, "peer"),
            train=True,
        )
        outputs, targets = pick(endpoints, output, "network"), pick(batch, target, "batch")
        where = None if known is None else known_mask(known, targets, batch)
        values = jax.lax.stop_gradient(loss(outputs, targets, where=where))
        if values.ndim != 1:
            raise ValueError(f"the loss must give one value an example, got {values.shape}")
        counts = jnp.ones(len(values), bool)
        if (weight := batch.get("weight")) is not None:
            counts &= weight > 0
        if where is not None:
            counts &= where.reshape(len(where), -1).any(1)
        return values, counts

    def player(other: str) -> Learner:
        inner = within(objective, "objective")

        def init(key, network, params, state, batch):
            own, own_state = objective.init(key, network, params, state, _alone(batch))
            return {"objective": own}, {"objective": own_state, **counter_for(forget)}

        def evaluate(network, params, state, batch, key):
            values, counts = judged(batch["players"][other], batch, stream(key, "co_teaching"))
            keep = easiest(values, counts, 1 - value_at(forget, state["obj"]))
            real = jnp.ones(len(values)) if "weight" not in batch else batch["weight"]
            chosen = {**_alone(batch), "weight": jnp.where(keep | ~counts, real, 0)}
            value, (state, metrics) = inner.loss(network, params, state, chosen, key)
            # A loss that is no number would be left out, as if it were large: the step is to stop.
            sound = jnp.isfinite(jnp.where(counts, values, 0)).all()
            share = (keep & counts).sum() / jnp.maximum(counts.sum(), 1)
            own = {"kept": share}
            return jnp.where(sound, value, jnp.nan), (state, merge_named(metrics, own))

        def post_step(params, state):
            return advance(inner.post_step(params, state))

        whole = Objective(init, evaluate, post_step, inner.predictors)
        return learner(network, whole, optimizer, inputs=inputs)

    first, second = PLAYERS
    return alternate({first: player(second), second: player(first)}, predicts=first)


def easiest(values: Array, counts: Array, share: Array | float) -> Array:
    """Which examples are among the share of least value, of those that count; at least one is.

    The number is rounded down, as in the paper's code. Of equal values the first are kept.
    """
    number = jnp.maximum(jnp.floor(share * counts.sum() + 1e-4), 1)
    order = jnp.argsort(jnp.where(counts, values, jnp.inf), stable=True)
    place = jnp.zeros(len(values), jnp.int32).at[order].set(jnp.arange(len(values)))
    return counts & (place < number)


def _alone(batch: Batch) -> Batch:
    """The batch without the other player."""
    return {name: value for name, value in batch.items() if name != "players"}
