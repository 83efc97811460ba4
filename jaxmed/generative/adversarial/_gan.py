"""A generator and a critic as one learner, and images drawn from the generator."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import optax

from jaxmed.core import Array, Learner, Network, View, as_network, learner
from jaxmed.generative.adversarial._kinds import Kind
from jaxmed.generative.adversarial._objectives import Noise, critic_loss, generator_loss
from jaxmed.paradigms import alternate


def gan(
    generator: Network | nn.Module,
    critic: Network | nn.Module,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    latent: int,
    kind: Kind = "non-saturating",
    r1: float = 0.0,
    r1_every: int = 1,
    penalty: float | None = None,
    augment: View | None = None,
    label: str | None = None,
    repeats: int = 1,
    image: str = "image",
    output: str = "logits",
) -> Learner:
    """Train a generator against a critic.

    In each step the critic steps ``repeats`` times on the batch's images and as many that the
    generator makes, then the generator once. For small data sets give ``augment``
    (:func:`~jaxmed.generative.differentiable_augmentation`) and average the generator by
    :func:`jaxmed.train.parameter_average`.

    Args:
        generator: from noise ``(batch, latent)``, or ``{"noise", "label"}``, to images in its
            ``output``, such as ``networks.dcgan_generator``.
        critic: from images, or ``{"image", "label"}``, to scores in its ``logits``, such as
            ``networks.patch_critic``.
        generator_optimizer: any Optax transformation. Momentum hurts: Adam with b1 of 0 or 0.5.
        critic_optimizer: another.
        latent: length of the noise.
        kind: ``"non-saturating"`` (with ``r1``), ``"hinge"`` (with :func:`spectral_norm`),
            ``"wgan-gp"`` (with ``repeats=5``) or ``"least-squares"``.
        r1: weight of the penalty on the critic's gradient at real images, see
            :func:`critic_loss`.
        r1_every: steps from one such penalty to the next.
        penalty: weight of the penalty between real and made images, see :func:`critic_loss`.
        augment: a differentiable view of all that the critic is shown, see :func:`critic_loss`.
        label: the batch's array of classes, for a conditional pair.
        repeats: the critic's steps for one of the generator's.
        image: the batch's real images.
        output: the generator's endpoint of images.

    Returns:
        The learner: players ``critic`` and ``generator`` of
        :func:`~jaxmed.paradigms.alternate`; it predicts by the generator, so that
        ``learner.predicting.get(state)`` is what :func:`gan_sampler` draws with.

    Raises:
        ValueError: for a latent below 1, another kind or a negative weight; when traced, if what is
            made has another shape than the batch's images.

    References:
        Goodfellow et al. (2014), Generative adversarial nets, NeurIPS.
    """
    if latent < 1:
        raise ValueError(f"noise has at least one number, got latent={latent}")
    makes, judges = as_network(generator), as_network(critic)
    given = Noise(latent, label)
    conditions = () if label is None else {"label": label}
    shared: dict[str, Any] = {
        "kind": kind, "augment": augment, "conditions": conditions, "image": image,
        "output": output,
    }  # fmt: skip
    of_critic = critic_loss(
        makes, given, r1=r1, r1_every=r1_every, penalty=penalty, **shared
    )  # fmt: skip
    return alternate(
        {
            "critic": learner(
                judges, of_critic, critic_optimizer, inputs={"image": image, **dict(conditions)}
                if label else image,
            ),
            "generator": learner(
                begun_by(makes, given, image, label),
                generator_loss(judges, given, **shared),
                generator_optimizer,
                inputs=(image,) if label is None else (image, label),
            ),
        },
        predicts="generator",
        repeats={"critic": repeats},
    )  # fmt: skip


def begun_by(generator: Network, given: Noise, image: str, label: str | None) -> Network:
    """The generator, initialised with noise for a batch of images where it would take noise."""

    def init(key, batch: dict[str, Array]):
        return generator.init(key, given(key, {"image": batch[image], **batch}))

    return generator._replace(init=init)
