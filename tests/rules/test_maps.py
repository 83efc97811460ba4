"""Premises about structures: what they cost, how masks are mended."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed.rules import (
    anatomy,
    broken_masks,
    deduce_mask,
    encloses,
    inside,
    left_of,
    not_touching,
    one_component,
    volume_between,
)

CLASSES = ("background", "wall", "cavity", "vessel")
PREMISES = {
    "encloses": encloses("wall", "cavity"),
    "apart": not_touching("cavity", "vessel"),
    "one piece": one_component("cavity"),
    "size": volume_between("cavity", 3, 9),
    "left of": left_of("wall", "vessel"),
}


def blurred(seed, shape=(7, 8)):
    """Probabilities that hang together, of four structures."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    z = ndimage.gaussian_filter(rng.normal(size=(*shape, 4)), (1,) * len(shape) + (0,)) * 12
    p = np.exp(z)
    return p / p.sum(-1, keepdims=True)


def certain(mask):
    return jnp.asarray(np.eye(4, dtype=np.float32)[np.asarray(mask)])[None]


def naive(premise_name, mask):
    """Voxels that break a premise, voxel by voxel."""
    inner, other = (2, 3)
    count = 0
    for place in np.argwhere(mask == inner):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                at = place.copy()
                at[axis] += step
                if (at < 0).any() or (at >= mask.shape).any():
                    continue
                value = mask[tuple(at)]
                bad = value not in (1, 2) if premise_name == "encloses" else value == other
                if bad:
                    count += 1
                    break
            else:
                continue
            break
    return count


@given(st.integers(0, 2**16), st.sampled_from(["encloses", "apart"]))
def test_contacts_are_counted_as_voxel_by_voxel(seed, name):
    mask = np.random.default_rng(seed).integers(0, 4, (5, 6))
    known = anatomy(CLASSES, PREMISES[name])
    assert list(known.broken(mask).values()) == [naive(name, mask)]


@pytest.mark.parametrize("name", [n for n in PREMISES if n != "one piece"])
def test_a_mask_that_keeps_a_premise_costs_nothing_and_one_that_breaks_it_does(name):
    premise = PREMISES[name]
    known = anatomy(CLASSES, premise)
    rng = np.random.default_rng(0)
    kept = broke = 0
    masks = [rng.integers(0, 4, (4, 5)) for _ in range(40)]
    masks += [np.repeat([[1], [1], [2], [0]], 4, 1), np.array([[1, 1, 1], [1, 2, 1], [3, 1, 3]])]
    for mask in [*masks, *(deduce_mask(known, blurred(i, (4, 5))).mask for i in range(8))]:
        cost = float(premise.cost(certain(mask), known.numbers(premise))[0])
        if sum(known.broken(mask).values()):
            broke += 1
            assert cost > 0
        else:
            kept += 1
            np.testing.assert_allclose(cost, 0, atol=1e-6)
    assert kept
    assert broke


@settings(max_examples=40)
@given(st.integers(0, 2**16), st.sampled_from(list(PREMISES)), st.sampled_from([(7, 8), (4, 5, 4)]))
def test_a_mended_mask_keeps_the_premise(seed, name, shape):
    known = anatomy(CLASSES, PREMISES[name])
    p = blurred(seed, shape)
    found = deduce_mask(known, p)
    assert sum(found.left.values()) == 0
    assert found.changed == (found.mask != p.argmax(-1)).sum()
    if not sum(found.before.values()):
        assert found.changed == 0


def test_several_premises_are_kept_together_and_little_is_changed():
    known = anatomy(CLASSES, PREMISES["encloses"], PREMISES["one piece"])
    changed = []
    for seed in range(30):
        found = deduce_mask(known, blurred(seed, (12, 12)))
        assert sum(found.left.values()) == 0, seed
        changed.append(found.changed)
    assert np.mean(changed) < 0.3 * 144
    assert "cavity is in one piece: broken in" in repr(found)


@given(seed=st.integers(0, 2**32 - 1), smooth=st.booleans())
@settings(max_examples=25, deadline=None)
def test_pieces_that_are_taken_from_one_structure_do_not_go_back_and_forth(seed, smooth):
    known = anatomy(
        CLASSES, left_of("wall", "vessel"), *(one_component(name) for name in CLASSES[1:])
    )
    noise = np.random.default_rng(seed).dirichlet(np.ones(4), size=(7, 8))
    found = deduce_mask(known, blurred(seed) if smooth else noise)
    assert sum(found.left.values()) == 0
    assert set(np.unique(found.mask)) <= {0, 1, 2, 3}


def test_the_cheapest_voxel_gives_way():
    known = anatomy(("background", "wall", "cavity"), encloses("wall", "cavity"))
    p = np.full((1, 4, 3), 0.1)
    for place, number in enumerate((1, 2, 2, 0)):
        p[0, place, number] = 0.8
    sure_outside, sure_inside = p.copy(), p.copy()
    sure_outside[0, 2] = 0.1, 0.44, 0.46
    sure_inside[0, 3] = 0.5, 0.4, 0.1
    assert deduce_mask(known, sure_outside).mask.tolist() == [[1, 2, 1, 0]]
    assert deduce_mask(known, sure_inside).mask.tolist() == [[1, 2, 2, 1]]


def test_the_largest_piece_by_probability_stays():
    p = np.tile([0.9, 0.02, 0.06, 0.02], (1, 9, 1))
    p[0, 0:3] = 0.35, 0.1, 0.45, 0.1  # three voxels, unsure
    p[0, 6:8] = 0.02, 0.02, 0.94, 0.02  # two, sure
    found = deduce_mask(anatomy(CLASSES, one_component("cavity")), p)
    assert found.mask.tolist() == [[0, 0, 0, 0, 0, 0, 2, 2, 0]]


def test_planes_of_a_stack_may_be_looked_at_alone():
    mask = np.zeros((3, 3, 2), int)
    mask[..., 0] = [[1, 1, 1], [1, 2, 1], [1, 1, 1]]
    assert anatomy(CLASSES, encloses("wall", "cavity")).broken(mask) == {"wall encloses cavity": 1}
    plane = anatomy(CLASSES, inside("cavity", "wall", axes=(0, 1)))
    assert plane.broken(mask) == {"wall encloses cavity": 0}


def test_masks_that_break_premises_are_told_by_case_and_patient():
    known = anatomy(CLASSES, PREMISES["encloses"])
    good, bad = np.array([[1, 2, 1]]), np.array([[0, 2, 1]])
    (found,) = broken_masks(known, [good, bad, good, good]).values()
    assert (found.value, found.n, found.details["voxels"]) == (0.25, 4, [0, 1, 0, 0])
    (found,) = broken_masks(known, [good, bad, good, good], groups=[0, 0, 1, 2]).values()
    assert (found.unit, found.n) == ("patient", 3)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: anatomy(CLASSES), "a premise or more"),
        (lambda: anatomy(("a", "a"), one_component("a")), "named twice"),
        (lambda: anatomy(CLASSES, one_component("liver")), "about 'liver'"),
        (lambda: anatomy(CLASSES, encloses("wall", "wall")), "one structure twice"),
        (lambda: anatomy(CLASSES, "cavity"), "made by encloses"),
        (lambda: volume_between("cavity", 5, 2), "low <= high"),
        (lambda: anatomy(CLASSES, PREMISES["size"]).broken([[0, 9]]), "0 to 3"),
        (lambda: anatomy(CLASSES, PREMISES["size"]).broken([[0.5]]), "whole numbers"),
        (
            lambda: anatomy(CLASSES, PREMISES["size"]).broken(np.ones((0, 3), int)),
            "a voxel or more",
        ),
        (lambda: deduce_mask(anatomy(CLASSES, PREMISES["size"]), np.ones((0, 4))), "a voxel or"),
        (
            lambda: anatomy(CLASSES, encloses("wall", "cavity", axes=(4,))).broken([[1]]),
            "axes must be among",
        ),
        (lambda: deduce_mask(anatomy(CLASSES, PREMISES["size"]), np.ones((2, 2))), "got the shape"),
        (lambda: deduce_mask(anatomy(CLASSES, PREMISES["size"]), np.ones((2, 4))), "add up to 1"),
        (lambda: broken_masks(anatomy(CLASSES, PREMISES["size"]), []), "no mask"),
    ],
)
def test_mistakes_are_told(call, told):
    with pytest.raises(ValueError, match=told):
        call()


@pytest.mark.parametrize(
    ("premises", "told"),
    [
        ((encloses("b", "a"), encloses("b", "a", axes=(0,))), "said twice"),
        ((inside("a", "b"), not_touching("b", "a")), "contradict"),
        ((inside("a", "b"), inside("a", "c")), "contradict"),
        ((left_of("a", "b"), left_of("b", "a")), "contradict"),
        ((volume_between("a", 5, 10), volume_between("a", 20, 30)), "contradict"),
    ],
)
def test_premises_that_cannot_both_be_meant_are_refused(premises, told):
    with pytest.raises(ValueError, match=told):
        anatomy(("background", "a", "b", "c"), *premises)


def test_premises_that_only_look_alike_stand():
    known = anatomy(
        ("background", "a", "b"), left_of("a", "b"), left_of("b", "a", axis=1),
        volume_between("a", 5, 10), volume_between("a", 10, 30), volume_between("b", 20, 30),
    )  # fmt: skip
    assert len(known.broken(np.zeros((3, 3), int))) == 5
