"""What is explained: one number a case, of what a network answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxmed.core import Array, Endpoints, Network, PyTree, pick

Target: TypeAlias = int | Array | np.ndarray | Callable[[Endpoints], Array]
"""A class, one a batch or one a case; or any ``endpoints -> (batch,)``."""

Quantity = Literal["logit", "log_odds", "probability"]


def class_score(target: int | Array | np.ndarray, *, of: Quantity = "logit") -> Callable:
    r"""A function of endpoints: how much a network speaks for a class.

    A single logit is that of the second of two classes, and the first has its negative. At maps of
    logits it is the mean over the voxels in which the class is the most likely, which are found
    and then taken as given; where there is none it is 0, and so is any explanation. Methods that
    are given a class, and not this function, find them once, in the image as it is.

    Args:
        target: the class, from 0 on, or one of each case ``(batch,)``.
        of: ``"logit"``; ``"log_odds"``, :math:`\log p / (1 - p)`, which no constant added to all
            logits changes; or ``"probability"``.

    Returns:
        ``endpoints -> (batch,)``.

    Raises:
        ValueError: if ``of`` is unknown; when called, if there is no such class.

    Examples:
        >>> float(class_score(1)({"logits": jnp.array([[0.5, 2.0]])})[0])
        2.0
    """
    if of not in get_args(Quantity):
        raise ValueError(f"of is one of {', '.join(get_args(Quantity))}, got {of!r}")

    def score(endpoints: Endpoints) -> Array:
        logits = _two_or_more(pick(endpoints, "logits", "network"))
        chosen = _chosen(target, logits)
        if of == "logit":
            values = _of_class(logits, chosen)
        elif of == "probability":
            values = jnp.exp(_of_class(jax.nn.log_softmax(logits), chosen))
        else:
            others = jnp.where(_is_class(logits, chosen), -jnp.inf, logits)
            values = _of_class(logits, chosen) - jax.nn.logsumexp(others, axis=-1)
        if values.ndim == 1:
            return values
        mask = logits.argmax(-1) == _spread(chosen, values)
        return _mean_within(values, mask)

    return score


def structure_score(label: int | Array, mask: Array | np.ndarray) -> Callable[[Endpoints], Array]:
    """A function of endpoints: the mean logit of a structure within a mask of one's own.

    Args:
        label: the structure's class, or one of each case.
        mask: (batch, *spatial), where it is asked about: one voxel, a lesion, a false positive.

    Returns:
        ``endpoints -> (batch,)``.

    Raises:
        ValueError: when called, if there is no such class or the mask has another shape.

    Examples:
        >>> logits = jnp.array([[[0.0, 1.0], [0.0, 3.0]]])
        >>> float(structure_score(1, jnp.array([[False, True]]))({"logits": logits})[0])
        3.0
    """

    def score(endpoints: Endpoints) -> Array:
        logits = _two_or_more(pick(endpoints, "logits", "network"))
        if np.shape(mask) != logits.shape[:-1]:
            raise ValueError(
                f"the mask {np.shape(mask)} is not of the shape of the map of logits, "
                f"{logits.shape[:-1]}"
            )
        return _mean_within(_of_class(logits, _chosen(label, logits)), jnp.asarray(mask) > 0)

    return score


def settled(
    network: Network, params: PyTree, state: PyTree, inputs: PyTree, target: Target
) -> Target:
    """A target that asks the same of changed images.

    Where a class of a map of logits is asked about, the voxels are those of the images as they
    are: or else a covered structure would only leave fewer voxels to be averaged over.
    """
    if callable(target):
        return target
    shapes = jax.eval_shape(lambda: network.apply(params, state, inputs)[0])
    if pick(shapes, "logits", "network").ndim < 3:
        return target
    logits = _two_or_more(network.apply(params, state, inputs)[0]["logits"])
    chosen = _chosen(target, logits)
    mask = logits.argmax(-1) == _spread(chosen, logits[..., 0])
    return structure_score(chosen, mask)


def scorer(target: Target) -> Callable[[Endpoints], Array]:
    """The function of a target."""
    return target if callable(target) else class_score(target)


def score(network: Network, params: PyTree, state: PyTree, inputs: PyTree, target: Target) -> Array:
    """What a target is for some inputs.

    Args:
        network: any network.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``, or what else the network takes.
        target: a class, or a function of the endpoints.

    Returns:
        (batch,).
    """
    return scores(network, params, state, jax.tree.map(lambda x: x[None], inputs), target)[0]


def scores(network: Network, params: PyTree, state: PyTree, passes: PyTree, target: Target):
    """What a target is for each of several passes ``(passes, batch, ...)``: (passes, batch)."""
    copies, batch = jax.tree.leaves(passes)[0].shape[:2]
    flat = jax.tree.map(lambda x: x.reshape(copies * batch, *x.shape[2:]), passes)
    endpoints, _ = network.apply(params, state, flat)
    many = copies * batch

    def apart(leaf):
        return leaf.reshape(copies, batch, *leaf.shape[1:])

    axes = jax.tree.map(lambda x: 0 if _rows(x) == many else None, endpoints)
    parts = jax.tree.map(lambda x: apart(x) if _rows(x) == many else x, endpoints)
    found = jax.vmap(scorer(target), in_axes=(axes,))(parts)
    if found.shape != (copies, batch):
        raise ValueError(
            f"a target is one number a case: of {batch} case(s) it has the shape {found.shape[1:]}"
        )
    return found


def _rows(leaf) -> int:
    return leaf.shape[0] if leaf.ndim else -1


def _two_or_more(logits: Array) -> Array:
    logits = logits if logits.ndim > 1 else logits[:, None]
    return jnp.concatenate([-logits, logits], -1) if logits.shape[-1] == 1 else logits


def _chosen(target, logits: Array) -> Array:
    classes, batch = logits.shape[-1], logits.shape[0]
    if not jnp.issubdtype(jnp.asarray(target).dtype, jnp.integer):
        raise ValueError(f"a class is an integer from 0 to {classes - 1}, got {target!r}")
    if np.shape(target) not in ((), (batch,)):
        raise ValueError(f"a target is one class, or one of each of {batch}; got {target!r}")
    if not isinstance(target, Tracer):
        wrong = np.asarray(target)[(np.asarray(target) < 0) | (np.asarray(target) >= classes)]
        if wrong.size:
            raise ValueError(
                f"there is no class {int(wrong.flat[0])}: the network has {classes}, 0 to "
                f"{classes - 1}"
            )
    return jnp.broadcast_to(jnp.asarray(target), (batch,))


def _spread(chosen: Array, like: Array) -> Array:
    return chosen.reshape(-1, *(1,) * (like.ndim - 1))


def _is_class(logits: Array, chosen: Array) -> Array:
    return jnp.arange(logits.shape[-1]) == _spread(chosen, logits)


def _of_class(values: Array, chosen: Array) -> Array:
    at = jnp.broadcast_to(_spread(chosen, values), (*values.shape[:-1], 1))
    return jnp.take_along_axis(values, at, axis=-1, mode="fill")[..., 0]


def _mean_within(values: Array, mask: Array) -> Array:
    axes = tuple(range(1, values.ndim))
    return jnp.where(mask, values, 0).sum(axes) / jnp.maximum(mask.sum(axes), 1)
