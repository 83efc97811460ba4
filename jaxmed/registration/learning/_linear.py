"""A network that predicts a rigid or affine map."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmed import ops
from jaxmed.core import Array, Endpoints, Network, as_network
from jaxmed.core._made import made_by
from jaxmed.networks import UNetPlan, unet
from jaxmed.paradigms import Head, with_heads
from jaxmed.registration.learning._fields import both, carried
from jaxmed.registration.learning._voxelmorph import slight
from jaxmed.registration.pairs._transforms import body, matrix

Transform = Literal["affine", "rigid"]


class LinearHead(nn.Module):
    """Parameters of a linear map from where the features of a pyramid's coarsest map lie.

    Attributes:
        transform: the kind of map.
    """

    transform: Transform

    @nn.compact
    def __call__(self, pyramid: tuple[Array, ...]) -> Endpoints:
        """Map `(batch, *grid, features)` to `logits` `(batch, parameters)`.

        The mean of each feature, and its mean products with the coordinates: a mean alone knows no
        place.
        """
        x = jnp.asarray(pyramid[-1], jnp.float32)
        axes = tuple(range(1, x.ndim - 1))
        seen = [x.mean(axes)]
        for axis in axes:
            at = np.linspace(-1, 1, x.shape[axis], dtype=np.float32) if x.shape[axis] > 1 else 0.0
            along = np.reshape(at, [-1 if a == axis else 1 for a in range(x.ndim)])
            seen.append((x * along).mean(axes))
        rank = len(axes)
        count = rank * (rank + 1) if self.transform == "affine" else rank * (rank + 1) // 2
        dense = nn.Dense(count, kernel_init=slight, name="dense")
        return {"logits": dense(jnp.concatenate(seen, -1))}


def linear_network(
    trunk: Network | nn.Module | None = None,
    *,
    transform: Transform = "affine",
) -> Network:
    """A network that predicts the rigid or affine map of a pair, out of any trunk with a pyramid.

    The trunk sees both images as channels. Means of its coarsest map, and means of the products
    with the coordinates, become the parameters of the map: the exponential of a matrix, so that it
    always has an inverse.

    Args:
        trunk: with the endpoint ``pyramid``, coarsest map last; by default a small U-Net.
        transform: ``"affine"`` or ``"rigid"``, which turns about the middle of the image and
            shifts, in voxels: rigid for voxels that are cubes.

    Returns:
        The network, with the inputs of :func:`voxelmorph`. Its endpoints: ``matrix``
        ``(batch, rank + 1, rank + 1)`` from voxels of the fixed image to voxels of the moving one,
        ``displacement`` and ``inverse`` ``(batch, *spatial, rank)`` in voxels, and ``moved``.

    Raises:
        ValueError: an unknown transform; when traced, images that do not fit.

    Examples:
        >>> network = linear_network()
        >>> pair = {"fixed": jnp.ones((1, 16, 24, 1)), "moving": jnp.ones((1, 16, 24, 1))}
        >>> variables = jax.eval_shape(network.init, jax.random.key(0), pair)
        >>> jax.eval_shape(network.apply, *variables, pair)[0]["matrix"].shape
        (1, 3, 3)
    """
    if transform not in ("affine", "rigid"):
        raise ValueError(f"transform={transform!r}; expected 'affine' or 'rigid'")
    if trunk is None:
        plan = UNetPlan((8, 16, 32), (2, 2, 2), (3, 3, 3), (1, 1, 1), (1, 1))
        trunk = unet(plan=plan)
    trunk = as_network(trunk)
    whole = with_heads(trunk, {"linear": Head(LinearHead(transform), "pyramid")})

    def init(key, inputs):
        return whole.init(key, jnp.concatenate(both(inputs), axis=-1))

    def apply(params, state, inputs, *, key=None, train=False):
        fixed, moving = both(inputs)
        pair = jnp.concatenate([fixed, moving], axis=-1)
        endpoints, state = whole.apply(params, state, pair, key=key, train=train)
        return _answers(endpoints["linear"], moving, transform), state

    network = Network(jax.jit(init), apply)
    return made_by(network, "linear_network", trunk=trunk, transform=transform)


def _answers(values: Array, moving: Array, transform: str) -> Endpoints:
    shape = moving.shape[1:-1]
    rank = len(shape)
    about = body(shape, np.eye(rank + 1))
    if transform == "affine":
        values = values.reshape(-1, rank, rank + 1)
    there, back = (
        jax.vmap(partial(matrix, transform, of=about, back=b))(values) for b in (False, True)
    )
    still: Any = ops.identity_grid(shape)
    ahead, inverse = (
        jax.vmap(lambda m: ops.affine_grid(m, shape))(m) - still for m in (there, back)
    )
    return {
        "matrix": there,
        "displacement": ahead,
        "inverse": inverse,
        "moved": carried(moving, ahead),
    }
