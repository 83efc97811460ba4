"""What a detector finds in prepared images."""

from __future__ import annotations

import jax
import numpy as np

from jaxmed.core import Network, Variables

from .._common.pieces import in_pieces


def found_in(
    detector: Network, variables: Variables, images: np.ndarray, size: int
) -> dict[str, np.ndarray]:
    """Boxes, scores, labels of all images, so many at once."""

    @jax.jit
    def apply(part):
        return detector.apply(variables.params, variables.state, part)[0]

    return in_pieces(apply, images, size)
