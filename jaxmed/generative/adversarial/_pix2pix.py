"""Images from other images, learned from pairs."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
import optax

from jaxmed.core import (
    Array,
    Batch,
    Key,
    Learner,
    LearnerState,
    Metrics,
    Network,
    as_network,
    learner,
)
from jaxmed.generative.adversarial._kinds import Kind
from jaxmed.generative.adversarial._objectives import critic_loss, generator_loss
from jaxmed.losses import mae
from jaxmed.paradigms import alternate
from jaxmed.paradigms.base._supervised import Loss


def pix2pix(
    generator: Network | nn.Module,
    critic: Network | nn.Module,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    kind: Kind = "least-squares",
    weight: float = 100.0,
    loss: Loss = mae,
    r1: float = 0.0,
    source: str = "source",
    target: str = "target",
    output: str = "logits",
) -> Learner:
    r"""Translate images by a generator that a critic of pairs judges.

    .. math:: \ell_G = \ell_{adv}(D(G(x), x)) + \lambda\, L(G(x), y)

    The loss to the true target keeps what is made where it belongs; alone it blurs what the source
    does not tell, and the critic, who sees source and target as one, makes that look real. A map of
    labels, one-hot, is a source like any other.

    Args:
        generator: from source images to images in its ``output``; any U-Net does, with as many
            ``classes`` as the target has channels. Its dropout is the noise, if there shall be any.
        critic: from ``{"image", "map"}``, a target and its source, to scores in its ``logits``,
            such as ``networks.patch_critic``.
        generator_optimizer: any Optax transformation.
        critic_optimizer: another.
        kind: what scores cost, see :func:`critic_loss`.
        weight: lambda, of the loss to the true target.
        loss: ``(outputs, targets) -> (batch,)``, as in :mod:`jaxmed.losses`.
        r1: weight of the penalty on the critic's gradient, see :func:`critic_loss`.
        source: the batch's array of source images ``(batch, *spatial, channels)``.
        target: that of target images, of the same voxels.
        output: the generator's endpoint of images.

    Returns:
        The learner, which predicts by the generator alone: ``learner.predict(state, sources)``.
        Metrics ``generator/distance`` (the loss to the target), ``generator/score`` and the
        critic's.

    Raises:
        ValueError: for another kind or a negative weight; when traced, if sources and targets are
            no pairs: of other numbers of images or voxels.
        KeyError: when traced, if the batch has no sources or no targets.

    References:
        Isola et al. (2017), Image-to-image translation with conditional adversarial networks, CVPR.
    """
    if weight < 0:
        raise ValueError(f"the weight of the loss must not be negative, got {weight}")
    makes, judges = as_network(generator), as_network(critic)

    def given(key: Key, batch: Batch) -> Array:
        del key  # what is random is the generator's dropout
        return batch[source]

    def distance(images: Array, batch: Batch) -> tuple[Array, dict[str, Array]]:
        found = loss(images, batch[target])
        return weight * found, {"distance": found}

    conditions = {"map": source}
    judging = critic_loss(
        makes, given, kind=kind, r1=r1, conditions=conditions, image=target, output=output
    )
    making = generator_loss(
        judges, given, kind=kind, conditions=conditions, image=target, output=output,
        also=distance,
    )  # fmt: skip
    run = alternate(
        {
            "critic": learner(
                judges, judging, critic_optimizer, inputs={"image": target, **conditions}
            ),
            "generator": learner(makes, making, generator_optimizer, inputs=source),
        },
        predicts="generator",
    )

    def init(key: Key, batch: Batch) -> LearnerState:
        _check_pairs(batch, source, target)
        return run.init(key, batch)

    def step(state: LearnerState, batch: Batch) -> tuple[LearnerState, Metrics]:
        _check_pairs(batch, source, target)
        return run.step(state, batch)

    return run._replace(init=init, step=step)


def _check_pairs(batch: Batch, source: str, target: str) -> None:
    """Refuse a batch whose images are no pairs.

    Raises:
        KeyError: if one of the two is not there.
        ValueError: if they are not voxel on voxel.
    """
    for name in (source, target):
        if name not in batch:
            raise KeyError(
                f"pix2pix learns from pairs, and the batch has no {name!r}; it has "
                f"{sorted(batch)}. Images that are no pairs are translated by cycle"
            )
    first, second = jnp.shape(batch[source]), jnp.shape(batch[target])
    if len(first) < 3 or first[:-1] != second[:-1]:
        raise ValueError(
            f"pairs lie voxel on voxel, (batch, *spatial, channels): {source!r} is {first} and "
            f"{target!r} {second}. Images that are no pairs are translated by cycle"
        )
