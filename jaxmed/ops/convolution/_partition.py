"""Partitioning of a native convolution among devices, by images and by members.

XLA knows nothing about a foreign call and would gather its operands on every device.
These rules state that images are independent, that members are too, and that the gradient of
a kernel shared by all images is a sum over the devices that hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxmed.ops.convolution._geometry import OPERANDS


def partitioned(
    kind: str,
    call: Callable[..., jax.Array],
    *,
    rank: int,
    stacked: tuple[bool, bool],
    members: bool,
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Wrap `call(left, right, members=count_or_None)`, which computes one device's part."""
    leads = dict(zip(OPERANDS[kind], stacked, strict=True)) | {kind: members}
    roles = (*OPERANDS[kind], kind)

    def axis_names(shardings: dict[str, NamedSharding], shapes: dict[str, tuple[int, ...]]) -> Any:
        """Return the mesh axes over which members and images are sharded, or None."""
        found: dict[str, Any] = {"m": None, "n": None}
        # The operand with the images takes precedence over the result, the result over the kernel.
        for role in sorted(roles, key=lambda role: role == "kernel"):
            spec = tuple(shardings[role].spec) + (None,) * len(shapes[role])
            if leads[role] and found["m"] is None:
                found["m"] = spec[0]
            if role != "kernel" and found["n"] is None:
                found["n"] = spec[int(leads[role])]
        mesh = shardings[kind].mesh
        for factor, position in (("m", 0), ("n", None)):
            names = found[factor]
            if names is None:
                continue
            names = names if isinstance(names, tuple) else (names,)
            count = 1
            for name in names:
                count *= mesh.shape[name]
            for role in roles:
                at = int(leads[role]) if position is None else 0
                if position is None and role == "kernel":
                    continue
                if position == 0 and not leads[role]:
                    continue
                if shapes[role][at] % count:
                    found[factor] = None
        if found["m"] is not None and found["m"] == found["n"]:
            found["n"] = None
        return found["m"], found["n"]

    def partition(mesh: Any, arguments: Any, result: Any) -> Any:
        values = (*arguments, result)
        shardings = {role: v.sharding for role, v in zip(roles, values, strict=True)}
        shapes = {role: tuple(v.shape) for role, v in zip(roles, values, strict=True)}
        if mesh.empty or not all(isinstance(s, NamedSharding) for s in shardings.values()):
            m = n = None
        else:
            m, n = axis_names(shardings, shapes)

        def sharding(role: str) -> NamedSharding:
            spec = (m,) if leads[role] else ()
            return NamedSharding(mesh, P(*spec) if role == "kernel" else P(*spec, n))

        def run(left: jax.Array, right: jax.Array) -> jax.Array:
            count = None
            if members:
                count = (left if stacked[0] else right).shape[0]
            out = call(left, right, members=count)
            return jax.lax.psum(out, n) if kind == "kernel" and n is not None else out

        return mesh, run, sharding(kind), tuple(sharding(role) for role in roles[:2])

    def names(role: str) -> str:
        inner = {
            "input": ["n", *(f"x{i}" for i in range(rank)), "xc"],
            "output": ["n", *(f"y{i}" for i in range(rank)), "yc"],
            "kernel": [*(f"k{i}" for i in range(rank)), "ki", "ko"],
        }[role]
        return " ".join((["m"] if leads[role] else []) + inner)

    rule = f"{names(roles[0])}, {names(roles[1])} -> {names(roles[2])}"
    # In the order in which the rule names them, without repeats.
    fixed = [n for n in dict.fromkeys(rule.replace(",", " ").split()) if n not in ("m", "n", "->")]
    wrapped = custom_partitioning(
        lambda left, right: call(left, right, members=_count(left, right, stacked, members))
    )
    wrapped.def_partition(
        partition=partition,
        sharding_rule=rule,
        reduction_factors=("n",) if kind == "kernel" else (),
        need_replication_factors=tuple(fixed),
    )
    return wrapped


def needs_devices(primitives: Iterable[Any]) -> None:
    """Make jax pass the devices when it lowers these, as it does for custom_partitioning.

    There is no public API for this. If the private one is gone, the devices are not passed and
    the call is not partitioned: correct, but every device computes the whole.
    """
    try:
        from jax._src.dispatch import prim_requires_devices_during_lowering
    except ImportError:
        return
    prim_requires_devices_during_lowering.update(primitives)


def _count(
    left: jax.Array, right: jax.Array, stacked: tuple[bool, bool], members: bool
) -> int | None:
    return (left if stacked[0] else right).shape[0] if members else None
