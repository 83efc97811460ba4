"""Networks that see a whole image by sweeping over it: along axes, or from corners."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from jaxmed import ops
from jaxmed.core import Array, Endpoints
from jaxmed.networks.heads._answers import ClassificationHead, SegmentationHead
from jaxmed.networks.layers._convolution import (
    Conv,
    global_average,
    normal_flat,
    per_axis,
    spatial_rank,
)
from jaxmed.networks.layers._norm import make_norm
from jaxmed.networks.recurrent._cells import (
    GATES,
    conv_sweep,
    corners,
    flipped,
    kernel_scale,
    md_gates,
    md_sweep,
)

Layer = Literal["lstm", "gru", "md_lstm"]


class SweepNetwork(nn.Module):
    """Recurrent layers that sweep over an image, each followed by a dense `tanh` layer.

    Attributes:
        classes: number of logits; None for a trunk without a head.
        features: channels of each layer and of the dense one behind it.
        layer: `"lstm"` or `"gru"`, convolutional cells swept along axes; or `"md_lstm"`, a cell
            swept from all corners, a place seeing its neighbours along every axis.
        axes: along which to sweep, 1 for the first behind the batch; None for all. Not of
            `"md_lstm"`.
        directions: `"both"`, or `"forward"` alone, where nothing later is seen.
        kernel: window of the convolutions, over all axes but the one swept along.
        cell: of `"md_lstm"`: `"stable"`, or `"graves"` with one forget gate an axis, whose states
            grow with the number of ways through the image.
        drop_connect: rate at which weights of kernels are left out in training, drawn once a pass.
        norm: normalisation before each `tanh`, see :func:`make_norm`.
        dense: whether `logits` are of each voxel; else of the pooled `features`.
        dtype: dtype of the computation; `features` and `logits` are float32.
        remat: compute each step of a sweep again in the backward pass: a layer then keeps what is
            carried, not the gates.
    """

    classes: int | None = None
    features: tuple[int, ...] = (16, 32)
    layer: Layer = "gru"
    axes: tuple[int, ...] | None = None
    directions: Literal["both", "forward"] = "both"
    kernel: int | tuple[int, ...] = 3
    cell: Literal["stable", "graves"] = "stable"
    drop_connect: float = 0.0
    norm: Any = "none"
    dense: bool = True
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to `features`, `pyramid` (one map) and `logits`.

        Raises:
            ValueError: if an option is unknown, or the image has no such axis or no voxels.
        """
        rank = spatial_rank(x)
        self._check(rank, x.shape)
        for i, width in enumerate(self.features, start=1):
            if self.layer == "md_lstm":
                x = _Corners(
                    width, self.cell, self.directions == "both", self.drop_connect, self.dtype,
                    self.remat, name=f"sweeps{i}",
                )(x, train)  # fmt: skip
            else:
                axes = tuple(range(1, rank + 1)) if self.axes is None else self.axes
                x = _Sweeps(
                    width, self.layer, axes, self.directions == "both", self.kernel,
                    self.drop_connect, self.dtype, self.remat, name=f"sweeps{i}",
                )(x, train)  # fmt: skip
            x = Conv(width, 1, dtype=self.dtype, name=f"dense{i}")(x)
            x = make_norm(self.norm, name=f"norm{i}", dtype=self.dtype)(x, train=train)
            x = jnp.tanh(x)
        endpoints: Endpoints = {"features": global_average(x), "pyramid": (x,)}
        if self.classes is not None and self.dense:
            endpoints |= SegmentationHead(self.classes, self.dtype, name="head")(x)
        elif self.classes is not None:
            endpoints |= ClassificationHead(self.classes, name="head")(endpoints["features"])
        return endpoints

    def _check(self, rank: int, shape: tuple[int, ...]) -> None:
        if self.layer not in ("lstm", "gru", "md_lstm"):
            raise ValueError(f"layer must be 'lstm', 'gru' or 'md_lstm', got {self.layer!r}")
        if self.cell not in ("stable", "graves"):
            raise ValueError(f"cell must be 'stable' or 'graves', got {self.cell!r}")
        if self.directions not in ("both", "forward"):
            raise ValueError(f"directions must be 'both' or 'forward', got {self.directions!r}")
        if 0 in shape[1:]:
            raise ValueError(f"there is nothing to sweep over in an image of the shape {shape}")
        if self.axes is not None and not all(1 <= axis <= rank for axis in self.axes):
            raise ValueError(f"axes must be among 1 to {rank} of {shape}, got {self.axes}")
        if not 0 <= self.drop_connect < 1:
            raise ValueError(f"drop_connect must be in [0, 1), got {self.drop_connect}")


class _Sweeps(nn.Module):
    """The sum of convolutional sweeps along some axes, one way or both."""

    width: int
    cell: str
    axes: tuple[int, ...]
    both: bool
    kernel: Any
    drop_connect: float
    dtype: Any
    remat: bool

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        window = per_axis(self.kernel, max(x.ndim - 3, 1), "kernel")[: x.ndim - 3]
        gates, total = GATES[self.cell] * self.width, None
        for axis in self.axes:
            for back in (False, True) if self.both else (False,):
                name = f"axis{axis}{'_back' if back else ''}"
                across, along = _kernels(
                    self, name, (window, x.shape[-1], gates), (window, self.width, gates), train
                )
                bias = self.param(f"{name}_bias", self._bias(gates), (gates,))
                # The GRU's reset gate multiplies a bias too; the LSTM would add one to another.
                zeros = nn.initializers.zeros
                own = (
                    self.param(f"{name}_carried_bias", zeros, (gates,))
                    if self.cell == "gru"
                    else jnp.zeros(gates)
                )
                given, across, along, bias, own = promote_dtype(
                    x, across, along, bias, own, dtype=self.dtype
                )
                # The input's part of all steps at once: only what is carried needs the loop.
                flat = jnp.expand_dims(across, axis - 1)
                driven = ops.conv(given, flat, bias=bias)
                swept = conv_sweep(
                    driven, along, own, cell=self.cell, axis=axis, reverse=back, remat=self.remat
                )
                total = swept if total is None else total + swept
        assert total is not None  # There is an axis.
        return total

    def _bias(self, gates: int):
        def begin(key, shape, dtype=jnp.float32):
            bias = jnp.zeros(shape, dtype)
            if self.cell == "lstm":  # input, forget, cell, output
                bias = bias.at[self.width : 2 * self.width].set(1)
            return bias

        return begin


class _Corners(nn.Module):
    """The sum of a multi-dimensional LSTM from all corners, or from the first."""

    width: int
    cell: str
    both: bool
    drop_connect: float
    dtype: Any
    remat: bool

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        rank = x.ndim - 2
        gates, total = md_gates(self.cell, rank) * self.width, None
        for number, back in enumerate(corners(rank) if self.both else [(False,) * rank], start=1):
            name = f"corner{number}"
            across, along = _kernels(
                self, name, ((), x.shape[-1], gates), ((rank,), self.width, gates), train
            )
            bias = self.param(f"{name}_bias", self._bias(rank), (gates,))
            given, across, along, bias = promote_dtype(x, across, along, bias, dtype=self.dtype)
            driven = flipped(given, back) @ across + bias
            swept = md_sweep(driven, along, cell=self.cell, remat=self.remat)
            swept = flipped(swept, back)
            total = swept if total is None else total + swept
        assert total is not None  # There is a corner.
        return total

    def _bias(self, rank: int):
        def begin(key, shape, dtype=jnp.float32):
            # Input, cell, output, then what forgets: remembering, as far as states cannot grow.
            bias = jnp.zeros(shape, dtype)
            if self.cell == "graves":
                return bias.at[3 * self.width :].set(1.0 if rank == 1 else -1.0)
            return bias.at[3 * self.width : 4 * self.width].set(1.0)

        return begin


def _kernels(
    module: nn.Module, name: str, across: tuple, along: tuple, train: bool
) -> tuple[Array, Array]:
    """Kernels of the input and of what is carried, with weights left out in training."""
    made = []
    for kind, (window, inputs, outputs) in (("input", across), ("carried", along)):
        scale = kernel_scale(window, inputs)
        kernel = module.param(
            f"{name}_{kind}",
            lambda key, shape, scale=scale: scale * normal_flat(key, shape),
            (*window, inputs, outputs),
        )
        rate = getattr(module, "drop_connect", 0.0)
        if train and rate > 0:
            kept = jax.random.bernoulli(module.make_rng("dropout"), 1 - rate, kernel.shape)
            kernel = jnp.where(kept, kernel / (1 - rate), 0)
        made.append(kernel)
    return made[0], made[1]


def conv_lstm(classes: int | None = None, **options: Any) -> SweepNetwork:
    """Create a convolutional LSTM along the first spatial axis: time, or the slices of a volume.

    Args:
        classes: number of logits; None for a trunk.
        **options: further fields of :class:`SweepNetwork`; `directions="forward"` for one that
            sees nothing later, `dense=False` for one answer a sequence.

    Returns:
        The module.

    References:
        Shi et al., Convolutional LSTM network: a machine learning approach for precipitation
        nowcasting, NeurIPS 2015.

    >>> net = conv_lstm(2, features=(4,))
    >>> key, x = jax.random.key(0), jnp.ones((1, 5, 8, 8, 1))
    >>> jax.eval_shape(net.init_with_output, key, x)[0]["logits"].shape
    (1, 5, 8, 8, 2)
    """
    return SweepNetwork(classes, **{"layer": "lstm", "axes": (1,), **options})


def conv_gru(classes: int | None = None, **options: Any) -> SweepNetwork:
    """Create a convolutional GRU along the first spatial axis; as :func:`conv_lstm`.

    References:
        Ballas et al., Delving deeper into convolutional networks for learning video
        representations, ICLR 2016.
    """
    return SweepNetwork(classes, **{"layer": "gru", "axes": (1,), **options})


def pyramid_lstm(classes: int | None = None, **options: Any) -> SweepNetwork:
    """Create a PyraMiD-LSTM: convolutional LSTMs along every axis, both ways, added up.

    Each sweep sees a pyramid with its tip at the voxel; those of all axes fill the image.

    Args:
        classes: number of logits; None for a trunk.
        **options: further fields of :class:`SweepNetwork`.

    Returns:
        The module.

    References:
        Stollenga et al., Parallel multi-dimensional LSTM, with application to fast biomedical
        volumetric image segmentation, NeurIPS 2015.

    >>> net = pyramid_lstm(2, features=(4,))
    >>> key, x = jax.random.key(0), jnp.ones((1, 5, 4, 6, 1))
    >>> jax.eval_shape(net.init_with_output, key, x)[0]["logits"].shape
    (1, 5, 4, 6, 2)
    """
    return SweepNetwork(classes, **{"layer": "lstm", **options})


def mdgru(classes: int | None = None, **options: Any) -> SweepNetwork:
    """Create a multi-dimensional GRU: convolutional GRUs along every axis, both ways, added up.

    Args:
        classes: number of logits; None for a trunk.
        **options: further fields of :class:`SweepNetwork`; the paper leaves weights out
            (`drop_connect=0.5`) and takes windows of 7.

    Returns:
        The module.

    References:
        Andermatt, Pezold and Cattin, Multi-dimensional gated recurrent units for the segmentation
        of biomedical 3D-data, DLMIA workshop 2016.
    """
    return SweepNetwork(classes, **{"layer": "gru", **options})


def mdlstm(classes: int | None = None, **options: Any) -> SweepNetwork:
    """Create a multi-dimensional LSTM: from every corner, a place sees its neighbours before it.

    Args:
        classes: number of logits; None for a trunk.
        **options: further fields of :class:`SweepNetwork`.

    Returns:
        The module.

    References:
        Graves, Fernández and Schmidhuber, Multi-dimensional recurrent neural networks, ICANN 2007;
        Leifert et al., Cells in multidimensional recurrent neural networks, JMLR 17, 2016 (why the
        states of such cells grow, and cells whose states do not).

    >>> net = mdlstm(2, features=(4,))
    >>> key, x = jax.random.key(0), jnp.ones((1, 5, 6, 1))
    >>> jax.eval_shape(net.init_with_output, key, x)[0]["logits"].shape
    (1, 5, 6, 2)
    """
    return SweepNetwork(classes, **{"layer": "md_lstm", **options})
