"""Random subspaces: members of an ensemble that each see other features."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, Learner, stream
from jaxmed.paradigms.base._ensemble import Strategy, ensemble, whole_key


def random_subspaces(
    learner: Learner,
    n: int,
    *,
    share: float = 0.5,
    axes: tuple[int, ...] = (-1,),
    inputs: str = "image",
    strategy: Strategy = "auto",
) -> Learner:
    """``n`` members, of which each sees features of its own; the others are 0 to it.

    A member's features are a function of its key, the same in training and in prediction. They are
    drawn along ``axes`` of an example: columns of a table and channels of an image by default;
    those of space and channels together make pixels.

    Args:
        learner: any learner that takes one array.
        n: number of members.
        share: of the features that a member sees; at least one is.
        axes: axes of the array along which features are counted; never the first, of examples.
        inputs: the batch's array.
        strategy: as of :func:`ensemble`.

    Returns:
        The learner, as :func:`ensemble` gives it.

    Raises:
        ValueError: for a share that is not in (0, 1], or no axes; when traced, for an axis that the
            array has not, or that of the examples; as :func:`ensemble`.

    References:
        Ho (1998), The random subspace method for constructing decision forests, IEEE Transactions
        on Pattern Analysis and Machine Intelligence 20.

    >>> import flax.linen as nn, optax
    >>> import jaxmed as jm
    >>> batch = {"image": jnp.ones((6, 8)), "label": jnp.arange(6) % 2}
    >>> objective = jm.supervised(jm.losses.cross_entropy)
    >>> one = jm.learner(jm.from_linen(nn.Dense(2)), objective, optax.sgd(0.1))
    >>> members = random_subspaces(one, 3, share=0.25)
    >>> state = members.init(jax.random.key(0), batch)
    >>> members.predict(state, batch["image"])["logits"].shape
    (3, 6, 2)
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is in (0, 1], got {share}")
    if not axes:
        raise ValueError("axes along which features are drawn: one or more")

    def seen(key: Key, x: Array) -> Array:
        return x * _mask(stream(key, "subspace"), x.shape, share, axes).astype(x.dtype)

    def init(key: Key, batch: Any) -> Any:
        return learner.init(key, {**batch, inputs: seen(key, jnp.asarray(batch[inputs]))})

    def step(state, batch):
        return learner.step(state, {**batch, inputs: seen(whole_key(state.key), batch[inputs])})

    def predict(state, x):
        return learner.predict(state, seen(whole_key(state.key), x))

    return ensemble(learner._replace(init=init, step=step, predict=predict), n, strategy=strategy)


def _mask(key: Key, shape: tuple[int, ...], share: float, axes: tuple[int, ...]) -> Array:
    """1 for the features that are seen, broadcast against an array of this shape."""
    rank = len(shape)
    if wrong := [axis for axis in axes if not -rank <= axis < rank or axis % rank == 0]:
        raise ValueError(
            f"axes {axes}: {wrong[0]} is no axis of the features of an array of shape {shape}, "
            "whose first axis is of examples"
        )
    own = [shape[i] if i in {axis % rank for axis in axes} else 1 for i in range(rank)]
    size = 1
    for length in own:
        size *= length
    order = jax.random.permutation(key, size)
    return (order < max(1, round(share * size))).reshape(own)
