"""MixMatch: guessed and given labels mixed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from jaxmed.core import Objective, network_inputs, pick, stream, weighted_mean
from jaxmed.core._partners import partners
from jaxmed.paradigms.base._consistency import check_ramp, ramp
from jaxmed.paradigms.base._schedules import advance, check_weight, counter
from jaxmed.paradigms.base._supervised import Known, known_mask
from jaxmed.paradigms.base._views import (
    View,
    apply_view,
    deinterleave,
    interleave,
    row_weights,
    same_geometry,
)


def mixmatch(
    view: View,
    *,
    views: int = 2,
    temperature: float = 0.5,
    alpha: float = 0.75,
    weight: float = 75.0,
    ramp_steps: int = 0,
    output: str = "logits",
    target: str = "label",
    image: str = "image",
    inputs: str = "unlabelled",
    known: Known | None = None,
) -> Objective:
    r"""Learn from labels and guesses, both mixed with random partners from both.

    The guess for an unlabelled image is the mean prediction on ``views`` of it, sharpened,
    :math:`q_c \propto \bar p_c^{1/T}`. All images and their (soft) labels are then mixed as
    :math:`\lambda' a + (1 - \lambda') b` with :math:`\lambda' = \max(\lambda, 1 - \lambda)`,
    :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)` for each. The loss is the cross-entropy on
    what was labelled, and ``weight`` times the squared distance :math:`|p - q|^2 / C` on the rest.

    It is whole, not a term beside an objective: labels and guesses mix. A segmenter learns voxel by
    voxel.

    Args:
        view: drawn once for the labelled images, which it may move along with a ``mask``, and
            ``views`` times for the unlabelled. For a segmenter it must leave the geometry alone.
        views: of each unlabelled image.
        temperature: of the sharpening, positive; below 1 it makes guesses more decided.
        alpha: of the Beta distribution, positive.
        weight: of the unlabelled part, once ramped up. The paper's 75 wants a ramp.
        ramp_steps: steps over which the weight rises as ``exp(-5 (1 - t)^2)``.
        output: the endpoint, logits over classes on the last axis.
        target: the batch's integer classes, one per example or per voxel.
        image: the batch's labelled images.
        inputs: the batch's unlabelled images, of the same shape but for their number.
        known: which labels are known, if not all are, as :func:`~jaxmed.paradigms.supervised` takes
            it. An example, or a voxel, without one does not count, nor what is mixed with it. A
            label outside the classes that is not masked so gives NaN.

    Returns:
        The objective, with metrics ``labelled_loss``, ``guessed_loss`` and ``guessed_weight``.

    Raises:
        ValueError: if the weight is negative or a number is out of its range; when traced, if
            targets and logits do not fit, or the view moves the voxels of a segmenter's image.

    References:
        Berthelot et al. (2019), MixMatch: a holistic approach to semi-supervised learning, NeurIPS.
    """
    check_weight(weight)
    if views < 1:
        raise ValueError(f"views must be at least 1, got {views}")
    if temperature <= 0 or alpha <= 0:
        raise ValueError(f"temperature and alpha must be positive, got {temperature}, {alpha}")
    check_ramp(ramp_steps)

    def init(key, network, params, state, batch):
        return {}, counter()

    def loss(network, params, state, batch, key):
        key = stream(key, "mixmatch")
        labelled = {image: network_inputs(batch, image), target: pick(batch, target, "batch")}
        labelled = view(stream(key, "labelled"), labelled)
        x, n = labelled[image], len(labelled[image])
        images = network_inputs(batch, inputs)
        u = interleave(*[apply_view(view, stream(key, "view", i), images) for i in range(views)])

        def logits(images, role):
            endpoints, net = network.apply(
                params["net"], state["net"], images, key=stream(key, role), train=True
            )
            return pick(endpoints, output, "network").astype(jnp.float32), net

        outputs, _ = logits(u, "guess")
        same_geometry(outputs, output, view)
        mean = sum(deinterleave(jax.nn.softmax(outputs, axis=-1), views)) / views
        sharp = jax.lax.stop_gradient(jnp.power(jnp.maximum(mean, 1e-12), 1 / temperature))
        sharp = jnp.repeat(sharp / sharp.sum(-1, keepdims=True), views, axis=0)
        given = jax.nn.one_hot(labelled[target], outputs.shape[-1])
        if given.shape[1:] != sharp.shape[1:]:
            raise ValueError(
                f"{target!r} {labelled[target].shape} gives no class for each of {output!r} "
                f"{outputs.shape}"
            )
        every = jnp.concatenate([x, u])
        rows = [batch.get("weight"), row_weights(batch, inputs)]
        rows = [jnp.ones(m) if w is None else w for w, m in zip(rows, (n, len(images)))]
        rows = jnp.concatenate([rows[0], jnp.repeat(rows[1], views)])
        sure = jnp.ones((len(every), *sharp.shape[1:-1]), bool)
        if known is not None:
            where = known_mask(known, labelled[target], batch).astype(bool)
            sure = sure.at[:n].set(jnp.broadcast_to(_rowwise(where, sure), sure[:n].shape))
        # As elsewhere: what is in no class and not said to be unknown stops the training.
        classed = (given.sum(-1) > 0) | ~sure[:n] | ~_rowwise(rows[:n] > 0, sure)
        labels = jnp.concatenate([jnp.where(classed[..., None], given, jnp.nan), sharp])
        partner = partners(stream(key, "partner"), len(every), rows * _any(sure))
        sure = sure & sure[partner]
        share = jax.random.beta(stream(key, "share"), alpha, alpha, (len(every),))
        share = jnp.maximum(share, 1 - share)

        def mixed(array):
            by_row = _rowwise(share, array)
            return by_row * array + (1 - by_row) * array[partner]

        labels = mixed(labels)
        outputs, net = logits(mixed(every), "mixed")
        entropy = optax.softmax_cross_entropy(outputs[:n], labels[:n])
        given = _mean(entropy, sure[:n], rows[:n])
        distance = jnp.square(jax.nn.softmax(outputs[n:], axis=-1) - labels[n:]).mean(-1)
        guessed = _mean(distance, sure[n:], rows[n:])
        ramped = weight * ramp(state["obj"]["step"], ramp_steps)
        metrics = {"labelled_loss": given, "guessed_loss": guessed, "guessed_weight": ramped}
        return given + ramped * guessed, ({**state, "net": net}, metrics)

    return Objective(init, loss, lambda params, state: advance(state))


def _rowwise(values, array):
    """Values of the first axes of an array, to be broadcast over the others."""
    return values.reshape(*values.shape, *[1] * (array.ndim - values.ndim))


def _any(where):
    return where.reshape(len(where), -1).any(1)


def _mean(values, where, weight):
    """The mean over examples of the mean over those of an example's voxels that count."""
    values, inside = (x.reshape(len(x), -1) for x in (values, where))
    values = jnp.where(inside, values, 0).sum(1) / jnp.maximum(inside.sum(1), 1)
    return weighted_mean(values, weight * _any(where))
