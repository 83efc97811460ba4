"""SimCLR, and contrast by labels: two views of an image lie near, those of others far."""

from __future__ import annotations

import jax.numpy as jnp

from jaxmed.core import Objective, network_inputs, pick, stream, weighted_mean
from jaxmed.networks import ProjectionHead
from jaxmed.paradigms.base._supervised import Known, known_mask
from jaxmed.paradigms.base._views import View, interleave, row_weights, two_views
from jaxmed.paradigms.self_supervised._contrast import contrast
from jaxmed.paradigms.self_supervised._embedding import Head, embedding


def simclr(
    view: View,
    second_view: View | None = None,
    *,
    projector: Head = ProjectionHead(128, hidden=(512,)),  # noqa: B008 (a frozen dataclass)
    temperature: float = 0.5,
    output: str = "features",
    inputs: str = "image",
) -> Objective:
    r"""Contrast two views of each image with all other images of the batch (NT-Xent).

    .. math:: \ell_i = -\log \frac{e^{\cos(z_i, z_{i'}) / \tau}}{\sum_{a \neq i} e^{\cos(z_i, z_a) /
        \tau}}

    over the 2n projections z of both views; i' is the other view of i. Negatives are those of the
    whole batch, over all devices.

    Args:
        view: of each image, as in :mod:`jaxmed.augment`; it may move voxels.
        second_view: of each image; ``view`` drawn again by default.
        projector: what stands between the endpoint and the loss; parameters of the objective.
        temperature: tau, positive.
        output: the endpoint, ``(batch, features)``.
        inputs: the batch's images; padding rows are nobody's negatives.

    Returns:
        The objective, with the metric ``contrast``. The trunk it trains is ``params["net"]``.

    Raises:
        ValueError: if ``temperature`` is not positive; when traced, if the endpoint has not one
            vector per example.

    References:
        Chen et al. (2020), A simple framework for contrastive learning of visual representations,
        ICML.
    """
    return _contrasted(view, second_view, projector, temperature, output, inputs, None, None)


def supervised_contrast(
    view: View,
    second_view: View | None = None,
    *,
    projector: Head = ProjectionHead(128, hidden=(512,)),  # noqa: B008 (a frozen dataclass)
    temperature: float = 0.1,
    target: str = "label",
    known: Known | None = None,
    output: str = "features",
    inputs: str = "image",
) -> Objective:
    r"""Contrast examples of one class with those of the others.

    .. math:: \ell_i = -\frac{1}{|P_i|} \sum_{p \in P_i} \log
        \frac{e^{\cos(z_i, z_p) / \tau}}{\sum_{a \neq i} e^{\cos(z_i, z_a) / \tau}}

    over both views of all images, :math:`P_i` being the other views and examples of the class of
    i. An example whose label is not known has its own other view alone, as in
    :func:`~jaxmed.paradigms.simclr`.

    Args:
        view: of each image, as in :mod:`jaxmed.augment`; it may move voxels.
        second_view: of each image; ``view`` drawn again by default.
        projector: what stands between the endpoint and the loss; parameters of the objective.
        temperature: tau, positive.
        target: the batch's integer classes, ``(batch,)``.
        known: which labels are known, if not all are: the name of a boolean array ``(batch,)`` of
            the batch, or a function of the labels, such as ``lambda label: label >= 0``.
        output: the endpoint, ``(batch, features)``.
        inputs: the batch's images.

    Returns:
        The objective, with the metric ``contrast``.

    Raises:
        ValueError: if ``temperature`` is not positive; when traced, if the endpoint has not one
            vector, or the target not one class, an example.

    References:
        Khosla et al. (2020), Supervised contrastive learning, NeurIPS.
    """
    return _contrasted(view, second_view, projector, temperature, output, inputs, target, known)


def _contrasted(view, second_view, projector, temperature, output, inputs, target, known):
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    embed = embedding({"projector": projector}, output)

    def init(key, network, params, state, batch):
        return embed.init(key, network, params, state, network_inputs(batch, inputs))

    def loss(network, params, state, batch, key):
        key, images = stream(key, "contrast"), network_inputs(batch, inputs)
        pair = interleave(*two_views(view, second_view, key, images))
        z, state = embed.apply(network, params, state, pair, stream(key, "network"))
        example = jnp.arange(len(images))
        same = example[:, None] == example
        if target is not None:
            classes = pick(batch, target, "batch")
            if classes.shape != example.shape:
                raise ValueError(f"{target!r} must be one class per example, got {classes.shape}")
            alike = classes[:, None] == classes
            if known is not None:
                sure = known_mask(known, classes, batch).astype(bool)
                alike = alike & sure[:, None] & sure
            same = same | alike
        weight = row_weights(batch, inputs)
        weight = jnp.ones(len(images)) if weight is None else weight

        def twice(x):
            return jnp.repeat(x, 2, axis=0)

        values = contrast(z["projector"], twice(twice(same).T), twice(weight) > 0, temperature)
        value = weighted_mean(values, twice(weight))
        return value, (state, {"contrast": value})

    return Objective(init, loss)
