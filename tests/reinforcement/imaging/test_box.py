"""Boxes: what each action does, what it is worth, and what is seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxmed.data import phantoms
from jaxmed.reinforcement import box, vectorised

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def state_of(environment, low, high, image=0):
    low, high = (jnp.asarray(x, jnp.float32) for x in (low, high))
    return environment.reset(KEY)._replace(image=jnp.int16(image), low=low, high=high)


def after_each(environment, state, n):
    """States and steps of all actions."""
    acted = jax.jit(lambda a: jax.vmap(lambda a: environment.step(KEY, state, a))(a))
    return acted(jnp.arange(n))


def test_actions_move_shrink_grow_shape_and_stop():
    environment = box(np.zeros((1, 40, 30)), [[[8, 8, 18, 13]]], step=0.2)
    state = state_of(environment, [10, 10], [20, 15])
    states, steps = after_each(environment, state, 9)
    expected = [
        ([8, 10], [18, 15]), ([12, 10], [22, 15]), ([10, 9], [20, 14]), ([10, 11], [20, 16]),
        ([11, 10.5], [19, 14.5]), ([9, 9.5], [21, 15.5]), ([11, 10], [19, 15]),
        ([10, 10.5], [20, 14.5]), ([10, 10], [20, 15]),
    ]  # fmt: skip
    np.testing.assert_allclose(states.low, [low for low, _ in expected], atol=1e-5)
    np.testing.assert_allclose(states.high, [high for _, high in expected], atol=1e-5)
    # Overlap 24 of 76: nearer along either axis is better, farther is worse.
    assert steps.reward[:4].tolist() == [1, -1, 1, -1]
    assert float(steps.reward[8]) == -3
    assert steps.terminated.tolist() == [False] * 8 + [True]
    found, _ = after_each(environment, state_of(environment, [8, 8], [18, 12]), 9)
    assert found.stopped.tolist() == [False] * 8 + [True]


def test_stop_is_worth_what_the_overlap_is():
    boxes = [[[0, 0, 4, 4], [5, 5, 9, 9]], []]
    environment = box(np.zeros((2, 10, 10)), boxes, threshold=0.5, stop_reward=2.0)
    stop = jnp.array(8)
    one = jax.jit(environment.step)
    for low, high, image, reward in [
        ([5, 5], [9, 9], 0, 2), ([0, 0], [4, 4], 0, 2), ([0, 0], [4, 8], 0, 2),
        ([0, 0], [4, 8.1], 0, -2), ([5, 5], [9, 9], 1, -2),
    ]:  # fmt: skip
        _, step = one(KEY, state_of(environment, low, high, image), stop)
        assert float(step.reward) == reward
        assert bool(step.terminated)


def test_rounding_is_no_reward():
    """An overlap that does not change is worth nothing, and a small change is what it is."""
    low, high = np.array([20.0, 21.0]), np.array([30.0, 33.0])
    environment = box(
        np.zeros((1, 300, 64)), [[[*low, *high]]], size=2, starts="random", limit=1000
    )
    many = vectorised(environment, 200)

    def walk(states, i):
        done = jax.random.randint(jax.random.fold_in(KEY, i), (200,), 0, 8)
        after, step = many.step(KEY, states, done)
        return after, (states, after, step.reward)

    _, (before, after, reward) = jax.lax.scan(walk, jax.jit(many.reset)(KEY), jnp.arange(60))

    def overlap(states):
        begin, end = np.asarray(states.low, float), np.asarray(states.high, float)
        shared = np.maximum(np.minimum(end, high) - np.maximum(begin, low), 0).prod(-1)
        return shared / ((end - begin).prod(-1) + (high - low).prod() - shared)

    one, two = overlap(before), overlap(after)
    least = 1e-4 * np.maximum(one, two)
    same = abs(two - one) <= least
    assert same.any()
    assert not np.asarray(reward)[same].any()
    np.testing.assert_array_equal(np.asarray(reward)[~same], np.sign(two - one)[~same])


def test_an_action_that_there_is_not_is_worth_no_number():
    environment = box(np.zeros((1, 9, 9)), [[]], size=2)
    for action in (-1, 9):
        _, step = jax.jit(environment.step)(KEY, environment.reset(KEY), action)
        assert np.isnan(step.reward)
        with pytest.raises(ValueError, match="actions 0 to 8"):
            environment.step(KEY, environment.reset(KEY), action)


@pytest.mark.parametrize(
    ("rank", "aspect", "actions"),
    [(2, True, 9), (3, False, 9), pytest.param(3, True, 12, marks=pytest.mark.slow)],
)
def test_a_box_stays_in_its_image_whatever_happens(rank, aspect, actions):
    sizes = RNG.integers(8, 14, (2, rank))
    environment = box(
        [np.zeros(size) for size in sizes], [[[2] * rank + [6] * rank]] * 2, aspect=aspect,
        starts="random", history=3, limit=1000, smallest=3.0, size=4,
    )  # fmt: skip
    many = vectorised(environment, 8)

    def walk(states, i):
        done = jax.random.randint(jax.random.fold_in(KEY, i), (8,), 0, actions - 1)
        states, step = many.step(KEY, states, done)
        return states, (states, step, done)

    begun = jax.jit(many.reset)(KEY)
    ended, (states, steps, done) = jax.lax.scan(walk, begun, jnp.arange(30))
    whole = sizes[np.asarray(states.image, int)]
    assert (states.low >= -1e-4).all()
    assert (states.high <= whole + 1e-4).all()
    assert (states.high - states.low >= 3 - 1e-4).all()
    assert not steps.ended.any()
    seen = jax.vmap(environment.observe)(ended)
    assert seen["image"].shape == (8, *[4] * rank, 1)
    assert seen["history"].shape == (8, 3, actions)
    np.testing.assert_array_equal(seen["history"].argmax(-1), done[-3:][::-1].T)
    assert not jax.vmap(environment.observe)(begun)["history"].any()


def test_what_is_seen_is_the_box_and_what_is_around_it():
    images = [RNG.normal(size=size).astype(np.float32) for size in ((9, 12), (11, 7))]
    environment = box(images, [[], []], size=5, context=0.25, outside=-2.0)
    low, high = np.array([1.0, 2.5]), np.array([5.0, 6.5])
    for i, image in enumerate(images):
        seen = jax.jit(environment.observe)(state_of(environment, low, high, i))
        line = (np.arange(5) + 0.5) / 5 * 6 - 1  # 4 voxels and one beyond on each side
        at = np.stack(np.meshgrid(low[0] + line, low[1] + line, indexing="ij")) - 0.5
        padded = np.pad(image, 1, constant_values=-2.0)
        expected = ndimage.map_coordinates(padded, at + 1, order=1, mode="nearest")
        np.testing.assert_allclose(seen[..., 0], expected, atol=1e-5)


def test_the_best_actions_find_a_phantom():
    example = phantoms.detection(1, (40, 40), objects=1, seed=3)[0]
    environment = box([example["image"]], [example["box"]], channels=True, step=0.15)
    state = environment.reset(KEY)
    acted = jax.jit(
        lambda state: jax.vmap(lambda a: environment.step(KEY, state, a))(jnp.arange(9))
    )
    for _ in range(40):
        states, steps = acted(state)
        best = 8 if float(steps.reward[8]) > 0 else int(jnp.argmax(steps.reward[:8]))
        state, step = jax.tree.map(lambda x, best=best: x[best], (states, steps))
        if step.ended:
            break
    assert bool(step.terminated)
    assert float(step.reward) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"boxes": [[[1, 1, 3, 3]]]}, "2 images and boxes of 1"),
        ({"boxes": [[[1, 1, 3]], []]}, r"boxes\[0\] has the shape"),
        ({"boxes": [[], [[1, 1, 1, 4]]]}, r"boxes\[1\]\[0\].*no extent"),
        ({"boxes": [[], [[1, 1, np.nan, 4]]]}, r"boxes\[1\]\[0\].*no extent"),
        ({"boxes": [[], [[1, 1, 4, 11]]]}, r"boxes\[1\]\[0\].*outside"),
        ({"boxes": [[[1, 1, 2, 2]], []]}, r"boxes\[0\]\[0\].*cannot be reached"),
        ({"images": [np.ones((10, 10)), np.full((10, 10), np.inf)]}, r"images|volumes"),
        ({"step": 1.0}, "step is in"),
        ({"threshold": 0}, "threshold"),
        ({"smallest": 11}, "shorter than smallest"),
        ({"size": 0}, "size"),
        ({"starts": "here"}, "'here'"),
        ({"limit": 0}, "limit"),
        ({"outside": np.nan}, "outside"),
        ({"images": np.zeros((2**15 + 1, 3, 3))}, "32768 images apart"),
    ],
)
def test_what_cannot_be_looked_for_is_told(change, said):
    given = {"images": np.zeros((2, 10, 10)), "boxes": [[[1, 1, 5, 5]], []]} | change
    with pytest.raises(ValueError, match=said):
        box(given.pop("images"), given.pop("boxes"), **given)
