"""Warps on disk, as SimpleITK reads and writes them."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from jaxmed import registration as reg
from jaxmed.data import Space

FLIP = np.array([-1.0, -1.0, 1.0])


@pytest.fixture
def itk():
    return pytest.importorskip("SimpleITK", exc_type=ImportError)


def _by_itk(transform, points):
    """Points in RAS by a transform in LPS."""
    flip = FLIP[: points.shape[1]]
    there = [transform.TransformPoint((p * flip).astype(float).tolist()) for p in points]
    return np.array(there) * flip


def _line(made, rank=3, *, stretch=True):
    if rank == 2:
        return reg.affine_warp(np.array([[1.1, 0.2, 3], [-0.1, 0.9, -4], [0, 0, 1]]))
    matrix = made.turned(0.3) @ made.turned(0.2, 1)
    if stretch:
        matrix = matrix @ np.diag([1.1, 0.9, 1.05, 1])
    matrix[:3, 3] = [5, -3, 8]
    return reg.affine_warp(matrix)


@pytest.mark.parametrize("rank", [2, 3])
def test_affine_text_is_read_by_simpleitk_and_back(itk, tmp_path, rank, made):
    warp = _line(made, rank)
    points = np.random.default_rng(0).normal(scale=30, size=(20, rank)).astype(np.float32)
    path = reg.write_warp(tmp_path / "line.tfm", warp)
    want = np.asarray(reg.warp_points(warp, points))
    np.testing.assert_allclose(_by_itk(itk.ReadTransform(str(path)), points), want, atol=1e-4)
    again = reg.read_warp(path)
    assert again.kind == "affine"
    np.testing.assert_allclose(again.values, warp.values, atol=1e-12)


def test_fields_are_read_by_simpleitk_and_back(itk, tmp_path, made):
    warp = reg.displacement_warp(made.smooth(1), made.OBLIQUE)
    points = made.points(made.OBLIQUE)
    want = np.asarray(reg.warp_points(warp, points))
    for name in ("field.tfm", "field.nii.gz"):
        path = reg.write_warp(tmp_path / name, warp)
        if name.endswith(".tfm"):
            transform = itk.ReadTransform(str(path))
        else:
            image = itk.ReadImage(str(path), itk.sitkVectorFloat64)
            transform = itk.DisplacementFieldTransform(image)
        np.testing.assert_allclose(_by_itk(transform, points), want, atol=1e-3, err_msg=name)
        again = reg.read_warp(path)
        np.testing.assert_allclose(again.values, warp.values, atol=1e-6)
        np.testing.assert_allclose(again.affine, warp.affine, atol=1e-4)


def test_what_simpleitk_writes_is_read(itk, tmp_path):
    points = np.random.default_rng(1).normal(scale=30, size=(20, 3)).astype(np.float32)
    euler = itk.Euler3DTransform((4.0, -2.0, 7.0), 0.3, -0.2, 0.5, (1.0, 2.0, 3.0))
    other = itk.Euler3DTransform(euler)
    other.SetComputeZYX(True)
    versor = itk.VersorRigid3DTransform((0.2, 0.3, 0.9), 0.7, (1.0, 2.0, 3.0), (5.0, 6.0, 7.0))
    similar = itk.Similarity3DTransform()
    similar.SetScale(1.2)
    similar.SetRotation((0.1, 0.5, 0.2), 0.4)
    similar.SetCenter((3.0, -4.0, 5.0))
    affine = itk.AffineTransform([1.1, 0.1, 0, 0, 0.9, 0.2, 0.1, 0, 1], (1, 2, 3), (10, 20, 30))
    shift = itk.TranslationTransform(3, (1.0, -2.0, 3.0))
    both = itk.CompositeTransform([euler, affine])
    for i, transform in enumerate((euler, other, versor, similar, affine, shift, both)):
        path = tmp_path / f"{i}.tfm"
        itk.WriteTransform(transform, str(path))
        got = reg.warp_points(reg.read_warp(path), points)
        np.testing.assert_allclose(got, _by_itk(transform, points), atol=1e-3, err_msg=str(i))
    flat = itk.Euler2DTransform((4.0, 5.0), 0.3, (1.0, 2.0))
    itk.WriteTransform(flat, str(tmp_path / "flat.txt"))
    got = reg.warp_points(reg.read_warp(tmp_path / "flat.txt"), points[:, :2])
    np.testing.assert_allclose(got, _by_itk(flat, points[:, :2]), atol=1e-3)
    # A field that it wrote.
    field = itk.TransformToDisplacementField(
        affine, itk.sitkVectorFloat64, (6, 7, 5), (-3.0, 1.0, 2.0), (1.0, 2.0, 1.5),
        versor.GetMatrix(),
    )  # fmt: skip
    itk.WriteImage(field, str(tmp_path / "field.nii.gz"))
    warp = reg.read_warp(tmp_path / "field.nii.gz")
    at = np.asarray(warp.affine)[:3, :3] @ [2.3, 3.1, 1.7] + np.asarray(warp.affine)[:3, 3]
    at = at[None].astype(np.float32)
    np.testing.assert_allclose(reg.warp_points(warp, at), _by_itk(affine, at), atol=1e-3)


def test_determinants_are_simpleitks(itk, made):
    """Inside of a grid along the axes: ITK forgets directions, and halves the border's."""
    spacing = (1.2, 0.7, 1.5)
    warp = reg.displacement_warp(made.smooth(2), np.diag([*(FLIP * spacing), 1.0]))
    image = itk.GetImageFromArray(np.transpose(np.asarray(warp.values) * FLIP, (2, 1, 0, 3)), True)
    image.SetSpacing(spacing)
    got = np.asarray(reg.jacobian_determinant(warp))
    want = itk.GetArrayFromImage(itk.DisplacementFieldJacobianDeterminant(image)).transpose()
    inner = (slice(1, -1),) * 3
    assert np.abs(got - 1).max() > 0.1
    np.testing.assert_allclose(got[inner], want[inner], atol=1e-3)
    # The grid turned, with all that lies on it: nothing grows otherwise.
    turn = made.turned(0.7, 1) @ made.turned(-0.4)
    field = np.asarray(warp.values) @ turn[:3, :3].T
    turned = reg.displacement_warp(field, turn @ np.asarray(warp.affine))
    np.testing.assert_allclose(reg.jacobian_determinant(turned), got, atol=1e-4)


def test_images_are_moved_as_simpleitk_moves_them(itk, tmp_path, made):
    scan = made.scan()
    line = _line(made, stretch=False)
    grid = np.asarray(reg.invert(line).values) @ made.OBLIQUE
    warp = reg.compose(line, reg.displacement_warp(made.smooth(3), grid))
    nib.save(nib.Nifti1Image(scan.array[..., 0], made.OBLIQUE), tmp_path / "scan.nii")
    moving = itk.ReadImage(str(tmp_path / "scan.nii"))
    transform = itk.ReadTransform(str(reg.write_warp(tmp_path / "warp.tfm", warp)))
    space = Space(made.SHAPE, grid)
    nib.save(nib.Nifti1Image(np.zeros(made.SHAPE, np.float32), grid), tmp_path / "fixed.nii")
    reference = itk.ReadImage(str(tmp_path / "fixed.nii"))
    moved = itk.GetArrayFromImage(itk.Resample(moving, reference, transform)).transpose()
    got = reg.warp_scan(warp, scan, space).array[..., 0]
    inner = (slice(3, -3),) * 3
    np.testing.assert_allclose(got[inner], moved[inner], atol=5e-3)


def test_files_that_hold_no_warp_are_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 3), np.float32), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ValueError, match=r"a\.nii is no field of displacements"):
        reg.read_warp(tmp_path / "a.nii")
    with pytest.raises(ValueError, match=r"ends in \.nii, .*SimpleITK"):
        reg.read_warp(tmp_path / "a.h5")
    (tmp_path / "b.txt").write_text("nothing")
    with pytest.raises(ValueError, match=r"b\.txt: an ITK transform begins with"):
        reg.read_warp(tmp_path / "b.txt")
    head = "#Insight Transform File V1.0\n#Transform 0\n"
    (tmp_path / "c.tfm").write_text(f"{head}Transform: BSplineTransform_double_3_3\nParameters: 1")
    with pytest.raises(ValueError, match="'BSplineTransform' of 3 axes is not known"):
        reg.read_warp(tmp_path / "c.tfm")
    (tmp_path / "d.tfm").write_text(f"{head}Transform: AffineTransform_double_3_3\nParameters: 1 2")
    with pytest.raises(ValueError, match="has 2 parameters"):
        reg.read_warp(tmp_path / "d.tfm")
    with pytest.raises(ValueError, match="NIfTI holds fields"):
        reg.write_warp(tmp_path / "e.nii", reg.affine_warp(np.eye(4)))
    sheared = np.eye(4)
    sheared[0, 1] = 0.3
    with pytest.raises(ValueError, match="sheared"):
        reg.write_warp(tmp_path / "f.nii", reg.displacement_warp(np.zeros((3, 3, 3, 3)), sheared))
