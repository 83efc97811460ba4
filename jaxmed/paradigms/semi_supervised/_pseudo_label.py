"""FixMatch: confident predictions on a weak view are the targets of a strong view."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxmed.core import Objective, network_inputs, pick, stream, weighted_mean
from jaxmed.paradigms.base._added import added
from jaxmed.paradigms.base._consistency import per_example
from jaxmed.paradigms.base._ema import batch_average, check_decay, warmup_decay
from jaxmed.paradigms.base._schedules import advance, check_weight, counter
from jaxmed.paradigms.base._views import (
    View,
    apply_view,
    deinterleave,
    interleave,
    row_weights,
    same_geometry,
)


def pseudo_label(
    objective: Objective,
    *,
    weak: View | None = None,
    strong: View,
    threshold: float = 0.95,
    flexible: bool = False,
    align: Sequence[float] | None = None,
    decay: float = 0.99,
    temperature: float = 1.0,
    weight: float = 1.0,
    output: str = "logits",
    inputs: str = "unlabelled",
) -> Objective:
    r"""Add the cross-entropy between a strong view and what a weak view is confident of.

    ``mean 1[max p(weak) >= threshold] * CE(argmax p(weak), logits(strong))``, the mean being over
    all unlabelled examples, or all their voxels where the output has spatial axes. Both
    views go through the network as one batch.

    With ``flexible`` each class has a threshold of its own, lower while the class is learned less
    (FlexMatch): of the share :math:`s_c` of predictions that are of class c and reach
    ``threshold``, :math:`\beta_c = s_c / \max(\max_k s_k, 1 - \sum_k s_k)`, and class c counts from
    ``threshold`` :math:`\cdot \beta_c / (2 - \beta_c)`. Where FlexMatch counts the last prediction
    on each image, the shares here are moving averages over batches.

    With ``align`` the predictions on weak views are multiplied by ``align / q`` and scaled to sum
    to one, where q is the moving average of predictions (distribution alignment).

    Args:
        objective: what is learned from labels.
        weak: the view that gives the targets; the image itself by default. For a segmenter the
            two views must agree in geometry: intensities, noise, blur, cut-outs.
        strong: the view that learns.
        threshold: how confident a target must be, in [0, 1].
        flexible: whether each class has its own threshold, which starts at 0.
        align: the share of each class among the unlabelled examples (voxels, for a segmenter), to
            which the mean prediction is drawn.
        decay: of the moving averages that ``flexible`` and ``align`` keep, in [0, 1); at first
            ``(step + 1) / (step + 10)``, that they forget their start.
        temperature: divides the weak view's logits; below 1 it sharpens them.
        weight: of this term.
        output: the endpoint, logits over classes on the last axis.
        inputs: the batch's unlabelled images; ``weight_unlabelled``, where there is one, is 0 for
            their padding rows.

    Returns:
        The objective, with metrics ``pseudo_loss`` and ``pseudo_used`` (the fraction that passed
        the threshold).

    Raises:
        ValueError: if the weight is negative or not finite; if ``threshold`` or ``decay`` is
            outside its range, ``temperature`` not positive, or ``align`` not a positive share for
            each class; when traced, if a view moves the voxels of a segmenter's image.

    References:
        Sohn et al. (2020), FixMatch, NeurIPS. Zhang et al. (2021), FlexMatch, NeurIPS. Berthelot
        et al. (2020), ReMixMatch: distribution matching, ICLR.
    """
    check_weight(weight)
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be in [0, 1], got {threshold}")
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    check_decay(decay)
    if align is not None:
        share = np.asarray(align, np.float32)
        if share.ndim != 1 or (share <= 0).any():
            raise ValueError(f"align must give each class a positive share, got {align}")
        share = share / share.sum()

    def init(key, network, params, state, batch):
        images = network_inputs(batch, inputs)
        shape = jax.eval_shape(lambda: network.apply(params, state, images)[0])[output].shape
        if align is not None and shape[-1:] != share.shape:
            raise ValueError(f"align has {len(share)} classes, {output!r} has the shape {shape}")
        own = {"learned": jnp.zeros(shape[-1:])} if flexible else {}
        own |= {"predicted": jnp.asarray(share)} if align is not None else {}
        return {}, own | (counter() if own else {})

    def loss(network, params, state, batch, key):
        key = stream(key, "pseudo_label")
        images, count = network_inputs(batch, inputs), row_weights(batch, inputs)
        views = [
            apply_view(weak, stream(key, "weak"), images),
            apply_view(strong, stream(key, "strong"), images),
        ]
        endpoints, net = network.apply(
            params["net"],
            state["net"],
            interleave(*views),
            key=stream(key, "network"),
            train=True,
        )
        logits = pick(endpoints, output, "network").astype(jnp.float32)
        same_geometry(logits, output, weak, strong)
        taught, learning = deinterleave(logits, 2)
        target = jax.nn.softmax(jax.lax.stop_gradient(taught) / temperature, axis=-1)
        own = dict(state["obj"])
        keep = warmup_decay(decay, own["step"]) if own else 0.0
        if align is not None:
            own["predicted"] = batch_average(own["predicted"], target, count, keep)
            target = target * (share / jnp.maximum(own["predicted"], 1e-6))
            target = target / target.sum(-1, keepdims=True)
        guess, sure = target.argmax(-1), target.max(-1)
        needed = jnp.asarray(threshold)
        if flexible:
            learned = own["learned"]
            beta = learned / jnp.maximum(learned.max(), 1 - learned.sum())
            needed = (threshold * beta / (2 - beta))[guess]
            reached = jax.nn.one_hot(guess, target.shape[-1]) * (sure >= threshold)[..., None]
            own["learned"] = batch_average(learned, reached, count, keep)
        confident = (sure >= needed).astype(jnp.float32)
        distance = confident * optax.softmax_cross_entropy_with_integer_labels(learning, guess)
        pseudo = weighted_mean(per_example(distance), count)
        used = weighted_mean(per_example(confident), count)
        metrics = {"pseudo_loss": pseudo, "pseudo_used": used}
        return weight * pseudo, ({"net": net, "obj": own}, metrics)

    term = Objective(init, loss, lambda params, state: advance(state))
    return added(objective, term)
