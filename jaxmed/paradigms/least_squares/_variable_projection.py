"""Features trained through the solution of the head that reads them."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxmed.core import Inputs, Objective, network_inputs, pick, stateless
from jaxmed.paradigms.base._supervised import Known
from jaxmed.paradigms.least_squares._moments import moments_of
from jaxmed.paradigms.least_squares._ridge import solve_ridge
from jaxmed.paradigms.least_squares._targets import Targets, coding, rows_of


def variable_projection(
    *,
    ridge: float,
    classes: int | None = None,
    output: str = "features",
    targets: Targets = "one-hot",
    target: str = "label",
    inputs: Inputs = "image",
    class_weights: Sequence[float] | None = None,
    known: Known | None = None,
) -> Objective:
    """Minimise over a network what the best linear head on its features leaves.

    The loss is the least over kernel and bias of ``sum w |y - h kernel - bias|^2 + ridge
    |kernel|^2``, divided by the weight of the batch. The head is solved in every batch and is no
    parameter. Its slopes are 0 at the least, so the gradient through the solution is that at the
    solution: exact, and no dearer than one pass. What it trains is then read by
    :func:`closed_form` with ``standardise=False`` on all examples.

    A batch should have several times as many rows as there are features: a head that fits its batch
    perfectly leaves nothing to learn from.

    Args:
        ridge: positive, of the sum over a batch: what :func:`closed_form` takes for all examples,
            times the batch's share of them.
        classes: number of classes; of numbers, how many (1).
        output: the endpoint that is regressed on, ``(batch, ..., features)``; of a ``pyramid`` the
            finest map.
        targets: ``"one-hot"``, ``"plus-minus"`` or ``"numbers"``.
        target: the batch's array of targets.
        inputs: the batch's array that the network is given, or several.
        class_weights: a weight for each class.
        known: which targets are known, as :func:`supervised` takes it.

    Returns:
        The objective; its metric ``explained`` is the share of the targets' variance that the head
        explains.

    Raises:
        ValueError: if an option is not as said; when traced, if targets and features do not fit.
        KeyError: when traced, if the network or the batch lacks a name.

    References:
        Golub and Pereyra (1973), The differentiation of pseudo-inverses and nonlinear least squares
        problems whose variables separate, SIAM Journal on Numerical Analysis 10.

    >>> import flax.linen as nn, jaxmed as jm
    >>> x = jax.random.normal(jax.random.key(0), (20, 3))
    >>> line = jm.from_functions(lambda key, x: {}, lambda params, x: {"features": x})
    >>> objective = variable_projection(ridge=1e-6, targets="numbers", target="value")
    >>> empty = {"net": {}, "obj": {}}
    >>> batch = {"image": x, "value": 2 * x[:, 0] + 1}
    >>> loss, _ = objective.loss(line, empty, empty, batch, jax.random.key(1))
    >>> bool(loss < 1e-5)
    True
    """
    if not 0 < ridge < float("inf"):
        raise ValueError(f"ridge must be positive and finite, got {ridge}")
    code = coding(targets, target, classes, class_weights, known)

    def evaluate(network, params, state, batch, key):
        endpoints, net = network.apply(
            params["net"], state["net"], network_inputs(batch, inputs), key=key, train=True
        )
        features = pick(endpoints, output, "network")
        features = features[0] if isinstance(features, tuple | list) else features
        dtype = jnp.promote_types(features.dtype, jnp.float32)
        h, y, weight = rows_of(features, batch, code, dtype)
        held = jax.lax.stop_gradient(h)
        head = jax.lax.stop_gradient(
            solve_ridge(moments_of(held, y, weight), ridge, standardise=False)
        )
        fit = jnp.matmul(h, head.kernel, precision=jax.lax.Precision.HIGHEST) + head.bias
        # A padding row may hold anything: select, for 0 * nan is nan.
        apart = jnp.where(weight[:, None] > 0, y - fit, 0)
        total = weight.sum()
        scale = jnp.where(total > 0, total, 1)
        squared = (weight[:, None] * jnp.square(apart)).sum()
        value = (squared + ridge * jnp.square(head.kernel).sum()) / scale
        whole = moments_of(held, y, weight).yy.sum()
        explained = 1 - squared / jnp.where(whole > 0, whole, 1)
        return value, ({**state, "net": net}, {"explained": explained})

    return stateless(evaluate)
