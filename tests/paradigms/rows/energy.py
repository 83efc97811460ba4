"""Energies of images, on machines of their own."""

from __future__ import annotations

import jax

from jaxmed import generative
from rows._row import Row


def grey(batch: dict) -> dict:
    """The images in [0, 1]."""
    return {**batch, "image": jax.nn.sigmoid(batch["image"])}


def machine(objective, network=None, visible="bernoulli", **options) -> Row:
    """An objective on a machine of its own, whatever the task and its trunk."""
    machine = network or generative.rbm(5, visible=visible)
    return Row(
        lambda task: objective,
        network=lambda trunk, task: machine,
        batch=grey,
        tasks=("classification",),
        norms=("dropout",),
        **options,
    )


ROWS = {
    "contrastive_divergence": machine(
        generative.contrastive_divergence(chains=8, sparsity=0.1), across=True
    ),
    "contrastive_divergence from the data": machine(
        generative.contrastive_divergence(steps=2, persistent=False, centre=False)
    ),
    "contrastive_divergence of Gaussian pixels": machine(
        generative.contrastive_divergence(chains=5), visible="gaussian"
    ),
    "contrastive_divergence of copies": machine(
        generative.contrastive_divergence(chains=5, copies=(2, 1))
    ),
    "stochastic_approximation": machine(
        generative.stochastic_approximation(chains=8, steps=1), generative.deep_boltzmann((4, 3, 2))
    ),
    "wake_sleep": machine(generative.wake_sleep(), generative.belief_network((4, 3, 2))),
    "pseudo_likelihood": machine(generative.pseudo_likelihood(pixels=3)),
    "score_matching": machine(generative.score_matching(method="sliced"), visible="gaussian"),
}
