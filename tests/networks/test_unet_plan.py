"""Plans against nnU-Net's published ones, and their properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed.networks import UNetPlan, plan_unet


def test_hippocampus():
    # Task04, 3d_fullres: patch 40 x 56 x 40, 1 mm.
    plan = plan_unet((40, 56, 40), (1.0, 1.0, 1.0))
    assert plan == UNetPlan(
        features=(32, 64, 128, 256),
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
        kernels=((3, 3, 3),) * 4,
        depths=(2, 2, 2, 2),
        decoder_depths=(2, 2, 2),
        patch_size=(40, 56, 40),
    )


def test_prostate_is_pooled_in_plane_first():
    # Task05, 3d_fullres: patch 20 x 320 x 256, 3.6 x 0.62 x 0.62 mm.
    plan = plan_unet((20, 320, 256), (3.6, 0.62, 0.62))
    flat, full = (1, 2, 2), (2, 2, 2)
    assert plan.strides == ((1, 1, 1), flat, flat, full, full, flat, flat)
    assert plan.kernels == ((1, 3, 3), (1, 3, 3), *((3, 3, 3),) * 5)
    assert plan.features == (32, 64, 128, 256, 320, 320, 320)


def test_two_dimensions():
    # 512 x 512: seven poolings leave 4 x 4 voxels, with at most 512 channels.
    plan = plan_unet((512, 512))
    assert plan.features == (32, 64, 128, 256, 512, 512, 512, 512)
    assert plan.strides == ((1, 1), *((2, 2),) * 7)


def test_residual_depths():
    plan = plan_unet((128, 128, 128), block="residual")
    assert plan.depths == (1, 3, 4, 6, 6, 6)
    assert plan.decoder_depths == (1,) * 5


def test_a_lone_axis_is_halved_from_twelve_voxels():
    assert len(plan_unet((8, 12)).features) == 2  # (8, 12) -> (4, 6), and 6 < 8
    assert plan_unet((8, 24)).strides == ((1, 1), (2, 2), (1, 2))  # (4, 12) -> (4, 6)
    assert plan_unet((8, 16)).strides == ((1, 1), (2, 2))  # (4, 8): 8 < 12


@given(
    st.lists(st.integers(8, 400), min_size=2, max_size=3),
    st.lists(st.floats(0.2, 10.0), min_size=3, max_size=3),
)
@settings(max_examples=100, deadline=None)
def test_properties(size, spacing):
    spacing = spacing[: len(size)]
    try:
        plan = plan_unet(size, spacing)
    except ValueError:
        # Only the axes near the finest spacing may be halved first, and none of them could be.
        large = [s for n, s in zip(size, spacing, strict=True) if n >= 8]
        near = [n for n, s in zip(size, spacing, strict=True) if n >= 8 and s < 2 * min(large)]
        assert len(near) == 1
        assert near[0] < 12
        return
    whole = [math.prod(axis) for axis in zip(*plan.strides, strict=True)]
    for n, patch, stride in zip(size, plan.patch_size, whole, strict=True):
        assert patch % stride == 0
        assert n <= patch < n + stride
        assert patch // stride >= 4 or stride == 1
    assert plan.kernels[-1] == (3,) * len(size)
    for finer, coarser in zip(plan.kernels, plan.kernels[1:], strict=False):
        assert all(a <= b for a, b in zip(finer, coarser, strict=True))
    assert plan_unet(size, [2.0 * s for s in spacing]).strides == plan.strides


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((4, 4),), "cannot be halved"),
        (((64, 64), (1.0,)), "same one to three axes"),
        (((64,) * 4,), "same one to three axes"),
        (((64, 64), (1.0, 0.0)), "must be positive"),
        (((64, 64), (1.0, math.nan)), "must be positive"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan_unet(*arguments)


def test_bad_plans():
    with pytest.raises(ValueError, match="strides must have one entry for each of the 2 stages"):
        UNetPlan(features=(8, 16))
    with pytest.raises(ValueError, match="at least two stages"):
        UNetPlan((8,), (1,), (3,), (2,), ())
    with pytest.raises(ValueError, match="block must be"):
        UNetPlan(block="dense")
