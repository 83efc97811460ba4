"""The two objectives of a game: the critic's and the generator's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxmed.core import (
    Array,
    Batch,
    Inputs,
    Key,
    Metrics,
    Network,
    Objective,
    View,
    network_inputs,
    pick,
    stream,
    weighted_mean,
)
from jaxmed.generative.adversarial._kinds import Kind, opponent, per_image, scores_of, scoring
from jaxmed.generative.adversarial._penalties import gradient_penalty, r1_penalty


class NoiseInputs(NamedTuple):
    """A generator's inputs: a vector of standard normal numbers for each image of the batch.

    Attributes:
        size: length of the vectors.
        label: the batch's array of classes, for a conditional generator.
    """

    size: int
    label: str | None = None

    def __call__(self, key: Key, batch: Batch) -> Any:
        """Draw for a batch: ``noise``, or ``{"noise", "label"}``."""
        rows = jnp.shape(next(iter(jax.tree.leaves(batch.get("image", batch)))))[0]
        noise = jax.random.normal(stream(key, "noise"), (rows, self.size))
        if self.label is None:
            return noise
        return {"noise": noise, "label": pick(batch, self.label)}


Given = Callable[[Key, Batch], Any]
"""``(key, batch) -> inputs`` of a generator."""


def critic_loss(
    generator: Network,
    given: Given,
    *,
    kind: Kind = "non-saturating",
    r1: float = 0.0,
    r1_every: int = 1,
    penalty: float | None = None,
    augment: View | None = None,
    conditions: Inputs = (),
    image: str = "image",
    output: str = "logits",
    player: str = "generator",
) -> Objective:
    r"""Tell real images from those of a generator: the objective of a critic.

    With scores D of real images x and made ones G(z), averaged over patches:

    - ``"non-saturating"``: :math:`\log(1 + e^{-D(x)}) + \log(1 + e^{D(G(z))})`
    - ``"hinge"``: :math:`\max(0, 1 - D(x)) + \max(0, 1 + D(G(z)))`
    - ``"wgan-gp"``: :math:`D(G(z)) - D(x)`, with a penalty on the gradient between them
    - ``"least-squares"``: :math:`(D(x) - 1)^2 + D(G(z))^2`

    Args:
        generator: the network that makes images; its parameters come with the batch, from
            :func:`~jaxmed.paradigms.alternate`.
        given: ``(key, batch) -> inputs`` of the generator.
        kind: what scores cost.
        r1: weight of :func:`r1_penalty` at real images, as the critic is shown them.
        r1_every: steps from one R1 penalty to the next, which is then as many times as heavy.
        penalty: weight of :func:`gradient_penalty`; by default 10 for ``"wgan-gp"``, else 0.
        augment: a differentiable view of what the critic is shown, real and made alike, drawn
            afresh for each. It does not leak into what is generated as long as it is undone by no
            image: with probability below 1, or a flip that images have anyway.
        conditions: batch arrays that the critic is shown beside the image, by its names for them:
            ``("label",)``, ``{"map": "source"}``. Views do not move them.
        image: the batch's real images.
        output: the generator's endpoint of images.
        player: the generator's name among the players.

    Returns:
        The objective, of a critic whose ``logits`` are scores, with metrics ``real`` and ``fake``
        (mean scores) and, where they are, ``r1`` and ``gradient_penalty`` without their weights.

    Raises:
        ValueError: for another kind, a negative weight, or ``r1_every`` below 1; when traced, if
            the generator's images have another shape than the batch's.
        KeyError: when traced, if there is no such player, array or endpoint.

    References:
        Goodfellow et al. (2014), Generative adversarial nets, NeurIPS. Lim and Ye (2017), Geometric
        GAN. Mao et al. (2017), Least squares generative adversarial networks, ICCV. Gulrajani et
        al. (2017), Improved training of Wasserstein GANs, NeurIPS. Zhao et al. (2020),
        Differentiable augmentation for data-efficient GAN training, NeurIPS. Karras et al. (2020),
        Training generative adversarial networks with limited data, NeurIPS.
    """
    costs = scoring(kind)
    between = (10.0 if kind == "wgan-gp" else 0.0) if penalty is None else penalty
    if r1 < 0 or between < 0:
        raise ValueError(f"penalties weigh 0 or more, got r1={r1} and penalty={between}")
    if r1_every < 1:
        raise ValueError(f"r1_every counts steps from 1 on, got {r1_every}")
    lazy = r1 > 0 and r1_every > 1

    def init(key, network, params, state, batch):
        return {}, {"step": jnp.zeros((), jnp.int32)} if lazy else {}

    def evaluate(network, params, state, batch, key):
        real = network_inputs(batch, image).astype(jnp.float32)
        fake = jax.lax.stop_gradient(
            made(generator, opponent(batch, player), given, batch, key, output, real)
        )
        shown = {name: seen(augment, stream(key, "augment", name), images)
                 for name, images in (("real", real), ("fake", fake))}  # fmt: skip

        def scores(name, images, net):
            inputs = beside(images, conditions, batch)
            return scores_of(network, params["net"], net, inputs, stream(key, "critic", name))

        net = state["net"]
        values, metrics = jnp.zeros(len(real)), {}
        weight = batch.get("weight")
        for name, cost in (("real", costs.real), ("fake", costs.fake)):
            found, net = scores(name, shown[name], net)
            values += per_image(cost(found))
            metrics[name] = weighted_mean(per_image(found), weight)

        def alone(images):  # the same pass without its change of the state
            return per_image(scores("real", images, state["net"])[0])

        own = state["obj"]
        if r1 > 0:
            found = _sometimes(
                own["step"] % r1_every == 0 if lazy else None,
                lambda: r1_penalty(alone, shown["real"]),
                len(real),
            )
            values += r1 * r1_every * found
            metrics["r1"] = weighted_mean(found, weight)
        if between > 0:
            found = gradient_penalty(stream(key, "between"), alone, shown["real"], shown["fake"])
            values += between * found
            metrics["gradient_penalty"] = weighted_mean(found, weight)
        after = {**state, "net": net, "obj": {"step": own["step"] + 1} if lazy else own}
        return weighted_mean(values, weight), (after, metrics)

    return Objective(init, evaluate)


def generator_loss(
    critic: Network,
    given: Given,
    *,
    kind: Kind = "non-saturating",
    augment: View | None = None,
    conditions: Inputs = (),
    image: str = "image",
    output: str = "logits",
    player: str = "critic",
    also: Callable[[Array, Batch], tuple[Array, dict[str, Array]]] | None = None,
) -> Objective:
    r"""Make images that a critic takes for real ones: the objective of a generator.

    With the scores D of what is made: :math:`\log(1 + e^{-D})` for ``"non-saturating"``,
    :math:`-D` for ``"hinge"`` and ``"wgan-gp"``, :math:`(D - 1)^2` for ``"least-squares"``.

    Args:
        critic: the network that judges; its parameters come with the batch, from
            :func:`~jaxmed.paradigms.alternate`.
        given: ``(key, batch) -> inputs`` of the generator.
        kind: what scores cost.
        augment: as in :func:`critic_loss`, to which it must be the same.
        conditions: as in :func:`critic_loss`.
        image: the batch's real images, whose shape those made must have.
        output: the generator's endpoint of images.
        player: the critic's name among the players.
        also: ``(images, batch) -> (values (batch,), {name: values})``: what else an image costs,
            and the values to be measured.

    Returns:
        The objective, of a generator, with the metrics ``score`` (the critic's, on average) and
        those of ``also``.

    Raises:
        ValueError: for another kind; when traced, if the images made have another shape than the
            batch's.
        KeyError: when traced, if there is no such player, array or endpoint.
    """
    costs = scoring(kind)

    def evaluate(network, params, state, batch, key):
        real = network_inputs(batch, image)
        judge = opponent(batch, player)
        inputs = given(stream(key, "given"), batch)
        endpoints, net = network.apply(
            params["net"], state["net"], inputs, key=stream(key, "generator"), train=True
        )
        images = like_real(pick(endpoints, output, "generator"), real)
        shown = beside(seen(augment, stream(key, "augment"), images), conditions, batch)
        found, _ = scores_of(critic, judge.params, judge.state, shown, stream(key, "critic"))
        values = per_image(costs.made(found))
        measured: dict[str, Array] = {"score": per_image(found)}
        if also is not None:
            more, parts = also(images, batch)
            values, measured = values + more, {**measured, **parts}
        weight = batch.get("weight")
        metrics: Metrics = {name: weighted_mean(v, weight) for name, v in measured.items()}
        return weighted_mean(values, weight), ({**state, "net": net}, metrics)

    return Objective(lambda key, network, params, state, batch: ({}, {}), evaluate)


def made(generator, variables, given, batch, key, output, real) -> Array:
    """The images that a generator makes in training, float32."""
    inputs = given(stream(key, "given"), batch)
    endpoints, _ = generator.apply(
        variables.params, variables.state, inputs, key=stream(key, "generator"), train=True
    )
    return like_real(pick(endpoints, output, "generator"), real)


def like_real(images: Array, real: Array | jax.ShapeDtypeStruct) -> Array:
    """What was made, in float32, if it has the shape of real images.

    Raises:
        ValueError: says both shapes.
    """
    if images.shape != real.shape:
        raise ValueError(
            f"the generator makes images {images.shape}, the batch's are {real.shape}: give it "
            "their spatial shape and channels"
        )
    return images.astype(jnp.float32)


def seen(augment: View | None, key: Key, images: Array) -> Array:
    """The images as a view shows them."""
    return images if augment is None else augment(key, {"image": images})["image"]


def beside(images: Array, conditions: Inputs, batch: Batch) -> Any:
    """What a critic is given: images, and what it is told beside them."""
    if not conditions:
        return images
    names = (conditions,) if isinstance(conditions, str) else conditions
    return {"image": images, **pick(batch, names)}


def _sometimes(when: Array | None, value: Callable[[], Array], rows: int) -> Array:
    """A value in some steps, 0 in the others, where it is not computed; None: in all."""
    if when is None:
        return value()
    return jax.lax.cond(when, value, lambda: jnp.zeros(rows))
