"""Layer-wise relevance propagation, on the traced program."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from jaxmed.core import Array, Key, Network, PyTree
from jaxmed.core._program import (
    CUSTOM,
    LOOPS,
    Program,
    Step,
    called,
    is_call,
    is_product,
    opened,
    run_equation,
)
from jaxmed.explain._target import Target, scorer
from jaxmed.explain.relevance._traced import traced

# Of a value: None, it does not depend on the image; or how much it is a gate rather than a signal.
# A signal times a gate is a signal, and the gate is taken as given.
_SIGNAL, _BOUNDED, _GATE = 0, 1, 2
_MAKE_GATES = ("exp", "exp2", "logistic", "erf", "rsqrt", "reciprocal", "sign")
_BOUND = ("tanh", "atan")
_CURVES = (
    "max", "min", "clamp", "abs", "log", "log1p", "expm1", "sqrt", "cbrt", "integer_pow", "pow",
    "square", "sin", "cos", "erfc", *_MAKE_GATES, *_BOUND,
)  # fmt: skip
_SUMS = ("add", "add_any", "sub", "concatenate", "select_n")
_PRODUCTS = ("mul", "div")


def lrp(
    key: Key | None,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    *,
    gamma: float = 0.25,
    epsilon: float = 1e-6,
) -> Array:
    r"""Layer-wise relevance propagation: the score, handed back from layer to layer.

    A layer hands on what it got in proportion to what each of its inputs contributed. In products
    with a kernel (convolutions and dense layers alike) positive contributions are favoured by
    :math:`\gamma`, and with :math:`\gamma = \epsilon = 0` this is LRP-0, which is input times
    gradient wherever activations are rectifiers. An activation hands on all. What multiplies a
    signal by a bounded function of the image (attention, the scale of a layer normalisation, the
    gates of swish and squeeze-and-excitation) is taken as given (Ali et al.). Additive constants,
    among them biases and the shifts of batch normalisation, keep their share, as if the layer were
    one with the convolution before it; :func:`lrp_biases` says how much.

    Rules are those of the equations of the traced program, so that Linen, NNX and plain functions
    are treated alike.

    Args:
        key: not used; part of the common signature.
        network: any network without loops on the way of the image.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``.
        target: a class, one a case, or a function of the endpoints; the relevance of an endpoint
            is its value times the derivative of the score in it.
        gamma: by how much positive contributions are favoured, from 0 on.
        epsilon: what is added to the sum of contributions, as a share of its root mean square over
            the layer: it takes relevance from sums that cancel.

    Returns:
        A signed map in the inputs' shape.

    Raises:
        ValueError: if gamma or epsilon is negative, or the image goes into a loop.

    References:
        Bach et al. (2015), On pixel-wise explanations for non-linear classifier decisions by
        layer-wise relevance propagation, PLoS ONE 10. Montavon et al. (2019), Layer-wise relevance
        propagation: an overview. Ali et al. (2022), XAI for transformers: better explanations
        through conservative propagation, ICML.

    Examples:
        >>> import jaxmed as jm
        >>> weights = jnp.array([[1.0], [2.0]])
        >>> net = jm.core.from_functions(
        ...     lambda key, x: {}, lambda params, x: jax.nn.relu(x[..., 0]) @ weights
        ... )
        >>> image = jnp.array([[[3.0], [1.0]]])
        >>> lrp(None, net, {}, {}, image, 1, gamma=0, epsilon=0).ravel().tolist()
        [3.0, 2.0]
    """
    del key
    return _relevance(network, params, state, inputs, target, gamma, epsilon)[0]


def lrp_biases(
    key: Key | None,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    *,
    gamma: float = 0.25,
    epsilon: float = 1e-6,
) -> Array:
    """The relevance that additive constants of the network kept.

    With ``epsilon=0`` it and the sum of :func:`lrp` are the score.

    Args:
        key: as of :func:`lrp`, and so are all others.
        network: likewise.
        params: likewise.
        state: likewise.
        inputs: likewise.
        target: likewise.
        gamma: likewise.
        epsilon: likewise.

    Returns:
        (batch,).
    """
    del key
    return _relevance(network, params, state, inputs, target, gamma, epsilon)[1]


def _relevance(network, params, state, inputs, target, gamma, epsilon):
    if gamma < 0 or epsilon < 0:
        raise ValueError(f"gamma and epsilon are at least 0, got {gamma} and {epsilon}")

    images = jnp.asarray(inputs)
    program = traced(network, params, state, images, _has_a_rule)
    roles = _roles(program, len(jax.tree.leaves((params, state))))

    # A network whose derivative is this one's: so all rules are written in the forward direction,
    # and what multiplies additive constants is 1, one a case, whose derivative is their share.
    def total(images, ones):
        def change(step, given):
            return _changed(step, given, roles, ones, gamma, epsilon)

        leaves = jax.tree.leaves((params, state, images))
        return scorer(target)(program.run(leaves, change)[0]).astype(jnp.float32).sum()

    slopes, biases = jax.grad(total, argnums=(0, 1))(images, jnp.ones(len(images)))
    return images * slopes, biases


def _has_a_rule(call: Any) -> bool:
    """Whether rules are about what a call with a derivative of its own computes.

    One that only picks and moves values, such as the largest of a block, keeps its derivative.
    """
    for equation in opened(called(call))[0].eqns:
        name = equation.primitive.name
        if name in (*_CURVES, *_SUMS, *_PRODUCTS) or is_product(name):
            return True
        if (is_call(equation) or name in CUSTOM) and _has_a_rule(equation):
            return True
    return False


def _roles(program: Program, first: int) -> dict[int, int]:
    """Of what depends on the inputs from `first` on, the images, how much it is a gate."""
    roles = dict.fromkeys(program.inputs[first:], _SIGNAL)
    for step in program.steps:
        known = [roles[i] for i in step.inputs if not isinstance(i, Literal) and i in roles]
        if not known or step.name == "stop_gradient":
            continue
        if step.name in LOOPS:
            raise ValueError(
                f"lrp: the image goes into a loop ({step.name}), whose layers have no rule; use "
                f"integrated_gradients"
            )
        role = min(known)
        role = max(role, _GATE) if step.name in _MAKE_GATES else role
        role = max(role, _BOUNDED) if step.name in _BOUND else role
        if step.name == "div" and _depends(step, roles) == [False, True]:
            role = _GATE
        roles |= dict.fromkeys(step.outputs, role)
    return roles


def _depends(step: Step, roles: dict[int, int]) -> list[bool]:
    """Of each operand, whether it depends on the image."""
    return [not isinstance(i, Literal) and i in roles for i in step.inputs]


def _changed(step: Step, given: list, roles: dict, ones: Array, gamma: float, epsilon: float):
    """What a step gives, with the derivative that its rule has."""
    depends = _depends(step, roles)
    if not any(depends):
        return None

    def run(*values):
        return run_equation(step.home, step.equation, list(values))

    if step.name in _CURVES and sum(depends) == 1:
        x = given[depends.index(True)]
        y = run(*given)[0]
        return [_as_if_linear(x, y)]
    if step.name in ("max", "min") and sum(depends) == 2:
        return None
    if step.name in _SUMS and not all(depends):
        values = [
            value if own else _counted(step, value, ones)
            for value, own in zip(given, depends, strict=True)
        ]
        return run(*values)
    if sum(depends) == 2 and (step.name in _PRODUCTS or is_product(step.name)):
        return [_product(step, given, roles, run)]
    if step.name == "div" and depends[1]:
        return [jax.lax.stop_gradient(run(*given)[0])]
    if is_product(step.name) and sum(depends) == 1 and (gamma or epsilon):
        return [_layer(given, depends.index(True), run, gamma, epsilon)]
    return None


def _as_if_linear(x: Array, y: Array) -> Array:
    """A curve y of x, with the slope y / x: so that it hands on all of its relevance."""
    x_fixed, y_fixed = map(jax.lax.stop_gradient, (x, y))
    zero = x_fixed == 0
    slope = jnp.where(zero, 0, y_fixed / jnp.where(zero, 1, x_fixed))
    return y_fixed + (x - x_fixed) * slope


def _counted(step: Step, value: Array, ones: Array) -> Array:
    """An additive constant, times a one of each case."""
    shape, value = step.equation.outvars[0].aval.shape, jnp.asarray(value)
    if not jnp.issubdtype(value.dtype, jnp.floating) or not shape or shape[0] != len(ones):
        return value
    if value.ndim and value.shape[0] not in (1, len(ones)):
        return value
    return value * ones.reshape(-1, *(1,) * (len(shape) - 1)).astype(value.dtype)


def _product(step: Step, given: list, roles: dict, run) -> Array:
    """A product of two values of the image: the gate is taken as given, equals share."""
    first, second = (roles[i] for i in step.inputs[:2])
    fixed = [jax.lax.stop_gradient(x) for x in given]
    if step.name == "div" or second > first:
        return run(given[0], fixed[1])[0]
    if first > second:
        return run(fixed[0], given[1])[0]
    y = run(*given)[0]
    return jax.lax.stop_gradient(y) + (y - jax.lax.stop_gradient(y)) / 2


def _layer(given: list, at: int, run, gamma: float, epsilon: float) -> Array:
    """A product with a kernel, by the gamma and the epsilon rule."""
    x, kernel = given[at], given[1 - at]

    def product(values, kernel):
        operands = [values, kernel] if at == 0 else [kernel, values]
        return run(*operands)[0]

    z = product(x, kernel)
    fixed = jax.lax.stop_gradient(z)
    favoured = z
    if gamma:
        up = jax.lax.stop_gradient(x > 0)
        high, low = jnp.where(up, x, 0), jnp.where(up, 0, x)
        plus, minus = jnp.maximum(kernel, 0), jnp.minimum(kernel, 0)
        for_it = product(high, plus) + product(low, minus)
        against = product(high, minus) + product(low, plus)
        favoured = z + gamma * jnp.where(fixed > 0, for_it, against)
    below = jax.lax.stop_gradient(favoured)
    small = epsilon * jnp.sqrt((below**2).mean())
    below = below + jnp.where(below < 0, -small, small)
    share = jnp.where(below == 0, 0, fixed / jnp.where(below == 0, 1, below))
    return fixed + share * (favoured - jax.lax.stop_gradient(favoured))
