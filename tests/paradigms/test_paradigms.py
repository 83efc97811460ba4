"""What each paradigm computes, against closed forms and hand-worked values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed.core import Objective, from_functions, stateless


def linear(classes: int = 2):
    """``logits = x @ w``, starting from the identity."""
    return from_functions(
        lambda key, x: {"w": jnp.eye(x.shape[-1], classes)}, lambda params, x: x @ params["w"]
    )


def evaluate(objective: Objective, network, batch, key=None):
    key = jax.random.key(0) if key is None else key
    net_params, net_state = network.init(key, batch["image"])
    own_params, own_state = objective.init(key, network, net_params, net_state, batch)
    params = {"net": net_params, "obj": own_params}
    state = {"net": net_state, "obj": own_state}
    return *objective.loss(network, params, state, batch, key), params


BATCH = {
    "image": jnp.array([[2.0, 0.0], [0.0, 1.0], [5.0, 5.0]]),
    "label": jnp.array([0, 1, 0]),
    "unlabelled": jnp.array([[4.0, 0.0], [0.1, 0.0]]),
}


def test_supervised_is_the_weighted_mean_of_the_losses():
    weight = jnp.array([1.0, 2.0, 0.0])
    loss, *_ = evaluate(
        jm.supervised(jm.losses.cross_entropy), linear(), {**BATCH, "weight": weight}
    )
    by_hand = (np.log1p(np.exp(-2.0)) + 2 * np.log1p(np.exp(-1.0))) / 3
    np.testing.assert_allclose(loss, by_hand, rtol=1e-6)


def test_examples_without_a_label_do_not_count():
    label = jnp.array([0, -1, -1])
    objective = jm.supervised(jm.losses.cross_entropy, known=lambda label: label >= 0)
    loss, *_ = evaluate(objective, linear(), {**BATCH, "label": label})
    np.testing.assert_allclose(loss, np.log1p(np.exp(-2.0)), rtol=1e-6)
    named = {**BATCH, "label": label, "labelled": label >= 0}
    again, *_ = evaluate(jm.supervised(jm.losses.cross_entropy, known="labelled"), linear(), named)
    np.testing.assert_allclose(again, loss)


def test_a_name_that_is_missing_is_said_with_those_there_are():
    with pytest.raises(KeyError, match=r"batch has no 'mask'.*image.*label"):
        evaluate(jm.supervised(jm.losses.mse, target="mask"), linear(), BATCH)
    with pytest.raises(KeyError, match=r"network has no 'grade'.*logits"):
        evaluate(jm.supervised(jm.losses.mse, output="grade"), linear(), BATCH)


def test_weighted_adds_up_and_ramps():
    one = stateless(lambda network, params, state, batch, key: (jnp.float32(3.0), (state, {})))
    both = jm.weighted({"a": one, "b": one}, {"a": 0.5, "b": lambda step: 10.0 * step})
    loss, (state, metrics), params = evaluate(both, linear(), BATCH)
    assert float(loss) == 1.5
    assert float(metrics["b/loss"]) == 3.0
    state = both.post_step(params, state)
    loss, _ = both.loss(linear(), params, state, BATCH, jax.random.key(0))
    assert float(loss) == 31.5


def test_weighted_refuses_what_it_cannot_add():
    with pytest.raises(ValueError, match="at least one"):
        jm.weighted({})
    with pytest.raises(ValueError, match=r"weights for \['c'\]"):
        jm.weighted({"a": jm.supervised(jm.losses.mse)}, {"c": 1.0})


def test_objectives_on_one_image_share_one_forward_pass():
    passes = []

    def apply(params, inputs):
        passes.append(inputs)
        return {"logits": inputs @ params["w"], "again": inputs @ params["w"]}

    network = from_functions(lambda key, x: {"w": jnp.eye(2)}, apply)
    both = jm.weighted(
        {
            "a": jm.supervised(jm.losses.cross_entropy),
            "b": jm.supervised(jm.losses.cross_entropy, output="again"),
        }
    )
    jax.jit(lambda batch: evaluate(both, network, batch)[0])(BATCH)
    assert len(passes) == 1


def test_the_teacher_is_the_moving_average():
    objective = jm.mean_teacher(jm.supervised(jm.losses.cross_entropy), decay=0.9)
    run = jm.learner(linear(), objective, optax.sgd(0.5))
    state = run.init(jax.random.key(0), BATCH)
    teacher = state.params["net"]["w"]
    for step in range(15):
        state, metrics = run.step(state, BATCH)
        decay = min(0.9, (step + 1) / (step + 10))
        teacher = decay * teacher + (1 - decay) * state.params["net"]["w"]
    np.testing.assert_allclose(state.state["obj"]["teacher"]["params"]["w"], teacher, rtol=1e-5)
    assert metrics["consistency"] > 0
    taught = jm.paradigms.predict_with_teacher(run, linear())
    np.testing.assert_allclose(
        taught.predict(state, BATCH["image"])["logits"], BATCH["image"] @ teacher, rtol=1e-5
    )


def test_consistency_is_the_squared_distance_of_probabilities():
    shift = lambda key, batch: {"image": batch["image"] + jnp.array([1.0, 0.0])}  # noqa: E731
    nothing = stateless(lambda network, params, state, batch, key: (jnp.zeros(()), (state, {})))
    objective = jm.mean_teacher(nothing, student_view=shift, weight=3.0)
    loss, (_, metrics), _ = evaluate(objective, linear(), BATCH)
    p = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    expected = np.mean([2 * (p(5.0) - p(4.0)) ** 2, 2 * (p(1.1) - p(0.1)) ** 2])
    np.testing.assert_allclose(metrics["consistency"], expected, rtol=1e-5)
    np.testing.assert_allclose(loss, 3 * expected, rtol=1e-5)


def test_only_confident_predictions_become_targets():
    shift = lambda key, batch: {"image": batch["image"] - jnp.array([3.0, 0.0])}  # noqa: E731
    nothing = stateless(lambda network, params, state, batch, key: (jnp.zeros(()), (state, {})))
    objective = jm.pseudo_label(nothing, strong=shift, threshold=0.95)
    loss, (_, metrics), _ = evaluate(objective, linear(), BATCH)
    # Of logits (4, 0) and (0.1, 0) the first alone is confident; its strong view is (1, 0).
    np.testing.assert_allclose(metrics["pseudo_used"], 0.5)
    np.testing.assert_allclose(loss, np.log1p(np.exp(-1.0)) / 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda base: jm.mean_teacher(base, decay=1.0), "decay"),
        (lambda base: jm.mean_teacher(base, ramp_steps=-1), "ramp_steps"),
        (lambda base: jm.pseudo_label(base, strong=None, threshold=1.5), "threshold"),
        (lambda base: jm.pseudo_label(base, strong=None, temperature=0.0), "temperature"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(jm.supervised(jm.losses.cross_entropy))


def test_two_players_reach_the_saddle():
    """``min_x max_y x y + (x^2 - y^2) / 2`` has its saddle at the origin."""

    def player(sign):
        def loss(network, params, state, batch, key):
            own = params["net"]["v"]
            (other,) = batch["players"].values()
            rival = other["params"]["net"]["v"]
            return own * rival * sign + own**2 / 2, (state, {})

        def init(key, network, params, state, batch):
            return {}, {}

        network = from_functions(
            lambda key, x: {"v": jnp.ones(())}, lambda params, x: x * params["v"]
        )
        return jm.learner(
            network, Objective(init, loss, lambda params, state: state), optax.sgd(0.1)
        )

    game = jm.alternate({"x": player(1.0), "y": player(-1.0)}, predicts="x", repeats={"y": 2})
    batch = {"image": jnp.ones((1, 1))}
    state = game.init(jax.random.key(0), batch)
    step = jax.jit(game.step)
    for _ in range(200):
        state, metrics = step(state, batch)
    assert abs(float(state.params["x"]["net"]["v"])) < 1e-3
    assert abs(float(state.params["y"]["net"]["v"])) < 1e-3
    np.testing.assert_allclose(metrics["loss"], metrics["x/loss"] + metrics["y/loss"], atol=1e-6)
    assert int(state.step) == 200
    assert game.predict(state, jnp.ones((1, 1)))["logits"].shape == (1, 1)


def test_alternate_and_ensemble_refuse_bad_calls():
    single = jm.learner(linear(), jm.supervised(jm.losses.cross_entropy), optax.sgd(0.1))
    with pytest.raises(ValueError, match="two players"):
        jm.alternate({"a": single}, predicts="a")
    with pytest.raises(ValueError, match=r"no player is called \['c'\]"):
        jm.alternate({"a": single, "b": single}, predicts="c")
    with pytest.raises(ValueError, match="at least once"):
        jm.alternate({"a": single, "b": single}, predicts="a", repeats={"a": 0})
    with pytest.raises(ValueError, match="one member or more"):
        jm.ensemble(single, 0)
    with pytest.raises(ValueError, match="strategy"):
        jm.ensemble(single, 2, strategy="fast")
    with pytest.raises(ValueError, match="mesh"):
        jm.ensemble(single, 2, strategy="shard")


def test_heads_refuse_a_name_the_trunk_has():
    network = jm.with_heads(linear(), {"logits": linear()})
    with pytest.raises(KeyError, match="no 'features'"):
        network.init(jax.random.key(0), BATCH["image"])
    head = jm.paradigms.Head(linear(), reads="logits")
    network = jm.with_heads(linear(), {"logits": head})
    params, state = network.init(jax.random.key(0), BATCH["image"])
    with pytest.raises(ValueError, match="another name"):
        network.apply(params, state, BATCH["image"])
