"""Attention rollout: through which tokens the answer looked."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from jaxmed.core import Array, Key, Network, PyTree
from jaxmed.core._program import Program
from jaxmed.explain._images import enlarged
from jaxmed.explain._target import Target
from jaxmed.explain.relevance._traced import traced, value_gradients


def attention_rollout(
    key: Key | None,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    *,
    grid: tuple[int, ...],
    weigh: bool = True,
) -> Array:
    r"""Products of the attention of all blocks, from the answering token back to the patches.

    .. math:: R = \prod_b \frac{1}{2} (I + \bar A_b)

    with :math:`\bar A` the mean over heads. Attention alone knows nothing of the target; with
    ``weigh`` heads are averaged by :math:`\max(A \odot \partial f / \partial A, 0)` and
    :math:`R = \prod_b (I + \bar A_b)`, which does.

    Args:
        key: not used; part of the common signature.
        network: a transformer: its program has products with a softmax over as many tokens as it
            is over.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``.
        target: a class, one a case, or a function of the endpoints.
        grid: patches along each axis, in the order of the tokens, behind the class token if there
            is one. With none the mean of all tokens answers.
        weigh: by gradients, for the target; False for Abnar and Zuidema's, which is the same for
            every target.

    Returns:
        A map in the inputs' shape, from 0 on, each channel an equal share.

    Raises:
        ValueError: if the program has no such product, or the grid does not fit the tokens.

    References:
        Abnar and Zuidema (2020), Quantifying attention flow in transformers, ACL. Chefer et al.
        (2021), Generic attention-model explainability, ICCV.
    """
    del key

    program = traced(network, params, state, inputs)
    places = _attention(program)
    if not places:
        raise ValueError(
            "attention_rollout: the network's program has no attention, a product with a softmax "
            "over as many tokens as ask"
        )
    leaves = jax.tree.leaves((params, state, inputs))
    if weigh:
        found, slopes = value_gradients(program, leaves, places, target)
        maps = [jnp.maximum(found[i] * slopes[i], 0) for i in places]
    else:
        found = program.run(leaves)[1]
        maps = [found[i] for i in places]
    tokens = maps[0].shape[-1]
    first = tokens - math.prod(grid)
    if first not in (0, 1) or any(a.shape[-1] != tokens for a in maps):
        raise ValueError(f"a grid of {grid} does not fit the {tokens} tokens of the attention")
    rolled = jnp.eye(tokens)
    for attention in maps:
        mean = attention.mean(1)
        step = jnp.eye(tokens) + mean if weigh else (jnp.eye(tokens) + mean) / 2
        rolled = step @ rolled
    rows = rolled[:, 0, 1:] if first else rolled.mean(1)
    return enlarged(rows.reshape(len(inputs), *grid), inputs)


def _attention(program: Program) -> list[int]:
    """The numbers of softmaxes ``(batch, heads, tokens, tokens)`` that go into a product."""
    made, places = {}, []
    for step in program.steps:
        made |= dict.fromkeys(step.outputs, step)
        if step.name != "dot_general":
            continue
        for number in step.inputs:
            if isinstance(number, Literal) or number not in made:
                continue
            maker = made[number]
            shape = maker.equation.outvars[0].aval.shape
            square = len(shape) == 4 and shape[-1] == shape[-2]
            if square and _is_softmax(maker, made) and number not in places:
                places.append(number)
    return places


def _is_softmax(step, made) -> bool:
    if step.name in ("convert_element_type", "mul", "copy") and step.inputs[0] in made:
        return _is_softmax(made[step.inputs[0]], made)
    if step.name != "div":
        return "softmax" in str(step.equation.params.get("name", ""))
    above = step.inputs[0]
    return not isinstance(above, Literal) and above in made and made[above].name == "exp"
