"""Traced programs as flat lists of equations, to be run again with some of them changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
from jax.extend.core import (
    ClosedJaxpr,  # pyright: ignore[reportPrivateImportUsage]  # jax 0.12: another name of Jaxpr
    Jaxpr,
    Literal,
    Var,
    jaxpr_as_fun,
)

from jaxmed.core._types import PyTree

# Calls that only say under which conditions the equations inside are run; `jax.checkpoint`'s has
# had several names.
CALLS = ("jit", "pjit", "closed_call", "checkpoint", "remat", "remat2")
# Calls whose equations have a derivative of their own.
CUSTOM = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")
LOOPS = ("scan", "while", "cond")
# Primitives that compute several operations in one pass, with a function of the same operands and
# parameters that computes them one by one; `jaxmed.ops` enters its own.
FUSED: dict[str, Callable[..., Any]] = {}


class Step(NamedTuple):
    """One equation of a program.

    Attributes:
        equation: the equation, as JAX traced it.
        home: the program in which it stood, which knows its surroundings.
        inputs: of each operand the number of its value, or the value itself, of a literal.
        outputs: the numbers of its results.
        within: the names of the calls that it stood in, the outermost first.
    """

    equation: Any
    home: Jaxpr
    inputs: tuple[int | Literal, ...]
    outputs: tuple[int, ...]
    within: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the primitive."""
        return self.equation.primitive.name


class Program(NamedTuple):
    """What a function computes, as one list of equations.

    Attributes:
        steps: the equations in their order.
        inputs: the numbers of the values that go in, one a leaf.
        outputs: of each leaf that comes out the number of its value, or the value itself.
        constants: values that the function closed over, by their numbers.
        structure: of what comes out.
    """

    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int | Literal, ...]
    constants: dict[int, Any]
    structure: Any

    def run(
        self, operands: Sequence[Any], change: Callable[[Step, list], list | None] | None = None
    ) -> tuple[PyTree, dict[int, Any]]:
        """Run the equations.

        Args:
            operands: one value a leaf of what goes in.
            change: ``(step, values) -> results``, or None where the equation is run as it is.

        Returns:
            What comes out, and all values by their numbers.
        """
        values = self.constants | dict(zip(self.inputs, operands, strict=True))

        def read(atom):
            return atom.val if isinstance(atom, Literal) else values[atom]

        for step in self.steps:
            given = [read(atom) for atom in step.inputs]
            results = None if change is None else change(step, given)
            if results is None:
                results = run_equation(step.home, step.equation, given)
            values |= zip(step.outputs, results, strict=True)
        leaves = [read(atom) for atom in self.outputs]
        return jax.tree.unflatten(self.structure, leaves), values


def trace(
    function: Callable, operands: tuple, *, inside: Callable[[Any], bool] | None = None
) -> Program:
    """Trace a function of pytrees into a flat program.

    Args:
        function: a pure function.
        operands: what it is called with, arrays or their shapes.
        inside: whether the equations of a call with a derivative of its own are listed; if not,
            the call is one step, and keeps that derivative.

    Returns:
        The program.
    """
    closed, shape = jax.make_jaxpr(function, return_shape=True)(*operands)
    numbers, steps, constants = iter(range(1 << 60)), [], {}

    def list_steps(jaxpr: Jaxpr, consts: Sequence, given: Sequence, within: tuple) -> list:
        known: dict[Var, int | Literal] = dict(zip(jaxpr.invars, given, strict=True))
        for var, value in zip(jaxpr.constvars, consts, strict=True):
            known[var] = number = next(numbers)
            constants[number] = value

        def read(atom):
            return atom if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            inputs = tuple(map(read, equation.invars))
            name = equation.primitive.name
            if is_call(equation) or (name in CUSTOM and inside is not None and inside(equation)):
                inner = called(equation)
                label = str(equation.params.get("name", name))
                results = list_steps(*opened(inner), inputs, (*within, label))
                known |= zip(equation.outvars, results, strict=True)
                continue
            outputs = tuple(next(numbers) for _ in equation.outvars)
            known |= zip(equation.outvars, outputs, strict=True)
            steps.append(Step(equation, jaxpr, inputs, outputs, within))
        return [read(atom) for atom in jaxpr.outvars]

    inputs = tuple(next(numbers) for _ in closed.jaxpr.invars)
    outputs = list_steps(closed.jaxpr, closed.consts, inputs, ())
    structure = jax.tree.structure(shape)
    return Program(tuple(steps), inputs, tuple(outputs), constants, structure)


def is_call(equation: Any) -> bool:
    """Whether an equation stands for a program of others, whose derivatives are its own."""
    return equation.primitive.name in CALLS or equation.primitive.name in FUSED


def called(equation: Any) -> Any:
    """The program that a call runs, or that a fused primitive computes."""
    params = equation.params
    if parts := FUSED.get(equation.primitive.name):
        given = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.invars]
        return jax.make_jaxpr(partial(parts, **params))(*given)
    return next(params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in params)


def opened(inner: Any) -> tuple[Jaxpr, Sequence]:
    """A program and its constants; JAX 0.11 makes no difference between open and closed ones."""
    return getattr(inner, "jaxpr", inner), getattr(inner, "consts", [])


def run_equation(home: Jaxpr, equation: Any, operands: Sequence) -> list:
    """What one equation gives, by JAX's own means: how operations are bound changes with it."""
    values = {
        atom: value
        for atom, value in zip(equation.invars, operands, strict=True)
        if isinstance(atom, Var)
    }
    part = home.replace(
        constvars=[],
        invars=list(values),
        outvars=equation.outvars,
        eqns=[equation],
        effects=equation.effects,
        debug_info=home.debug_info.with_unknown_names(),
    )
    return jaxpr_as_fun(ClosedJaxpr(part, []))(*values.values())


def is_product(name: str) -> bool:
    """Whether a primitive is a matrix product or a convolution."""
    return name in ("dot_general", "conv_general_dilated") or name.startswith("jaxmed_conv")
