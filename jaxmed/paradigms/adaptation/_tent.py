"""Test-time adaptation: normalisation layers learn from unlabelled test images."""

from __future__ import annotations

import math
import re

import jax
import jax.numpy as jnp
import optax

from jaxmed.core import (
    Inputs,
    Learner,
    Network,
    Objective,
    PyTree,
    flatten_paths,
    label_paths,
    learner,
    network_inputs,
    pick,
    stream,
    weighted_mean,
)
from jaxmed.paradigms.adaptation._batch_statistics import batch_statistics
from jaxmed.paradigms.base._consistency import entropy, per_example

_OLD = 0.9  # What stays, at a step, of the mean entropy by which a collapse is told.


def tent(
    network: Network,
    optimizer: optax.GradientTransformation,
    *,
    keep: float | None = 0.4,
    recover: float | None = 0.03,
    only: str | None = None,
    output: str = "logits",
    inputs: Inputs = "image",
) -> Learner:
    """Adapt a trained network to test images: be decided about them, by normalisation alone.

    Each step lowers the mean entropy of the predictions on a batch of test images by the scales and
    biases of normalisation layers, under the statistics of that batch. Labels are not looked at:
    a batch may have some, and they change nothing. Plain entropy can collapse to one class, so by
    default images of high entropy do not count, and the layers go back to where they began once
    all predictions have become certain.

    Args:
        network: the trained one, ``pretrained(network, params, state)``; built without dropout.
        optimizer: of the scales and biases, such as ``optax.sgd(1e-3, 0.9)``.
        keep: an image counts whose entropy is below this share of that of a guess,
            ``log(classes)``; of segmentations, the mean over voxels. None: all count.
        recover: a share of ``log(classes)``: once the moving average of the entropy of all images
            falls below, parameters and optimizer begin anew. None: they never do. The default is
            near the 0.2 nats of a thousand classes in the paper. A network that is so certain of
            the images from the start stays as it is.
        only: a regular expression of the paths of parameters that learn. By default those of every
            layer that has a ``scale``: it, and its ``bias``.
        output: the endpoint, logits over classes on the last axis.
        inputs: the batch's images.

    Returns:
        The learner. Its ``predict`` uses :func:`batch_statistics`; metrics are ``entropy``,
        ``kept`` (the share of images that count) and ``recovered`` (1 in a step that begins anew).

    Raises:
        ValueError: for a share outside (0, 1]; at ``init``, if no parameter would learn; when
            traced, for an endpoint of one class.

    References:
        Wang et al. (2021), Tent: fully test-time adaptation by entropy minimization, ICLR. Niu et
        al. (2022), Efficient test-time model adaptation without forgetting, ICML (which images
        count). Niu et al. (2023), Towards stable test-time adaptation in dynamic wild world, ICLR
        (when to begin anew).
    """
    for name, share in (("keep", keep), ("recover", recover)):
        if share is not None and not 0 < share <= 1:
            raise ValueError(f"{name} is a share of log(classes) in (0, 1], or None; got {share}")

    def labels(params: PyTree) -> PyTree:
        every = flatten_paths(params)

        def chosen(path: str) -> bool:
            if only is not None:
                return re.search(only, path) is not None
            module, _, leaf = path.rpartition("/")
            return leaf in ("scale", "bias") and f"{module}/scale" in every

        learning = [path for path in every if chosen(path)]
        if not learning:
            wanted = "with a scale" if only is None else f"that match {only!r}"
            raise ValueError(f"no layers {wanted} can learn; there are {sorted(every)}")
        exactly = "|".join(map(re.escape, learning))
        return label_paths({f"^(?:{exactly})$": "learns"}, default="stays")(params)

    partial = optax.partition({"learns": optimizer, "stays": optax.set_to_zero()}, labels)
    base = learner(
        batch_statistics(network), _certainty(keep, output, inputs), partial, inputs=inputs
    )
    if recover is None:
        return base
    return _recovering(base, partial, recover)


def _certainty(keep: float | None, output: str, inputs: Inputs) -> Objective:
    """The mean entropy over the images that count."""

    def loss(network, params, state, batch, key):
        endpoints, net = network.apply(
            params["net"],
            state["net"],
            network_inputs(batch, inputs),
            key=stream(key, "tent"),
            train=True,
        )
        logits = pick(endpoints, output, "network").astype(jnp.float32)
        values = per_example(entropy(logits))
        real = jnp.ones(len(values)) if (given := batch.get("weight")) is None else given
        guess = math.log(logits.shape[-1])
        counts = real if keep is None else real * (values < keep * guess)
        value = weighted_mean(values, counts)
        kept = counts.sum() / jnp.maximum(real.sum(), 1e-12)
        all_images = weighted_mean(values, real) / guess
        own = {"entropy": all_images, "seen": real.sum() > 0}
        return value, ({"net": net, "obj": own}, {"entropy": value, "kept": kept})

    def init(key, network, params, state, batch):
        return {}, {"entropy": jnp.zeros(()), "seen": jnp.zeros((), bool)}

    return Objective(init, loss)


def _recovering(base: Learner, optimizer: optax.GradientTransformation, least: float) -> Learner:
    """The learner that goes back to its beginning once its mean entropy is below ``least``."""

    def init(key, batch):
        state = base.init(key, batch)
        own = {"source": state.params, "mean": jnp.zeros(()), "since": jnp.zeros((), jnp.int32)}
        return state._replace(state={**state.state, "obj": {**state.state["obj"], **own}})

    def step(current, batch):
        inner = {name: current.state["obj"][name] for name in ("entropy", "seen")}
        source, mean, since = (current.state["obj"][name] for name in ("source", "mean", "since"))
        after, metrics = base.step(current._replace(state={**current.state, "obj": inner}), batch)
        now = after.state["obj"]
        moved = jnp.where(since == 0, now["entropy"], _OLD * mean + (1 - _OLD) * now["entropy"])
        mean = jnp.where(now["seen"], moved, mean)
        since = since + now["seen"]
        back = (since > 0) & (mean < least)

        def chosen(fresh, new):
            return jax.tree.map(lambda a, b: jnp.where(back, a, b), fresh, new)

        own = {**now, "source": source, "mean": mean, "since": jnp.where(back, 0, since)}
        after = after._replace(
            params=chosen(source, after.params),
            opt_state=chosen(optimizer.init(source), after.opt_state),
            state={**after.state, "obj": own},
        )
        return after, {**metrics, "recovered": back.astype(jnp.float32)}

    return base._replace(init=init, step=step)
