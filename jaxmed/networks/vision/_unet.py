"""U-Net."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed import ops
from jaxmed.core import Array, Endpoints
from jaxmed.networks.heads._answers import SegmentationHead
from jaxmed.networks.layers._convolution import (
    Conv,
    ConvTranspose,
    global_average,
    he_fan_in,
    per_axis,
    spatial_rank,
)
from jaxmed.networks.layers._norm import make_norm
from jaxmed.networks.vision._unet_plan import UNetPlan, plan_unet


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
        make = _Residual if plan.block == "residual" else _Plain
        plain = _Plain
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
            x = stage(x, train)
            skips.append(x)

        pyramid = [x]
        for i in reversed(range(plan.stages - 1)):
            x = ConvTranspose(
                plan.features[i], strides[i + 1], self.bias, self.dtype, name=f"up{i + 1}"
            )(x)
            crop = tuple(slice(0, n) for n in skips[i].shape[:-1])
            x = jnp.concatenate([x[crop], skips[i]], axis=-1)
            stage = plain(
                plan.features[i], kernels[i], (1,) * rank, plan.decoder_depths[i], *options,
                name=f"decoder{i + 1}",
            )  # fmt: skip
            x = stage(x, train)
            pyramid.insert(0, x)

        endpoints: Endpoints = {"features": global_average(pyramid[-1]), "pyramid": tuple(pyramid)}
        if self.classes is not None:
            depth = plan.stages - 1 if self.deep_supervision else 1
            deep = tuple(
                SegmentationHead(self.classes, self.dtype, name=f"head{i + 1}")(m)["logits"]
                for i, m in enumerate(pyramid[:depth])
            )
            endpoints["logits"] = deep[0]
            if self.deep_supervision:
                endpoints["deep"] = deep
        return endpoints


class _ConvNorm(nn.Module):
    """Convolution, channel dropout, normalisation and an optional activation."""

    features: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    norm: Any
    bias: bool
    dropout: float
    slope: float
    dtype: Any
    activate: bool = True

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = Conv(
            self.features,
            self.kernel,
            self.strides,
            bias=self.bias,
            dtype=self.dtype,
            kernel_init=he_fan_in,
            add_bias=self.norm != "instance",
            name="conv",
        )(x)
        if self.dropout > 0:
            spatial = tuple(range(1, x.ndim - 1))
            x = nn.Dropout(self.dropout, broadcast_dims=spatial, deterministic=not train)(x)
        x = make_norm(self.norm, name="norm", dtype=self.dtype)(x, train=train)
        return jax.nn.leaky_relu(x, self.slope) if self.activate else x


class _Plain(nn.Module):
    """Sequence of convolutions, the first one strided."""

    features: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    depth: int
    norm: Any
    bias: bool
    dropout: float
    slope: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        options = (self.norm, self.bias, self.dropout, self.slope, self.dtype)
        for i in range(1, self.depth + 1):
            strides = self.strides if i == 1 else (1,) * len(self.strides)
            x = _ConvNorm(self.features, self.kernel, strides, *options, name=f"layer{i}")(x, train)
        return x


class _Residual(nn.Module):
    """Sequence of residual blocks of two convolutions, the first block strided."""

    features: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    depth: int
    norm: Any
    bias: bool
    dropout: float
    slope: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        options = (self.norm, self.bias, self.dropout, self.slope, self.dtype)
        ones = (1,) * len(self.strides)
        for i in range(1, self.depth + 1):
            strides = self.strides if i == 1 else ones
            name = f"block{i}"
            y = _ConvNorm(self.features, self.kernel, strides, *options, name=f"{name}_layer1")(
                x, train
            )
            y = _ConvNorm(
                self.features, self.kernel, ones, *options, activate=False, name=f"{name}_layer2"
            )(y, train)
            if max(strides) > 1:
                # Averaging before the 1x1 convolution: a strided one would drop most voxels.
                pads = [(0, -n % s) for n, s in zip(x.shape[1:-1], strides, strict=True)]
                x = jnp.pad(x, [(0, 0), *pads, (0, 0)], mode="edge") if any(map(max, pads)) else x
                x = ops.avg_pool(x, strides)
            if x.shape[-1] != self.features:
                x = _ConvNorm(
                    self.features, ones, ones, self.norm, False, 0.0, self.slope, self.dtype,
                    activate=False, name=f"{name}_shortcut",
                )(x, train)  # fmt: skip
            x = jax.nn.leaky_relu(x + y, self.slope)
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
