"""From coarse to fine: what each level of a registration sees, and the warp of the last one."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxmed.core import Array
from jaxmed.registration.pairs import _transforms as transforms
from jaxmed.registration.pairs._grids import Grid, along, coarser, factors
from jaxmed.registration.pairs._inputs import Pair
from jaxmed.registration.pairs._level import PENALTIES, Level
from jaxmed.registration.warps._warp import (
    Warp,
    affine_warp,
    displacement_warp,
    inverse_of,
    velocity_warp,
)

_PENALTY: dict[str, dict[str, float]] = {
    "bspline": {"bending": 1.0},
    "displacement": {"diffusion": 0.2},
    "velocity": {"diffusion": 0.2},
}
# Voxels of a level that a parameter may move in a step.
_RATES = {"rigid": 0.5, "affine": 0.5, "bspline": 0.3, "displacement": 0.3, "velocity": 0.3}


class Stage(NamedTuple):
    """A level before its images are made.

    Attributes:
        number: how often it is half as fine as the image.
        steps: of Adam.
        factors: by how much it is coarser along each axis.
        nodes: the field's grid along the fixed image's; None for linear maps.
        rate: millimetres of a step at first.
    """

    number: int
    steps: int
    factors: tuple[float, ...]
    nodes: Grid | None
    rate: np.float32


def weighed(transform: str, penalty: Mapping[str, float] | None) -> dict[str, float]:
    """The penalties of a transform, in the order of their names."""
    if transform in transforms.LINEAR:
        if penalty:
            raise ValueError(f"penalty={penalty!r}: transform={transform!r} has no field")
        return {}
    chosen = _PENALTY[transform] if penalty is None else penalty
    for name in chosen:
        if name not in PENALTIES:
            raise ValueError(f"penalty {name!r}; expected {', '.join(sorted(PENALTIES))}")
        if not isinstance(chosen[name], Tracer) and not 0 <= float(chosen[name]) < np.inf:
            raise ValueError(f"penalty {name!r} has the weight {chosen[name]}; it is 0 or more")
    return {name: chosen[name] for name in sorted(chosen)}


def positive(**options: float | None) -> None:
    """Refuse numbers that are not above 0."""
    for name, value in options.items():
        if value is not None and not isinstance(value, Tracer) and not 0 < float(value) < np.inf:
            raise ValueError(f"{name}={value!r} must be above 0, and finite")


def numbered(levels: int | Sequence[int], steps: int | Sequence[int]) -> list[tuple[int, int]]:
    """Each level's number and steps, from coarse to fine."""
    try:
        order = tuple(range(levels))[::-1] if isinstance(levels, int) else tuple(levels)
        order = tuple(map(operator.index, order))
        counts = tuple(steps) if isinstance(steps, Sequence) else (steps,) * len(order)
        counts = tuple(map(operator.index, counts))
    except TypeError:
        raise ValueError(f"levels={levels!r}, steps={steps!r}: whole numbers") from None
    if not order or len(counts) != len(order) or min(order) < 0 or min(counts) < 1:
        raise ValueError(f"levels={levels!r}, steps={steps!r}: one level or more, with steps each")
    return list(zip(order, counts, strict=True))


def stages(
    transform: str,
    shape: tuple[int, ...],
    affine: np.ndarray,
    order: Sequence[tuple[int, int]],
    *,
    rate: float | None,
    nodes: float | None,
) -> list[Stage]:
    """Lay out the levels of a grid."""
    if transform not in transforms.LINEAR and min(shape) < 2:
        raise ValueError(
            f"fixed has {' x '.join(map(str, shape))} voxels: along an axis of one voxel there is "
            "no field to be seen; give the slice alone, of two axes, or take a linear transform"
        )
    speed = _RATES[transform] if rate is None else rate
    apart = transforms.NODES.get(transform, 1.0) if nodes is None else float(nodes)
    spacing = np.linalg.norm(affine[:-1, :-1], axis=0)
    found = []
    for number, count in order:
        step = factors(shape, spacing, number)
        grid = None
        if transform not in transforms.LINEAR:
            grid = along(shape, [s * apart for s in step], cover=True)
        found.append(Stage(number, count, step, grid, np.float32(speed * (spacing * step).min())))
    return found


def level_of(
    pair: Pair,
    begin: np.ndarray,
    stage: Stage,
    penalties: Mapping[str, float],
    label_weight: float,
) -> tuple[Level, Grid]:
    """The images of a level, and the grid of the fixed one along the original."""
    step = stage.factors
    other = factors(
        pair.moving.shape[:-1], np.linalg.norm(pair.moving_affine[:-1, :-1], axis=0), stage.number
    )
    fixed, image = coarser(pair.fixed, step)
    moving, its = coarser(pair.moving, other)
    others = [
        None if mask is None else coarser(mask, by)[0]
        for mask, by in (
            (pair.fixed_labels, step),
            (pair.moving_labels, other),
            (pair.fixed_where, step),
            (pair.moving_where, other),
        )
    ]
    fixed_affine, moving_affine = image.affine(pair.fixed_affine), its.affine(pair.moving_affine)
    nodes = stage.nodes
    node_affine = np.eye(len(fixed_affine)) if nodes is None else nodes.affine(pair.fixed_affine)
    level = Level(
        fixed,
        moving,
        *others,
        fixed_affine=fixed_affine,
        node_affine=node_affine,
        to_moving=inverse_of(moving_affine) @ begin,
        from_moving=inverse_of(begin) @ moving_affine,
        to_fixed=inverse_of(fixed_affine),
        body=transforms.body(pair.fixed.shape[:-1], pair.fixed_affine),
        apart=np.linalg.norm(node_affine[:-1, :-1], axis=0),
        rate=stage.rate,
        weights=tuple(jnp.asarray(weight, jnp.float32) for weight in penalties.values()),
        label_weight=jnp.asarray(label_weight, jnp.float32),
    )
    return level, image


def warp_of(
    transform: str,
    values: Array,
    nodes: Grid | None,
    shape: tuple[int, ...],
    affine: np.ndarray,
) -> Warp:
    """The warp of what was found at the last level."""
    if nodes is None:
        return affine_warp(transforms.matrix(transform, values, transforms.body(shape, affine)))
    if transform == "bspline":
        every = Grid(shape, (1.0,) * len(shape), (0.0,) * len(shape))
        return displacement_warp(transforms.field_on(transform, values, nodes, every), affine)
    make = velocity_warp if transform == "velocity" else displacement_warp
    return make(values, nodes.affine(affine))
