"""What of a learner's state predicts, however paradigms are stacked; and that nothing is lost."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rows import ROWS, SPATIAL, TASKS, make_batch, quick_key

import jaxmed as jm
from jaxmed import paradigms
from jaxmed.core import Learner, Objective, from_functions, stateless
from jaxmed.testing import check_objective, check_wrapper
from jaxmed.train import parameter_average

NETWORK = from_functions(
    lambda key, x: {"w": jax.random.normal(key, (3, 2))}, lambda params, x: x @ params["w"]
)
SUPERVISED = jm.supervised(jm.losses.cross_entropy)
RNG = np.random.default_rng(0)
BATCH = {
    "image": RNG.normal(size=(4, 3)).astype(np.float32),
    "unlabelled": RNG.normal(size=(4, 3)).astype(np.float32),
    "label": np.int32([0, 1, 1, 0]),
}
KEY = quick_key(3)


def plain(objective=SUPERVISED, rate=0.5):
    return jm.learner(NETWORK, objective, optax.sgd(rate))


def after(learner, steps=2):
    state = learner.init(KEY, BATCH)
    step = jax.jit(learner.step)
    for _ in range(steps):
        state, _ = step(state, BATCH)
    return state


LEARNERS = {
    "single": (lambda: plain(), lambda state: state.params["net"]["w"]),
    "players": (
        lambda: jm.alternate({"b": plain(), "a": plain()}, predicts="a", repeats={"a": 2}),
        lambda state: state.params["a"]["net"]["w"],
    ),
    "ensemble": (lambda: jm.ensemble(plain(), 3), lambda state: state.params["net"]["w"]),
    "players of an ensemble": (
        lambda: jm.alternate({"a": jm.ensemble(plain(), 2), "b": plain()}, predicts="a"),
        lambda state: state.params["a"]["net"]["w"],
    ),
    "an average": (
        lambda: parameter_average(plain(), 0.3),
        lambda state: state.state["parameter_average"].params["w"],
    ),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_any_learner_is_averaged(name):
    make, weights = LEARNERS[name]
    run, averaged = make(), parameter_average(make(), 0.5)
    state, step = run.init(KEY, BATCH), jax.jit(run.step)
    average = np.asarray(weights(state))
    for t in range(3):
        state, _ = step(state, BATCH)
        rate = min(0.5, (1 + t) / (10 + t))
        average = rate * average + (1 - rate) * np.asarray(weights(state))
    found = after(averaged, 3)
    # Training does not notice it.
    np.testing.assert_allclose(weights(found), weights(state), rtol=1e-5)
    expected = BATCH["image"] @ average
    np.testing.assert_allclose(
        averaged.predict(found, BATCH["image"])["logits"], expected, rtol=1e-4, atol=1e-5
    )
    assert averaged.predicting.get(found).params["w"].shape == average.shape


def test_a_learner_of_three_functions_is_averaged():
    single = plain()
    averaged = parameter_average(Learner(single.init, single.step, single.predict), 0.5)
    given = parameter_average(single, 0.5)
    for a, b in zip(
        jax.tree.leaves(after(averaged)._replace(key=0)),
        jax.tree.leaves(after(given)._replace(key=0)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


TEACHERS = {
    "alone": lambda teacher: plain(teacher),
    "under a wrapper": lambda teacher: plain(
        jm.pseudo_label(paradigms.pi_model(teacher), strong=lambda key, batch: batch)
    ),
    "in a part": lambda teacher: plain(jm.weighted({"a": SUPERVISED, "b": teacher})),
    "twice over": lambda teacher: plain(paradigms.l2_sp(jm.weighted({"b": teacher}), weight=0.0)),
    "in a player": lambda teacher: jm.alternate(
        {"a": plain(teacher), "b": plain()}, predicts="a"
    ),
    "in members": lambda teacher: jm.ensemble(plain(teacher), 2),
}  # fmt: skip


@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_is_found_however_deep(name):
    # A teacher that never moves is the network at the start.
    fixed = jm.mean_teacher(SUPERVISED, decay=lambda step: 1.0)
    learner = TEACHERS[name](fixed)
    run = paradigms.predict_with_teacher(learner, NETWORK)
    start = learner.init(KEY, BATCH)
    first = learner.predict(start, BATCH["image"])["logits"]
    state = after(run)
    np.testing.assert_array_equal(run.predict(state, BATCH["image"])["logits"], first)
    assert np.abs(learner.predict(state, BATCH["image"])["logits"] - first).max() > 1e-3


def test_stacked_teachers_have_names_and_metrics_of_their_own():
    inner = jm.mean_teacher(SUPERVISED, decay=lambda step: 1.0, weight=0.25)
    both = jm.mean_teacher(inner, decay=lambda step: 0.0, weight=0.5)
    learner = plain(both)
    state = after(learner)
    x = BATCH["image"]
    outer = paradigms.predict_with_teacher(learner)
    deeper = paradigms.predict_with_teacher(learner, teacher="objective/teacher")
    first = learner.predict(learner.init(KEY, BATCH), x)["logits"]
    np.testing.assert_allclose(
        outer.predict(state, x)["logits"], learner.predict(state, x)["logits"], rtol=1e-6
    )
    np.testing.assert_array_equal(deeper.predict(state, x)["logits"], first)
    _, metrics = learner.step(state, BATCH)
    assert float(metrics["consistency_weight"]) == 0.5
    assert float(metrics["objective/consistency_weight"]) == 0.25
    thrice = jm.mean_teacher(both, weight=0.75)
    _, metrics = plain(thrice).step(plain(thrice).init(KEY, BATCH), BATCH)
    weights = [float(metrics[f"{'objective/' * i}consistency_weight"]) for i in range(3)]
    assert weights == [0.75, 0.5, 0.25]


def test_a_teacher_that_is_not_there_is_said():
    run = paradigms.predict_with_teacher(plain())
    with pytest.raises(ValueError, match=r"keeps no predictors called 'teacher'.*\[\]"):
        run.predict(after(run, 0), BATCH["image"])
    two = jm.weighted({name: jm.mean_teacher(SUPERVISED) for name in "ab"})
    run = paradigms.predict_with_teacher(plain(two))
    with pytest.raises(ValueError, match=r"several.*\['a/teacher', 'b/teacher'\] by teacher="):
        run.predict(after(run, 0), BATCH["image"])


WRAPPERS = [name for name, row in ROWS.items() if row.stacks]


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_paradigm_loses_nothing_of_what_it_wraps(name):
    row = ROWS[name]
    task = TASKS[row.tasks[0]]
    network, _ = row.build(row.tasks[0], "group")
    batch = row.batch(make_batch(SPATIAL[row.spatial[0]]))
    check_wrapper(
        lambda inner: row.objective(task._replace(objective=inner)), task.objective, network, batch
    )


def test_a_wrapper_that_loses_something_is_named():
    def overwriting(objective):
        def loss(network, params, state, batch, key):
            value, (state, metrics) = objective.loss(network, params, state, batch, key)
            return value, (state, {**metrics, "own": value})

        return objective._replace(loss=loss)

    def forgetting(objective):
        return Objective(objective.init, objective.loss, objective.post_step)

    for wrap, law in ((overwriting, "metrics all show"), (forgetting, "are handed on")):
        with pytest.raises(AssertionError, match=f"the wrapper breaks the law: wrapped .*{law}"):
            check_wrapper(wrap, SUPERVISED, NETWORK, BATCH)


def test_a_metric_of_the_learners_name_is_refused_and_not_lost():
    taken = stateless(
        lambda network, params, state, batch, key: (
            jnp.square(params["net"]["w"]).sum(), (state, {"loss": jnp.asarray(7.0)})
        )
    )  # fmt: skip
    with pytest.raises(AssertionError, match=r"learner itself measures \['loss'\]"):
        check_objective(taken, NETWORK, BATCH)
    _, metrics = plain(taken).step(plain(taken).init(KEY, BATCH), BATCH)
    assert float(metrics["objective/loss"]) == 7.0


def test_old_names_warn_and_work():
    def kept(params, state):
        return state

    with pytest.warns(DeprecationWarning, match="Objective.after is now Objective.post_step"):
        made = Objective(SUPERVISED.init, SUPERVISED.loss, after=kept)
    assert made.post_step is kept
    with pytest.warns(DeprecationWarning, match="post_step"):
        assert made.after is kept
    with pytest.warns(DeprecationWarning, match="post_step"):
        assert SUPERVISED._replace(after=kept).post_step is kept


def test_each_idea_is_printed_as_one_line_of_what_it_is():
    teacher = jm.mean_teacher(SUPERVISED)
    assert repr(teacher) == "Objective: mean_teacher(supervised(cross_entropy))"
    assert repr(jm.from_linen(jm.networks.mlp(2))) == "Network: MLP"
    assert repr(jm.ensemble(plain(teacher), 2)).startswith("Learner: ensemble(learner(")
    assert "\n" not in repr(plain(teacher))
