"""Learning from episodes. ``batch["image"]`` is then a dict: what the network is given."""

from __future__ import annotations

import jax.numpy as jnp

import jaxmed as jm
from jaxmed import paradigms
from rows._row import CLASSES, Row

SOME = ("batch", "group")
QUERY = jm.supervised(jm.losses.cross_entropy, target="query_label")


def episodes(batch: dict) -> dict:
    """Episodes of a support image of each class and two queries; masks for a segmenter."""
    n, image, mask = len(batch["label"]), batch["image"], batch["mask"]
    support = [
        jnp.stack([jnp.roll(x, i, axis=0) for i in range(CLASSES)], 1) for x in (image, mask)
    ]
    query = [jnp.stack([jnp.roll(x, -i, axis=0) for i in (1, 2)], 1) for x in (image, mask)]
    given = {
        "support": support[0],
        "support_label": jnp.tile(jnp.arange(CLASSES), (n, 1)),
        "support_mask": support[1],
        "query": query[0],
    }
    label = jnp.stack([batch["label"], (batch["label"] + 1) % CLASSES], 1)
    return {**batch, "image": given, "query_label": label, "query_mask": query[1],
            "support_mask": support[1]}  # fmt: skip


def classifier(network, **options) -> Row:
    return Row(
        lambda task: QUERY,
        network=network,
        batch=episodes,
        tasks=("classification",),
        norms=SOME,
        **options,
    )


ROWS = {
    "prototypical": classifier(lambda trunk, task: paradigms.prototypical(trunk, CLASSES)),
    "matching": classifier(lambda trunk, task: paradigms.matching(trunk, CLASSES)),
    "maml": classifier(
        lambda trunk, task: paradigms.maml(trunk, jm.losses.cross_entropy, strategy="vmap")
    ),
    "maml of the head": classifier(
        lambda trunk, task: paradigms.maml(
            trunk, jm.losses.cross_entropy, only="^head", strategy="scan"
        )
    ),
    "prototype_segmenter": Row(
        lambda task: jm.weighted(
            {
                "query": jm.supervised(jm.losses.cross_entropy, target="query_mask"),
                "align": jm.supervised(
                    jm.losses.cross_entropy, output="support_logits", target="support_mask"
                ),
            }
        ),
        network=lambda trunk, task: paradigms.prototype_segmenter(trunk, CLASSES),
        batch=episodes,
        tasks=("segmentation",),
        norms=SOME,
    ),
}
