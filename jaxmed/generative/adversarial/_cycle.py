"""Images of two kinds translated into each other, learned without pairs."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxmed.core import (
    Array,
    Batch,
    Learner,
    Network,
    Objective,
    as_network,
    learner,
    stream,
    weighted_mean,
)
from jaxmed.generative.adversarial._kinds import Kind, opponent, per_image, scoring
from jaxmed.generative.adversarial._objectives import like_real
from jaxmed.generative.adversarial._pool import empty_pool, through_pool
from jaxmed.generative.adversarial._two_way import SIDES, two_critics, two_way
from jaxmed.losses import mae
from jaxmed.paradigms import alternate
from jaxmed.paradigms.base._supervised import Loss

_OTHER: dict[str, str] = {"image_a": "image_b", "image_b": "image_a"}


def cycle(
    a_to_b: Network | nn.Module,
    b_to_a: Network | nn.Module,
    critic_a: Network | nn.Module,
    critic_b: Network | nn.Module,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    kind: Kind = "least-squares",
    weight: float = 10.0,
    identity: float = 0.5,
    loss: Loss = mae,
    pool: int = 50,
    output: str = "logits",
) -> Learner:
    r"""Translate between two kinds of images of which no two belong together.

    .. math:: \ell = \ell_{adv}(D_B(G(a))) + \ell_{adv}(D_A(F(b)))
        + \lambda\,[L(F(G(a)), a) + L(G(F(b)), b)]
        + \lambda\iota\,[L(G(b), b) + L(F(a), a)]

    There and back an image must be what it was. That keeps neither lesions nor their absence where
    critics see more of the one in one kind of images (Cohen et al. 2018): measure what a
    translation is used for.

    Args:
        a_to_b: from images of kind A to images of kind B in its ``output``.
        b_to_a: back.
        critic_a: from images of kind A to scores in its ``logits``. Kinds that are easily told
            apart need critics that are bounded, by :func:`spectral_norm` and ``kind="hinge"``:
            others are soon sure of everything, and teach nothing.
        critic_b: of kind B.
        generator_optimizer: any Optax transformation, of both generators.
        critic_optimizer: another, of both critics.
        kind: what scores cost, see :func:`critic_loss`.
        weight: lambda, of the way there and back.
        identity: iota, of images that are of the other kind already; 0 where the kinds have
            different channels.
        loss: ``(outputs, targets) -> (batch,)``, as in :mod:`jaxmed.losses`.
        pool: places for images made before, of which critics are shown some again; 0 for none.
        output: the generators' endpoint of images.

    Returns:
        The learner, of batches ``{"image_a", "image_b"}``; it predicts by :func:`two_way`, and
        ``params["a_to_b"]`` are those of one direction alone. Rows are weighed by ``weight``, those
        of B by ``weight_image_b`` where there is one.

    Raises:
        ValueError: for another kind, a negative weight or pool; when traced, if the pool is smaller
            than a batch, or a generator makes images of another shape than the other kind's.
        KeyError: when traced, if the batch lacks a kind.

    References:
        Zhu et al. (2017), Unpaired image-to-image translation using cycle-consistent adversarial
        networks, ICCV. Cohen, Luck and Honari (2018), Distribution matching losses can hallucinate
        features in medical image translation, MICCAI.
    """
    if min(weight, identity, pool) < 0:
        raise ValueError(
            f"weights and the pool are not negative, got {weight}, {identity} and {pool}"
        )
    scoring(kind)
    translator = two_way(a_to_b, b_to_a, output=output)
    critics = two_critics(as_network(critic_a), as_network(critic_b))
    options: dict[str, Any] = {"kind": kind}
    return alternate(
        {
            "critic": learner(
                critics, _judging(translator, pool=pool, **options), critic_optimizer, inputs=SIDES
            ),
            "generator": learner(
                translator,
                _making(critics, weight=weight, identity=weight * identity, loss=loss, **options),
                generator_optimizer,
                inputs=SIDES,
            ),
        },
        predicts="generator",
    )


def _judging(translator: Network, *, kind: Kind, pool: int) -> Objective:
    costs = scoring(kind)

    def init(key, network, params, state, batch):
        real = both_kinds(batch)
        return {}, {name: empty_pool(pool, real[name]) for name in SIDES} if pool else {}

    def evaluate(network, params, state, batch, key):
        real = both_kinds(batch)
        others = opponent(batch, "generator")
        endpoints, _ = translator.apply(
            others.params, others.state, real, key=stream(key, "generator"), train=True
        )
        fake = jax.lax.stop_gradient(_alike(endpoints, real))
        own, net, total, metrics = dict(state["obj"]), state["net"], jnp.zeros(()), {}
        for name in SIDES if pool else ():
            weight = _weight(batch, _OTHER[name])  # a made image is of the other kind's row
            fake[name], own[name] = through_pool(
                stream(key, "pool", name), own[name], fake[name], weight
            )
        for which, shown, cost in (("real", real, costs.real), ("fake", fake, costs.fake)):
            scores, net = network.apply(
                params["net"], net, shown, key=stream(key, "critic", which), train=True
            )
            for name in SIDES:
                found = scores[name].astype(jnp.float32)
                weight = _weight(batch, name if which == "real" else _OTHER[name])
                total += weighted_mean(per_image(cost(found)), weight)
                metrics[f"{which}_{name[-1]}"] = weighted_mean(per_image(found), weight)
        return total, ({**state, "net": net, "obj": own}, metrics)

    return Objective(init, evaluate)


def _making(
    critics: Network, *, kind: Kind, weight: float, identity: float, loss: Loss
) -> Objective:
    costs = scoring(kind)

    def evaluate(network, params, state, batch, key):
        real = both_kinds(batch)
        judges = opponent(batch, "critic")

        def translated(name, images, net):
            return network.apply(
                params["net"], net, images, key=stream(key, "generator", name), train=True
            )

        ends, net = translated("there", real, state["net"])
        fake = _alike(ends, real)
        ends, net = translated("back", fake, net)
        again = _alike(ends, real)
        scores, _ = critics.apply(
            judges.params, judges.state, fake, key=stream(key, "critic"), train=True
        )
        same = None
        if identity:
            # Images where those of the other kind belong: of B into A to B, and of A into B to A.
            swapped = {name: real[_OTHER[name]] for name in SIDES}
            if swapped["image_a"].shape[1:] != real["image_a"].shape[1:]:
                raise ValueError(
                    f"images of the two kinds have the shapes {real['image_a'].shape} and "
                    f"{real['image_b'].shape}: with identity=0 each may have its own"
                )
            ends, net = translated("same", swapped, net)
            same = _alike(ends, real, rows=real)
        total, metrics = jnp.zeros(()), {}
        for name in SIDES:
            kind_of, row = name[-1], _weight(batch, name)
            found = scores[name].astype(jnp.float32)
            made_of = _weight(batch, _OTHER[name])
            back = weighted_mean(loss(again[name], real[name]), row)
            total += weighted_mean(per_image(costs.made(found)), made_of) + weight * back
            metrics[f"score_{kind_of}"] = weighted_mean(per_image(found), made_of)
            metrics[f"cycle_{kind_of}"] = back
            if same is not None:
                kept = weighted_mean(loss(same[name], real[name]), row)
                total += identity * kept
                metrics[f"identity_{kind_of}"] = kept
        return total, ({**state, "net": net}, metrics)

    return Objective(lambda key, network, params, state, batch: ({}, {}), evaluate)


def both_kinds(batch: Batch) -> dict[str, Array]:
    """The images of both kinds, float32.

    Raises:
        KeyError: if one kind is not there.
    """
    if missing := [name for name in SIDES if name not in batch]:
        raise KeyError(f"cycle learns from batches of {list(SIDES)}, and there is no {missing}; "
                       f"the batch has {sorted(batch)}")  # fmt: skip
    return {name: jnp.asarray(batch[name]).astype(jnp.float32) for name in SIDES}


def _weight(batch: Batch, name: str) -> Array | None:
    return batch.get(f"weight_{name}", batch.get("weight"))


def _alike(ends, real: dict[str, Array], rows: dict[str, Array] | None = None) -> dict[str, Array]:
    """The images made, of the shape of real ones of their kind; one for each of the other's."""
    made = {}
    for name in SIDES:
        count = len((rows or real)[name if rows else _OTHER[name]])
        expected = jax.ShapeDtypeStruct((count, *real[name].shape[1:]), jnp.float32)
        made[name] = like_real(ends[name], expected)
    return made
