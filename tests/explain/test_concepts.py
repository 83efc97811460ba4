"""Bottlenecks, prototypes, concept directions, examples and bags."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxmed import explain as ex
from jaxmed import inference, losses
from jaxmed.core import from_functions, learner
from jaxmed.networks import cnn
from jaxmed.paradigms import supervised, weighted
from jaxmed.testing import check_network

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(16, 6, 6, 1)).astype("f4")
FLAT = from_functions(lambda key, x: {}, lambda p, x: {"features": x.reshape(len(x), -1)})


@pytest.fixture(autouse=True)
def _same_draws():
    """Whatever ran before, in whichever worker."""
    RNG.bit_generator.state = np.random.default_rng(1).bit_generator.state


def test_a_bottleneck_and_prototypes_keep_the_laws_of_networks_and_can_be_written_down():
    trunk = cnn(features=(3, 4))
    for network in (
        ex.concept_bottleneck(trunk, concepts=2, classes=3, hidden=4),
        ex.prototype_network(trunk, classes=2, per_class=2, width=4),
    ):
        check_network(network, jnp.asarray(IMAGES[:2]))
        again = inference.build(inference.describe(network))
        shapes = [jax.eval_shape(n.init, KEY, IMAGES[:2]) for n in (network, again)]
        assert jax.tree.structure(shapes[0]) == jax.tree.structure(shapes[1])


def test_a_bottleneck_learns_by_ordinary_objectives_and_is_corrected_in_prediction():
    concepts = (IMAGES[:, :2, 0, 0] > 0).astype("f4")
    labels = (concepts[:, 0] != concepts[:, 1]).astype("i4")
    network = ex.concept_bottleneck(FLAT, concepts=2, classes=2, hidden=8)
    both = weighted({
        "answer": supervised(losses.cross_entropy),
        "concepts": supervised(losses.binary_cross_entropy, output="concepts", target="concepts"),
    })  # fmt: skip
    trained = learner(network, both, optax.adam(0.05))
    batch = {"image": jnp.asarray(IMAGES), "label": jnp.asarray(labels), "concepts": concepts}
    state = trained.init(KEY, batch)
    step = jax.jit(trained.step)
    for _ in range(150):
        state, _ = step(state, batch)
    params, own = state.params["net"], state.state["net"]
    said = network.apply(params, own, batch["image"])[0]
    np.testing.assert_array_equal(said["concepts"] > 0, concepts > 0)
    np.testing.assert_array_equal(said["logits"].argmax(1), labels)
    # Corrected to the contrary, the answer follows the concepts and not the image.
    answers = ex.interventions(KEY, network, params, own, batch["image"], 1 - concepts)
    assert answers.shape == (3, 16, 2)
    np.testing.assert_array_equal(answers[0].argmax(1), labels)
    np.testing.assert_array_equal(answers[1].argmax(1), 1 - labels)
    np.testing.assert_array_equal(answers[2].argmax(1), labels)
    # Each case's least certain concept is the first to be corrected.
    first = np.abs(np.asarray(said["concepts"])).argmin(1)
    given = np.full((16, 2), np.nan, np.float32)
    given[np.arange(16), first] = (1 - concepts)[np.arange(16), first]
    asked = {"image": batch["image"], "concepts": given}
    want = network.apply(params, own, asked)[0]["logits"]
    np.testing.assert_allclose(answers[1], want, atol=1e-5)
    listed = ex.interventions(KEY, network, params, own, batch["image"], concepts, order=[1, 0])
    given = np.stack([np.full(16, np.nan), concepts[:, 1]], 1)
    want = network.apply(params, own, {**asked, "concepts": given})[0]["logits"]
    np.testing.assert_allclose(listed[1], want, atol=1e-5)
    with pytest.raises(ValueError, match="each of 2 concepts once"):
        ex.interventions(KEY, network, params, own, batch["image"], concepts, order=[0, 0])
    with pytest.raises(ValueError, match="concepts have the shape"):
        network.apply(params, own, {**asked, "concepts": given[:, :1]})


def test_projected_prototypes_are_parts_of_images_of_their_class():
    labels = np.arange(16) % 2
    network = ex.prototype_network(cnn(features=(3, 4)), classes=2, per_class=2, width=4)
    params, state = network.init(KEY, IMAGES)
    found = ex.project_prototypes(network, params, state, IMAGES, labels, batch=5)
    assert (labels[found.images] == [0, 0, 1, 1]).all()
    ends = network.apply(found.params, state, IMAGES)[0]
    for number, (case, place) in enumerate(zip(found.images, found.places, strict=True)):
        assert ends["distances"][case, number] < 1e-10
        likest = np.unravel_index(ends["likeness"][case, ..., number].argmax(), (3, 3))
        assert likest == tuple(place)
    before = network.apply(params, state, IMAGES)[0]["distances"]
    own = np.stack([before[labels == c][:, n].min() for n, c in enumerate([0, 0, 1, 1])])
    np.testing.assert_allclose(found.moved, own, rtol=1e-4)
    np.testing.assert_allclose(
        ends["logits"], jnp.log((ends["distances"] + 1) / (ends["distances"] + 1e-4))
        @ jnp.array([[1, -0.5], [1, -0.5], [-0.5, 1], [-0.5, 1]]), rtol=1e-4, atol=1e-4,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"none of \[1\] given"):
        ex.project_prototypes(network, params, state, IMAGES, 0 * labels)


def test_prototypes_learn_by_ordinary_objectives():
    labels = jnp.arange(16) % 2
    x = jnp.asarray(IMAGES).at[:, 2:4, 2:4].add(2.0 * labels[:, None, None, None])
    network = ex.prototype_network(cnn(features=(4, 4)), classes=2, per_class=2, width=4)
    objective = weighted({
        "answer": supervised(losses.cross_entropy),
        "near": supervised(ex.prototype_cost(per_class=2), output="distances"),
    })  # fmt: skip
    trained = learner(network, objective, optax.adam(0.02))
    batch = {"image": x, "label": labels}
    state = trained.init(KEY, batch)
    step, told = jax.jit(trained.step), []
    for _ in range(60):
        state, metrics = step(state, batch)
        told.append(float(metrics["loss"]))
    assert told[-1] < 0.5 * told[0]


def test_a_concept_that_matters_is_told_from_one_that_does_not():
    def apply(params, x):
        features = jnp.stack([x[:, 0, 0, 0], x[:, 5, 5, 0]], 1)
        return {"features": features, "logits": features @ jnp.array([[0, 2.0], [0, 0.0]])}

    network = from_functions(lambda key, x: {}, apply)

    def drawn(n=30, **at):
        images = RNG.normal(size=(n, 6, 6, 1)).astype("f4")
        for place, value in at.items():
            images[:, int(place[1]), int(place[1])] += value
        return images

    random = [drawn() for _ in range(8)]
    given = (network, {}, {}, drawn(20), 1)
    matters = ex.tcav(*given, concept=drawn(a0=3.0), random=random)
    assert matters.score == 1
    assert matters.accuracy > 0.85
    assert matters.directions.shape == (8, 2)
    np.testing.assert_allclose(np.linalg.norm(matters.directions, axis=1), 1)
    against = ex.tcav(*given, concept=drawn(a0=-3.0), random=random)
    assert against.score == 0
    assert min(matters.p, against.p) < 0.05
    beside = ex.tcav(*given, concept=drawn(a5=3.0), random=random)
    assert beside.accuracy > 0.85
    # Its directions hardly have a part in the feature that matters.
    assert abs(beside.directions[:, 0]).max() < 0.5 < abs(matters.directions[:, 0]).min()
    with pytest.raises(ValueError, match="at least three"):
        ex.tcav(*given, concept=random[0], random=random[:2])
    with pytest.raises(ValueError, match=r"8 random sets .* there are 5"):
        ex.tcav(*given, concept=random[0][:5], random=random)


def test_a_concept_that_is_none_passes_for_one_no_more_often_than_said():
    """Images of the concept that are random themselves: most of 60 draws find nothing."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(8, 2))
    network = from_functions(
        lambda key, x: {}, lambda params, x: {"features": x, "logits": jnp.tanh(x) @ weights}
    )

    def p():
        sets = [rng.normal(size=(20, 8)).astype(np.float32) for _ in range(6)]
        concept, cases = (rng.normal(size=(n, 8)).astype(np.float32) for n in (30, 20))
        return ex.tcav(network, {}, {}, cases, 1, concept=concept, random=sets).p

    found = np.array([p() for _ in range(60)])
    assert (found < 0.05).mean() <= 0.1
    assert (found > 0.3).any()


def test_examples_are_the_nearest():
    known = RNG.normal(size=(30, 4))
    asked = RNG.normal(size=(5, 4))
    for metric in ("cosine", "euclidean"):
        found = ex.nearest_examples(asked, known, k=3, metric=metric)
        for i, row in enumerate(asked):
            if metric == "cosine":
                far = 1 - known @ row / np.linalg.norm(known, axis=1) / np.linalg.norm(row)
            else:
                far = np.linalg.norm(known - row, axis=1)
            assert found.cases[i].tolist() == far.argsort()[:3].tolist()
            np.testing.assert_allclose(found.distances[i], np.sort(far)[:3])
    for bad, words in (
        ({"k": 31}, "k is from 1"),
        ({"metric": "l1"}, "metric is"),
    ):
        with pytest.raises(ValueError, match=words):
            ex.nearest_examples(asked, known, **bad)
    with pytest.raises(ValueError, match="finite"):
        ex.nearest_examples(asked * np.nan, known)


def test_a_bag_is_painted_where_its_instances_lay():
    found = ex.bag_map(np.array([0.2, 0.8]), np.array([[0, 0], [1, 1]]), size=2, shape=(3, 4))
    want = np.array(
        [[0.2, 0.2, np.nan, np.nan], [0.2, 0.5, 0.8, np.nan], [np.nan, 0.8, 0.8, np.nan]]
    )
    np.testing.assert_allclose(found, want)
    with pytest.raises(ValueError, match="outside the image"):
        ex.bag_map(np.array([1.0]), np.array([[2, 0]]), size=2, shape=(3, 4))
    with pytest.raises(ValueError, match="corners"):
        ex.bag_map(np.array([1.0]), np.array([[2, 0], [0, 0]]), size=2, shape=(3, 4))
