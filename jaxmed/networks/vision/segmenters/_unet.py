"""U-Net."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxmed.core import Array, Endpoints
from jaxmed.networks.layers._convolution import ConvTranspose, per_axis, spatial_rank
from jaxmed.networks.vision.segmenters._blocks import (
    PlainStage,
    ResidualStage,
    cropped,
    segmented,
)
from jaxmed.networks.vision.segmenters._unet_plan import UNetPlan, plan_unet


class UNet(nn.Module):
    """U-Net: strided convolutions down, transposed convolutions up, concatenated skips.

    An axis that the strides do not divide is rounded up on the way down and cropped to the
    skip's size on the way up.

    Attributes:
        classes: number of logits at each voxel; None for a trunk without heads.
        plan: the stages; see :func:`plan_unet`.
        norm: normalisation, see :func:`make_norm`.
        bias: whether convolutions have a bias, as nnU-Net's do.
        deep_supervision: also predict from each coarser stage of the decoder: the endpoint `deep`,
            a tuple of logits, finest (the `logits`) first.
        dropout: rate of channel dropout after each convolution.
        slope: negative slope of the leaky ReLU.
        dtype: dtype of the computation; parameters, `features` and all logits are float32.
        remat: recompute each stage in the backward pass, to save memory.

    References:
        Ronneberger, Fischer and Brox, U-Net, MICCAI 2015. Isensee et al., nnU-Net, Nature
        Methods 18, 2021.
    """

    classes: int | None = None
    plan: UNetPlan = UNetPlan()
    norm: str | Callable[..., nn.Module] = "instance"
    bias: bool = True
    deep_supervision: bool = False
    dropout: float = 0.0
    slope: float = 0.01
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to named endpoints.

        Args:
            x: images.
            train: whether dropout is active and batch statistics are used.

        Returns:
            `logits` `(batch, *spatial, classes)`; `deep`, with deep supervision; `pyramid`, the
            decoder's maps, finest first, with the bottleneck last; `features`, the bottleneck's
            spatial mean.
        """
        plan, rank = self.plan, spatial_rank(x)
        strides = [per_axis(s, rank, "the plan's stride") for s in plan.strides]
        kernels = [per_axis(k, rank, "the plan's kernel") for k in plan.kernels]
        make = ResidualStage if plan.block == "residual" else PlainStage
        plain = PlainStage
        if self.remat:
            make, plain = (nn.remat(m, static_argnums=(2,)) for m in (make, plain))
        options = (self.norm, self.bias, self.dropout, self.slope, self.dtype)

        skips = []
        if plan.block == "residual":
            stem = plain(plan.features[0], kernels[0], (1,) * rank, 1, *options, name="stem")
            x = stem(x, train)
        for i in range(plan.stages):
            stage = make(
                plan.features[i], kernels[i], strides[i], plan.depths[i], *options,
                name=f"encoder{i + 1}",
            )  # fmt: skip
            x = self.mixed(stage(x, train), i + 1, train)
            skips.append(x)

        pyramid = [x]
        for i in reversed(range(plan.stages - 1)):
            x = ConvTranspose(
                plan.features[i], strides[i + 1], self.bias, self.dtype, name=f"up{i + 1}"
            )(x)
            x = jnp.concatenate([cropped(x, skips[i]), skips[i]], axis=-1)
            stage = plain(
                plan.features[i], kernels[i], (1,) * rank, plan.decoder_depths[i], *options,
                name=f"decoder{i + 1}",
            )  # fmt: skip
            x = stage(x, train)
            pyramid.insert(0, x)

        deep = plan.stages - 1 if self.deep_supervision else None
        return segmented(pyramid, self.classes, self.dtype, deep=deep)

    def mixed(self, x: Array, level: int, train: bool) -> Array:
        """Return the map of an encoder stage, 1 the finest; a subclass mixes distant voxels."""
        del level, train
        return x


def unet(
    classes: int | None = None,
    *,
    plan: UNetPlan | None = None,
    patch_size: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    **options: Any,
) -> UNet:
    """Create a U-Net from a plan or from a patch size; see :class:`UNet` for the options.

    Args:
        classes: number of logits at each voxel; None for a trunk without heads.
        plan: the stages.
        patch_size: voxels along each axis, passed to :func:`plan_unet`.
        spacing: voxel size along each axis; only with `patch_size`.
        **options: further fields of :class:`UNet`.

    Returns:
        The module. Without a plan or a patch size it has four isotropic stages of 32 to 256
        channels, for images of any rank.

    Raises:
        ValueError: if both a plan and a patch size are given, or a spacing without a patch size.

    >>> import jax
    >>> net = unet(3, plan=plan_unet((8, 16), base_features=4))
    >>> key, x = jax.random.key(0), jnp.ones((1, 8, 16, 1))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> outputs["logits"].shape
    (1, 8, 16, 3)
    """
    if patch_size is None and spacing is not None:
        raise ValueError("spacing is used in planning from a patch_size: give that too")
    if patch_size is not None:
        if plan is not None:
            raise ValueError("give plan or patch_size, not both")
        plan = plan_unet(patch_size, spacing)
    return UNet(classes, UNetPlan() if plan is None else plan, **options)
