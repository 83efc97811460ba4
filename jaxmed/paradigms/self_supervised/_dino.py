"""DINO: a student gives the answers of its own average, which are centred and sharpened."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed.core import (
    Array,
    Endpoints,
    Objective,
    network_inputs,
    stream,
    weighted_mean,
)
from jaxmed.paradigms.base._ema import (
    batch_average,
    check_decay,
    check_ema_decay,
    ema_copy,
)
from jaxmed.paradigms.base._schedules import Scheduled, counter_for, value_at
from jaxmed.paradigms.base._views import (
    View,
    apply_view,
    deinterleave,
    interleave,
    row_weights,
    two_views,
)
from jaxmed.paradigms.self_supervised._embedding import Head, embedding, unit
from jaxmed.paradigms.self_supervised._momentum import momentum_objective


class PrototypeHead(nn.Module):
    """DINO's head: an MLP, a bottleneck of unit vectors, their cosines with prototypes.

    Attributes:
        prototypes: how many.
        hidden: widths of the MLP's layers.
        bottleneck: its output.
    """

    prototypes: int = 1024
    hidden: tuple[int, ...] = (512,)
    bottleneck: int = 128

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, f)` to `logits` `(batch, prototypes)`."""
        del train
        for i, width in enumerate(self.hidden):
            x = jax.nn.gelu(nn.Dense(width, name=f"dense{i + 1}")(x))
        x = unit(nn.Dense(self.bottleneck, name="bottleneck")(x))
        init = nn.initializers.normal(1.0)
        prototypes = self.param("prototypes", init, (self.prototypes, self.bottleneck))
        return {"logits": x @ unit(prototypes).T}


def dino(
    view: View,
    second_view: View | None = None,
    *,
    crop: View | None = None,
    crops: int = 0,
    decay: Scheduled = 0.99,
    centre_decay: float = 0.9,
    temperature: float = 0.1,
    teacher_temperature: Scheduled = 0.04,
    head: Head = PrototypeHead(),  # noqa: B008 (a frozen dataclass)
    output: str = "features",
    inputs: str = "image",
) -> Objective:
    r"""The student's answer to one view is its average's to another.

    .. math:: \ell = \operatorname{mean}_{v \neq w} H\!\left(\mathrm{softmax}\frac{t_v - c}{\tau_t},
        \mathrm{softmax}\frac{s_w}{\tau_s}\right)

    over the teacher's answers t to the two views and the student's s to those and to all crops. The
    centre c, the moving average of the teacher's answers over the whole batch, keeps one prototype
    from winning everything; the sharper temperature keeps answers from becoming uniform.

    Args:
        view: of each image, as in :mod:`jaxmed.augment`; it may move voxels.
        second_view: of each image; ``view`` drawn again by default.
        crop: the view that the student alone sees, such as ``augment.random_crop``; it may be
            smaller, if the network takes images of several sizes.
        crops: how many of those are drawn.
        decay: ``teacher = decay * teacher + (1 - decay) * student`` after each step: in [0, 1), or
            a function of the step, in the paper that of :func:`~jaxmed.paradigms.byol`.
        centre_decay: the centre's, in [0, 1).
        temperature: the student's, positive.
        teacher_temperature: the teacher's, positive, or a function of the step; the paper warms it
            up from 0.04 to 0.07, ``optax.linear_schedule(0.04, 0.07, steps)``.
        head: what gives answers over prototypes; a parameter of the objective.
        output: the endpoint, ``(batch, features)``.
        inputs: the batch's images; padding rows do not enter the centre.

    Returns:
        The objective, with metrics ``cross_entropy`` and ``teacher_entropy`` (in nats; near 0
        or near the logarithm of the number of prototypes it has collapsed). Its state holds the
        ``teacher`` and the ``centre``.

    Raises:
        ValueError: if a number is out of its range, or ``crops`` are asked for without ``crop``;
            when traced, if the endpoint has not one vector per example.

    References:
        Caron et al. (2021), Emerging properties in self-supervised vision transformers, ICCV.
    """
    for given in (temperature, teacher_temperature):
        if not callable(given) and given <= 0:
            raise ValueError(f"temperatures are positive, got {temperature}, {teacher_temperature}")
    if crops < 0 or (crops > 0) != (crop is not None):
        raise ValueError(f"crop says what crops={crops} of them are: give both or neither")
    check_ema_decay(decay)
    check_decay(centre_decay)
    embed = embedding({"head": head}, output)

    def init(key, network, params, state, batch):
        images = network_inputs(batch, inputs)
        own_params, own_state = embed.init(key, network, params, state, images)
        whole = {"net": params, "obj": own_params}, {"net": state, "obj": own_state}
        answers, _ = jax.eval_shape(lambda: embed.apply(network, *whole, images, key))
        centre = jnp.zeros(answers["head"].shape[-1])
        counted = counter_for(decay, teacher_temperature)
        own = {"teacher": ema_copy(*whole), "centre": centre, **counted}
        return own_params, {**own_state, **own}

    def loss(network, params, state, batch, key):
        key, images = stream(key, "dino"), network_inputs(batch, inputs)
        teacher, centre = state["obj"]["teacher"], state["obj"]["centre"]
        pair = interleave(*two_views(view, second_view, key, images))
        answers, taught = embed.apply(
            network, teacher["params"], teacher["state"], pair, stream(key, "teacher")
        )
        answers = jax.lax.stop_gradient(answers["head"])
        sharpness = value_at(teacher_temperature, state["obj"])
        wanted = deinterleave(jax.nn.softmax((answers - centre) / sharpness, axis=-1), 2)
        given, state = embed.apply(network, params, state, pair, stream(key, "network"))
        given = list(deinterleave(given["head"], 2))
        if crops:
            keys = [stream(key, "crop", i) for i in range(crops)]
            small = interleave(*[apply_view(crop, own, images) for own in keys])
            of_crops, state = embed.apply(network, params, state, small, stream(key, "crops"))
            given += deinterleave(of_crops["head"], crops)
        values: list[Any] = [
            -(target * jax.nn.log_softmax(answer / temperature, axis=-1)).sum(-1)
            for v, target in enumerate(wanted)
            for w, answer in enumerate(given)
            if v != w
        ]
        weight = row_weights(batch, inputs)
        whole: Any = sum(values) / len(values)
        value = weighted_mean(whole, weight)
        one: Any = sum(deinterleave(answers, 2)) / 2
        own = {
            **state["obj"],
            "teacher": {**teacher, "state": taught},
            "centre": batch_average(centre, one, weight, centre_decay),
        }
        entropies = [-(p * jnp.log(jnp.maximum(p, 1e-30))).sum(-1) for p in wanted]
        entropy: Any = sum(entropies) / 2
        metrics = {
            "cross_entropy": value,
            "teacher_entropy": weighted_mean(entropy, weight),
        }
        return value, ({**state, "obj": own}, metrics)

    return momentum_objective(init, loss, decay)
