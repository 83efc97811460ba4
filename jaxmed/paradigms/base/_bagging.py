"""Bagging: members of an ensemble that each see another draw of the examples."""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Key, Learner, LearnerState, pick, stream
from jaxmed.paradigms.base._ensemble import Strategy, ensemble, whole_key

Draw = Literal["poisson", "multinomial"]
_POISSON = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(12)]).astype(np.float32)


def bagging(
    learner: Learner,
    n: int,
    *,
    by: str = "index",
    draw: Draw = "poisson",
    units: int | None = None,
    strategy: Strategy = "auto",
) -> Learner:
    """``n`` members, of which each weighs the examples by how often its bootstrap draws them.

    No data are copied: a member multiplies the batch's ``weight`` by the counts of its own draw,
    which is a function of the member's key and the example, so that a resumed run goes on with the
    same. Members share all else with :func:`ensemble`. Running statistics of normalisation see all
    images; for networks that are begun and shuffled anew by each member bagging is often no better
    than a plain ensemble, of which each member sees every example.

    Args:
        learner: any learner, an ensemble or players too, whose members are bagged together.
        n: number of members.
        by: the batch's whole numbers by which examples are drawn: ``"index"``, their place in the
            data, or an array of patients, counted from 0, all of whose images are drawn together.
        draw: ``"poisson"``: each count is Poisson's of mean 1, drawn by itself; ``"multinomial"``:
            ``units`` draws with replacement, so that the counts add up to ``units``.
        units: for ``"multinomial"``: how many there are to draw from.
        strategy: as of :func:`ensemble`.

    Returns:
        The learner, as :func:`ensemble` gives it. :func:`out_of_bag` tells which examples a member
        has not learned from.

    Raises:
        ValueError: for another draw, units where none are asked for or none where they are; when
            traced, for places that are no whole numbers; as :func:`ensemble`.
        KeyError: when traced, if the batch has no such array.

    References:
        Breiman (1996), Bagging predictors, Machine Learning 24. Oza and Russell (2001), Online
        bagging and boosting, AISTATS (Poisson's counts).

    >>> import flax.linen as nn, optax
    >>> import jaxmed as jm
    >>> batch = {"image": jnp.ones((6, 3)), "label": jnp.arange(6) % 2, "index": jnp.arange(6)}
    >>> objective = jm.supervised(jm.losses.cross_entropy)
    >>> one = jm.learner(jm.from_linen(nn.Dense(2)), objective, optax.sgd(0.1))
    >>> members = bagging(one, 4)
    >>> state, _ = jax.jit(members.step)(members.init(jax.random.key(0), batch), batch)
    >>> out_of_bag(state, batch["index"]).shape
    (4, 6)
    """
    _check(draw, units)

    def step(state, batch):
        count = _counts(whole_key(state.key), _places(pick(batch, by), by), draw, units)
        weight = batch.get("weight", jnp.ones(count.shape))
        return learner.step(state, {**batch, "weight": weight * count})

    return ensemble(learner._replace(step=step), n, strategy=strategy)


def out_of_bag(
    state: LearnerState, examples: Array, *, draw: Draw = "poisson", units: int | None = None
) -> Array:
    """Which members of a bagged ensemble have not learned from which examples.

    The mean of those members' predictions is an honest one of a training example: its error needs
    no data held back.

    Args:
        state: of a :func:`bagging` learner.
        examples: (examples,) their places in the data, or patients, as ``by`` names them.
        draw: as it was made with.
        units: as it was made with.

    Returns:
        (members, examples) booleans; over a third of them are True.

    Raises:
        ValueError: as of :func:`bagging`, for a state of one learner, or an example outside the
            units.
    """
    _check(draw, units)
    if units is not None and (jnp.min(examples) < 0 or jnp.max(examples) >= units):
        raise ValueError(f"examples are places from 0 to {units - 1}, got others")
    members = jax.tree.leaves(state.key)[0].shape
    if not members:
        raise ValueError("the state is of one learner, and not of the members that bagging makes")
    where = _places(jnp.asarray(examples), "examples")
    counts = [
        _counts(whole_key(jax.tree.map(lambda key, i=i: key[i], state.key)), where, draw, units)
        for i in range(members[0])
    ]
    return jnp.stack(counts) == 0


def _places(examples: Array, name: str) -> Array:
    if not jnp.issubdtype(examples.dtype, jnp.integer):
        raise ValueError(f"{name!r} counts examples by whole numbers, and is {examples.dtype}")
    return examples


def _counts(key: Key, examples: Array, draw: Draw, units: int | None) -> Array:
    own = stream(key, "bag")
    if draw == "multinomial":
        assert units is not None
        drawn = jax.random.randint(own, (units,), 0, units)
        # NaN outside the units, where JAX would read the nearest one's count.
        at = jnp.where(examples < 0, units, examples)
        counts = jnp.bincount(drawn, length=units).astype(jnp.float32)
        return counts.at[at].get(mode="fill", fill_value=jnp.nan)
    uniform = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(own, i)))
    # By the distribution function: JAX draws Poisson's numbers with one kind of key alone.
    return (uniform(examples.astype(jnp.uint32))[:, None] >= _POISSON).sum(1).astype(jnp.float32)


def _check(draw: str, units: int | None) -> None:
    if draw not in ("poisson", "multinomial"):
        raise ValueError(f"draw must be 'poisson' or 'multinomial', got {draw!r}")
    if (draw == "multinomial") != (units is not None):
        raise ValueError("units, how many there are, go with draw='multinomial' and no other")
    if units is not None and units < 1:
        raise ValueError(f"there are no units to draw from: units={units}")
