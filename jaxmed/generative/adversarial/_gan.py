"""A generator and a critic as one learner, and images drawn from the generator."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import optax

from jaxmed.core import Learner, Network, View, as_network, learner, pick, stream
from jaxmed.generative._drawing import Draw, drawing
from jaxmed.generative.adversarial._kinds import Kind
from jaxmed.generative.adversarial._objectives import NoiseInputs, critic_loss, generator_loss
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
    given = NoiseInputs(latent, label)
    shared: dict[str, Any] = {
        "kind": kind,
        "augment": augment,
        "conditions": () if label is None else {"label": label},
        "image": image,
        "output": output,
    }
    judging = critic_loss(makes, given, r1=r1, r1_every=r1_every, penalty=penalty, **shared)
    shown = image if label is None else {"image": image, "label": label}
    return alternate(
        {
            "critic": learner(judges, judging, critic_optimizer, inputs=shown),
            "generator": learner(
                _begun(makes, given, image),
                generator_loss(judges, given, **shared),
                generator_optimizer,
                inputs=(image,) if label is None else (image, label),
            ),
        },
        predicts="generator",
        repeats={"critic": repeats},
    )


def _begun(generator: Network, given: NoiseInputs, image: str) -> Network:
    """The generator, initialised for a batch of images by the noise that it is given for one."""

    def init(key, batch):
        return generator.init(key, given(key, {**batch, "image": batch[image]}))

    return generator._replace(init=init)


def gan_sampler(
    generator: Network | nn.Module,
    latent: int,
    *,
    classes: int = 0,
    truncation: float | None = None,
    output: str = "logits",
) -> Draw:
    """Draw images by the generator of a :func:`gan`.

    Args:
        generator: the network that was trained.
        latent: length of its noise.
        classes: of a conditional generator, which draws by ``condition["label"]``.
        truncation: noise beyond this many standard deviations is drawn again, number by number:
            images that are more alike, and fewer that are odd (Brock et al. 2019).
        output: the generator's endpoint of images.

    Returns:
        The draw, for :func:`draw_images`.

    Raises:
        ValueError: for a latent below 1, or a truncation that is not above 0.

    References:
        Brock, Donahue and Simonyan (2019), Large scale GAN training for high fidelity natural image
        synthesis, ICLR.
    """
    if latent < 1 or (truncation is not None and truncation <= 0):
        raise ValueError(
            f"latent is at least 1 and a truncation above 0, got {latent} and {truncation}"
        )
    network = as_network(generator)

    def one(key):
        if truncation is None:
            return jax.random.normal(stream(key, "noise"), (latent,))
        return jax.random.truncated_normal(stream(key, "noise"), -truncation, truncation, (latent,))

    def images(keys, params, state, condition):
        noise = jax.vmap(one)(keys)
        inputs = {"noise": noise, **condition} if condition else noise
        return pick(network.apply(params, state, inputs)[0], output, "generator")

    return drawing(images, classes=classes)
