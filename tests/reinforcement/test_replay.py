"""Replay: a ring of states, drawn uniformly or by priority, with their steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.reinforcement import replay

KEY = jax.random.key(0)


def row(t: int, envs: int = 2, *, terminated=False, truncated=False) -> dict:
    """What happened at time t in each environment: states count 10 t + environment."""
    state = {"place": jnp.arange(envs, dtype=jnp.int16) + 10 * t}
    return {
        "state": state,
        "action": jnp.full(envs, t, jnp.uint8),
        "reward": jnp.arange(envs) + 10.0 * t,
        "terminated": jnp.broadcast_to(jnp.array(terminated), (envs,)),
        "truncated": jnp.broadcast_to(jnp.array(truncated), (envs,)),
        "next_state": {"place": state["place"] + 10},
    }


def filled(memory, rows):
    held = memory.init(rows[0])
    for one in rows:
        held = memory.write(held, one)
    return held


def test_the_newest_are_kept_and_each_is_drawn_alike():
    memory = replay(6)
    held = filled(memory, [row(t) for t in range(5)])
    drawn, place = jax.jit(lambda held: memory.sample(KEY, held, 6000))(held)
    counts = np.bincount(np.asarray(drawn["state"]["place"]), minlength=60)
    kept = [20, 21, 30, 31, 40, 41]
    assert np.flatnonzero(counts).tolist() == kept
    np.testing.assert_allclose(counts[kept] / 6000, 1 / 6, atol=0.02)
    np.testing.assert_array_equal(drawn["next_state"]["place"], drawn["state"]["place"] + 10)
    np.testing.assert_array_equal(drawn["reward"], drawn["state"]["place"])
    assert drawn["state"]["place"].dtype == jnp.int16
    assert drawn["action"].dtype == jnp.uint8
    assert place.max() < 6
    assert (drawn["weight"] == 1).all()


def test_several_steps_are_those_of_one_episode():
    """Environment 0 ends at time 4, environment 1 is broken off at time 3."""
    memory = replay(12, steps=3)
    ends = {4: {"terminated": [True, False]}, 3: {"truncated": [False, True]}}
    held = filled(memory, [row(t, **ends.get(t, {})) for t in range(8)])
    drawn = jax.device_get(jax.jit(lambda held: memory.sample(KEY, held, 400)[0])(held))
    seen = set()
    for i, start in enumerate(drawn["state"]["place"].tolist()):
        t, env = divmod(start, 10)
        last = {0: 4, 1: 3}[env]
        # Times 0 and 1 have been overwritten; from 6 on three steps are not yet there.
        assert 2 <= t <= 5
        steps = min(3, last - t + 1) if t <= last else 3
        assert drawn["steps"][i] == steps
        rewards = [10 * (t + k) + env for k in range(steps)]
        assert drawn["reward"][i, :steps].tolist() == rewards
        assert drawn["next_state"]["place"][i] == 10 * (t + steps) + env
        assert drawn["terminated"][i] == (env == 0 and t + steps - 1 == 4)
        assert drawn["truncated"][i] == (env == 1 and t + steps - 1 == 3)
        seen.add(start)
    assert seen == {20, 21, 30, 31, 40, 41, 50, 51}


def test_what_surprised_is_drawn_in_proportion():
    memory = replay(6, prioritised=0.5, importance=lambda step: 0.25 * step)
    held = filled(memory, [row(t) for t in range(5)])
    errors = jnp.array([4.0, 0.0, 1.0, 9.0, 16.0, 0.25])

    @jax.jit
    def run(held):
        held = memory.update(held, jnp.arange(6), errors)
        return held, *memory.sample(KEY, held, 8000, step=2)

    held, drawn, place = run(held)
    share = np.sqrt(np.asarray(errors) + 1e-6)
    share /= share.sum()
    counts = np.bincount(np.asarray(place), minlength=6) / 8000
    np.testing.assert_allclose(counts, share, atol=0.003)
    weight = (6 * share[np.asarray(place)]) ** -0.5
    np.testing.assert_allclose(drawn["importance"], weight / weight.max(), rtol=1e-4)
    # What is new has the largest priority so far, to be drawn at least once.
    held = memory.write(held, row(5))
    held = memory.write(held, row(6))
    assert held.largest == pytest.approx(4.0)
    np.testing.assert_allclose(held.priority, [[4.0, 4.0], [1.0, 3.0], [4.0, 4.0]], rtol=1e-5)


def test_what_is_no_number_spoils_no_later_draw():
    """Infinite, missing and huge errors: the others are still drawn in proportion."""
    memory = replay(6, prioritised=1.0)
    held = filled(memory, [row(t) for t in range(3)])
    errors = jnp.array([jnp.inf, jnp.nan, -1.0, 2.0, 1.0, 4.0])

    @jax.jit
    def run(held, errors):
        held = memory.update(held, jnp.arange(6), errors)
        return held, *memory.sample(KEY, held, 6000)

    held, drawn, place = run(held, errors)
    # What is no error is as what is new; before there was any larger one, 1.
    np.testing.assert_allclose(held.priority.ravel(), [1, 1, 1, 2, 1, 4], rtol=1e-5)
    counts = np.bincount(np.asarray(place), minlength=6) / 6000
    np.testing.assert_allclose(counts, np.array([1, 1, 1, 2, 1, 4]) / 10, atol=0.01)
    huge = jnp.full(6, 3e38).at[1].set(0.0)
    held, drawn, place = run(held, huge)
    counts = np.bincount(np.asarray(place), minlength=6) / 6000
    np.testing.assert_allclose(counts, np.array([1, 0, 1, 1, 1, 1]) / 5, atol=0.01)
    assert np.isfinite(drawn["importance"]).all()
    for wrong in (jnp.nan, jnp.inf, -1.0):
        with pytest.raises(ValueError, match="finite and not negative"):
            memory.update(held, jnp.arange(2), jnp.array([1.0, wrong]))


def test_priorities_of_many_and_with_steps():
    """Blocks that do not fill up, a ring that has turned, and its newest rows left out."""
    memory = replay(33, steps=2, prioritised=1.0)
    held = filled(memory, [row(t, 3) for t in range(14)])
    errors = jnp.arange(33) + 0.0
    run = jax.jit(
        lambda held: memory.sample(KEY, memory.update(held, jnp.arange(33), errors), 20000)[1]
    )
    counts = np.bincount(np.asarray(run(held)), minlength=33) / 20000
    share = np.arange(33) + 1e-6
    share[6:9] = 0  # Row 2 was written last, at time 13.
    np.testing.assert_allclose(counts, share / share.sum(), atol=0.004)


def test_a_hundred_thousand_transitions_are_megabytes():
    """A landmark's state: a scan, a place, a scale, the last places; not 13^3 windows twice."""
    state = {
        "scan": jnp.zeros(64, jnp.int16),
        "place": jnp.zeros((64, 3), jnp.int16),
        "scale": jnp.zeros(64, jnp.uint8),
        "last": jnp.zeros((64, 4, 3), jnp.int16),
    }
    one = {**row(0, 64), "state": state, "next_state": state}
    held = jax.eval_shape(lambda: replay(100_000, prioritised=0.6).init(one))
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(held))
    assert size < 10e6
    assert size < 13**3 * 4 * 2 * 100_000 / 150


def test_bad_input_is_told():
    memory = replay(4)
    empty = memory.init(row(0))
    with pytest.raises(ValueError, match="nothing can be drawn"):
        memory.sample(KEY, empty, 2)
    drawn = jax.jit(lambda held: memory.sample(KEY, held, 2)[0])(empty)
    assert drawn["weight"].tolist() == [0, 0]
    with pytest.raises(ValueError, match="a capacity of 6"):
        replay(5, steps=3).init(row(0))
    with pytest.raises(ValueError, match="at least 1"):
        replay(0)
    for wrong in ("4", 2.5, np.nan):
        with pytest.raises(ValueError, match="whole numbers, got"):
            replay(wrong)
    for wrong in (-1.0, "0.6", np.nan, np.inf):
        with pytest.raises(ValueError, match="must not be negative"):
            replay(4, prioritised=wrong)
    with pytest.raises(ValueError, match=r"holds \['state'\]\['place'\] of the shape \(2,\)"):
        memory.write(empty, {**row(0), "state": {"place": jnp.zeros(3)}})
    ranked = replay(4, prioritised=1.0)
    with pytest.raises(ValueError, match="one error"):
        ranked.update(ranked.init(row(0)), jnp.arange(2), jnp.ones(3))
