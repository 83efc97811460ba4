"""Parts of name maps, and what the names of a file tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

# The last steps of every map: what a layer calls its tensors, and where they lie here.
ENDINGS = {
    r"^(.*)/running_mean$": r"state/batch_stats/\1/mean",
    r"^(.*)/running_var$": r"state/batch_stats/\1/var",
    r"((?:^|/)\w*norm\w*)/weight$": r"\1/scale",
    r"/weight$": "/kernel",
    r"^(?!state/)": "params/",
}


def counted(template: str) -> Callable[[re.Match], str]:
    r"""Return a replacement that counts from 1 what the pattern's groups count from 0.

    >>> re.sub(r"layers\.(\d+)", counted("layer{}"), "layers.0")
    'layer1'
    """
    return lambda m: template.format(*(int(g) + 1 if g.isdigit() else g for g in m.groups()))


def backwards(template: str, count: int) -> Callable[[re.Match], str]:
    r"""Return a replacement that numbers `count` stages of a decoder from the finest, 1.

    >>> re.sub(r"ups\.(\d+)", backwards("up{}", 3), "ups.0")
    'up3'
    """
    return lambda m: template.format(count - int(m[1]), *(int(g) + 1 for g in m.groups()[1:]))


def number(shapes: Mapping[str, tuple[int, ...]], pattern: str) -> int:
    r"""Return how many values the first group of a pattern has among the names.

    >>> number({"blocks.0.weight": (), "blocks.1.weight": ()}, r"^blocks\.(\d+)\.")
    2
    """
    return len({m[1] for name in shapes if (m := re.search(pattern, name))})
