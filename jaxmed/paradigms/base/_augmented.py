"""Augmentation inside the step."""

from __future__ import annotations

from jaxmed.core import Objective, View, stream


def augmented(objective: Objective, augmentation: View) -> Objective:
    """The objective on augmented batches, each step augmented afresh inside the compiled program.

    Args:
        objective: any objective. Around a :func:`~jaxmed.paradigms.weighted` all its parts see one
            augmented batch, and still share their forward passes.
        augmentation: ``(key, batch) -> batch``; it sees the whole batch, and moves images and
            masks alike.

    Returns:
        The objective. Its ``init`` sees batches as they come.

    >>> import jaxmed as jm
    >>> turned = augmented(jm.supervised(jm.losses.cross_entropy), jm.augment.flip())
    """

    def loss(network, params, state, batch, key):
        batch = augmentation(stream(key, "augmented"), dict(batch))
        return objective.loss(network, params, state, batch, key)

    return objective._replace(loss=loss)
