"""U-Nets whose coarse maps are mixed over all voxels: by attention, by state spaces."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.networks.layers._attention import LayerNorm, TransformerBlock
from jaxmed.networks.layers._positions import sincos_positions
from jaxmed.networks.layers._state_space import VoxelMamba
from jaxmed.networks.vision.segmenters._unet import UNet


class TransUNet(UNet):
    """U-Net whose coarsest map is a transformer's tokens, voxel by voxel; see :class:`UNet`.

    Positions are fixed sines and cosines, so that the network takes images of any size.

    Attributes:
        hidden: width of the tokens, a multiple of `heads`.
        layers: number of transformer blocks.
        heads: number of attention heads.
        mlp_ratio: hidden width of the blocks' MLP, as a multiple of `hidden`.

    References:
        Chen et al., TransUNet: transformers make strong encoders for medical image segmentation,
        arXiv:2102.04306; with the plan's encoder for a pretrained ResNet-50.

    >>> import jax
    >>> net = TransUNet(3, hidden=16, layers=1, heads=2)
    >>> key, x = jax.random.key(0), jnp.ones((1, 16, 16, 16, 1))
    >>> jax.eval_shape(net.init_with_output, key, x)[0]["logits"].shape
    (1, 16, 16, 16, 3)
    """

    hidden: int = 768
    layers: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0

    def mixed(self, x: Array, level: int, train: bool) -> Array:
        """Let all voxels of the coarsest map attend to each other."""
        if level < self.plan.stages:
            return x
        grid, channels = x.shape[1:-1], x.shape[-1]
        y = nn.Dense(self.hidden, dtype=self.dtype, name="tokens")(x)
        y = y.reshape(x.shape[0], -1, self.hidden)
        y = y + jnp.asarray(sincos_positions(grid, self.hidden)).astype(y.dtype)
        block = nn.remat(TransformerBlock, static_argnums=(2,)) if self.remat else TransformerBlock
        hidden = int(self.hidden * self.mlp_ratio)
        for i in range(1, self.layers + 1):
            y = block(self.heads, hidden, True, self.dropout, self.dtype, name=f"transformer{i}")(
                y, train
            )
        y = LayerNorm(dtype=self.dtype, name="transformer_norm")(y)
        return nn.Dense(channels, dtype=self.dtype, name="voxels")(y).reshape(x.shape)


class MambaUNet(UNet):
    """U-Net with selective state spaces over the voxels of its encoder; see :class:`UNet`.

    Time and memory grow with the number of voxels, not with its square.

    Attributes:
        state: numbers of state of each channel.
        expansion: channels of the state space, as a multiple of the map's.
        where: behind the last stage, the `"bottleneck"`, or all stages but the first of the
            `"encoder"`.

    References:
        Ma, Li and Wang, U-Mamba: enhancing long-range dependency for biomedical image segmentation,
        arXiv:2401.04722; here both ways along the voxels, and added to the map.

    >>> import jax
    >>> net = MambaUNet(3, state=4)
    >>> key, x = jax.random.key(0), jnp.ones((1, 16, 24, 1))
    >>> jax.eval_shape(net.init_with_output, key, x)[0]["logits"].shape
    (1, 16, 24, 3)
    """

    state: int = 16
    expansion: int = 2
    where: Literal["bottleneck", "encoder"] = "bottleneck"

    def mixed(self, x: Array, level: int, train: bool) -> Array:
        """Scan the voxels of a stage's map, both ways."""
        del train  # the same in both modes
        if self.where not in ("bottleneck", "encoder"):
            raise ValueError(f'where must be "bottleneck" or "encoder", got {self.where!r}')
        if level < (self.plan.stages if self.where == "bottleneck" else 2):
            return x
        make: Any = nn.remat(VoxelMamba) if self.remat else VoxelMamba
        return make(self.state, self.expansion, self.dtype, name=f"scan{level}")(x)
