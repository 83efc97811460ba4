"""`jaxmed list`: the experiments."""

from __future__ import annotations

from collections.abc import Sequence

from jaxmed.cli.runs._experiment import listing


def run(arguments: Sequence[str]) -> int:
    """Print the experiments by task, a line each."""
    print(listing())
    return 0
