"""Features that are alike in two domains: of labelled images, and of others without labels."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Objective, network_inputs, stateless, stream
from jaxmed.paradigms.base._added import added
from jaxmed.paradigms.base._schedules import Scheduled, advance, check_weight, counter_for, value_at
from jaxmed.paradigms.base._views import row_weights, vectors

_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)  # Of the median distance, the widths of the kernels.


def coral(
    objective: Objective,
    *,
    weight: float = 1.0,
    output: str = "features",
    inputs: str = "unlabelled",
) -> Objective:
    r"""Add the distance between the covariances of features in two domains.

    .. math:: \frac{1}{4 d^2} \| C_s - C_t \|_F^2

    of the batch's labelled images s and of others t, of another scanner or site, without labels.

    Args:
        objective: what is learned from labels.
        weight: of the distance.
        output: the endpoint, one vector an image.
        inputs: the batch's images of the other domain.

    Returns:
        The objective, with the metric ``alignment``.

    Raises:
        ValueError: if the weight is negative or not finite; when traced, if the endpoint is no
            vector an image.

    References:
        Sun and Saenko (2016), Deep CORAL: correlation alignment for deep domain adaptation, ECCV
        workshops.
    """
    check_weight(weight)

    def distance(source, target, source_weight, target_weight):
        gap = _covariance(source, source_weight) - _covariance(target, target_weight)
        return jnp.square(gap).sum() / (4 * source.shape[1] ** 2)

    return _aligned(objective, distance, weight, output, inputs, "coral")


def mmd(
    objective: Objective,
    *,
    weight: float = 1.0,
    output: str = "features",
    inputs: str = "unlabelled",
) -> Objective:
    r"""Add the maximum mean discrepancy between the features of two domains.

    .. math:: \overline{k(s, s')} + \overline{k(t, t')} - 2\, \overline{k(s, t)}

    with a mean of Gaussian kernels whose widths are 1/4 to 4 times the median distance of the
    batch. It sees all moments, where :func:`coral` sees the second.

    Args:
        objective: what is learned from labels.
        weight: of the discrepancy.
        output: the endpoint, one vector an image.
        inputs: the batch's images of the other domain.

    Returns:
        The objective, with the metric ``alignment``.

    Raises:
        ValueError: if the weight is negative or not finite; when traced, if the endpoint is no
            vector an image.

    References:
        Gretton et al. (2012), A kernel two-sample test, Journal of Machine Learning Research 13.
        Long et al. (2015), Learning transferable features with deep adaptation networks, ICML.
    """
    check_weight(weight)

    def distance(source, target, source_weight, target_weight):
        both = jnp.concatenate([source, target])
        squared = jnp.maximum(
            jnp.square(both).sum(1)[:, None] + jnp.square(both).sum(1) - 2 * both @ both.T, 0
        )
        here = jnp.concatenate([source_weight, -target_weight])
        middle = jax.lax.stop_gradient(jnp.median(squared))
        kernel = sum(jnp.exp(-squared / (scale * middle + 1e-12)) for scale in _SCALES)
        return here @ (kernel / len(_SCALES)) @ here

    return _aligned(objective, distance, weight, output, inputs, "mmd")


def dann(
    objective: Objective,
    *,
    weight: Scheduled = 0.1,
    hidden: int = 64,
    output: str = "features",
    inputs: str = "unlabelled",
) -> Objective:
    """Add a critic that tells two domains apart, and learn features by which it cannot.

    A small network learns from which domain features are; the gradient that goes on into the
    features is turned around. Both learn in one step.

    Args:
        objective: what is learned from labels.
        weight: of the turned gradient, or a function of the step: a ramp from 0 spares features
            that are still of no use. The critic itself always learns with weight 1.
        hidden: units of the critic's hidden layer.
        output: the endpoint, one vector an image.
        inputs: the batch's images of the other domain.

    Returns:
        The objective, with the critic in its parameters, and the metrics ``domain_loss`` (nats;
        log 2, .693, where the domains cannot be told apart) and ``domain_accuracy``.

    Raises:
        ValueError: if the weight is negative or not finite; if the critic has no unit; when traced,
            if the endpoint is no vector an image.

    References:
        Ganin et al. (2016), Domain-adversarial training of neural networks, Journal of Machine
        Learning Research 17.
    """
    check_weight(weight)
    if hidden < 1:
        raise ValueError(f"the critic has a hidden unit or more, got {hidden}")

    def init(key, network, params, state, batch):
        endpoints, _ = jax.eval_shape(
            lambda p, s, x: network.apply(p, s, x, key=jax.random.key(0), train=True),
            params, state, network_inputs(batch, "image"),
        )  # fmt: skip
        width = endpoints[output].shape[-1]
        first = jax.random.normal(stream(key, "critic"), (width, hidden)) / jnp.sqrt(width)
        last = jax.random.normal(stream(key, "answer"), (hidden,)) / jnp.sqrt(hidden)
        critic = {"first": first, "bias": jnp.zeros(hidden), "last": last, "answer": jnp.zeros(())}
        return critic, counter_for(weight)

    def loss(network, params, state, batch, key):
        (source, target), weights, net = _both(network, params, state, batch, key, output, inputs,
                                               "dann")  # fmt: skip
        strength = value_at(weight, state["obj"])
        features = jnp.concatenate([source, target])
        # Its value is that of the features, its slope turned around.
        turned = jax.lax.stop_gradient((1 + strength) * features) - strength * features
        critic = params["obj"]
        answer = jax.nn.relu(turned @ critic["first"] + critic["bias"]) @ critic["last"]
        answer = answer + critic["answer"]
        truth = jnp.concatenate([jnp.zeros(len(source)), jnp.ones(len(target))])
        # Each domain counts a half, whatever its size.
        share = jnp.concatenate(weights) / 2
        cost = jax.nn.softplus(answer) - truth * answer
        right = ((answer > 0) == (truth > 0)).astype(jnp.float32)
        value = share @ cost
        metrics = {"domain_loss": value, "domain_accuracy": share @ right}
        return value, ({**state, "net": net}, metrics)

    return added(objective, Objective(init, loss, lambda params, state: advance(state)))


def _aligned(objective, distance, weight, output, inputs, name) -> Objective:
    def loss(network, params, state, batch, key):
        (source, target), weights, net = _both(
            network, params, state, batch, key, output, inputs, name
        )
        value = distance(source, target, *weights)
        return weight * value, ({**state, "net": net}, {"alignment": value})

    return added(objective, stateless(loss))


def _both(network, params, state, batch, key, output, inputs, name):
    """Features of both domains, the shares (rows,) by which rows count, and the network's state."""
    key, net, found, shares = stream(key, name), state["net"], [], []
    for given in ("image", inputs):
        endpoints, net = network.apply(
            params["net"], net, network_inputs(batch, given), key=stream(key, given), train=True
        )
        features = vectors(endpoints, output)
        rows = row_weights(batch, given)
        real = jnp.ones(len(features)) if rows is None else (rows > 0).astype(jnp.float32)
        found.append(jnp.where(real[:, None] > 0, features, 0))
        shares.append(real / jnp.maximum(real.sum(), 1))
    return found, shares, net


def _covariance(x: Array, share: Array) -> Array:
    mean = share @ x
    gap = (x - mean) * jnp.sqrt(share)[:, None]
    return gap.T @ gap
