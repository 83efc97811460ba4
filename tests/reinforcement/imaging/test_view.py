"""Standard planes: what is seen at the true plane is the head as it was made."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from jaxmed.data import phantoms
from jaxmed.reinforcement import place, plane_error, plane_image, planes_of, vectorised, view
from jaxmed.reinforcement.imaging._view import rotation

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SOURCE = phantoms.head(3, (24, 24, 24), noise=0.0, bias=0.0, seed=2)
HEADS = [SOURCE[i]["image"][..., 0] for i in range(3)]
PLANES = np.stack([SOURCE[i]["plane"] for i in range(3)])


def made(**options):
    return view(HEADS, PLANES, **{"spacing": (1, 1, 1), "size": 16, "pixel": 1.0, **options})


def test_turns_follow_the_right_hand_rule():
    angles = RNG.uniform(-90, 90, (4, 3))
    expected = Rotation.from_euler("XYZ", angles, degrees=True).as_matrix()
    np.testing.assert_allclose(rotation(jnp.asarray(angles)), expected, atol=1e-6)


def test_a_plane_is_what_scipy_interpolates():
    volumes = [RNG.normal(size=size).astype(np.float32) for size in ((9, 7, 8), (6, 8, 9))]
    spacing, size, pixel = np.array([[1.0, 1.5, 1.0], [1.0, 1.0, 2.0]]), 5, 0.8
    planes = np.array([[10, -20, 30, 1.4], [-5, 15, 40, -1.2]])
    environment = view(
        volumes, np.zeros((2, 4)), spacing=spacing, size=size, pixel=pixel, slices=3,
        degrees=0.5, mm=0.2, outside=-3.0,
    )  # fmt: skip
    states = place([0, 1], np.rint(planes / [0.5, 0.5, 0.5, 0.2]).astype(int))
    seen = jax.jit(jax.vmap(environment.observe))(states)
    line = (np.arange(size) - 2) * pixel
    flat = np.stack(np.meshgrid(line, line, np.arange(-1, 2) * pixel, indexing="ij"), -1)
    for i, (volume, plane) in enumerate(zip(volumes, planes)):
        turn = Rotation.from_euler("XYZ", plane[:3], degrees=True).as_matrix()
        at = (flat + np.array([0, 0, plane[3]])) @ turn.T / spacing[i] + (
            np.array(volume.shape) - 1
        ) / 2
        expected = ndimage.map_coordinates(
            np.pad(volume, 1, constant_values=-3.0), np.moveaxis(at + 1, -1, 0), order=1,
            mode="nearest",
        )  # fmt: skip
        np.testing.assert_allclose(seen[i], expected, atol=2e-5)


def test_planes_by_hand():
    """A volume of its own third coordinate in mm, turned about the first and the second axis."""
    z = np.broadcast_to(2.0 * (np.arange(9) - 4), (9, 9, 9))
    line = np.arange(5) - 2.0
    u, v = line[:, None], line[None, :]
    c, s = np.sqrt(3) / 2, 0.5
    for plane, expected in (
        # 30 degrees about axis 0: columns along (0, c, s), the normal (0, -s, c).
        ([30, 0, 0, 2], 0 * u + s * v + c * 2),
        # About axis 1: rows along (c, 0, -s), the normal (s, 0, c).
        ([0, 30, 0, -1], -s * u + 0 * v - c),
        # About the normal: nothing of it is seen.
        ([0, 0, 30, 1], 0 * u + 0 * v + 1),
        # About axis 1, then 0: the rows' third coordinate is turned by both.
        ([30, 30, 0, 0], -s * c * u + s * v),
    ):
        seen = plane_image(z, plane, spacing=(1, 1, 2), size=5, pixel=1.0)
        np.testing.assert_allclose(seen, expected, atol=1e-5)


def test_one_plane_is_what_an_agent_sees():
    seen = made(scales=(4, 1)).observe(place(1, [8, -4, 2, 3]))
    options = {"spacing": (1, 1, 1), "size": 16}
    alone = plane_image(HEADS[1], [8, -4, 2, 3], pixel=1.0, **options)
    np.testing.assert_allclose(seen[..., 0], alone, atol=1e-6)
    several = plane_image(np.stack([HEADS[1]] * 2, -1), [8, -4, 2, 3], channels=True, **options)
    assert several.shape == (16, 16, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"volume": np.ones((4, 4))}, "three axes"),
        ({"plane": [0, 0, 0]}, r"\(4,\)"),
        ({"plane": [0, 0, np.nan, 0]}, r"\(4,\)"),
        ({"spacing": None}, "spacing=None"),
        ({"size": 0}, "size is at least 1"),
        ({"pixel": 0.0}, "pixel above 0"),
    ],
)
def test_what_cannot_be_shown_is_told(change, said):
    given = {"volume": HEADS[0], "plane": [0, 0, 0, 0], "spacing": (1, 1, 1)} | change
    with pytest.raises(ValueError, match=said):
        plane_image(given.pop("volume"), given.pop("plane"), **given)


def test_the_true_plane_of_a_turned_head_shows_what_it_shows_unturned():
    turned, upright = (
        phantoms.head(3, (32, 32, 32), noise=0.0, bias=0.0, turn=turn, shift=0.0, seed=1)
        for turn in (40.0, 0.0)
    )
    planes = np.stack([turned[i]["plane"] for i in range(3)])
    assert abs(planes[:, :3]).max() > 10
    assert not np.stack([upright[i]["plane"] for i in range(3)]).any()
    heads = [source[i]["image"][..., 0] for source in (turned, upright) for i in range(3)]
    environment = view(
        heads, np.zeros((6, 4)), spacing=(1, 1, 1), size=28, pixel=1.0, degrees=0.1, mm=0.1
    )
    at = np.concatenate([np.rint(planes * 10), np.zeros((6, 4))]).astype(int)
    which = [0, 1, 2, 3, 4, 5, 0, 1, 2]
    seen = np.asarray(jax.jit(jax.vmap(environment.observe))(place(which, at)))
    alike, less = (
        np.array([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(some, seen[3:6])])
        for some in (seen[:3], seen[6:])
    )
    # Not quite 1: voxels of a turned head lie elsewhere on its edges.
    assert alike.min() > 0.88
    assert (alike - less).max() > 0.1


def test_the_distance_is_how_far_the_head_has_moved_along_the_normal():
    source = phantoms.head(4, (24, 24, 24), turn=0.0, shift=5.0, noise=0.0, bias=0.0)
    still = phantoms.head(4, (24, 24, 24), turn=0.0, shift=0.0, noise=0.0, bias=0.0)
    for i in range(4):
        moved, image, own = source[i]["plane"][3], source[i]["image"], still[i]["image"]
        middles = [ndimage.center_of_mass(x[..., 0] > 0.05)[2] for x in (image, own)]
        assert middles[0] - middles[1] == pytest.approx(moved, abs=0.2)


def test_rewards_add_up_and_steps_are_of_the_scale():
    many = vectorised(made(limit=30, end="return", scales=(4, 1)), 8)

    def episode(states, i):
        actions = jax.random.randint(jax.random.fold_in(KEY, i), (8,), 0, 8)
        after, step = many.step(KEY, states, actions)
        return after, (states, after, step)

    begun = jax.jit(many.reset)(KEY)
    ended, (before, after, steps) = jax.lax.scan(episode, begun, jnp.arange(12))

    def far(states):
        return np.linalg.norm(states.position - PLANES[np.asarray(states.image, int)], axis=-1)

    np.testing.assert_allclose(steps.reward.sum(0), far(begun) - far(ended), atol=1e-3)
    moved = abs(np.asarray(after.position, int) - before.position).sum(-1)
    same, scale = np.asarray(before.scale == after.scale), np.asarray(before.scale)
    assert set(moved[same & (scale == 0) & ~np.asarray(after.refused)].tolist()) <= {1, 2, 3, 4}
    assert set(moved[same & (scale == 1)].tolist()) <= {0, 1}


def test_arrival_is_reachable_from_anywhere():
    environment = made(scales=(4, 1))
    one = jax.jit(lambda state: jax.vmap(lambda a: environment.step(KEY, state, a))(jnp.arange(8)))
    state = place(1, [12, -12, 12, 4])
    for _ in range(60):
        after, steps = one(state)
        best = int(jnp.argmax(steps.reward))
        state, step = jax.tree.map(lambda x, best=best: x[best], (after, steps))
        if step.ended:
            break
    assert bool(step.terminated)
    error = plane_error(planes_of(state.position), PLANES[1])
    assert float(error.degrees) < 2
    assert float(error.mm) < 1.5


def test_errors_of_planes_are_degrees_and_mm():
    error = plane_error([[0, 0, 50, 2], [0, 25, 0, 0]], [[0, 0, 0, 5], [0, 0, 0, 4]])
    np.testing.assert_allclose(error.degrees, [0, 25], atol=1e-5)
    np.testing.assert_allclose(error.mm, [3, 4 * np.cos(np.radians(25))], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"planes": PLANES[:2]}, r"shape \(2, 4\)"),
        ({"planes": PLANES + np.array([60, 0, 0, 0])}, r"planes\[0\].*out of reach"),
        ({"planes": PLANES * np.nan}, "out of reach"),
        ({"volumes": np.ones((3, 5, 5))}, "three axes"),
        ({"volumes": [*HEADS[:2], HEADS[2] * np.nan]}, r"volumes\[2\]"),
        ({"spacing": None}, "spacing=None"),
        ({"scales": ()}, "coarse to fine"),
        ({"scales": (4, 2), "tolerance": 1.0}, "cannot be reached"),
        ({"slices": 2}, "slices is odd"),
        ({"widest": 90}, "below 90"),
        ({"mm": 100}, "whole range"),
        ({"degrees": 1e-3}, "one reaches 45000"),
        ({"outside": np.inf}, "outside"),
        ({"end": "never"}, "'never'"),
    ],
)
def test_what_cannot_be_looked_for_is_told(change, said):
    given = {"volumes": HEADS, "planes": PLANES, "spacing": (1, 1, 1)} | change
    with pytest.raises(ValueError, match=said):
        view(given.pop("volumes"), given.pop("planes"), **given)
