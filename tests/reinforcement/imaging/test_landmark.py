"""Walking to landmarks: rewards add up to the distance gained, scales follow each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.reinforcement import landmark, pack_volumes, place, restarted, vectorised

KEY = jax.random.key(0)
RNG = np.random.default_rng(1)
IMAGES = [RNG.normal(size=size).astype(np.float32) for size in ((9, 12, 7), (8, 8, 11))]
SPACING = np.array([[1.0, 1.0, 2.0], [0.8, 1.0, 1.0]])
POINTS = np.array([[4.3, 9.0, 3.6], [2.0, 5.5, 8.1]])


def made(**options):
    options = {"spacing": SPACING, "window": 3, "scales": (3, 1), **options}
    return landmark(IMAGES, POINTS, **options)


def flat(n, point, **options):
    """A square without contrast."""
    return landmark([np.zeros((n, n))], [point], spacing=(1, 1), window=3, **options)


def greedy(environment, state, *, point, mm, steps=60):
    """Take the step that brings a landmark nearest, until the end; states and steps passed."""
    one = jax.jit(environment.step)

    @jax.jit
    def best(state):
        after = jax.vmap(lambda action: environment.step(KEY, state, action))(jnp.arange(6))[0]
        return jnp.argmin((((after.position - point) * mm) ** 2).sum(-1))

    path = []
    for _ in range(steps):
        state, step = one(KEY, state, best(state))
        path.append((state, step))
        if step.ended:
            break
    return path


def test_rewards_add_up_to_the_distance_gained():
    many = vectorised(made(limit=30, end="return"), 16)

    def episode(states, i):
        actions = jax.random.randint(jax.random.fold_in(KEY, i), (16,), 0, 6)
        states, step = many.step(KEY, states, actions)
        return states, (states, step)

    begun = jax.jit(many.reset)(KEY)
    ended, (passed, steps) = jax.lax.scan(episode, begun, jnp.arange(40))

    def far(states):
        image = np.asarray(states.image, int)
        return np.linalg.norm((states.position - POINTS[image]) * SPACING[image], axis=-1)

    np.testing.assert_allclose(steps.reward.sum(0), far(begun) - far(ended), atol=1e-4)
    inside = np.array([image.shape for image in IMAGES])[np.asarray(passed.image, int)]
    assert (passed.position >= 0).all()
    assert (passed.position < inside).all()
    assert passed.scale.max() == 1
    assert steps.truncated.any()
    assert steps.terminated.any()
    assert not (steps.terminated & steps.truncated).any()


def test_arrival_goes_on_at_the_finer_scale_and_then_ends():
    environment = made()
    path = greedy(environment, place(0, [0, 0, 0]), point=POINTS[0], mm=SPACING[0])
    scales = [int(state.scale) for state, _ in path]
    assert sorted(scales) == scales
    assert scales[0] == 0
    assert scales[-1] == 1
    state, step = path[-1]
    assert bool(step.terminated)
    assert not bool(step.truncated)
    # Steps of 1, 1 and 2 mm: half of a step's diagonal is longer than the shortest.
    assert np.linalg.norm((state.position - POINTS[0]) * SPACING[0]) <= np.sqrt(6) / 2
    assert path[0][0].position.max() == 2  # 2.4 mm in voxels of 1 mm


def test_a_circle_ends_a_scale_and_its_mean_is_the_answer():
    environment = landmark(
        [np.zeros((9, 9))], [[4, 4]], spacing=(1, 1), window=3, scales=(2, 1), end="return"
    )
    step = jax.jit(environment.step)
    state = place(0, [2, 2])
    for action, expected in [(1, [4, 2]), (3, [4, 4]), (0, [2, 4])]:
        state, taken = step(KEY, state, jnp.array(action))
        assert state.position.tolist() == expected
        assert int(state.scale) == 0
    state, taken = step(KEY, state, jnp.array(2))  # closes a square of four
    assert state.position.tolist() == [3, 3]
    assert int(state.scale) == 1
    assert int(state.known) == 0
    assert float(taken.reward) == pytest.approx(2 - np.sqrt(2))
    assert not bool(taken.ended)
    state, taken = step(KEY, state, jnp.array(1))
    state, taken = step(KEY, state, jnp.array(0))
    assert bool(taken.terminated)
    assert bool(state.came_back)
    assert state.estimate.tolist() == [3.5, 3.0]


def test_the_border_refuses_a_step_and_is_no_way_out():
    environment = landmark(
        [np.zeros((6, 6))], [[0, 5]], spacing=(1, 1), window=3, scales=(4, 1), end="return"
    )
    one = jax.jit(environment.step)
    state, step = one(KEY, place(0, [2, 1]), jnp.array(0))
    assert state.position.tolist() == [0, 1]
    assert not bool(state.refused)
    state, step = one(KEY, state, jnp.array(0))
    assert bool(state.refused)
    assert float(step.reward) == 0
    assert int(state.scale) == 1
    state, step = one(KEY, state, jnp.array(0))
    assert bool(state.refused)
    assert bool(step.terminated)
    assert state.estimate.tolist() == [0, 1]


def test_one_that_returns_nowhere_points_to_the_mean_of_its_last_positions():
    state = place(0, [5, 5], history=3)
    assert state.estimate.tolist() == [5, 5]
    one = jax.jit(flat(9, [0, 0], scales=(1,), history=3, limit=2).step)
    for action, truncated in [(1, False), (3, True)]:
        state, step = one(KEY, state, jnp.array(action))
        assert bool(step.truncated) == truncated
        assert not bool(step.terminated)
    np.testing.assert_allclose(state.estimate, [17 / 3, 16 / 3], rtol=1e-6)


def test_frames_and_scales_are_channels_of_a_window():
    packed = pack_volumes(IMAGES, spacing=SPACING, window=3, scales=(3, 1), storage="float32")
    one = landmark(packed, POINTS)
    all_scales, frames = (landmark(packed, POINTS, **o) for o in ({"pyramid": True}, {"frames": 2}))
    first = place(1, [3, 3, 3])

    @jax.jit
    def looks():
        second, _ = one.step(KEY, first, jnp.array(5))
        fine = place(1, [3, 3, 3], scale=1)
        seen = [one.observe(state) for state in (first, second, fine)]
        return *seen, all_scales.observe(first), frames.observe(second)

    now, later, fine, at_once, in_turn = looks()
    assert at_once.shape == (3, 3, 3, 2)
    np.testing.assert_array_equal(at_once[..., 0], now[..., 0])
    np.testing.assert_array_equal(at_once[..., 1], fine[..., 0])
    np.testing.assert_array_equal(fine[..., 0], IMAGES[1][2:5, 2:5, 2:5])
    np.testing.assert_array_equal(in_turn[..., 0], later[..., 0])
    np.testing.assert_array_equal(in_turn[..., 1], now[..., 0])


def test_several_landmarks_are_several_targets():
    both = np.stack([POINTS, POINTS[:, ::-1].clip(0, 6)], axis=1)
    environment = landmark(IMAGES, both, spacing=SPACING, window=3)
    many = vectorised(environment, 32)
    states = jax.jit(many.reset)(KEY)
    assert set(states.target.tolist()) == {0, 1}
    seen = many.observe(states)
    assert seen["image"].shape == (32, 3, 3, 3, 1)
    np.testing.assert_array_equal(seen["landmark"], states.target)
    one = jax.jit(environment.step)
    for target in (0, 1):
        state = place(0, [1, 1, 1], target=target)
        _, step = one(KEY, state, jnp.array(1))
        # The coarsest scale is three times .8 mm, in voxels of 1 mm two.
        passed = np.array([[1, 1, 1], [3, 1, 1]])
        away = np.linalg.norm((passed - both[0, target]) * SPACING[0], axis=1)
        assert float(step.reward) == pytest.approx(away[0] - away[1], rel=1e-5)


def test_episodes_begin_where_they_are_said_to():
    many = vectorised(made(inner=0.5, starts="any"), 256)

    @jax.jit
    def begun():
        states = many.reset(KEY)
        return states, restarted(KEY, many, states, jnp.ones(256, bool))

    states, again = begun()
    image, scale = np.asarray(states.image, int), np.asarray(states.scale)
    assert set(image) == set(scale) == {0, 1}
    size = np.array([x.shape for x in IMAGES])[image]
    border = np.floor(size / 4).astype(int)
    coarse, near = scale == 0, abs(np.asarray(states.position) - POINTS[image])
    position = np.asarray(states.position, int)
    assert ((position >= border) & (position < size - border))[coarse].all()
    assert (near[~coarse] <= 1.5).all()
    assert (near[coarse] > 1.5).any()
    np.testing.assert_array_equal(again.position, states.position)
    # All states have one form, so that they are carried through loops and remembered in rings.
    alone = place(0, [1, 1, 1])
    assert jax.tree.map(lambda a, b: a.dtype == b.dtype and a.shape == b.shape[1:], alone, states)
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(alone)) < 48


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"landmarks": [[4, 9, 3], [2, 8, 8]]}, r"landmarks\[1\] = \[2.0, 8.0, 8.0\] lies outside"),
        ({"landmarks": [[[4, 9, 3]], [[2, -1, 8]]]}, r"landmarks\[1, 0\]"),
        ({"landmarks": [[4, 9, np.nan], [2, 5, 8]]}, r"landmarks\[0\]"),
        ({"landmarks": [[4, 9], [2, 5]]}, r"shape \(2, 2\)"),
        ({"landmarks": [[4, 9, 3]]}, r"shape \(1, 3\)"),
        ({"spacing": None}, "spacing=None"),
        ({"spacing": (1, 1)}, r"shape \(2,\)"),
        ({"scales": (3, 2), "spacing": (1, 1, 1), "tolerance": 1.0}, "cannot be reached"),
        ({"tolerance": np.nan}, "cannot be reached"),
        ({"scales": ()}, "coarse to fine"),
        ({"window": 6}, "window=6"),
        ({"window": 99}, "window=99"),
        ({"history": 1}, "history >= 2"),
        ({"frames": 6}, "frames"),
        ({"inner": 0}, "inner"),
        ({"limit": 0}, "limit"),
        ({"end": "never"}, "'never'"),
    ],
)  # fmt: skip
def test_what_cannot_be_looked_for_is_told(change, said):
    given = {"landmarks": POINTS, "spacing": SPACING, "window": 3} | change
    with pytest.raises(ValueError, match=said):
        landmark(IMAGES, given.pop("landmarks"), **given)


@pytest.mark.parametrize("given", [{"spacing": SPACING}, {"window": 5}, {"scales": (1,)}])
def test_what_packed_volumes_have_is_given_once(given):
    packed = pack_volumes(IMAGES, spacing=SPACING, window=3)
    with pytest.raises(ValueError, match=f"{next(iter(given))} of their own"):
        landmark(packed, POINTS, **given)


@pytest.mark.parametrize("action", [-1, 6])
def test_an_action_that_there_is_not_is_refused(action):
    with pytest.raises(ValueError, match="actions 0 to 5"):
        made().step(KEY, place(0, [1, 1, 1]), jnp.array(action))
    _, step = jax.jit(made().step)(KEY, place(0, [1, 1, 1]), jnp.array(action))
    assert np.isnan(step.reward)


def test_a_place_is_of_whole_voxels():
    with pytest.raises(ValueError, match="whole"):
        place(0, [1.5, 2.0])
    with pytest.raises(ValueError, match="history"):
        place(0, [1, 2], history=0)


def test_no_number_turns_into_another_in_16_bits():
    for position, image in (([40_000, 1], 0), ([1, 1], 40_000), ([-40_000, 1], 0)):
        with pytest.raises(ValueError, match="up to 32767"):
            place(image, position)
    long = {"window": 3, "scales": (1,), "spacing": (1, 1)}
    last = landmark(np.zeros((1, 2**15, 2)), [[3, 1]], **long)
    state = last.step(KEY, place(0, [2**15 - 2, 1]), jnp.array(1))[0]
    assert state.position.tolist() == [2**15 - 1, 1]
    with pytest.raises(ValueError, match="one reaches 32768"):
        landmark(np.zeros((1, 2**15 + 1, 2)), [[3, 1]], **long)
    n = 2**15 + 1
    with pytest.raises(ValueError, match=f"there are {n}"):
        landmark(np.zeros((n, 2, 2)), np.ones((n, 2)), **long)


def test_a_state_of_another_environment_is_told():
    with pytest.raises(ValueError, match="holds 4 positions of 3 axes"):
        made().step(KEY, place(0, [1, 1, 1], history=5), jnp.array(0))
    with pytest.raises(ValueError, match="holds 4 positions of 3 axes"):
        made().step(KEY, place(0, [1, 1]), jnp.array(0))
    one = jax.jit(made().step)
    for image, target in ((2, 0), (0, 1)):
        _, step = one(KEY, place(image, [1, 1, 1], target=target), jnp.array(0))
        assert np.isnan(step.reward)
