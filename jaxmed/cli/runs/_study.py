"""`jaxmed study`: the cross-validated comparison of one's own images, as a command."""

from __future__ import annotations

from collections.abc import Sequence

from jaxmed.cli.runs import _train


def run(arguments: Sequence[str]) -> int:
    """Run the experiment `study`."""
    return _train.run(["study", *arguments])
