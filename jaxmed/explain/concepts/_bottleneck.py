"""Concept bottleneck: an answer through concepts that a clinician can read and correct."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Key, Network, PyTree, as_network, pick, stream
from jaxmed.core._made import made_by


def concept_bottleneck(
    trunk: Network | nn.Module,
    *,
    concepts: int,
    classes: int,
    hidden: int = 0,
    reads: str = "features",
) -> Network:
    """A network that answers from the probabilities of concepts, and from nothing else.

    Its inputs are images, or ``{"image": images, "concepts": (batch, concepts)}``: where a
    concept is given it is taken in place of the network's own, and where it is NaN it is not. So a
    clinician corrects it in prediction; in training, true concepts train the answer independently
    of what the trunk makes of the image.

    It is trained by ordinary objectives, jointly by::

        weighted({
            "answer": supervised(losses.cross_entropy),
            "concepts": supervised(
                losses.binary_cross_entropy, output="concepts", target="concepts"
            ),
        })

    Args:
        trunk: a network of images.
        concepts: how many there are, each present or not.
        classes: number of logits.
        hidden: width of a layer between concepts and logits; 0 for a linear answer, whose weights
            say what each concept does.
        reads: the trunk's endpoint, ``(batch, features)``.

    Returns:
        The network; endpoints ``concepts`` (their logits, of the image alone), ``believed`` (their
        probabilities, corrected) and ``logits``, beside the trunk's ``features``.

    Raises:
        ValueError: if a number is too small; when applied, if the concepts have another shape.

    References:
        Koh et al. (2020), Concept bottleneck models, ICML.

    Examples:
        >>> trunk = nn.Dense(4)
        >>> import jaxmed as jm
        >>> trunk = jm.core.from_functions(lambda key, x: {}, lambda params, x: {"features": x})
        >>> network = concept_bottleneck(trunk, concepts=3, classes=2)
        >>> params, state = network.init(jax.random.key(0), jnp.ones((2, 5)))
        >>> given = jnp.array([[1, jnp.nan, 0], [jnp.nan] * 3])
        >>> asked = {"image": jnp.ones((2, 5)), "concepts": given}
        >>> network.apply(params, state, asked)[0]["believed"][0, ::2].tolist()
        [1.0, 0.0]
    """
    if concepts < 1 or classes < 1 or hidden < 0:
        raise ValueError(
            f"concepts and classes are at least 1 and hidden at least 0, got {concepts}, "
            f"{classes} and {hidden}"
        )
    below, reader, answer = as_network(trunk), _Linear(concepts), _Answer(classes, hidden)

    def init(key, inputs):
        images, _ = _apart(inputs)
        params, state = below.init(stream(key, "trunk"), images)
        features = pick(below.apply(params, state, images)[0], reads, "trunk")
        read = reader.init(stream(key, "concepts"), features)["params"]
        said = answer.init(stream(key, "answer"), jnp.zeros((len(features), concepts)))["params"]
        return {"trunk": params, "concepts": read, "answer": said}, {"trunk": state}

    def apply(params, state, inputs, *, key=None, train=False):
        images, given = _apart(inputs)
        own = None if key is None else stream(key, "trunk")
        endpoints, after = below.apply(
            params["trunk"], state["trunk"], images, key=own, train=train
        )
        features = pick(endpoints, reads, "trunk")
        logits = jnp.asarray(reader.apply({"params": params["concepts"]}, features))
        believed = jax.nn.sigmoid(logits)
        if given is not None:
            if given.shape != logits.shape:
                raise ValueError(
                    f"concepts have the shape {logits.shape}, NaN where they are not given; got "
                    f"{given.shape}"
                )
            believed = jnp.where(jnp.isnan(given), believed, given)
        ends = {
            "features": features,
            "concepts": logits,
            "believed": believed,
            "logits": answer.apply({"params": params["answer"]}, believed),
        }
        return ends, {"trunk": after}

    return made_by(
        Network(init, apply), "concept_bottleneck",
        trunk=trunk, concepts=concepts, classes=classes, hidden=hidden, reads=reads,
    )  # fmt: skip


def interventions(
    key: Key,
    network: Network,
    params: PyTree,
    state: PyTree,
    images: Array,
    concepts: Array | np.ndarray,
    *,
    order: Literal["uncertain", "random"] | Sequence[int] = "uncertain",
) -> Array:
    """What a concept bottleneck answers as one concept after the other is corrected.

    Args:
        key: random key of a random order, of which each case has its own.
        network: a :func:`concept_bottleneck`.
        params: its parameters.
        state: its state.
        images: (batch, *spatial, channels).
        concepts: (batch, concepts), the true ones; NaN where nobody knows.
        order: of which concept first: the least certain of each case, a random one, or a list of
            all concepts.

    Returns:
        (concepts + 1, batch, classes): logits with none to all of them corrected.

    Raises:
        ValueError: if the order is none of these.
    """
    true = jnp.asarray(concepts, jnp.float32)
    batch, count = true.shape
    if isinstance(order, str):
        if order == "uncertain":
            logits = network.apply(params, state, images)[0]["concepts"]
            rank = jnp.abs(logits).argsort(1).argsort(1)
        elif order == "random":
            rank = jax.random.uniform(stream(key, "order"), (batch, count)).argsort(1).argsort(1)
        else:
            raise ValueError(f'order is "uncertain", "random" or a list, got {order!r}')
    else:
        if sorted(order) != list(range(count)):
            raise ValueError(f"an order lists each of {count} concepts once, got {list(order)}")
        rank = jnp.broadcast_to(jnp.asarray(np.argsort(order)), (batch, count))

    def corrected(number):
        given = jnp.where(rank < number, true, jnp.nan)
        return network.apply(params, state, {"image": images, "concepts": given})[0]["logits"]

    return jax.lax.map(corrected, jnp.arange(count + 1))


def _apart(inputs: Any) -> tuple[Any, Array | None]:
    if isinstance(inputs, dict):
        return inputs["image"], inputs.get("concepts")
    return inputs, None


class _Linear(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return nn.Dense(self.width, name="linear")(x.astype(jnp.float32))


class _Answer(nn.Module):
    classes: int
    hidden: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        if self.hidden:
            x = nn.relu(nn.Dense(self.hidden, name="hidden")(x))
        return nn.Dense(self.classes, name="linear")(x)
