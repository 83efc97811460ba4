"""Prototype networks: an answer by likeness to parts of training images."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Network, PyTree, as_network, pick, stream
from jaxmed.core._made import made_by
from jaxmed.core._network import named_endpoints


def prototype_network(
    trunk: Network | nn.Module,
    *,
    classes: int,
    per_class: int = 5,
    width: int = 32,
    reads: str = "pyramid",
    level: int = -1,
) -> Network:
    r"""A network that compares each place of an image with prototypes of the classes.

    The map that is read goes through a layer over its channels alone, to vectors in [0, 1]; the
    likeness to a prototype is :math:`\log \frac{d + 1}{d + 10^{-4}}` of the least squared distance
    d of any place, and logits are linear in the likenesses. After training,
    :func:`project_prototypes` makes each prototype a part of a training image, so that the answer
    is "this looks like that", and means it.

    It is trained by ordinary objectives: cross entropy of the logits, and
    :func:`prototype_cost` of the endpoint ``distances``.

    Args:
        trunk: a network of images.
        classes: number of logits.
        per_class: prototypes of each class.
        width: channels in which places are compared.
        reads: the trunk's endpoint, a map or a tuple of maps.
        level: which of a tuple.

    Returns:
        The network; endpoints ``logits``, ``distances`` (batch, prototypes) of the nearest place,
        ``likeness`` (batch, *grid, prototypes) and ``places`` (batch, *grid, width). The
        prototypes of class c are numbers ``c * per_class`` to ``(c + 1) * per_class - 1``.

    Raises:
        ValueError: if a number is too small.

    References:
        Chen et al. (2019), This looks like that: deep learning for interpretable image
        recognition, NeurIPS.
    """
    if classes < 2 or per_class < 1 or width < 1:
        raise ValueError(
            f"classes is at least 2, per_class and width at least 1; got {classes}, {per_class} "
            f"and {width}"
        )
    below = as_network(trunk)
    head = _Prototypes(classes, per_class, width)

    def read(endpoints):
        found = pick(endpoints, reads, "trunk")
        return found[level] if isinstance(found, tuple | list) else found

    def init(key, inputs):
        params, state = below.init(stream(key, "trunk"), inputs)
        places = read(below.apply(params, state, inputs)[0])
        own = head.init(stream(key, "prototypes"), places)["params"]
        return {"trunk": params, "prototypes": own}, {"trunk": state}

    def apply(params, state, inputs, *, key=None, train=False):
        own = None if key is None else stream(key, "trunk")
        endpoints, after = below.apply(
            params["trunk"], state["trunk"], inputs, key=own, train=train
        )
        ends = head.apply({"params": params["prototypes"]}, read(endpoints))
        return named_endpoints(ends), {"trunk": after}

    return made_by(
        Network(init, apply), "prototype_network",
        trunk=trunk, classes=classes, per_class=per_class, width=width, reads=reads, level=level,
    )  # fmt: skip


def prototype_cost(*, per_class: int, separate: float = 0.1):
    """A loss of the endpoint ``distances``: near a prototype of one's class, far from others.

    Args:
        per_class: prototypes of each class.
        separate: weight of the distance to the nearest prototype of another class.

    Returns:
        ``(distances (batch, prototypes), labels (batch,), *, where=None) -> (batch,)``; 0 where
        ``where`` says that a label is missing.

    References:
        Chen et al. (2019), as of :func:`prototype_network`.

    Examples:
        >>> cost = prototype_cost(per_class=1, separate=0.5)
        >>> cost(jnp.array([[1.0, 4.0]]), jnp.array([0])).tolist()
        [-1.0]
    """

    def loss(distances: Array, labels: Array, *, where: Array | None = None) -> Array:
        classes = jnp.arange(distances.shape[-1]) // per_class
        own = classes == labels[:, None]
        near = jnp.where(own, distances, jnp.inf).min(1)
        other = jnp.where(own, jnp.inf, distances).min(1)
        value = near - separate * other
        return value if where is None else jnp.where(where, value, 0)

    return loss


class Projected(NamedTuple):
    """Prototypes that are parts of images.

    Attributes:
        params: the network's parameters with them.
        images: (prototypes,), the number of the image of each.
        places: (prototypes, rank), where in the map it lies.
        moved: (prototypes,), squared distance from where it was.
    """

    params: PyTree
    images: np.ndarray
    places: np.ndarray
    moved: np.ndarray


def project_prototypes(
    network: Network,
    params: PyTree,
    state: PyTree,
    images: Array,
    labels: Array | np.ndarray,
    *,
    batch: int = 32,
) -> Projected:
    """Make each prototype the nearest part of an image of its class.

    Args:
        network: a :func:`prototype_network`.
        params: its parameters.
        state: its state.
        images: training images (n, *spatial, channels).
        labels: (n,), their classes.
        batch: how many images are computed at once.

    Returns:
        The parameters, and which parts the prototypes are.

    Raises:
        ValueError: if a class has no image.
    """
    vectors = np.asarray(params["prototypes"]["vectors"], np.float32)
    labels, count = np.asarray(labels), len(vectors)
    classes = params["prototypes"]["linear"].shape[1]
    per_class = count // classes
    if missing := sorted(set(range(classes)) - set(labels.tolist())):
        raise ValueError(f"a prototype is a part of an image of its class; none of {missing} given")
    best, where = np.full(count, np.inf), np.zeros(count, np.int64)
    chosen, found = np.zeros(count, np.int64), vectors.copy()
    grid: tuple[int, ...] = ()
    apply = jax.jit(lambda x: network.apply(params, state, x)[0]["places"])
    for first in range(0, len(images), batch):
        places = np.asarray(apply(jnp.asarray(images[first : first + batch])), np.float32)
        grid = places.shape[1:-1]
        rows = places.reshape(len(places), -1, places.shape[-1])
        for i, (row, label) in enumerate(zip(rows, labels[first : first + batch], strict=True)):
            for number in range(label * per_class, (label + 1) * per_class):
                distance = ((row - vectors[number]) ** 2).sum(-1)
                at = int(distance.argmin())
                if distance[at] < best[number]:
                    best[number], where[number] = distance[at], at
                    chosen[number], found[number] = first + i, row[at]
    own = {**params["prototypes"], "vectors": jnp.asarray(found)}
    at = np.stack(np.unravel_index(where, grid), 1)
    return Projected({**params, "prototypes": own}, chosen, at, best)


class _Prototypes(nn.Module):
    classes: int
    per_class: int
    width: int

    @nn.compact
    def __call__(self, places: Array) -> dict[str, Array]:
        count = self.classes * self.per_class
        places = nn.sigmoid(nn.Dense(self.width, name="places")(places.astype(jnp.float32)))
        vectors = self.param("vectors", nn.initializers.uniform(1.0), (count, self.width))
        apart = places[..., None, :] - vectors
        distance = (apart**2).sum(-1)
        nearest = distance.min(tuple(range(1, distance.ndim - 1)))
        linear = self.param("linear", _own_class, (count, self.classes))
        likeness = jnp.log((distance + 1) / (distance + 1e-4))
        return {
            "places": places,
            "likeness": likeness,
            "distances": nearest,
            "logits": jnp.log((nearest + 1) / (nearest + 1e-4)) @ linear,
        }


def _own_class(key, shape, dtype=jnp.float32):
    """1 for a prototype of the class and -0.5 for others, as in the paper."""
    del key
    count, classes = shape
    own = jnp.arange(count)[:, None] // (count // classes) == jnp.arange(classes)
    return jnp.where(own, 1.0, -0.5).astype(dtype)
