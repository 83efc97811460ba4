"""One level of a registration as one compiled program."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxmed import losses, ops
from jaxmed.core import Array
from jaxmed.registration.pairs import _transforms as transforms
from jaxmed.registration.pairs._grids import Grid
from jaxmed.registration.pairs._penalties import bending_energy, diffusion_energy, folding_energy
from jaxmed.registration.pairs._similarity import Loss
from jaxmed.registration.pairs._transforms import product
from jaxmed.registration.warps._warp import along_grid, transformed

PENALTIES = {
    "bending": bending_energy,
    "diffusion": diffusion_energy,
    "jacobian": folding_energy,
}


class Plan(NamedTuple):
    """What the program depends on, apart from arrays.

    Attributes:
        transform: what is looked for.
        similarity: loss of (moved, fixed).
        penalty: names of the penalties.
        symmetric: whether the inverse moves the fixed image too.
        squarings: by which a velocity is integrated.
        steps: of Adam.
        image: the level's grid along the fixed image's.
        nodes: the field's grid along that; None for linear maps.
    """

    transform: str
    similarity: Loss
    penalty: tuple[str, ...]
    symmetric: bool
    squarings: int
    steps: int
    image: Grid
    nodes: Grid | None


class Level(NamedTuple):
    """Arrays of a level; affines are from voxels to millimetres.

    Attributes:
        fixed: (*spatial, channels).
        moving: (*spatial, channels) of its own grid.
        fixed_labels: (*spatial, classes), if there are labels.
        moving_labels: likewise.
        fixed_where: (*spatial, 1), how far a voxel counts, if not all do.
        moving_where: likewise.
        fixed_affine: of `fixed`.
        moving_affine: of `moving`.
        node_affine: of the nodes; the identity for linear maps.
        to_moving: from millimetres of the fixed space, by the initial map, to voxels of `moving`.
        from_moving: from voxels of `moving` to millimetres of the fixed space.
        to_fixed: from millimetres to voxels of `fixed`.
        body: what linear maps turn about.
        apart: (rank,) millimetres between nodes.
        rate: millimetres of a step at first.
        weights: of the plan's penalties, in their order.
        label_weight: of the labels' Dice loss.
    """

    fixed: Array
    moving: Array
    fixed_labels: Array | None
    moving_labels: Array | None
    fixed_where: Array | None
    moving_where: Array | None
    fixed_affine: Any
    node_affine: Any
    to_moving: Any
    from_moving: Any
    to_fixed: Any
    body: transforms.Body
    apart: Any
    rate: Any
    weights: Any
    label_weight: Any


@partial(jax.jit, static_argnames="plan")
def optimise(values: Array, level: Level, plan: Plan) -> tuple[Array, Array]:
    """Take the steps of a level.

    Returns:
        The parameters, and the loss before each step.
    """
    adam = optax.scale_by_adam()
    slope = jax.value_and_grad(partial(_loss, level=level, plan=plan))

    def step(carry: Any, i: Array) -> tuple[Any, Array]:
        values, state = carry
        loss, gradient = slope(values)
        change, state = adam.update(gradient, state)
        fall = 0.5 * (1 + jnp.cos(jnp.pi * i / plan.steps))
        return (values - level.rate * fall * change, state), loss

    (values, _), found = jax.lax.scan(step, (values, adam.init(values)), jnp.arange(plan.steps))
    return values, found


def _loss(values: Array, *, level: Level, plan: Plan) -> Array:
    places, field = ahead(values, level, plan)
    total = _unlike(plan, level.moving, level.fixed, level.fixed_where, places)
    if level.fixed_labels is not None:
        apart = _overlap(level.moving_labels, level.fixed_labels, places)
        total = total + level.label_weight * apart
    if plan.symmetric:
        back = _back(values, level, plan)
        total = total + _unlike(plan, level.fixed, level.moving, level.moving_where, back)
        if level.fixed_labels is not None:
            apart = _overlap(level.fixed_labels, level.moving_labels, back)
            total = total + level.label_weight * apart
        total = total / 2
    for i, name in enumerate(plan.penalty):
        vectors, spacing = values, tuple(level.apart)
        if name == "jacobian":
            vectors, spacing = along_grid(field, level.node_affine), (1.0,) * values.shape[-1]
        total = total + level.weights[i] * PENALTIES[name](vectors[None], spacing=spacing)[0]
    return total


def _unlike(plan: Plan, image: Array, target: Array, where: Array | None, at: Array) -> Array:
    moved = ops.resample(image, at, mode="nearest")
    if where is None:
        return plan.similarity(moved[None], target[None])[0]
    return plan.similarity(moved[None], target[None], where=where[None, ..., 0] > 0.5)[0]


def _overlap(image: Any, target: Any, at: Array) -> Array:
    moved = ops.resample(image, at, mode="nearest")
    return losses.dice(moved[None], target[None], activation=None, include_background=True)[0]


def ahead(values: Array, level: Level, plan: Plan) -> tuple[Array, Array]:
    """Where each voxel of the fixed image lies in the moving one, and the nodes' displacements."""
    shape = level.fixed.shape[:-1]
    if plan.nodes is None:
        turned = transforms.matrix(plan.transform, values, level.body)
        whole = product(level.to_moving, turned, level.fixed_affine)
        return ops.affine_grid(whole, shape), values
    field = transforms.displacements(plan.transform, values, level.node_affine, plan.squarings)
    u = transforms.field_on(plan.transform, field, plan.nodes, plan.image)
    still = ops.affine_grid(product(level.to_moving, level.fixed_affine), shape)
    return still + _vectors(level.to_moving, u), field


def _back(values: Array, level: Level, plan: Plan) -> Array:
    """Where each voxel of the moving image lies in the fixed one, by the inverse."""
    shape = level.moving.shape[:-1]
    if plan.nodes is None:
        turned = transforms.matrix(plan.transform, values, level.body, back=True)
        return ops.affine_grid(product(level.to_fixed, turned, level.from_moving), shape)
    field = transforms.displacements(
        plan.transform, values, level.node_affine, plan.squarings, back=True
    )
    points = ops.affine_grid(level.from_moving, shape)
    at = transformed(jnp.linalg.inv(level.node_affine), points)
    moved = points + ops.resample(field, at, mode="nearest")
    return transformed(level.to_fixed, moved)


def _vectors(matrix: Array, vectors: Array) -> Array:
    rank = vectors.shape[-1]
    return transformed(matrix.at[:rank, rank].set(0), vectors)
