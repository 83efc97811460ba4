"""VoxelMorph: any trunk with a pyramid predicts a field."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed.core import Array, Endpoints, Network, as_network
from jaxmed.core._made import made_by
from jaxmed.networks import Conv, UNetPlan, unet
from jaxmed.paradigms import Head, with_heads
from jaxmed.registration.learning._fields import FieldKind, answers, both, check_kind, steps

# Fields begin so small that nothing moves, but not at 0, where a trunk would learn nothing.
slight = nn.initializers.normal(1e-5)


class FieldHead(nn.Module):
    """Vectors at the places of a pyramid's finest map, in that map's own voxels."""

    dtype: Any = None

    @nn.compact
    def __call__(self, pyramid: tuple[Array, ...]) -> Endpoints:
        """Map `(batch, *grid, features)` to `logits` `(batch, *grid, rank)`."""
        x = pyramid[0]
        conv = Conv(x.ndim - 2, 3, dtype=self.dtype, kernel_init=slight, name="conv")
        return {"logits": conv(x).astype(jnp.float32)}


def voxelmorph(
    trunk: Network | nn.Module | None = None,
    *,
    field: FieldKind = "velocity",
    squarings: int = 6,
) -> Network:
    """A network that predicts the warp of a pair, out of any trunk with a pyramid.

    The trunk sees both images as channels; a convolution makes vectors of its finest map. A
    velocity is integrated at the places of that map: of a U-Net whose first stage has a stride of 2
    at half of the image's resolution, and the trunk computes nothing that is finer.

    Args:
        trunk: with the endpoint ``pyramid``, finest map first, such as a
            :func:`jaxmed.networks.unet` without classes; by default one of 16 and 32 channels, at
            half resolution and coarser, for axes of 17 voxels or more.
        field: ``"velocity"``, whose map has an inverse and hardly folds, or ``"displacement"``.
        squarings: by which a velocity is integrated.

    Returns:
        The network. It takes ``{"fixed": ..., "moving": ...}``, both
        ``(batch, *spatial, channels)`` on one grid of two or three axes. Its endpoints, vectors in
        voxels of the image along its axes at nodes that divide it evenly: ``velocity``
        ``(batch, *nodes, rank)`` and ``inverse``, the displacement of the inverse (of a velocity
        alone), ``displacement``, and ``moved`` ``(batch, *spatial, channels)``, which has at x what
        the moving image has at ``x + displacement(x)``. Before training hardly anything moves.

    Raises:
        ValueError: an unknown field; when traced, images that do not fit.

    Examples:
        >>> network = voxelmorph()
        >>> pair = {"fixed": jnp.ones((1, 24, 32, 1)), "moving": jnp.ones((1, 24, 32, 1))}
        >>> variables = jax.eval_shape(network.init, jax.random.key(0), pair)
        >>> found, _ = jax.eval_shape(network.apply, *variables, pair)
        >>> {name: value.shape[1:] for name, value in sorted(found.items())}["velocity"]
        (12, 16, 2)

    References:
        Balakrishnan et al., VoxelMorph: a learning framework for deformable medical image
        registration, IEEE Transactions on Medical Imaging 2019; Dalca et al., Unsupervised learning
        of probabilistic diffeomorphic registration for images and surfaces, Medical Image Analysis
        2019.
    """
    check_kind(field, squarings)
    if trunk is None:
        plan = UNetPlan((16, 32, 32, 32), (2, 2, 2, 2), (3, 3, 3, 3), (1, 1, 1, 1), (1, 1, 1))
        trunk = unet(plan=plan)
    trunk = as_network(trunk)
    whole = with_heads(trunk, {"field": Head(FieldHead(), "pyramid")})

    def init(key, inputs):
        return whole.init(key, jnp.concatenate(both(inputs), axis=-1))

    def apply(params, state, inputs, *, key=None, train=False):
        fixed, moving = both(inputs)
        pair = jnp.concatenate([fixed, moving], axis=-1)
        endpoints, state = whole.apply(params, state, pair, key=key, train=train)
        values = endpoints["field"]
        values = values * steps(fixed.shape[1:-1], values.shape[1:-1])
        return answers(values, moving, field, squarings), state

    return made_by(
        Network(jax.jit(init), apply), "voxelmorph", trunk=trunk, field=field, squarings=squarings
    )
