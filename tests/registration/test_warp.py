"""Warps: their algebra, on oblique grids, against SimpleITK."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import pytest

from jaxmed import registration as reg
from jaxmed.data import Space


@partial(jax.jit, static_argnames="there")
def _there_and_back(warp, points, there):
    other = reg.invert(warp)
    first, second = (warp, other) if there else (other, warp)
    return reg.warp_points(second, reg.warp_points(first, points))


@pytest.mark.parametrize("kind", ["displacement", "velocity"])
def test_a_warp_and_its_inverse_are_the_identity_on_an_oblique_grid(kind, made):
    make = reg.velocity_warp if kind == "velocity" else reg.displacement_warp
    warp = make(made.smooth(1), made.OBLIQUE)
    points = made.points(made.OBLIQUE)
    assert np.abs(reg.warp_points(warp, points) - points).max() > 0.8
    for there in (True, False):
        got = _there_and_back(warp, points, there)
        # Of the order of what linear interpolation of the field itself is wrong by.
        np.testing.assert_allclose(got, points, atol=0.04)
    if kind == "displacement":  # at its own nodes exactly
        nodes = np.indices(made.SHAPE).reshape(3, -1).T[::7] @ made.OBLIQUE[:3, :3].T
        nodes = (nodes + made.OBLIQUE[:3, 3]).astype(np.float32)
        np.testing.assert_allclose(_there_and_back(warp, nodes, False), nodes, atol=1e-3)


def test_composition_is_what_points_do(made):
    points = made.points(made.OBLIQUE)
    field = reg.displacement_warp(made.smooth(2), made.OBLIQUE)
    flow = reg.velocity_warp(made.smooth(3), made.OBLIQUE)
    line = reg.affine_warp(made.turned(0.1, 1) @ np.diag([1.05, 0.97, 1.0, 1.0]))
    for outer, inner in ((line, line), (line, field), (field, line), (flow, field), (line, flow)):
        both = reg.compose(outer, inner)
        at = points if inner.kind != "affine" else reg.warp_points(reg.invert(inner), points)
        want = reg.warp_points(outer, reg.warp_points(inner, at))
        exact = "affine" in (outer.kind, inner.kind)
        np.testing.assert_allclose(reg.warp_points(both, at), want, atol=2e-4 if exact else 0.05)
    assert reg.compose(line, line).kind == "affine"


def test_flowing_twice_for_half_the_time_is_flowing_once(made):
    points = made.points(made.OBLIQUE)
    half = reg.velocity_warp(0.5 * made.smooth(4), made.OBLIQUE)
    once = reg.warp_points(reg.velocity_warp(made.smooth(4), made.OBLIQUE), points)
    np.testing.assert_allclose(
        reg.warp_points(half, reg.warp_points(half, points)), once, atol=0.03
    )


def test_determinants_strain_and_folds_have_their_closed_forms(made):
    rng = np.random.default_rng(0)
    matrix = np.eye(4)
    matrix[:3, :3] += 0.2 * rng.normal(size=(3, 3))
    matrix[:3, 3] = [3, -2, 1]
    line = reg.affine_warp(matrix)
    space = Space(made.SHAPE, made.OBLIQUE)
    # The same map as a field on an oblique grid.
    field = reg.compose(line, reg.displacement_warp(np.zeros((*made.SHAPE, 3)), made.OBLIQUE))
    linear = matrix[:3, :3]
    green = (linear.T @ linear - np.eye(3)) / 2
    for warp in (line, field):
        np.testing.assert_allclose(
            reg.jacobian(warp, space), np.broadcast_to(linear, (*made.SHAPE, 3, 3)), atol=1e-3
        )
        np.testing.assert_allclose(
            reg.jacobian_determinant(warp, space), np.linalg.det(linear), atol=2e-3
        )
        np.testing.assert_allclose(reg.strain(warp, space)[1, 2, 3], green, atol=2e-3)
        np.testing.assert_allclose(reg.sd_log_jacobian(warp, space), 0, atol=1e-3)
    along = reg.strain(field, directions=np.array([0.0, 0.6, 0.8]))
    np.testing.assert_allclose(along, green[1:, 1:].ravel() @ [0.36, 0.48, 0.48, 0.64], atol=2e-3)
    assert float(reg.folds(field)) == 0
    mirror = reg.affine_warp(np.diag([-1.0, 1, 1, 1]))
    assert float(reg.folds(mirror, space)) == 1


def test_the_protocol_of_a_deviation_has_to_be_named(made):
    warp = reg.displacement_warp(made.smooth(5), made.OBLIQUE)
    growth = np.asarray(reg.jacobian_determinant(warp))
    inner = growth[2:-2, 2:-2, 2:-2]
    np.testing.assert_allclose(
        reg.sd_log_jacobian(warp, protocol="learn2reg"), np.log(inner + 3).std(), rtol=1e-4
    )
    np.testing.assert_allclose(reg.sd_log_jacobian(warp), np.log(growth).std(), rtol=1e-4)
    with pytest.raises(ValueError, match="protocol='l2r'"):
        reg.sd_log_jacobian(warp, protocol="l2r")


def test_the_identity_keeps_scans_and_another_grid_is_that_of_to_space(made):
    from jaxmed import data

    still = reg.displacement_warp(np.zeros((*made.SHAPE, 3)), made.OBLIQUE)
    scan, mask = made.scan(), made.mask()
    np.testing.assert_allclose(reg.warp_scan(still, scan, scan).array, scan.array, atol=1e-3)
    for method in ("linear", "nearest"):
        np.testing.assert_array_equal(
            reg.warp_scan(still, mask, mask, method=method).array, mask.array
        )
    other = Space((8, 9, 7), made.OBLIQUE @ made.turned(0.2, 1) @ np.diag([1.2, 1.1, 0.9, 1]))
    moved = reg.warp_scan(reg.affine_warp(np.eye(4)), scan, other)
    want = data.to_space(scan.array, made.OBLIQUE, other)
    np.testing.assert_allclose(moved.array, want, atol=2e-3)
    moved = reg.warp_scan(reg.affine_warp(np.eye(4)), mask, other)
    assert moved.array.dtype == np.int16
    agree = moved.array == data.to_space(mask.array, made.OBLIQUE, other)
    assert agree.mean() > 0.995
    assert moved.array.max() == 2


def test_warps_batch_under_vmap_as_in_a_loop(made):
    fields = np.stack([made.smooth(i, (6, 7), rank=2) for i in range(3)])
    affine = np.array([[0.8, 0.6, 3], [-0.6, 0.8, 1], [0, 0, 1.0]])
    points = made.points(affine, (6, 7), margin=1)

    def told(field):
        warp = reg.velocity_warp(field, affine)
        there = reg.warp_points(warp, points)
        return there, reg.folds(warp), reg.invert(reg.exponentiate(warp)).values

    one = jax.jit(told)
    for got, want in zip(jax.jit(jax.vmap(told))(fields), zip(*map(one, fields))):
        np.testing.assert_allclose(got, np.stack(want), atol=1e-5)
    warps = jax.vmap(lambda f: reg.exponentiate(reg.velocity_warp(f, affine)))(fields)
    assert warps.values.shape == fields.shape
    slope = jax.jit(jax.grad(lambda f: (told(f)[0] ** 2).sum()))(fields[0])
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0


def test_what_cannot_be_a_warp_is_refused_with_its_reason(made):
    flat = np.diag([1.0, 1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="matrix has no inverse"):
        reg.affine_warp(flat)
    with pytest.raises(ValueError, match="affine has no inverse"):
        reg.displacement_warp(np.zeros((4, 4, 4, 3)), flat)
    with pytest.raises(ValueError, match=r"last row \[0.0, 0.0, 0.0, 1.0\]"):
        reg.affine_warp(np.ones((4, 4)))
    with pytest.raises(ValueError, match=r"\(3, 3\) for two axes or \(4, 4\)"):
        reg.affine_warp(np.eye(3)[:2])
    with pytest.raises(ValueError, match=r"field has shape \(4, 4, 3\).*\(\*grid, 2\)"):
        reg.velocity_warp(np.zeros((4, 4, 3)), np.eye(3))
    line = reg.affine_warp(np.eye(3))
    with pytest.raises(ValueError, match=r"points have shape \(5, 3\)"):
        reg.warp_points(line, np.zeros((5, 3)))
    with pytest.raises(ValueError, match="3 axes after one of 2"):
        reg.compose(reg.affine_warp(np.eye(4)), line)
    with pytest.raises(ValueError, match="a warp of 2 axes cannot move"):
        reg.warp_scan(line, made.scan(), made.scan())
    with pytest.raises(ValueError, match="not 'cubic'"):
        reg.warp_scan(reg.affine_warp(np.eye(4)), made.mask(), made.mask(), method="cubic")
    with pytest.raises(ValueError, match="axis of one voxel"):
        reg.jacobian(reg.displacement_warp(np.zeros((4, 1, 2)), np.eye(3)))
