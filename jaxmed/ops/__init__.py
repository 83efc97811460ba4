"""Numerical primitives with one signature on CPU, GPU and TPU.

Channels last, ``(batch, *spatial, channels)``, one to three dimensions by rank.

Convolution: `conv`, `conv_transpose`, and `conv_general_dilated` for Flax modules;
`config` chooses the form by which they are computed.
"""

from __future__ import annotations

from jaxmed.ops._config import config
from jaxmed.ops._conv import conv, conv_general_dilated, conv_transpose

__all__ = [
    "config",
    "conv",
    "conv_general_dilated",
    "conv_transpose",
]
