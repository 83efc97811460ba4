"""Greedy learning: one layer after the other, each on what those below it see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from jaxmed.core import Batches, Learner, LearnerState, pick, stream

if TYPE_CHECKING:
    from jaxmed.train import FitResult


def above(
    learner: Learner,
    below: Sequence[tuple[Learner, LearnerState]],
    *,
    output: str = "features",
    inputs: str = "image",
) -> Learner:
    """Put a learner on trained layers, which stay as they are.

    Args:
        learner: what learns.
        below: the trained layers, lowest first: each its learner and its state.
        output: the endpoint of a layer that the next one is given.
        inputs: the batch's array that the lowest layer sees.

    Returns:
        The learner: its ``init`` and ``step`` see the uppermost layer's endpoint in place of
        ``inputs``, its ``predict`` takes images. Its state is that of its own layer.

    Raises:
        KeyError: when traced, if the batch or a layer has no such array.
    """
    below = tuple(below)
    if not below:
        return learner

    def up(x):
        for one, state in below:
            x = pick(one.predict(state, x), output, "layer")
        return jax.lax.stop_gradient(x)

    def raised(batch):
        return {**batch, inputs: up(pick(batch, inputs))}

    return learner._replace(
        init=lambda key, batch: learner.init(key, raised(batch)),
        step=lambda state, batch: learner.step(state, raised(batch)),
        predict=lambda state, images: learner.predict(state, up(images)),
    )


def fit_layers(
    learners: Sequence[Learner],
    batches: Batches,
    *,
    epochs: int | Sequence[int],
    seed: int = 0,
    out: str | Path | None = None,
    output: str = "features",
    inputs: str = "image",
    **options: Any,
) -> tuple[FitResult, ...]:
    """Train layers greedily: each by :func:`jaxmed.fit`, :func:`above` those trained before it.

    With an RBM and :func:`~jaxmed.generative.contrastive_divergence` a layer they are the layers of
    a deep belief network (:func:`~jaxmed.generative.from_rbms`); with an MLP and
    ``paradigms.autoencoder(output="features")`` those of a stacked autoencoder.

    Args:
        learners: one a layer, lowest first; their networks have the endpoint ``output``, a vector
            an example. An RBM's, a probability a hidden unit, is drawn from anew at each step of
            the next one's contrastive divergence.
        batches: as :func:`jaxmed.fit` takes them.
        epochs: of each layer, or of all.
        seed: of all layers: each has a key of its own, by its place.
        out: a folder for checkpoints and logs, with a folder ``layer0``, ``layer1``, ... for each;
            an interrupted call goes on with the layer where it was.
        output: the endpoint that the next layer is given.
        inputs: the batch's images.
        **options: more of :func:`jaxmed.fit`, for every layer.

    Returns:
        What :func:`jaxmed.fit` returned for each layer.

    Raises:
        ValueError: for no layer, or another number of epochs than of layers; and what
            :func:`jaxmed.fit` raises.
    """
    from jaxmed.train import fit

    if not learners:
        raise ValueError("there is no layer to train")
    counts = [epochs] * len(learners) if isinstance(epochs, int) else list(epochs)
    if len(counts) != len(learners):
        raise ValueError(f"{len(learners)} layers need as many epochs, got {len(counts)}")
    results: list[FitResult] = []
    for i, (one, count) in enumerate(zip(learners, counts, strict=True)):
        below = [(learners[j], done.state) for j, done in enumerate(results)]
        results.append(
            fit(
                above(one, below, output=output, inputs=inputs),
                batches,
                epochs=count,
                key=stream(jax.random.key(seed), "layer", i),
                out=None if out is None else Path(out) / f"layer{i}",
                **options,
            )
        )
    return tuple(results)
