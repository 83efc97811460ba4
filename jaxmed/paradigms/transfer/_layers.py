"""Reaching the layers of any network: by the products with its kernels, in the traced program."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import jax
from jax.extend.core import Jaxpr, Literal

from jaxmed.core import Array, Network
from jaxmed.core._program import called, is_call, is_product, opened, run_equation

# What a value is made of, as far as that matters here: a string is the path of a kernel it derives
# from, by reshaping, casting, standardising; None stands for other parameters and constants.
DATA = object()


def layers_changed(
    network: Network, kernels: Collection[str], change: Callable[[str, Array], Array]
) -> Callable:
    """The network's ``apply`` with the output of some layers changed.

    A layer is a matrix product or a convolution, one of whose operands is a kernel. The network's
    program is traced and run again with the changes: so that Linen, NNX and plain functions are
    treated alike, and nothing has to be known of how a module is called.

    Args:
        network: any network.
        kernels: the paths of their parameters.
        change: ``(path, y) -> y``, of the same shape and dtype; y has its channels on the last
            axis. Of a kernel that is used twice both layers are changed. Products inside loops,
            branches and functions with derivatives of their own are not reached.

    Returns:
        ``apply``, as a :class:`~jaxmed.core.Network`'s.
    """

    def apply(params, state, inputs, *, key=None, train=False):
        def original(params, state, inputs, key):
            return network.apply(params, state, inputs, key=key, train=train)

        operands = (params, state, inputs, key)
        program, shape = jax.make_jaxpr(original, return_shape=True)(*operands)
        flat = jax.tree.leaves_with_path(operands)
        origins = [_origin(path, kernels) for path, _ in flat]
        leaves = [leaf for _, leaf in flat]
        outputs, _ = _run(program.jaxpr, program.consts, leaves, origins, change)
        return jax.tree.unflatten(jax.tree.structure(shape), outputs)

    return apply


def _origin(path, kernels: Collection[str]):
    """Of a leaf of ``(params, state, inputs, key)``."""
    (position, *inner) = path
    if position.idx == 0:
        name = jax.tree_util.keystr(tuple(inner), simple=True, separator="/")
        return name if name in kernels else None
    return DATA if position.idx == 2 else None


def _run(jaxpr: Jaxpr, consts: Sequence, operands: list, origins: list, change):
    """The program's outputs, and their origins."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *operands], strict=True))
    origin = dict(zip(jaxpr.invars, origins, strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    def made_of(atom):
        return None if isinstance(atom, Literal) else origin.get(atom)

    for equation in jaxpr.eqns:
        sources = [made_of(atom) for atom in equation.invars]
        kernel = next((source for source in sources if isinstance(source, str)), None)
        name = equation.primitive.name
        if kernel is not None and is_call(equation):
            outputs, made = _call(equation, [*map(read, equation.invars)], sources, change)
        else:
            outputs = run_equation(jaxpr, equation, [*map(read, equation.invars)])
            made = [DATA if DATA in sources else kernel] * len(outputs)
            if kernel is not None and is_product(name):
                outputs, made = [change(kernel, outputs[0])], [DATA]
        values |= zip(equation.outvars, outputs, strict=True)
        origin |= zip(equation.outvars, made, strict=True)
    outvars = jaxpr.outvars
    return [read(atom) for atom in outvars], [made_of(atom) for atom in outvars]


def _call(equation, given, sources, change):
    made = []
    jaxpr, consts = opened(called(equation))

    def body(*operands):
        outputs, made[:] = _run(jaxpr, consts, list(operands), sources, change)
        return outputs

    if "prevent_cse" in equation.params:
        options = {name: equation.params[name] for name in ("policy", "prevent_cse")}
        body = jax.checkpoint(body, **options)
    return body(*given), made
