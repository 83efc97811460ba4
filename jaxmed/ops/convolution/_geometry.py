"""Static description of a convolution: sizes, strides, padding, dilation, groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

Padding = str | int | Sequence[int | tuple[int, int]]

# A convolution relates three arrays; each of its three maps computes one from the other two.
OPERANDS = {
    "output": ("input", "kernel"),
    "input": ("output", "kernel"),
    "kernel": ("input", "output"),
}


class Geometry(NamedTuple):
    """Static description of one convolution, channels last.

    Attributes:
      spatial: Sizes of the input's spatial axes.
      window: Sizes of the kernel's spatial axes.
      strides: Step of the window, per spatial axis.
      padding: Zeros (before, after), per spatial axis; never negative.
      dilation: Distance between kernel taps, per spatial axis.
      groups: Number of independent blocks of channels.
    """

    spatial: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.spatial)

    @property
    def output(self) -> tuple[int, ...]:
        """Sizes of the output's spatial axes."""
        return tuple(
            max(0, (n + lo + hi - ((k - 1) * d + 1)) // s + 1)
            for n, k, s, (lo, hi), d in zip(*self[:5], strict=True)
        )

    @property
    def tiles(self) -> bool:
        """Whether the windows tile the input exactly: no overlap, no padding, no remainder."""
        return (
            self.groups == 1
            and self.window == self.strides
            and all(d == 1 or k == 1 for d, k in zip(self.dilation, self.window, strict=True))
            and all(p == (0, 0) for p in self.padding)
            and all(n % s == 0 for n, s in zip(self.spatial, self.strides, strict=True))
        )


def per_axis(value: int | Sequence[int], rank: int, name: str) -> tuple[int, ...]:
    """Expand one value, or check a sequence, to one positive integer per spatial axis."""
    values = (value,) * rank if not isinstance(value, Sequence) else tuple(value)
    values = tuple(int(v) for v in values)
    if len(values) != rank or min(values) < 1:
        raise ValueError(f"{name}={value}: expected a positive integer or {rank} of them")
    return values


def explicit_padding(
    padding: Padding,
    spatial: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """Convert lax's padding names, one integer or one per axis to (before, after) per axis."""
    rank = len(spatial)
    if isinstance(padding, str):
        name = padding.upper()
        if name == "VALID":
            return ((0, 0),) * rank
        if name not in ("SAME", "SAME_LOWER"):
            raise ValueError(f"padding={padding!r}: expected SAME, SAME_LOWER, VALID or numbers")
        pairs = []
        for n, k, s, d in zip(spatial, window, strides, dilation, strict=True):
            total = max(0, (math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n)
            low = total // 2 if name == "SAME" else total - total // 2
            pairs.append((low, total - low))
        return tuple(pairs)
    if not isinstance(padding, Sequence):
        padding = (padding,) * rank
    if len(padding) != rank:
        raise ValueError(f"padding={padding}: expected one entry for each of {rank} spatial axes")
    return tuple(
        (int(p[0]), int(p[1])) if isinstance(p, Sequence) else (int(p), int(p)) for p in padding
    )
