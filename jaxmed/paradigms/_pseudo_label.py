"""FixMatch: confident predictions on a weak view are the targets of a strong view."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from jaxmed.core import Objective, stream, weighted_mean, within
from jaxmed.paradigms._mean_teacher import View
from jaxmed.paradigms._supervised import named


def pseudo_label(
    objective: Objective,
    *,
    weak: View | None = None,
    strong: View,
    threshold: float = 0.95,
    temperature: float = 1.0,
    weight: float = 1.0,
    output: str = "logits",
    inputs: str = "unlabelled",
) -> Objective:
    """Add the cross-entropy between a strong view and what a weak view is confident of.

    ``mean 1[max p(weak) >= threshold] * CE(argmax p(weak), logits(strong))``, the mean being over
    all unlabelled examples, or all their voxels where the output has spatial axes. Both
    views go through the network as one batch.

    Args:
        objective: what is learned from labels.
        weak: the view that gives the targets; the image itself by default. For a segmenter the
            two views must agree in geometry: intensities, noise, blur, cut-outs.
        strong: the view that learns.
        threshold: how confident a target must be, in [0, 1].
        temperature: divides the weak view's logits; below 1 it sharpens them.
        weight: of this term.
        output: the endpoint, logits over classes on the last axis.
        inputs: the batch's unlabelled images; ``weight_unlabelled``, where there is one, is 0 for
            their padding rows.

    Returns:
        The objective, with metrics ``pseudo_loss`` and ``pseudo_used`` (the fraction that passed
        the threshold).

    Raises:
        ValueError: if ``threshold`` is outside [0, 1] or ``temperature`` not positive.

    References:
        Sohn et al. (2020), FixMatch, NeurIPS.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be in [0, 1], got {threshold}")
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    inner = within(objective, "objective")

    def init(key, network, params, state, batch):
        own_params, own_state = objective.init(key, network, params, state, batch)
        return {"objective": own_params}, {"objective": own_state}

    def loss(network, params, state, batch, key):
        value, (state, metrics) = inner.loss(network, params, state, batch, key)
        key = stream(key, "pseudo_label")
        images = {"image": named(batch, inputs, "batch")}
        target_view = images if weak is None else weak(stream(key, "weak"), images)
        learning_view = strong(stream(key, "strong"), images)
        # Interleaved, not concatenated: each device of a sharded batch keeps its own examples.
        pair = jnp.stack([target_view["image"], learning_view["image"]], axis=1)
        endpoints, net = network.apply(
            params["net"],
            state["net"],
            pair.reshape(-1, *pair.shape[2:]),
            key=stream(key, "network"),
            train=True,
        )
        logits = named(endpoints, output, "network").astype(jnp.float32)
        logits = logits.reshape(-1, 2, *logits.shape[1:])
        target = jax.nn.softmax(jax.lax.stop_gradient(logits[:, 0]) / temperature, axis=-1)
        confident = (target.max(-1) >= threshold).astype(jnp.float32)
        distance = confident * optax.softmax_cross_entropy_with_integer_labels(
            logits[:, 1], target.argmax(-1)
        )
        counts = batch.get(f"weight_{inputs}")
        pseudo = weighted_mean(_per_example(distance), counts)
        used = weighted_mean(_per_example(confident), counts)
        metrics = {**metrics, "pseudo_loss": pseudo, "pseudo_used": used}
        return value + weight * pseudo, ({**state, "net": net}, metrics)

    return Objective(init, loss, inner.after)


def _per_example(values):
    return values.reshape(values.shape[0], -1).mean(1)
