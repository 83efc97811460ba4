"""From what a network predicts to a warp in millimetres."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed import ops
from jaxmed.core import Network, PyTree
from jaxmed.data import Scan
from jaxmed.registration.learning._fields import even
from jaxmed.registration.warps._warp import (
    Warp,
    across_grid,
    affine_warp,
    compose,
    displacement_warp,
    inverse_of,
    known_matrix,
    nodes,
    transformed,
    velocity_warp,
    warp_points,
)


def endpoint_warp(endpoints: Any, affine: Any, *, index: int = 0) -> Warp:
    """Make a warp in millimetres of what a registration network predicted for a pair.

    Args:
        endpoints: of a network such as :func:`voxelmorph`.
        affine: of the grid on which both images lie, ``(rank + 1, rank + 1)``, from its indices to
            millimetres.
        index: which example of the batch.

    Returns:
        An affine warp of a ``matrix``, a velocity warp of a ``velocity`` (which
        :func:`exponentiate` integrates by 6 squarings, whatever the network did), else a
        displacement warp, at the network's own nodes.

    Raises:
        ValueError: if the affine does not fit.
        KeyError: if there is no such endpoint.

    Examples:
        >>> endpoints = {"displacement": jnp.ones((1, 4, 4, 2)), "moved": jnp.ones((1, 8, 8, 1))}
        >>> found = endpoint_warp(endpoints, np.diag([2.0, 2, 1]))
        >>> found.values[0, 0].tolist(), found.affine.diagonal().tolist()
        ([2.0, 2.0], [4.0, 4.0, 1.0])
    """
    affine = known_matrix(affine, "affine")
    shape = endpoints["moved"].shape[1:-1]
    if len(affine) != len(shape) + 1:
        raise ValueError(f"an affine of {len(affine) - 1} axes for images of {len(shape)}")
    if "matrix" in endpoints:
        matrix = np.asarray(endpoints["matrix"][index], np.float64)
        return affine_warp(affine @ matrix @ inverse_of(affine))
    kind = "velocity" if "velocity" in endpoints else "displacement"
    values = jnp.asarray(endpoints[kind][index])
    make = velocity_warp if kind == "velocity" else displacement_warp
    where = even(shape, values.shape[:-1]).affine(affine)
    return make(across_grid(values, affine), where)


def predict_warp(
    network: Network,
    params: PyTree,
    state: PyTree,
    fixed: Scan,
    moving: Scan,
    *,
    initial: Warp | None = None,
) -> Warp:
    """Register two scans by a trained network.

    The moving scan is brought onto the fixed one's grid, as their affines or an initial warp say,
    beyond its border as it ends; the network sees both there.

    Args:
        network: such as :func:`voxelmorph`.
        params: its parameters.
        state: its state.
        fixed: ``(*spatial, channels)``, with the voxel size and brightness of the scans that the
            network was trained on.
        moving: likewise; on any grid.
        initial: a warp to begin with, such as an affine one of :func:`register`.

    Returns:
        From points of the fixed scan's space to the moving one's; with an initial warp a
        displacement, or affine, that has it in it. Given to ``register(..., initial=...)`` it is
        refined for the pair by optimisation.

    Raises:
        ValueError: if scans or warp do not fit.

    Examples:
        >>> from jaxmed.data import Space
        >>> from jaxmed.registration import voxelmorph
        >>> scan = Scan(np.ones((24, 24, 1), np.float32), np.eye(3), Space((24, 24), np.eye(3)))
        >>> network = voxelmorph()
        >>> variables = network.init(
        ...     jax.random.key(0), {"fixed": scan.array[None], "moving": scan.array[None]}
        ... )
        >>> predict_warp(network, *variables, scan, scan).kind
        'velocity'
    """
    rank = len(fixed.affine) - 1
    images = [np.asarray(scan.array, np.float32) for scan in (fixed, moving)]
    if images[0].ndim != rank + 1 or images[1].ndim != rank + 1 or len(moving.affine) != rank + 1:
        raise ValueError(
            f"scans are (*spatial, channels) with as many axes as their affines, got shapes "
            f"{images[0].shape} and {images[1].shape} with affines of {rank} and "
            f"{len(moving.affine) - 1} axes"
        )
    affine = known_matrix(fixed.affine, "the affine of fixed")
    start = affine_warp(np.eye(rank + 1)) if initial is None else initial
    points = warp_points(start, nodes(affine, images[0].shape[:-1]))
    places = transformed(inverse_of(known_matrix(moving.affine, "the affine of moving")), points)
    there = ops.resample(jnp.asarray(images[1]), places, mode="nearest")
    pair = {"fixed": jnp.asarray(images[0])[None], "moving": there[None]}
    found = _applied(network)(params, state, pair)
    warp = endpoint_warp(found, affine)
    return warp if initial is None else compose(initial, warp)


@lru_cache(maxsize=8)
def _applied(network: Network) -> Any:
    """One program for a network, however many pairs it is given."""
    return jax.jit(lambda params, state, pair: network.apply(params, state, pair)[0])
