"""What each semi-supervised paradigm computes, against NumPy and values by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import quick_key
from rows._evaluate import KEY, NOTHING, begin, evaluate, plain, shift

import jaxmed as jm
from jaxmed import paradigms
from jaxmed.core import from_functions, stateless, stream
from jaxmed.core._partners import partners

RNG = np.random.default_rng(5)
LOGITS = RNG.normal(size=(6, 3)).astype(np.float32)
BATCH = {
    "image": jnp.asarray(RNG.normal(size=(6, 3)).astype(np.float32)),
    "label": jnp.array([0, 1, 2, 0, 1, 2]),
    "unlabelled": jnp.asarray(LOGITS),
    "weight": jnp.array([1.0, 1, 1, 1, 1, 0]),
    "weight_unlabelled": jnp.array([1.0, 1, 1, 1, 2, 0]),
}
WEIGHT = np.asarray(BATCH["weight_unlabelled"])


LEFT = jnp.array([1.0, 0, 0])


def draws(key, batch):
    """A view that adds noise."""
    return {**batch, "image": batch["image"] + jax.random.normal(key, batch["image"].shape)}


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def cross_entropy(logits, target):
    return -(target * np.log(softmax(logits))).sum(-1)


def average(values, weight=WEIGHT):
    return (values * weight).sum() / weight.sum()


def test_flexible_thresholds_by_hand():
    objective = paradigms.pseudo_label(
        NOTHING, strong=shift(0.5 * jnp.arange(3.0)), threshold=0.8, flexible=True, decay=0.8
    )
    params, state = begin(objective, plain(), BATCH)
    np.testing.assert_array_equal(state["obj"]["learned"], 0)
    learned = np.array([0.5, 0.1, 0.0], np.float32)
    state["obj"] |= {"learned": jnp.asarray(learned), "step": jnp.int32(90)}
    value, after, metrics = evaluate(objective, plain(), BATCH, params=params, state=state)
    p = softmax(LOGITS)
    beta = learned / max(0.5, 1 - 0.6)
    needed = 0.8 * beta / (2 - beta)
    used = p.max(1) >= needed[p.argmax(1)]
    assert 0 < used.mean() < 1
    one_hot = np.eye(3)[p.argmax(1)]
    distance = cross_entropy(LOGITS + 0.5 * np.arange(3.0), one_hot)
    np.testing.assert_allclose(value, average(used * distance), rtol=1e-5)
    np.testing.assert_allclose(metrics["pseudo_used"], average(used), rtol=1e-5)
    reached = [average((p.max(1) >= 0.8) & (p.argmax(1) == c)) for c in range(3)]
    np.testing.assert_allclose(
        after["obj"]["learned"], 0.8 * learned + 0.2 * np.array(reached), rtol=1e-5
    )


def test_distribution_alignment_by_hand():
    share = np.array([0.2, 0.2, 0.6])
    objective = paradigms.pseudo_label(
        NOTHING, strong=shift(0.0), threshold=0.5, align=(1, 1, 3), decay=0.9
    )
    value, after, metrics = evaluate(objective, plain(), BATCH)
    p = softmax(LOGITS)
    # Of a young average: (0 + 1) / (0 + 10) of what it was.
    predicted = 0.1 * share + 0.9 * np.array([average(p[:, c]) for c in range(3)])
    np.testing.assert_allclose(after["obj"]["predicted"], predicted, rtol=1e-5)
    params, _ = begin(objective, plain(), BATCH)
    assert int(objective.post_step(params, after)["obj"]["step"]) == 1
    q = p * share / predicted
    q = q / q.sum(1, keepdims=True)
    used = q.max(1) >= 0.5
    np.testing.assert_allclose(metrics["pseudo_used"], average(used), rtol=1e-5)
    expected = average(used * cross_entropy(LOGITS, np.eye(3)[q.argmax(1)]))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_no_unlabelled_example_moves_no_average():
    objective = paradigms.pseudo_label(
        NOTHING, strong=shift(0.0), flexible=True, align=(0.2, 0.3, 0.5)
    )
    batch = {**BATCH, "weight_unlabelled": jnp.zeros(6)}
    _, state = begin(objective, plain(), batch)
    value, after, _ = evaluate(objective, plain(), batch)
    assert float(value) == 0
    for name in ("learned", "predicted"):
        np.testing.assert_array_equal(after["obj"][name], state["obj"][name])


def test_the_uncertain_do_not_count():
    batch = {**BATCH, "unlabelled": jnp.array([[4.0, 0.0], [0.1, 0.0]])}
    del batch["weight_unlabelled"]
    objective = paradigms.uncertainty_aware_teacher(
        NOTHING, passes=3, student_view=shift(jnp.array([1.0, 0.0])), ramp_steps=10
    )
    value, _, metrics = evaluate(objective, plain(), batch)
    # Entropies of 0.090 and 0.692 nats, against 0.752 log 2 = 0.521 at the start of the ramp.
    p = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    np.testing.assert_allclose(metrics["certain"], 0.5)
    np.testing.assert_allclose(metrics["consistency"], 2 * (p(5.0) - p(4.0)) ** 2, rtol=1e-4)
    np.testing.assert_allclose(value, np.exp(-5.0) * metrics["consistency"], rtol=1e-5)


def test_monte_carlo_passes_differ_and_are_averaged():
    def uniform(key, batch):
        return {"image": batch["image"] + jax.random.normal(key, batch["image"].shape)}

    objective = paradigms.uncertainty_aware_teacher(NOTHING, passes=4, teacher_view=uniform)
    _, _, metrics = evaluate(objective, plain(), BATCH)
    key = stream(stream(KEY, "uncertainty_aware"), "teacher", "view")
    noise = np.asarray(jax.random.normal(key, (24, 3))).reshape(6, 4, 3)
    mean = softmax(LOGITS[:, None] + noise).mean(1)
    entropy = -(mean * np.log(mean)).sum(1)
    used = (entropy < np.log(3)) * WEIGHT
    expected = (used * ((softmax(LOGITS) - mean) ** 2).sum(1)).sum() / used.sum()
    np.testing.assert_allclose(metrics["consistency"], expected, rtol=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
def test_the_pi_model_compares_two_draws(activation):
    def view(key, batch):
        return {"image": batch["image"] + jax.random.uniform(key)}

    scale = from_functions(lambda key, x: {}, lambda params, x: x * jnp.array([1.0, 2.0, 0.5]))
    objective = paradigms.pi_model(NOTHING, view=view, weight=2.0, activation=activation)
    value, after, _ = evaluate(objective, scale, BATCH)
    own = stream(KEY, "pi_model")
    draws = [float(jax.random.uniform(stream(own, "view", i))) for i in range(2)]
    turn = {"softmax": softmax, "sigmoid": lambda x: 1 / (1 + np.exp(-x)), None: lambda x: x}
    one, two = (turn[activation]((LOGITS + d) * [1, 2, 0.5]) for d in draws)
    np.testing.assert_allclose(value, 2 * average(((one - two) ** 2).sum(1)), rtol=1e-4)
    params, _ = begin(objective, scale, BATCH)
    assert int(objective.post_step(params, after)["obj"]["step"]) == 1


def test_entropy_by_hand():
    objective = paradigms.entropy_minimisation(NOTHING, weight=0.3)
    value, _, metrics = evaluate(objective, plain(), BATCH)
    p = softmax(LOGITS)
    expected = average(-(p * np.log(p)).sum(1))
    np.testing.assert_allclose(metrics["entropy"], expected, rtol=1e-5)
    np.testing.assert_allclose(value, 0.3 * expected, rtol=1e-5)


def test_twins_learn_from_labels_and_from_each_other():
    network = from_functions(
        lambda key, x: {"w": jax.random.normal(key, (3, 3))}, lambda params, x: x @ params["w"]
    )
    objective = paradigms.cross_pseudo(jm.supervised(jm.losses.cross_entropy), weight=0.5)
    params, _ = begin(objective, network, BATCH)
    mine, twin = params["net"]["w"], params["obj"]["twin"]["net"]["w"]
    assert np.abs(mine - twin).max() > 0.1
    value, _, metrics = evaluate(objective, network, BATCH)
    labels, weight = np.eye(3)[BATCH["label"]], np.asarray(BATCH["weight"])
    supervised = [
        average(cross_entropy(np.asarray(BATCH["image"] @ w), labels), weight) for w in (mine, twin)
    ]
    one, two = (LOGITS @ np.asarray(w) for w in (mine, twin))
    crossed = cross_entropy(one, np.eye(3)[two.argmax(1)])
    crossed = crossed + cross_entropy(two, np.eye(3)[one.argmax(1)])
    np.testing.assert_allclose(metrics["cross"], average(crossed), rtol=1e-5)
    np.testing.assert_allclose(metrics["twin_loss"], supervised[1], rtol=1e-5)
    np.testing.assert_allclose(value, sum(supervised) + 0.5 * average(crossed), rtol=1e-5)


def test_mixup_is_the_cross_entropy_of_mixed_labels():
    value, _, _ = evaluate(jm.mixup(jm.supervised(jm.losses.cross_entropy)), plain(), BATCH)
    own = stream(KEY, "mixup")
    share = float(jax.random.beta(stream(own, "share"), 0.2, 0.2))
    partner = np.asarray(partners(stream(own, "partner"), 6, BATCH["weight"]))
    assert partner.tolist() != list(range(6))
    image, label = np.asarray(BATCH["image"]), np.eye(3)[BATCH["label"]]
    mixed, labels = (share * a + (1 - share) * a[partner] for a in (image, label))
    expected = average(cross_entropy(mixed, labels), np.asarray(BATCH["weight"]))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_nobody_is_mixed_with_padding():
    weight = jnp.array([1.0, 1, 0, 0, 1, 0, 0, 0])
    for seed in range(20):
        partner = partners(jax.random.key(seed), 8, weight)
        assert all(weight[p] > 0 or p == i for i, p in enumerate(partner.tolist()))


@pytest.mark.parametrize("spatial", [(7, 9), (5, 6, 4)])
def test_cutmix_pastes_a_box_of_image_and_mask(spatial):
    rows = jnp.arange(4)
    value = rows.reshape(-1, *[1] * len(spatial))
    batch = {
        "image": jnp.broadcast_to(value[..., None], (4, *spatial, 2)).astype(jnp.float32),
        "mask": jnp.broadcast_to(value, (4, *spatial)),
        "label": rows,
        "weight": jnp.ones(4),
    }
    given = []

    def loss(network, params, state, batch, key):
        given.append(batch)
        return batch["label"].astype(jnp.float32).sum(), (state, {})

    objective = paradigms.cutmix(stateless(loss))

    @jax.jit
    def run(key):
        given.clear()
        variables = begin(objective, plain(), batch)
        return objective.loss(plain(), *variables, batch, key)[0], list(given)

    for seed in range(6):
        total, (first, second) = jax.device_get(run(quick_key(seed)))
        partner = np.asarray(second["label"])
        np.testing.assert_array_equal(first["image"][..., 0], first["mask"])
        np.testing.assert_array_equal(first["image"], second["image"])
        pasted = np.asarray(first["mask"]) != rows.reshape(-1, *[1] * len(spatial))
        for i, p in enumerate(partner):
            assert set(np.unique(first["mask"][i])) <= {i, p}
            if p != i:  # a box: its bounding box holds nothing else
                at = np.argwhere(pasted[i])
                if len(at):
                    assert len(at) == np.prod(at.max(0) - at.min(0) + 1)
        moved = [i for i, p in enumerate(partner) if p != i]
        share = 1 - pasted[moved[0]].mean() if moved else 1.0
        np.testing.assert_allclose(
            total, share * rows.sum() + (1 - share) * partner.sum(), rtol=1e-5
        )


def test_mixmatch_by_hand():
    objective = paradigms.mixmatch(
        shift(0.0), views=2, temperature=0.5, alpha=0.75, weight=7.0, ramp_steps=0
    )
    value, _, metrics = evaluate(objective, plain(), BATCH)
    key = stream(KEY, "mixmatch")
    images = np.concatenate([BATCH["image"], np.repeat(LOGITS, 2, axis=0)])
    sharp = softmax(LOGITS) ** 2
    sharp = np.repeat(sharp / sharp.sum(1, keepdims=True), 2, axis=0)
    labels = np.concatenate([np.eye(3)[BATCH["label"]], sharp])
    weight = np.concatenate([BATCH["weight"], np.repeat(WEIGHT, 2)])
    partner = np.asarray(partners(stream(key, "partner"), 18, jnp.asarray(weight)))
    share = np.asarray(jax.random.beta(stream(key, "share"), 0.75, 0.75, (18,)))
    share = np.maximum(share, 1 - share)[:, None]
    images, labels = (share * a + (1 - share) * a[partner] for a in (images, labels))
    known = average(cross_entropy(images[:6], labels[:6]), weight[:6])
    guessed = average(((softmax(images[6:]) - labels[6:]) ** 2).mean(1), weight[6:])
    np.testing.assert_allclose(metrics["labelled_loss"], known, rtol=1e-5)
    np.testing.assert_allclose(metrics["guessed_loss"], guessed, rtol=1e-4)
    np.testing.assert_allclose(value, known + 7 * guessed, rtol=1e-5)


def test_mixmatch_leaves_out_what_is_mixed_with_unknown_voxels():
    rng, options = np.random.default_rng(2), {"views": 1, "weight": 7.0, "target": "mask"}
    image, unlabelled = (jnp.asarray(rng.normal(size=(4, 5, 3)), jnp.float32) for _ in range(2))
    mask = rng.integers(0, 3, (4, 5))
    mask[0, :2], mask[1] = -1, -1  # two voxels of one image, all of another
    batch = {"image": image, "unlabelled": unlabelled, "mask": jnp.asarray(mask)}
    objective = paradigms.mixmatch(shift(0.0), known=lambda mask: mask >= 0, **options)
    _, _, metrics = evaluate(objective, plain(), batch)
    key = stream(KEY, "mixmatch")
    sure = np.concatenate([mask >= 0, np.ones((4, 5), bool)])
    partner = np.asarray(partners(stream(key, "partner"), 8, jnp.asarray(sure.any(1), float)))
    assert any(partner[i] == 0 for i in range(1, 8))
    assert not any(partner[i] == 1 for i in (0, *range(2, 8)))
    share = np.asarray(jax.random.beta(stream(key, "share"), 0.75, 0.75, (8,)))
    share = np.maximum(share, 1 - share)[:, None, None]
    sharp = softmax(np.asarray(unlabelled)) ** 2
    labels = np.concatenate([np.eye(3)[mask], sharp / sharp.sum(-1, keepdims=True)])
    images = np.concatenate([image, unlabelled])
    images, labels = (share * a + (1 - share) * a[partner] for a in (images, labels))
    both = sure & sure[partner]
    entropy, distance = (
        cross_entropy(images[:4], labels[:4]),
        ((softmax(images[4:]) - labels[4:]) ** 2).mean(-1),
    )
    given = [entropy[i][both[i]].mean() for i in range(4) if both[i].any()]
    guessed = [distance[i][both[4 + i]].mean() for i in range(4) if both[4 + i].any()]
    np.testing.assert_allclose(metrics["labelled_loss"], np.mean(given), rtol=1e-4)
    np.testing.assert_allclose(metrics["guessed_loss"], np.mean(guessed), rtol=1e-4)
    # Of whole images, by the name of an array.
    objective = paradigms.mixmatch(shift(0.0), known="told", **options)
    told, junk = jnp.array([False, False, True, True]), jnp.asarray(mask).at[1].set(2)
    values = [
        evaluate(objective, plain(), {**batch, "mask": mask, "told": told})[0]
        for mask in (batch["mask"], junk)
    ]
    np.testing.assert_array_equal(*values)
    assert np.isfinite(values[0])
    assert np.isnan(evaluate(paradigms.mixmatch(shift(0.0), **options), plain(), batch)[0])


def test_a_teacher_may_follow_by_a_schedule():
    network = from_functions(lambda key, x: {"w": jnp.zeros(())}, lambda params, x: x)
    for make in (paradigms.mean_teacher, paradigms.uncertainty_aware_teacher):
        objective = make(NOTHING, decay=lambda step: jnp.minimum(1 - 1 / (step + 1), 0.6))
        params, state = begin(objective, network, BATCH)
        expected = 0.0
        for step, rate in enumerate((0.0, 0.5, 0.6, 0.6)):
            state = objective.post_step({**params, "net": {"w": jnp.asarray(step + 1.0)}}, state)
            expected = rate * expected + (1 - rate) * (step + 1)
            teacher = state["obj"]["teacher"]["params"]["w"]
            np.testing.assert_allclose(teacher, expected, rtol=1e-6)


FLIP = jm.augment.flip()
DENSE = {
    "image": jnp.ones((2, 4, 4, 3)),
    "mask": jnp.zeros((2, 4, 4), int),
    "unlabelled": jnp.ones((2, 4, 4, 3)),
}


@pytest.mark.parametrize(
    "make",
    [
        lambda: paradigms.mean_teacher(NOTHING, student_view=FLIP),
        lambda: paradigms.pseudo_label(NOTHING, strong=jm.augment.strong()),
        lambda: paradigms.pi_model(NOTHING, view=FLIP),
        lambda: paradigms.uncertainty_aware_teacher(NOTHING, teacher_view=FLIP),
        lambda: paradigms.cross_pseudo(NOTHING, twin_view=FLIP),
        lambda: paradigms.mixmatch(FLIP, target="mask"),
    ],
)
def test_a_segmenter_refuses_views_that_move_voxels(make):
    with pytest.raises(ValueError, match=r"'logits'.*\['.*flip.*move voxels"):
        evaluate(make(), plain(), DENSE)
    # The same views are welcome where the outputs have no voxels; moving both alike is too.
    both = jm.augmented(
        paradigms.pi_model(NOTHING, view=jm.augment.noise()),
        jm.augment.chain(FLIP, images=("unlabelled",), masks=()),
    )
    evaluate(both, plain(), DENSE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: paradigms.pseudo_label(NOTHING, strong=FLIP, decay=1.0), "decay"),
        (lambda: paradigms.pseudo_label(NOTHING, strong=FLIP, align=(0.5, -0.1)), "positive share"),
        (lambda: paradigms.mean_teacher(NOTHING, activation="tanh"), "activation"),
        (lambda: paradigms.uncertainty_aware_teacher(NOTHING, passes=1), "at least 2"),
        (lambda: paradigms.pi_model(NOTHING, ramp_steps=-1), "ramp_steps"),
        (lambda: paradigms.cross_pseudo(NOTHING, ramp_steps=-1), "ramp_steps"),
        (lambda: paradigms.mixmatch(FLIP, views=0), "views"),
        (lambda: paradigms.mixmatch(FLIP, temperature=0.0), "temperature and alpha"),
        (lambda: paradigms.mixup(NOTHING, alpha=0.0), "alpha"),
        (
            lambda: evaluate(
                paradigms.pseudo_label(NOTHING, strong=shift(0.0), align=(1, 1)), plain(), BATCH
            ),
            "align has 2 classes",
        ),
        (
            lambda: evaluate(paradigms.cutmix(NOTHING), plain(), BATCH),
            r"cutmix needs images \(batch, \*spatial, channels\)",
        ),
        (
            lambda: evaluate(
                paradigms.mixmatch(shift(0.0)), plain(), {**DENSE, "label": jnp.zeros(2, int)}
            ),
            "gives no class for each",
        ),
    ],
)
def test_misuse_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda **o: paradigms.mean_teacher(NOTHING, student_view=shift(LEFT), **o),
        lambda **o: paradigms.uncertainty_aware_teacher(
            NOTHING, passes=2, student_view=shift(LEFT), **o
        ),
        lambda **o: paradigms.pi_model(NOTHING, view=draws, **o),
        lambda **o: paradigms.entropy_minimisation(NOTHING, **o),
        lambda **o: paradigms.pseudo_label(NOTHING, strong=shift(LEFT), threshold=0.0, **o),
        lambda **o: paradigms.cross_pseudo(NOTHING, view=shift(LEFT), **o),
    ],
)
@pytest.mark.parametrize("inputs", ["image", "unlabelled"])
def test_padding_rows_weigh_nothing_whichever_images_are_read(make, inputs):
    objective = make(inputs=inputs)
    value, _, _ = evaluate(objective, plain(), BATCH)
    other = {**BATCH, inputs: BATCH[inputs].at[5].set(jnp.array([9.0, -9, 0]))}
    changed, _, _ = evaluate(objective, plain(), other)
    np.testing.assert_allclose(changed, value, rtol=1e-6)
    assert float(value) > 0
    name = "weight" if inputs == "image" else "weight_unlabelled"
    unweighted, _, _ = evaluate(objective, plain(), {**other, name: jnp.ones(6)})
    assert abs(float(unweighted) - float(value)) > 1e-4
