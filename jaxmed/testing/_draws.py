"""Detection of the keys a function draws from, by evaluating its traced program for keys only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxmed.core._program import run_equation

_DRAWS = ("random_bits", "random_gamma")
_DERIVES = ("random_fold_in", "random_split")


class Lazy:
    """A value computed on first access."""

    def __init__(self, compute: Callable[[], Any]):
        self._compute: Callable[[], Any] | None = compute
        self._value: Any = None

    def value(self) -> Any:
        """The value."""
        if self._compute is not None:
            compute, self._compute = self._compute, None
            self._value = compute()
        return self._value


class Keys:
    """The keys that one run of a function draws from, and those it derives others from.

    Attributes:
        drawn: key data to the number of draws from it.
        derived: the keys that were split, or that numbers were folded into.
        shapes: key data to the shapes of its draws.
    """

    def __init__(self) -> None:
        self.drawn: Counter[bytes] = Counter()
        self.derived: set[bytes] = set()
        self.shapes: dict[bytes, list[tuple[int, ...]]] = {}

    def draw(self, keys: jax.Array, shape: tuple[int, ...]) -> None:
        """Record that numbers of some shape are drawn from each of some keys."""
        for key in _numbers(keys):
            self.drawn[key] += 1
            self.shapes.setdefault(key, []).append(shape)

    def derive(self, keys: jax.Array) -> None:
        """Record that further keys are derived from some keys."""
        self.derived.update(_numbers(keys))


def _numbers(keys: jax.Array) -> list[bytes]:
    data = np.asarray(jax.random.key_data(keys) if _is_key(keys) else keys)
    return [row.tobytes() for row in data.reshape(-1, data.shape[-1])]


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def keys_of(function: Callable[..., Any], *arguments: Any) -> Keys:
    """Find the keys that a function draws from.

    The program is traced, and its equations are evaluated one by one as far as the keys need
    them: keys are compared by their data, however they were derived, including under ``jit``,
    ``vmap``, ``scan`` or a condition. Computations on the drawn numbers are skipped, unless a key
    depends on them.

    Args:
        function: function of JAX arrays and keys.
        *arguments: its arguments.

    Returns:
        The keys.
    """
    closed = jax.make_jaxpr(function)(*arguments)
    keys, pending = Keys(), []
    leaves = [Lazy(lambda leaf=leaf: leaf) for leaf in jax.tree.leaves(arguments)]
    _run(closed.jaxpr, closed.consts, leaves, keys, pending)
    while pending:
        pending.pop(0)()
    return keys


def _run(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Lazy], keys: Keys, pending: list):
    """Bind every variable of a program to a lazy value; queue the draws; return its outputs."""
    values: dict[Any, Lazy] = {}

    def read(atom: Any) -> Lazy:
        if isinstance(atom, core.Literal):
            return Lazy(lambda: atom.val)
        return values[atom]

    values.update(zip(jaxpr.constvars, [Lazy(lambda c=c: c) for c in consts], strict=True))
    values.update(zip(jaxpr.invars, inputs, strict=True))
    for equation in jaxpr.eqns:
        given = [read(atom) for atom in equation.invars]
        outputs = _equation(jaxpr, equation, given, keys, pending)
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _equation(
    jaxpr: Any, equation: Any, given: list[Lazy], keys: Keys, pending: list
) -> Sequence[Lazy]:
    name, params = equation.primitive.name, equation.params
    if name in _DRAWS:
        shape = equation.outvars[0].aval.shape
        pending.append(lambda: keys.draw(given[0].value(), shape))
    elif name in _DERIVES:
        return _bind(jaxpr, equation, given, note=keys.derive)
    elif any(_draws(body) for body in _bodies(params)):
        if name == "cond":
            return _late(equation, lambda: _branch(params, given, keys, pending), pending)
        if name == "scan":
            return _late(equation, lambda: _scan(equation, given, keys, pending), pending)
        if name == "while":
            return _late(equation, lambda: _while(params, given, keys, pending), pending)
        body = _bodies(params)[0]
        inner, consts = (body.jaxpr, body.consts) if hasattr(body, "consts") else (body, [])
        return _run(inner, consts, given, keys, pending)
    return _bind(jaxpr, equation, given)


def _bind(jaxpr: Any, equation: Any, given: list[Lazy], note: Callable | None = None) -> list[Lazy]:
    """Bind one equation, evaluated when one of its outputs is accessed."""

    def compute() -> list[Any]:
        values = [lazy.value() for lazy in given]
        if note is not None:
            note(values[0])
        return run_equation(jaxpr, equation, values)

    whole = Lazy(compute)
    return [Lazy(lambda i=i: whole.value()[i]) for i in range(len(equation.outvars))]


def _late(equation: Any, run: Callable[[], Sequence[Lazy]], pending: list) -> list[Lazy]:
    """Bind a loop or a condition, whose draws are known only when it runs."""
    whole = Lazy(run)
    pending.append(whole.value)
    return [Lazy(lambda i=i: whole.value()[i].value()) for i in range(len(equation.outvars))]


def _branch(params: dict, given: list[Lazy], keys: Keys, pending: list) -> Sequence[Lazy]:
    branches = params["branches"]
    taken = branches[int(np.clip(int(given[0].value()), 0, len(branches) - 1))]
    return _run(taken.jaxpr, taken.consts, given[1:], keys, pending)


def _scan(equation: Any, given: list[Lazy], keys: Keys, pending: list) -> Sequence[Lazy]:
    params = equation.params
    inner = params["jaxpr"].jaxpr
    # What is carried keeps its rank, what is stacked has one axis more: versions of JAX name the
    # counts differently.
    carried = sum(
        out.aval.ndim == body.aval.ndim
        for out, body in zip(equation.outvars, inner.outvars, strict=True)
    )
    scanned = sum(
        atom.aval.ndim > body.aval.ndim
        for atom, body in zip(equation.invars, inner.invars, strict=True)
    )
    consts = len(given) - carried - scanned
    fixed, carry, columns = (
        given[:consts],
        given[consts : consts + carried],
        given[consts + carried :],
    )
    steps = range(params["length"])
    rows: list[Sequence[Lazy]] = []
    for i in reversed(steps) if params["reverse"] else steps:
        here = [Lazy(lambda x=x, i=i: x.value()[i]) for x in columns]
        body = params["jaxpr"]
        outputs = _run(body.jaxpr, body.consts, [*fixed, *carry, *here], keys, pending)
        carry, row = outputs[:carried], outputs[carried:]
        rows.append(row)
    rows = rows[::-1] if params["reverse"] else rows
    stacked = [
        Lazy(lambda j=j: jnp.stack([row[j].value() for row in rows]))
        for j in range(len(rows[0]) if rows else 0)
    ]
    return [*carry, *stacked]


def _while(params: dict, given: list[Lazy], keys: Keys, pending: list) -> Sequence[Lazy]:
    n, m = params["cond_nconsts"], params["body_nconsts"]
    test, body = params["cond_jaxpr"], params["body_jaxpr"]
    asked, fixed, carry = given[:n], given[n : n + m], given[n + m :]
    go_on = core.jaxpr_as_fun(test)
    while bool(go_on(*[x.value() for x in (*asked, *carry)])[0]):
        carry = _run(body.jaxpr, body.consts, [*fixed, *carry], keys, pending)
    return carry


def _bodies(params: dict) -> list[Any]:
    """Return the programs inside an equation: those of a call, a loop or a condition."""
    found = []
    for value in params.values():
        several = value if isinstance(value, tuple | list) else [value]
        found += [v for v in several if hasattr(v, "eqns") or hasattr(v, "jaxpr")]
    return found


def _draws(body: Any) -> bool:
    """Whether a program draws or derives keys anywhere inside."""
    jaxpr = getattr(body, "jaxpr", body)
    return any(
        equation.primitive.name in (*_DRAWS, *_DERIVES)
        or any(_draws(inner) for inner in _bodies(equation.params))
        for equation in jaxpr.eqns
    )
