"""What makes a run that run: its data, their order, the program of a step.

A checkpoint's note holds it, so that nothing goes on where another run stopped. It is the same in
each process and on each kind of device, and costs the tracing of one step.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import (
    ClosedJaxpr,  # pyright: ignore[reportPrivateImportUsage]  # jax 0.12: another name of Jaxpr
    Jaxpr,
    Literal,
)

from jaxmed.core import Batch, Batches, Key, Learner
from jaxmed.train._program import Carry, Program


def identity(
    learner: Learner, compiled: Program, batches: Batches, first: Batch, key: Key
) -> dict[str, Any]:
    """What two runs must share for one to go on where the other stopped.

    Args:
        learner: the run's.
        compiled: its programs.
        batches: the run's. Where they have an ``identity()``, it is taken in.
        first: the batch of step 0, as the step gets it.
        key: of the run.

    Returns:
        What JSON can hold, by name. Names that one run has and another has not (of batches that
        can say less of themselves) are not compared.
    """
    found: dict[str, Any] = {
        "steps_per_epoch": len(batches),
        "key": np.asarray(jax.random.key_data(key)).tolist(),
    }
    own: Any = getattr(batches, "identity", dict)()
    found |= {f"batches/{name}": value for name, value in own.items()}
    # One process's rows say nothing of the others'.
    if getattr(batches, "shard", (0, 1))[1] == 1:
        found |= {f"first batch/{name}": array_summary(value) for name, value in batches[0].items()}
    found["step"] = program_digest(learner, compiled, first, key)
    return {name: value for name, value in found.items() if value is not None}


def differences(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """How two runs differ, in words; the most telling first."""
    found = []
    for name, new in wanted.items():
        if name not in saved or alike(saved[name], new):
            continue
        old = saved[name]
        if name == "step":
            if old["made by"] != new["made by"]:
                continue  # Another version of the libraries may trace another program.
            found.append(
                "the learner's step was another program: network, objective, optimizer or one of "
                f"their settings has changed{_numbers(old['numbers'], new['numbers'])}"
            )
        elif name == "key":
            found.append(_key(old, new))
        elif name.startswith("first batch/"):
            # What comes of another order is said by the order.
            if not any("batches" in line for line in found):
                found.append(f"the batches hold other data: {name.split('/')[1]!r} has changed")
        elif name == "batches/data":
            found.append("the data of the batches have changed")
        elif name.startswith("batches/"):
            found.append(f"the {name.split('/')[1]} of the batches was {old} and is {new} now")
        else:
            found.append(f"the number of {name.replace('_', ' ')} was {old} and is {new} now")
    return found


def _key(old: Sequence[int], new: Sequence[int]) -> str:
    """A change of key: of the seed, where both are keys that `jax.random.key` makes of one."""
    if all(len(data) == 2 and data[0] == 0 for data in (old, new)):
        return f"the seed was {old[1]} and is {new[1]} now"
    return f"the random key was {old} and is {new} now"


def _numbers(old: Sequence[float], new: Sequence[float]) -> str:
    """Which numbers of a program have changed, as one writes them; Optax negates learning rates."""
    gone, come = (sorted(set(a) - set(b)) for a, b in ((old, new), (new, old)))
    if not gone and not come:
        return ""
    was, now = (
        ", ".join(dict.fromkeys(_shown(abs(x)) for x in numbers)) or "none"
        for numbers in (gone, come)
    )
    return f": a number such as the learning rate was {was} and is {now} now"


def _shown(number: float) -> str:
    """A number with the digits that single precision has of it: 0.01, not 0.009999999776."""
    return f"{number:.7g}"


def alike(old: Any, new: Any) -> bool:
    """Whether two entries of an identity are of the same run, whatever machine wrote them."""
    if isinstance(new, Mapping) and "sums" in new and isinstance(old, Mapping):
        if {**new, "sums": None} != {**old, "sums": None}:
            return False
        # Another machine may round a transform's last bit otherwise.
        scale = 1e-6 * max(abs(new["sums"][1]), abs(old["sums"][1]))
        pairs = zip(new["sums"], old["sums"], strict=True)
        return all(abs(a - b) <= scale or (a != a and b != b) for a, b in pairs)
    if isinstance(new, Mapping) and "digest" in new and isinstance(old, Mapping):
        return old.get("digest") == new["digest"]
    return old == new


def array_summary(value: Any) -> dict[str, Any] | None:
    """An array in a few numbers; ``None`` for what holds no numbers."""
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        return None
    shape = [str(array.dtype), *array.shape]
    if array.dtype.kind in "biu":
        return {"array": shape, "crc": zlib.crc32(array.tobytes())}
    flat = np.abs(array.ravel()) if array.dtype.kind == "c" else array.ravel()
    signs = np.random.default_rng(0).integers(0, 2, flat.size, dtype=np.int8) * 2 - 1
    with np.errstate(all="ignore"):
        sums = [float((flat * signs).sum(dtype=float)), float(np.abs(flat).sum(dtype=float))]
    return {"array": shape, "sums": sums}


def program_digest(learner: Learner, compiled: Program, batch: Batch, key: Key) -> dict[str, Any]:
    """A digest of the program of a learner's step, and the numbers that stand in it.

    The program is hashed from its inputs to its outputs, so that neither the order in which
    independent operations were traced nor the names of functions matter, only what is computed.

    Returns:
        ``digest``; ``numbers``, the floats that the program holds (learning rates and the like), up
        to 64 of them; and what traced it, ``made by``: another version may do so otherwise.
    """
    state = jax.eval_shape(learner.init, key, batch)
    carry: Any = Carry(state, jax.eval_shape(lambda: jnp.zeros((), bool)))
    # The step's own trace, which JAX keeps: the run need not trace it again.
    traced = compiled.step.trace(carry, jax.tree.map(_shape, dict(batch)))
    numbers: set[float] = set()
    digest = _closed(traced.jaxpr, numbers)
    shown = sorted(x for x in numbers if np.isfinite(x))[:64]
    return {"digest": digest, "numbers": shown, "made by": _versions()}


def _shape(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(array), jax.dtypes.canonicalize_dtype(array.dtype))


def _versions() -> str:
    import flax
    import optax

    return (
        f"jax {jax.__version__}, flax {flax.__version__}, optax "
        f"{optax.__version__}, {jax.default_backend()}"
    )


def _hash(*parts: Any) -> str:
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=12).hexdigest()


def _closed(closed: ClosedJaxpr, numbers: set[float]) -> str:
    return _jaxpr(closed.jaxpr, [_constant(x, numbers) for x in closed.consts], numbers)


def _jaxpr(jaxpr: Jaxpr, constants: list[str], numbers: set[float]) -> str:
    known: dict[Any, str] = dict(zip(jaxpr.constvars, constants, strict=False))
    known |= {v: _hash("constant", i) for i, v in enumerate(jaxpr.constvars[len(constants) :])}
    known |= {v: _hash("input", i, v.aval.str_short()) for i, v in enumerate(jaxpr.invars)}

    def of(atom: Any) -> str:
        return _constant(atom.val, numbers) if isinstance(atom, Literal) else known[atom]

    effects = []
    for equation in jaxpr.eqns:
        own = _hash(
            equation.primitive.name,
            *map(of, equation.invars),
            *_settings(equation, numbers),
        )
        if equation.effects:
            effects.append(own)
        for i, v in enumerate(equation.outvars):
            known[v] = _hash(own, i)
    return _hash(*map(of, jaxpr.outvars), *effects)


def _settings(equation: Any, numbers: set[float]) -> list[str]:
    # What a compiled function is called, and where it is to run, changes nothing of what it does.
    if equation.primitive.name in ("jit", "pjit", "closed_call", "remat2", "checkpoint"):
        wanted = {k: v for k, v in equation.params.items() if "jaxpr" in k}
    else:
        wanted = {k: v for k, v in equation.params.items() if k != "name"}
    return [f"{name}={_setting(value, numbers)}" for name, value in sorted(wanted.items())]


def _setting(value: Any, numbers: set[float]) -> str:
    if isinstance(value, ClosedJaxpr):
        return _closed(value, numbers)
    if isinstance(value, Jaxpr):
        return _jaxpr(value, [], numbers)
    if isinstance(value, tuple | list):
        if hasattr(value, "_fields"):
            return _hash(type(value).__name__, *(_setting(x, numbers) for x in value))
        return _hash("several", *(_setting(x, numbers) for x in value))
    if isinstance(value, Mapping):
        items = sorted((str(k), _setting(v, numbers)) for k, v in value.items())
        return _hash("mapping", *items)
    if isinstance(value, np.ndarray | jax.Array):
        return _constant(value, numbers)
    if callable(value) and not isinstance(value, type):
        return getattr(value, "__qualname__", type(value).__name__)
    return re.sub(r"0x[0-9a-f]+", "", str(value))


def _constant(value: Any, numbers: set[float]) -> str:
    if hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    array = np.asarray(value)
    if array.ndim == 0 and jnp.issubdtype(array.dtype, np.floating):
        numbers.add(float(array))
    return _hash(array.dtype, array.shape, zlib.crc32(array.tobytes()))
