"""Stars, flows and watershed: closed forms on discs, touching objects, empty images, bad input."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed import detection, stats
from jaxmed.detection import star_distances, star_rays

RAYS = star_rays(32)
ONES = np.ones((2, 2, 32))


def ball(shape, centre, radius):
    return radius**2 >= ((np.indices(shape).T - np.array(centre)) ** 2).sum(-1).T


def discs(shape, *given):
    labels = np.zeros(shape, int)
    for name, (centre, radius) in enumerate(given, 1):
        labels[ball(shape, centre, radius) & (labels == 0)] = name
    return labels


# Three of which two touch, and one is cut by the border.
TOUCHING = discs((40, 48), ((12, 12), 8), ((13, 29), 8), ((36, 40), 6))


def overlap(labels, found):
    return stats.instance_scores([labels], [found], iou=0.8, n_resamples=0)


@pytest.mark.parametrize(("rank", "count"), [(2, 32), (3, 96)])
def test_rays_are_even_and_know_thick_slices(rank, count):
    rays = star_rays(count, rank=rank)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1)
    np.testing.assert_allclose(rays.mean(0), 0, atol=0.02)
    near = np.sort(np.linalg.norm(rays[:, None] - rays, axis=-1), axis=1)[:, 1]
    assert near.max() / near.min() < 2.2
    spacing = (3.0, 1.0, 0.5)[:rank]
    thick = star_rays(count, rank=rank, spacing=spacing)
    np.testing.assert_allclose(np.linalg.norm(thick * spacing, axis=1), 1)


def test_the_star_of_a_disc_is_its_radius():
    reach = np.asarray(star_distances(discs((41, 41), ((20, 20), 14)), RAYS))
    np.testing.assert_allclose(reach[20, 20], 14.5, atol=1.1)
    # From beside the middle, by the law of cosines.
    along = RAYS @ [0, 1]
    expected = np.sqrt(14.5**2 - 36 * (1 - along**2)) - 6 * along
    np.testing.assert_allclose(reach[20, 26], expected, atol=1.2)
    assert reach[0, 0].max() == 0
    np.testing.assert_array_equal(reach[20, 20, [0, 8, 16, 24]], 14.5)


def test_the_star_of_a_thick_ball_is_in_millimetres():
    spacing = np.array([2.0, 1.0, 1.0])
    shape = (13, 25, 25)
    far = ((np.indices(shape).T - [6, 12, 12]) * spacing) ** 2
    labels = (far.sum(-1).T <= 81).astype(int)
    rays = star_rays(96, rank=3, spacing=spacing)
    reach = np.asarray(star_distances(labels, rays))[6, 12, 12]
    np.testing.assert_allclose(reach, 9.5, atol=2)
    painted = np.zeros(shape, int)
    painted[detection.paint_star((6, 12, 12), reach, rays, shape)] = 1
    assert overlap(labels, painted).panoptic_quality.value > 0.85


@pytest.mark.parametrize("rank", [2, 3])
def test_a_painted_star_is_its_object(rank):
    shape, centre = (31, 33, 29)[:rank], (15, 16, 14)[:rank]
    labels = ball(shape, centre, 10).astype(int)
    rays = star_rays(32 if rank == 2 else 96, rank=rank)
    reach = np.asarray(star_distances(labels, rays))[centre]
    painted = np.zeros(shape, int)
    painted[detection.paint_star(centre, reach, rays, shape)] = 1
    table = (painted & labels).sum() / (painted | labels).sum()
    assert table > (0.95 if rank == 2 else 0.9)


@given(st.integers(0, 1000), st.sampled_from([3, 5, 16, 32]), st.sampled_from([None, (2.0, 0.7)]))
@settings(deadline=None, max_examples=25)
def test_a_star_of_two_axes_covers_what_its_triangles_do(seed, count, spacing):
    rng = np.random.default_rng(seed)
    rays = star_rays(count, spacing=spacing)
    centre, reach = rng.integers(0, 12, 2), rng.uniform(0.2, 9, count)
    ends = reach[:, None] * rays
    pairs = np.stack([ends, np.roll(ends, -1, 0)], 1)
    points = np.indices((12, 14)).reshape(2, -1).T - centre
    weights = points @ np.linalg.inv(pairs)
    inside = ((weights >= -1e-9).all(-1) & (weights.sum(-1) <= 1 + 1e-9)).any(0)
    painted = np.zeros((12, 14), bool)
    painted[detection.paint_star(centre, reach, rays, painted.shape)] = True
    np.testing.assert_array_equal(painted.ravel(), inside)


def test_stars_of_a_square_are_cut_at_the_border():
    covered = detection.paint_star((0, 0), np.full(32, 3.0), RAYS, (10, 10))
    assert min(map(min, covered)) == 0
    assert len(covered[0]) < np.pi * 9
    assert not len(detection.paint_star((-20, -20), np.full(32, 3.0), RAYS, (10, 10))[0])


def found_by_stars(labels, **options):
    reach = np.asarray(star_distances(labels, RAYS))
    deep = reach.min(-1)
    most = np.array([deep[labels == i].max() if i else 1 for i in range(labels.max() + 1)])
    return detection.find_stars(deep / most[labels], reach, RAYS, **options)


def found_by_flows(labels):
    return detection.follow_flows(detection.label_flows(labels), labels > 0)


def found_by_watershed(labels):
    deep = np.asarray(star_distances(labels, RAYS)).min(-1)
    return detection.part_touching(labels > 0, deep, seed=4)


METHODS = {
    "stars": lambda labels: found_by_stars(labels).labels,
    "flows": found_by_flows,
    "watershed": found_by_watershed,
}


@pytest.mark.parametrize("name", METHODS)
def test_objects_that_touch_are_told_apart(name):
    found = METHODS[name](TOUCHING)
    assert found.dtype == np.int32
    assert set(np.unique(found)) == {0, 1, 2, 3}
    assert overlap(TOUCHING, found).f1.value == 1


@pytest.mark.parametrize("name", METHODS)
def test_an_empty_image_has_no_object(name):
    empty = np.zeros((12, 14), int)
    found = METHODS[name](empty)
    assert found.shape == empty.shape
    assert not found.any()


def test_the_surest_stars_are_kept_and_may_be_few():
    found = found_by_stars(TOUCHING)
    assert found.centres.shape == (3, 2)
    assert (np.diff(found.scores) <= 0).all()
    assert len(found_by_stars(TOUCHING, most=2).scores) <= 2
    assert not found_by_stars(TOUCHING, threshold=1.1).labels.any()
    # Two stars on one object: only what may overlap wholly is kept twice.
    p, d = np.zeros((20, 20)), np.full((20, 20, 32), 5.0)
    p[10, 9], p[10, 12] = 0.9, 0.8
    assert len(detection.find_stars(p, d, RAYS).scores) == 1
    assert len(detection.find_stars(p, d, RAYS, overlap=1.0).scores) == 2


@pytest.mark.parametrize("shape", [(31, 35), (13, 15, 17)])
def test_flows_of_a_ball_end_in_its_middle(shape):
    centre = tuple(n // 2 for n in shape)
    labels = ball(shape, centre, min(shape) // 2 - 1).astype(int)
    flows = np.asarray(detection.label_flows(labels, steps=100))
    to_middle = np.array(centre) - np.moveaxis(np.indices(shape), 0, -1)
    far = np.linalg.norm(to_middle, axis=-1)
    asked = (labels > 0) & (far > 0)
    agreement = (flows * to_middle).sum(-1)[asked] / far[asked]
    assert agreement.min() > 0.85
    assert np.abs(flows[labels == 0]).max() == 0
    np.testing.assert_allclose(np.linalg.norm(flows[asked], axis=-1), 1, atol=1e-5)


def test_flows_lead_around_a_corner():
    labels = np.zeros((24, 24), int)
    labels[3:21, 3:9] = labels[15:21, 3:21] = 1
    found = found_by_flows(labels)
    assert set(np.unique(found[labels > 0])) == {1}


def test_batches_are_loops():
    labels = jnp.stack([jnp.asarray(TOUCHING), jnp.asarray(TOUCHING[::-1].copy())])
    for one in (
        lambda x: star_distances(x, RAYS[::8]),
        lambda x: detection.label_flows(x, steps=9),
    ):
        np.testing.assert_allclose(jax.vmap(one)(labels), [one(x) for x in labels], atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**16))
def test_names_of_objects_mean_nothing(seed):
    names = np.append(0, np.random.default_rng(seed).permutation(900)[:3] + 1)
    np.testing.assert_array_equal(
        star_distances(names[TOUCHING], RAYS[::16]), star_distances(TOUCHING, RAYS[::16])
    )


def test_a_mask_without_a_seed_is_an_object():
    inside = np.zeros((6, 12), bool)
    inside[1:5, 1:4] = inside[1:5, 6:11] = True
    depth = np.where(np.arange(12) > 5, 3.0, 1.0) * inside
    found = detection.part_touching(inside, depth, seed=2.0)
    assert set(np.unique(found)) == {0, 1, 2}
    assert (found > 0).tolist() == inside.tolist()
    assert detection.part_touching(inside, depth, seed=2.0, smallest=13).max() == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: star_rays(2), "with more rays than axes"),
        (lambda: star_rays(9, rank=4), "stars of 2 and 3 axes"),
        (lambda: star_rays(9, spacing=(1, 0)), "2 positive numbers"),
        (lambda: star_distances(np.ones((2, 2, 2), int), RAYS), "of as many axes"),
        (lambda: star_distances(np.ones((2, 2)), RAYS), "labels are whole numbers"),
        (lambda: detection.label_flows(np.ones((2, 2))), "labels are whole numbers"),
        (lambda: detection.find_stars(np.ones((2, 2)), np.ones((2, 2, 3)), RAYS), "distances"),
        (
            lambda: detection.find_stars(np.full((2, 2), np.nan), np.ones((2, 2, 32)), RAYS),
            "finite",
        ),
        (lambda: detection.follow_flows(np.ones((2, 2, 3)), np.ones((2, 2))), "flows are"),
        (lambda: detection.follow_flows(np.full((2, 2, 2), np.inf), np.ones((2, 2))), "finite"),
        (lambda: detection.part_touching(np.ones(3), np.ones(4), seed=1), "one shape"),
        (lambda: detection.part_touching(np.ones(3), np.full(3, np.nan), seed=1), "finite"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
