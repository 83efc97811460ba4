"""Autoencoders that images are drawn from, on networks of their own."""

from __future__ import annotations

import jaxmed as jm
from jaxmed import generative, networks
from rows._row import SPATIAL, Row


def codec(objective, make, **options) -> Row:
    """An objective on a codec of its own, whatever the task and its trunk."""
    network = jm.from_linen(make(SPATIAL["2D"], features=(4, 6), latent=2, **options))
    return Row(
        lambda task: objective,
        network=lambda trunk, task: network,
        tasks=("classification",),
        spatial=("2D",),
        norms=("dropout",),
    )


ROWS = {
    "vae": codec(generative.vae(), networks.image_vae),
    "vae in levels": codec(generative.vae(free_bits=0.1), networks.ladder_vae),
    "vq_vae": codec(generative.vq_vae(codes=5), networks.vq_codec, codes=5, decay=None),
}
