"""Numerical primitives with one signature on CPU, GPU and TPU.

Channels last, ``(batch, *spatial, channels)``, one to three dimensions by rank.

Convolution: `conv`, `conv_transpose`, and `conv_general_dilated` for Flax modules;
`config` chooses the form by which they are computed.

Recurrence along an axis: `sweep`, `selective_scan`. Pooling: `max_pool`, `avg_pool`,
`stochastic_pool`. Grids: `upsample`, `resample`, `warp`, `affine_grid`, `identity_grid`,
`spline_prefilter`, `gaussian_blur`.
Windows: `window_sum` about every voxel; over large volumes `sliding_windows`, `window_importance`.
Masks: `distance_transform`, `connected_components`, `binary_erode`, `binary_dilate`, `binary_open`,
`binary_close`, `binary_fill_holes`.
"""

from jaxmed.ops._blur import gaussian_blur
from jaxmed.ops._components import connected_components
from jaxmed.ops._distance import distance_transform
from jaxmed.ops._grid import affine_grid, identity_grid
from jaxmed.ops._morphology import (
    binary_close,
    binary_dilate,
    binary_erode,
    binary_fill_holes,
    binary_open,
)
from jaxmed.ops._pool import avg_pool, max_pool, stochastic_pool
from jaxmed.ops._resample import resample, spline_prefilter, warp
from jaxmed.ops._selective_scan import selective_scan
from jaxmed.ops._sweep import sweep
from jaxmed.ops._upsample import upsample
from jaxmed.ops._window_sum import window_sum
from jaxmed.ops._windows import sliding_windows, window_importance
from jaxmed.ops.convolution._config import config
from jaxmed.ops.convolution._conv import conv, conv_general_dilated, conv_transpose

__all__ = [
    "affine_grid",
    "avg_pool",
    "binary_close",
    "binary_dilate",
    "binary_erode",
    "binary_fill_holes",
    "binary_open",
    "config",
    "connected_components",
    "conv",
    "conv_general_dilated",
    "conv_transpose",
    "distance_transform",
    "gaussian_blur",
    "identity_grid",
    "max_pool",
    "resample",
    "selective_scan",
    "sliding_windows",
    "spline_prefilter",
    "stochastic_pool",
    "sweep",
    "upsample",
    "warp",
    "window_importance",
    "window_sum",
]
