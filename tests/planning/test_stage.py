"""Stages against nnU-Net's own planner.

``nnunet_plans.json`` holds what the planners of nnunetv2 2.8.1 (`ExperimentPlanner` and
`nnUNetPlannerResEncM`) make of the same spacings and shapes, their axes in their own order.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed.networks import UNetPlan
from jaxmed.planning import Budget, feature_map_size, plan_stage, plan_stages, target_spacing

CASES = json.loads(Path(__file__).with_name("nnunet_plans.json").read_text())


def repeated(rows, n):
    return rows * n if len(rows) == 1 else rows


def described(stage, axes):
    network = stage.network
    return {
        "spacing": [stage.spacing[a] for a in axes],
        "patch": [stage.patch[a] for a in axes],
        "batch": stage.batch,
        "strides": [[s[a] for a in axes] for s in network.strides],
        "kernels": [[k[a] for a in axes] for k in network.kernels],
        "features": [*network.features],
        "depths": [*network.depths],
    }


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_every_stage_is_nnunets(case):
    spacings, shapes = (repeated(case[k], case["cases"]) for k in ("spacings", "shapes"))
    budget = Budget(case["gb"], case["block"], covered=0.05 if case["block"] == "plain" else 1.0)
    full, low = plan_stages(spacings, shapes, outputs=case["labels"], budget=budget)
    axes = case["plan"]["transpose"]
    for name, stage in (("3d_fullres", full), ("3d_lowres", low)):
        wanted = case["plan"].get(name)
        if wanted is None:
            assert stage is None
            continue
        found = described(stage, axes)
        np.testing.assert_allclose(found.pop("spacing"), wanted["spacing"], rtol=1e-9)
        assert found == {key: wanted[key] for key in found}
    # And its 2D network, of the two finer axes.
    shape = np.median(
        [[round(n * s / t) for n, s, t in zip(size, gap, full.spacing)]
         for size, gap in zip(shapes, spacings)], axis=0,
    )  # fmt: skip
    plane = axes[1:]
    flat = plan_stage(
        [full.spacing[a] for a in plane], shape[plane], float(shape.prod()) * len(shapes),
        outputs=case["labels"], budget=budget,
    )  # fmt: skip
    found = described(flat, (0, 1))
    found.pop("spacing")
    assert found == {key: case["plan"]["2d"][key] for key in found}


def test_a_coarse_axis_is_no_finer_than_the_others():
    spacings = [(1.0, 1.0, 0.5), (1.0, 1.0, 8.0), (1.0, 1.0, 9.0)]
    assert target_spacing(spacings, [(200, 200, 20)] * 3) == pytest.approx((1, 1, 2.0))
    assert target_spacing(spacings, [(200, 200, 190)] * 3) == (1, 1, 8)
    assert target_spacing([(0.3, 0.4)], [(100, 90)]) == (0.3, 0.4)


def test_memory_counts_the_outputs_of_residual_blocks_and_their_stems():
    plan = UNetPlan((2, 4), (1, 2), (3, 3), (1, 3), (1,), block="residual")
    # stem and one block of two, 3 * 2 * 16; three blocks and a skip, 7 * 4 * 4; decoder; output.
    assert feature_map_size(plan, (4, 4), 3) == 96 + 112 + 2 * 32 + 48


SIZE, GAP = st.integers(16, 300), st.floats(0.3, 8)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(SIZE, SIZE, SIZE), min_size=1, max_size=4),
    st.lists(st.tuples(GAP, GAP, GAP), min_size=4, max_size=4),
    st.sampled_from([1.0, 4.0, 8.0]),
)
def test_a_plan_fits_its_memory_and_its_network(shapes, spacings, memory):
    budget = Budget(memory, features=16)
    full, low = plan_stages(spacings[: len(shapes)], shapes, outputs=3, budget=budget)
    for stage in (full, low):
        if stage is None:
            continue
        assert stage.batch >= 2
        reference, count = budget.reference(3)
        assert 2 * feature_map_size(stage.network, stage.patch, 3) / count <= reference
        for axis, size in enumerate(stage.patch):
            halved = np.prod([s[axis] for s in stage.network.strides])
            assert size % halved == 0
            assert size // halved >= 4 or halved == 1


def test_axes_are_planned_alike_in_any_order():
    budget = Budget()
    one, _ = plan_stages([(5.0, 1.0, 1.3)], [(20, 300, 260)], outputs=2, budget=budget)
    other, _ = plan_stages([(1.0, 5.0, 1.3)], [(300, 20, 260)], outputs=2, budget=budget)
    order = (1, 0, 2)
    assert other.patch == tuple(one.patch[a] for a in order)
    assert other.network.kernels == tuple(tuple(k[a] for a in order) for k in one.network.kernels)


EXTREME = {
    "a voxel": ([(1, 1, 1)], [(1, 1, 1)], 0.25, "median scan has 1 x 1 x 1 voxels"),
    "too little memory": ([(64, 64, 64)], [(1, 1, 1)], 1e-5, "more memory"),
    "a sheet in little memory": ([(512, 512, 1)], [(1, 1, 1)], 1e-3, None),
    "a stick": ([(1, 1, 5000)], [(1, 1, 1)], 0.25, None),
    "coarse": ([(64, 64, 64)], [(1e4, 1e4, 1e4)], 0.25, None),
    "fine": ([(300, 300, 300)], [(1e-4, 1e-4, 1e-4)], 0.25, None),
    "of three scales": ([(64, 64, 64)], [(1e-4, 1, 1e4)], 0.25, None),
    "tiny among large": ([(1, 1, 1), (256, 256, 90), (9, 9, 9)], [(1, 1, 1)] * 3, 0.25, None),
}


@pytest.mark.parametrize("name", EXTREME)
def test_extremes_have_a_plan_or_a_reason(name):
    shapes, spacings, memory, reason = EXTREME[name]
    budget = Budget(memory_gb=memory, features=16, covered=1.0, batch=2)
    make = lambda: plan_stages(spacings, shapes, outputs=2, budget=budget)  # noqa: E731
    if reason is not None:
        with pytest.raises(ValueError, match=reason):
            make()
        return
    full, low = make()
    for stage in (full, low) if low else (full,):
        assert min(stage.patch) >= 1
        assert max(stage.patch) >= 8
        assert (
            feature_map_size(stage.network, stage.patch, 2) * stage.batch / 2
            <= (budget.reference(3)[0])
        )
