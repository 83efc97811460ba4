"""Elastic weight consolidation: parameters stay where they mattered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxmed.core import (
    Batch,
    Inputs,
    Key,
    Network,
    Objective,
    PyTree,
    Variables,
    flatten_paths,
    merge_named,
    network_inputs,
    pick,
    stream,
    within,
)
from jaxmed.paradigms.base._schedules import check_weight


class Consolidated(NamedTuple):
    """Where parameters were after earlier tasks, and how much each mattered.

    Attributes:
        params: of the network.
        importance: of each parameter, not negative, in the same structure.
    """

    params: PyTree
    importance: PyTree


def fisher_information(
    key: Key,
    network: Network,
    variables: Variables,
    batches: Iterable[Batch],
    *,
    labels: Literal["drawn", "given"] = "drawn",
    output: str = "logits",
    inputs: Inputs = "image",
    target: str = "label",
) -> Consolidated:
    r"""Estimate how much each parameter matters for what a network has learned.

    .. math:: F_k = \overline{\left(\partial_k \log p(y \mid x)\right)^2}

    the diagonal of the Fisher information, over the examples of the batches.

    Args:
        key: random key, for drawn labels.
        network: the trained one.
        variables: its parameters and state, such as ``learner.predicting.get(state)``.
        batches: some batches of the task, such as ``[batches[i] for i in range(8)]``.
        labels: ``"drawn"`` from the network's own prediction, which is Fisher's information; or
            ``"given"``, those of the batches, the empirical one, which is 0 where all is fitted.
        output: the endpoint, logits over classes on the last axis; of a segmenter the log
            probabilities of a mask's voxels are added up.
        inputs: the network's images.
        target: the batch's classes, for given labels.

    Returns:
        The parameters with their importance, for :func:`ewc`.

    Raises:
        ValueError: for no example, or another word for ``labels``.

    References:
        Kirkpatrick et al. (2017), Overcoming catastrophic forgetting in neural networks, PNAS.
    """
    if labels not in ("drawn", "given"):
        raise ValueError(f"labels must be 'drawn' or 'given', got {labels!r}")

    @jax.jit
    def squares(variables, batch, key):
        given = network_inputs(batch, inputs)
        weight = batch.get("weight")
        size = len(jax.tree.leaves(given)[0])
        real = jnp.ones(size) if weight is None else (weight > 0).astype(jnp.float32)

        def of_one(i):
            image = jax.tree.map(lambda leaf: leaf[i][None], given)

            def log_p(params):
                endpoints, _ = network.apply(params, variables.state, image)
                logits = pick(endpoints, output, "network")[0].astype(jnp.float32)
                if labels == "drawn":
                    y = jax.random.categorical(stream(key, "label", i), logits)
                else:
                    y = batch[target][i]
                chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y[..., None], axis=-1)
                return chosen.sum()

            gradient = jax.grad(log_p)(variables.params)
            return jax.tree.map(lambda g: real[i] * jnp.square(g), gradient)

        def add(total, i):
            return jax.tree.map(jnp.add, total, of_one(i)), None

        start = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), variables.params)
        return jax.lax.scan(add, start, jnp.arange(size))[0], real.sum()

    total: Any = None
    count = 0.0
    for number, batch in enumerate(batches):
        own = {name: jnp.asarray(value) for name, value in batch.items()}
        found, real = squares(variables, own, stream(key, "fisher", number))
        total = found if total is None else jax.tree.map(jnp.add, total, found)
        count += float(real)
    if not count:
        raise ValueError("there is no example to learn importance from")
    importance = jax.tree.map(lambda leaf: leaf / count, total)
    return Consolidated(jax.tree.map(jnp.asarray, variables.params), importance)


def consolidated(*past: Consolidated) -> Consolidated:
    """Put the importance of several tasks together.

    Penalties on distances from several places are, but for a constant, one penalty on the distance
    from their weighted mean: memory does not grow with the number of tasks.

    Raises:
        ValueError: for no task, tasks of different networks, or importance that is negative, not
            finite, or of other parameters.
    """
    if not past:
        raise ValueError("there is no task to put together")
    first = checked(past[0])
    for number, one in enumerate(past):
        if other := sorted(set(first.items()) ^ set(checked(one).items())):
            path = other[0][0]
            raise ValueError(
                f"task {number} is of another network than task 0: {path!r} has the shape "
                f"{checked(one).get(path)} there and {first.get(path)} here"
            )
    total = jax.tree.map(lambda *parts: sum(parts), *(one.importance for one in past))

    def mean(weight, *pairs):
        n = len(past)
        moment: Any = sum(f * p for p, f in zip(pairs[:n], pairs[n:], strict=True))
        return jnp.where(weight > 0, moment / jnp.where(weight > 0, weight, 1), pairs[n - 1])

    places = jax.tree.map(
        mean, total, *(one.params for one in past), *(one.importance for one in past)
    )
    return Consolidated(places, total)


def ewc(objective: Objective, past: Consolidated, *, weight: float = 1.0) -> Objective:
    r"""Add a penalty on moving parameters that mattered for earlier tasks.

    .. math:: \frac\lambda2 \sum_k F_k (\theta_k - \theta^*_k)^2

    Parameters that earlier tasks had not (a new head) are free. Where classes are learned one
    after the other under one head and no label tells the task, this fails, as all penalties on
    parameters do: see :func:`replay`.

    Args:
        objective: what is learned now.
        past: of :func:`fisher_information`; of several tasks by :func:`consolidated`.
        weight: :math:`\lambda`.

    Returns:
        The objective, with the past in its state, and the metric ``penalty``.

    Raises:
        ValueError: if the weight is negative, or importance is negative, not finite or of other
            parameters; at ``init``, if the network has no parameter of the past, or one in another
            shape.

    References:
        Kirkpatrick et al. (2017), Overcoming catastrophic forgetting in neural networks, PNAS.
    """
    check_weight(weight)
    checked(past)
    inner = within(objective, "objective")

    def init(key, network, params, state, batch):
        own_params, own_state = objective.init(key, network, params, state, batch)
        kept = shared_paths(params, past)
        return {"objective": own_params}, {"objective": own_state, **kept}

    def loss(network, params, state, batch, key):
        value, (state, metrics) = inner.loss(network, params, state, batch, key)
        penalty = distance(params["net"], state["obj"]["places"], state["obj"]["importance"])
        value = value + weight / 2 * penalty
        return value, (state, merge_named(metrics, {"penalty": penalty}))

    return inner._replace(init=init, loss=loss)


def checked(past: Consolidated) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter, whose importance has the same and is not negative.

    Raises:
        ValueError: where it is not so; names the parameter.
    """
    places, importance = flatten_paths(past.params), flatten_paths(past.importance)
    shapes = {path: jnp.shape(leaf) for path, leaf in places.items()}
    if other := sorted(set(places) ^ set(importance)):
        raise ValueError(f"{other[0]!r} has a place or an importance, and not both")
    for path, leaf in importance.items():
        if jnp.shape(leaf) != shapes[path]:
            raise ValueError(
                f"{path!r} has the shape {shapes[path]}, and its importance {jnp.shape(leaf)}"
            )
        traced = isinstance(leaf, Tracer)
        if not traced and not (np.isfinite(leaf).all() and (np.asarray(leaf) >= 0).all()):
            raise ValueError(f"the importance of {path!r} is to be finite and not negative")
    return shapes


def shared_paths(params: PyTree, past: Consolidated) -> dict[str, dict[str, Any]]:
    """What of the past is still in a network, by path: ``places`` and ``importance``."""
    now = flatten_paths(params)
    places, importance = flatten_paths(past.params), flatten_paths(past.importance)
    found = [path for path in places if path in now]
    if not found:
        raise ValueError(
            f"the network has none of the past parameters {sorted(places)[:10]}; it has "
            f"{sorted(now)[:10]}"
        )
    for path in found:
        if jnp.shape(now[path]) != jnp.shape(places[path]):
            raise ValueError(
                f"{path} has the shape {jnp.shape(now[path])}, and had {jnp.shape(places[path])}"
            )
    return {
        "places": {path: jnp.copy(places[path]) for path in found},
        "importance": {path: jnp.copy(importance[path]) for path in found},
    }


def distance(params: PyTree, places: dict[str, Any], importance: dict[str, Any]) -> Any:
    """The sum of squared distances by importance."""
    now, still = flatten_paths(params), jax.lax.stop_gradient((places, importance))
    return sum((f * jnp.square(now[path] - still[0][path])).sum() for path, f in still[1].items())
