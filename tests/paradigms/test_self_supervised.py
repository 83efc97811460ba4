"""What each self-supervised paradigm computes, against NumPy and values by hand."""

from __future__ import annotations

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rows._evaluate import IDENTITY, KEY, begin, evaluate, plain, refused, shift

import jaxmed as jm
from jaxmed import networks, paradigms
from jaxmed.core import from_functions, stream
from jaxmed.paradigms.self_supervised import _context, _masks

RNG = np.random.default_rng(7)
X = RNG.normal(size=(5, 4)).astype(np.float32)
DELTA = RNG.normal(size=(5, 4)).astype(np.float32)
BATCH = {
    "image": jnp.asarray(X),
    "label": jnp.array([0, 1, 0, -1, 1]),
    "weight": jnp.array([1.0, 2, 1, 1, 0]),
}
WEIGHT = np.asarray(BATCH["weight"])
VIEWS = (shift(0.0), shift(jnp.asarray(DELTA)))
FEATURES = plain("features")


def unit(x):
    return x / np.sqrt((x**2).sum(-1, keepdims=True))


def average(values, weight=WEIGHT):
    return (values * weight).sum() / weight.sum()


def by_hand(groups, temperature):
    """The contrastive loss by loops; ``groups[i]``: what example i is a partner of, or None."""
    views = [(i, z) for i in range(5) for z in (unit(X)[i], unit(X + DELTA)[i]) if WEIGHT[i] > 0]
    # Lengths are taken after the shift: both views are scaled by themselves.
    values = np.zeros(5)
    for a, (i, z) in enumerate(views):
        others = [(j, np.exp(z @ w / temperature)) for b, (j, w) in enumerate(views) if b != a]
        total = sum(e for _, e in others)
        partners = [
            e for j, e in others if j == i or (groups[i] is not None and groups[i] == groups[j])
        ]
        values[i] += -np.mean([np.log(e / total) for e in partners]) / 2
    return average(values)


def test_nt_xent_by_loops():
    objective = paradigms.simclr(*VIEWS, projector=IDENTITY, temperature=0.3)
    value, _, metrics = evaluate(objective, FEATURES, BATCH)
    np.testing.assert_allclose(value, by_hand([None] * 5, 0.3), rtol=1e-5)
    np.testing.assert_array_equal(metrics["contrast"], value)


def test_supervised_contrast_by_loops():
    options = {"projector": IDENTITY, "temperature": 0.3}
    known = paradigms.supervised_contrast(*VIEWS, known=lambda label: label >= 0, **options)
    value, *_ = evaluate(known, FEATURES, BATCH)
    np.testing.assert_allclose(value, by_hand([0, 1, 0, None, 1], 0.3), rtol=1e-5)
    value, *_ = evaluate(paradigms.supervised_contrast(*VIEWS, **options), FEATURES, BATCH)
    np.testing.assert_allclose(value, by_hand([0, 1, 0, -1, 1], 0.3), rtol=1e-5)


def test_the_queue_holds_the_newest_real_projections():
    objective = paradigms.moco(*VIEWS, queue=6, projector=IDENTITY, temperature=0.3, decay=0.9)
    params, state = begin(objective, FEATURES, BATCH)
    old = np.asarray(state["obj"]["queue"])
    np.testing.assert_allclose((old**2).sum(1), 1, rtol=1e-5)
    value, after, _ = evaluate(objective, FEATURES, BATCH, params=params, state=state)
    q, k = unit(X), unit(X + DELTA)
    positive = np.exp((q * k).sum(1) / 0.3)
    expected = -np.log(positive / (positive + np.exp(q @ old.T / 0.3).sum(1)))
    np.testing.assert_allclose(value, average(expected), rtol=1e-5)
    # Four of five rows are real: as many of the oldest have left.
    np.testing.assert_allclose(
        after["obj"]["queue"], np.concatenate([k[:4], old[:2]]), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("decay", "rates"), [(0.9, (0.9, 0.9)), (lambda step: 0.8 + 0.15 * step, (0.8, 0.95))]
)
@pytest.mark.parametrize("name", ["moco", "byol", "dino"])
def test_momentum_encoders_follow(name, decay, rates):
    network = from_functions(
        lambda key, x: {"w": jnp.eye(4)}, lambda params, x: {"features": x @ params["w"]}
    )
    head = nn.Dense(3)
    objective = {
        "moco": lambda: paradigms.moco(*VIEWS, queue=3, projector=head, decay=decay),
        "byol": lambda: paradigms.byol(*VIEWS, projector=head, predictor=head, decay=decay),
        "dino": lambda: paradigms.dino(*VIEWS, head=head, decay=decay),
    }[name]()
    run = jm.learner(network, objective, optax.sgd(0.5))
    before, step = jax.jit(run.init)(jax.random.key(0), BATCH), jax.jit(run.step)
    for rate in rates:
        after, _ = step(before, BATCH)
        old, teacher = (state.state["obj"]["teacher"]["params"] for state in (before, after))
        assert jnp.abs(after.params["net"]["w"] - before.params["net"]["w"]).max() > 0
        own = set(teacher["obj"])
        assert own == ({"head"} if name == "dino" else {"projector"})
        for path in (("net", "w"), ("obj", next(iter(own)), "kernel")):
            leaves = [teacher, old, after.params]
            for part in path:
                leaves = [leaf[part] for leaf in leaves]
            expected = rate * leaves[1] + (1 - rate) * leaves[2]
            np.testing.assert_allclose(leaves[0], expected, rtol=1e-5, atol=1e-7)
        before = after


def test_the_schedule_that_the_docs_name_is_the_published_one():
    schedule = optax.cosine_decay_schedule(0.996, 50, alpha=1 / 0.996)
    steps = np.arange(51)
    expected = 1 - (1 - 0.996) * (np.cos(np.pi * steps / 50) + 1) / 2
    np.testing.assert_allclose(schedule(steps), expected, rtol=1e-6)


def test_byol_and_simsiam_are_distances_of_directions():
    half = from_functions(lambda key, x: {}, lambda params, x: x * jnp.array([1.0, 0, 0, 2]))
    one, two = X, X + DELTA
    scale = np.array([1.0, 0, 0, 2])
    expected = sum(2 - 2 * (unit(p * scale) * unit(z)).sum(1) for p, z in ((one, two), (two, one)))
    for make in (paradigms.byol, paradigms.simsiam):
        objective = make(*VIEWS, projector=IDENTITY, predictor=half)
        value, *_ = evaluate(objective, FEATURES, BATCH)
        np.testing.assert_allclose(value, average(expected), rtol=1e-5)


def test_no_gradient_flows_through_the_target():
    network = from_functions(
        lambda key, x: {"w": jnp.eye(4)}, lambda params, x: {"features": x @ params["w"]}
    )
    objective = paradigms.simsiam(*VIEWS, projector=IDENTITY, predictor=IDENTITY)
    params, state = begin(objective, network, BATCH)
    loss = jax.grad(lambda p: objective.loss(network, p, state, BATCH, KEY)[0])
    got = jax.jit(loss)(params)["net"]["w"]

    def whole(w):
        one, two = X @ w, (X + DELTA) @ w
        cosine = (one * two).sum(1) / jnp.linalg.norm(one, axis=1) / jnp.linalg.norm(two, axis=1)
        return ((4 - 4 * cosine) * WEIGHT).sum() / WEIGHT.sum()

    # Each cosine stands there twice, once with either side held still: half of the whole.
    np.testing.assert_allclose(got, jax.jit(jax.grad(whole))(np.eye(4)) / 2, rtol=1e-4, atol=1e-6)


def test_vicreg_by_hand():
    # NumPy's weights of examples: whole numbers of repeats.
    objective = paradigms.vicreg(
        *VIEWS, invariance=2.0, variance=3.0, covariance=5.0, projector=IDENTITY
    )
    value, _, metrics = evaluate(objective, FEATURES, BATCH)
    one, two = (np.repeat(x, WEIGHT.astype(int), axis=0) for x in (X, X + DELTA))
    invariance = ((one - two) ** 2).mean()
    variance = covariance = 0.0
    for z in (one, two):
        c = np.cov(z, rowvar=False)
        variance += np.maximum(0, 1 - np.sqrt(np.diag(c) + 1e-4)).mean() / 2
        covariance += ((c**2).sum() - (np.diag(c) ** 2).sum()) / 4
    assert variance > 0
    np.testing.assert_allclose(metrics["variance"], variance, rtol=1e-4)
    np.testing.assert_allclose(metrics["covariance"], covariance, rtol=1e-4)
    np.testing.assert_allclose(value, 2 * invariance + 3 * variance + 5 * covariance, rtol=1e-4)


def test_barlow_twins_by_hand():
    objective = paradigms.barlow_twins(*VIEWS, redundancy=0.1, projector=IDENTITY)
    value, *_ = evaluate(objective, FEATURES, BATCH)
    one, two = (np.repeat(x, WEIGHT.astype(int), axis=0) for x in (X, X + DELTA))
    c = np.corrcoef(one, two, rowvar=False)[:4, 4:]
    on = ((1 - np.diag(c)) ** 2).sum()
    off = (c**2).sum() - (np.diag(c) ** 2).sum()
    np.testing.assert_allclose(value, on + 0.1 * off, rtol=1e-3)


def test_dino_by_hand():
    objective = paradigms.dino(
        *VIEWS,
        crop=shift(0.5),
        crops=2,
        temperature=0.4,
        teacher_temperature=lambda step: 0.1 * step,
        centre_decay=0.7,
        head=IDENTITY,
    )
    params, state = begin(objective, FEATURES, BATCH)
    state["obj"]["step"] = jnp.asarray(2)
    centre = np.array([0.3, -0.1, 0.0, 0.2], np.float32)
    state["obj"]["centre"] = jnp.asarray(centre)
    value, after, metrics = evaluate(objective, FEATURES, BATCH, params=params, state=state)

    def softmax(x):
        e = np.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    views = [X, X + DELTA, X + 0.5, X + 0.5]
    targets = [softmax((v - centre) / 0.2) for v in views[:2]]
    pairs = [
        -(target * np.log(softmax(views[w] / 0.4))).sum(1)
        for v, target in enumerate(targets)
        for w in range(4)
        if v != w
    ]
    assert len(pairs) == 6
    np.testing.assert_allclose(value, average(np.mean(pairs, axis=0)), rtol=1e-4)
    now = np.array([average(column) for column in (X + DELTA / 2).T])
    np.testing.assert_allclose(after["obj"]["centre"], 0.7 * centre + 0.3 * now, rtol=1e-4)
    entropy = np.mean([-(t * np.log(t)).sum(1) for t in targets], axis=0)
    np.testing.assert_allclose(metrics["teacher_entropy"], average(entropy), rtol=1e-4)


def test_prototypes_are_met_by_cosine():
    head = paradigms.PrototypeHead(6, hidden=(5,), bottleneck=3)
    variables = jax.jit(head.init)(KEY, BATCH["image"])
    apply = jax.jit(head.apply)
    logits = apply(variables, BATCH["image"])["logits"]
    assert logits.shape == (5, 6)
    assert np.abs(logits).max() <= 1 + 1e-6
    longer = jax.tree.map(lambda p: p, variables)
    longer["params"]["prototypes"] = 3 * variables["params"]["prototypes"]
    np.testing.assert_allclose(apply(longer, BATCH["image"])["logits"], logits, rtol=1e-4)


IMAGES = {
    "image": jnp.asarray(RNG.normal(size=(3, 6, 4, 2)).astype(np.float32)),
    "weight": jnp.array([1.0, 2.0, 0.0]),
}
IMAGE_WEIGHT = np.asarray(IMAGES["weight"])


def test_autoencoders_by_hand():
    noise = jm.augment.noise()
    objective = paradigms.autoencoder(shift(0.5), sparsity=0.1, decoder=IDENTITY)
    value, _, metrics = evaluate(objective, plain("pyramid"), IMAGES)
    seen = np.asarray(IMAGES["image"]) + 0.5
    code = average(np.abs(seen).mean((1, 2, 3)), IMAGE_WEIGHT)
    np.testing.assert_allclose(metrics["reconstruction"], 0.25, rtol=1e-5)
    np.testing.assert_allclose(value, 0.25 + 0.1 * code, rtol=1e-5)
    # The coarsest map of several, and a decoder of the images' shape, by default.
    cnn = jm.from_linen(networks.cnn(features=(3, 5), norm="none"))
    params, _ = jax.jit(lambda: begin(paradigms.autoencoder(noise), cnn, IMAGES))()
    assert params["obj"]["decoder"]["up1"]["kernel"].shape == (2, 2, 5, 64)


def test_inpainting_is_judged_inside_the_holes():
    objective = paradigms.inpainting(holes=2, size=(0.3, 0.6), decoder=IDENTITY)
    value, _, metrics = evaluate(objective, plain("pyramid"), IMAGES)
    own = stream(stream(KEY, "inpainting"), "holes")
    holes = np.asarray(_masks.boxes(own, 3, (6, 4), (0.3, 0.6), 2))
    x = np.asarray(IMAGES["image"])
    wrong = np.where(holes, x - x.mean((1, 2), keepdims=True), 0) ** 2
    values = wrong.sum((1, 2, 3)) / (2 * holes.sum((1, 2, 3)))
    np.testing.assert_allclose(value, average(values, IMAGE_WEIGHT), rtol=1e-5)
    np.testing.assert_allclose(
        metrics["hidden"], average(holes.mean((1, 2, 3)), IMAGE_WEIGHT), rtol=1e-5
    )


def test_a_box_is_a_box_of_the_size_asked_for():
    holes = np.asarray(jax.jit(lambda: _masks.boxes(KEY, 40, (10, 8, 5), (0.2, 0.5), 1))())[..., 0]
    for hole in holes:
        at = np.argwhere(hole)
        edge = at.max(0) - at.min(0) + 1
        assert hole.sum() == edge.prod()
        assert (edge >= [2, 2, 1]).all()
        assert (edge <= [5, 4, 3]).all()
    assert len({tuple(np.argwhere(hole).min(0)) for hole in holes}) > 20


def test_patches_are_row_major():
    image = jnp.arange(2 * 4 * 6 * 1.0).reshape(2, 4, 6, 1)
    patches = np.asarray(_masks.patchify(image, (2, 3)))
    assert patches.shape == (2, 4, 6)
    np.testing.assert_array_equal(patches[1, 1].reshape(2, 3), image[1, :2, 3:, 0])
    np.testing.assert_array_equal(patches[0, 2].reshape(2, 3), image[0, 2:, :3, 0])
    painted = _masks.paint(jnp.array([[1, 2, 3, 4]]), (2, 2), (2, 3))
    assert painted[0, :, :, 0].tolist() == [[1, 1, 1, 2, 2, 2]] * 2 + [[3, 3, 3, 4, 4, 4]] * 2
    visible, restore = _masks.shuffled_patches(KEY, 3, 10, 4)
    order = np.argsort(restore, axis=1)
    np.testing.assert_array_equal(order[:, :4], visible)
    np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(10), (3, 1)))


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
def test_hidden_patches_are_what_counts(drop, normalise):
    """A network that knows what it is shown, and guesses 0 for the rest."""

    def tokens(params, x):
        if not isinstance(x, dict):
            return {"tokens": _masks.patchify(x, (3, 2))}
        patches = _masks.patchify(x["image"], (3, 2))
        return {"tokens": jnp.take_along_axis(patches, x["visible"][..., None], axis=1)}

    def restored(params, x):
        none = jnp.zeros((3, 4 - x["tokens"].shape[1], 12))
        return jnp.take_along_axis(
            jnp.concatenate([x["tokens"], none], axis=1), x["restore"][..., None], axis=1
        )

    if drop:
        network = from_functions(lambda key, x: {}, tokens)
        decoder = from_functions(lambda key, x: {}, restored)
    else:
        network, decoder = plain("pyramid"), IDENTITY
    objective = paradigms.masked_autoencoder(
        (3, 2), ratio=0.5, drop=drop, normalise=normalise, decoder=decoder
    )
    value, *_ = evaluate(objective, network, IMAGES)
    own = stream(stream(KEY, "masked_autoencoder"), "order")
    _, restore = _masks.shuffled_patches(own, 3, 4, 2)
    hidden = np.asarray(restore) >= 2
    target = np.asarray(_masks.patchify(IMAGES["image"], (3, 2)))
    if normalise:
        target = (target - target.mean(-1, keepdims=True)) / target.std(-1, keepdims=True)
    values = ((target**2).mean(-1) * hidden).sum(1) / 2
    np.testing.assert_allclose(value, average(values, IMAGE_WEIGHT), rtol=1e-4)


def captured(objective, batch):
    """What the network was shown in training."""

    @jax.jit
    def show(batch):
        shown = []

        def apply(params, x):
            shown.append(x)
            return {"features": x.reshape(len(x), -1)}

        network = from_functions(lambda key, x: {}, apply)
        objective.loss(network, *begin(objective, network, batch), batch, KEY)
        return shown[-1]

    return np.asarray(show(batch))


@pytest.mark.parametrize("spatial", [(5, 5), (4, 4, 4)])
def test_images_are_turned_as_the_answer_says(spatial):
    batch = {"image": jnp.asarray(RNG.normal(size=(12, *spatial, 1)).astype(np.float32))}
    turned = captured(paradigms.rotation(), batch)
    pairs = list(itertools.combinations(range(len(spatial)), 2))
    classes = [(0, pairs[0]), *itertools.product((1, 2, 3), pairs)]
    assert len(classes) == {2: 4, 3: 10}[len(spatial)]
    key = stream(stream(KEY, "rotation"), "turn")
    answers = np.asarray(jax.random.randint(key, (12,), 0, len(classes)))
    assert len(set(answers)) > 2
    for image, shown, answer in zip(np.asarray(batch["image"]), turned, answers, strict=True):
        k, axes = classes[answer]
        np.testing.assert_array_equal(shown, np.rot90(image, k, axes))


def test_tiles_cover_the_image_where_there_is_no_margin():
    image = jnp.arange(2 * 6 * 9.0).reshape(2, 6, 9, 1)
    cells = np.asarray(_context.tiles(KEY, image, 3, 0.0))
    assert cells.shape == (2, 9, 2, 3, 1)
    np.testing.assert_array_equal(cells[1, 5], image[1, 2:4, 6:])
    margin = np.asarray(_context.tiles(KEY, image, 3, 0.5))
    assert margin.shape == (2, 9, 1, 1, 1)
    for i, cell in itertools.product(range(2), range(9)):
        assert margin[i, cell].item() in cells[i, cell]


def test_the_middle_and_the_neighbour_that_the_answer_says():
    batch = {"image": jnp.asarray(RNG.normal(size=(9, 6, 6, 1)).astype(np.float32))}
    objective = paradigms.relative_position(margin=0.0)
    shown = captured(objective, batch).reshape(9, 2, 2, 2, 1)
    key = stream(KEY, "relative_position")
    answers = np.asarray(jax.random.randint(stream(key, "side"), (9,), 0, 8))
    for image, (middle, other), answer in zip(batch["image"], shown, answers, strict=True):
        np.testing.assert_array_equal(middle, image[2:4, 2:4])
        row, column = divmod(answer + (answer >= 4), 3)
        np.testing.assert_array_equal(
            other, image[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        )


def test_a_jigsaw_shows_its_tiles_in_the_order_that_the_answer_says():
    batch = {"image": jnp.asarray(RNG.normal(size=(5, 4, 4, 4, 1)).astype(np.float32))}
    shown = captured(paradigms.jigsaw(margin=0.0, permutations=10), batch).reshape(5, 8, 2, 2, 2, 1)
    table = _context.orders(8, 10)
    key = stream(stream(KEY, "jigsaw"), "order")
    answers = np.asarray(jax.random.randint(key, (5,), 0, 10))
    for image, tiles, answer in zip(np.asarray(batch["image"]), shown, answers, strict=True):
        for tile, cell in zip(tiles, table[answer], strict=True):
            a, b, c = (2 * int(bit) for bit in f"{cell:03b}")
            np.testing.assert_array_equal(tile, image[a : a + 2, b : b + 2, c : c + 2])


@pytest.mark.parametrize(("n", "count", "least"), [(4, 24, 2), (4, 4, 4), (8, 24, 6), (9, 64, 6)])
def test_orders_differ_in_many_places(n, count, least):
    table = _context.orders(n, count)
    assert table.shape == (count, n)
    np.testing.assert_array_equal(np.sort(table, axis=1), np.tile(np.arange(n), (count, 1)))
    distances = [(a != b).sum() for a, b in itertools.combinations(table, 2)]
    assert min(distances) >= least
    assert len(_context.orders(3, 100)) == 6


def test_the_head_of_a_pretext_task_answers():
    # One that always says class 2 with certainty is right as often as that is drawn.
    sure = from_functions(
        lambda key, x: {}, lambda params, x: 50.0 * jax.nn.one_hot(jnp.full(len(x), 2), 4)
    )
    batch = {"image": jnp.ones((12, 5, 5, 1))}
    network = from_functions(lambda key, x: {}, lambda p, x: {"features": x.reshape(len(x), -1)})
    value, _, metrics = evaluate(paradigms.rotation(head=sure), network, batch)
    answers = jax.random.randint(stream(stream(KEY, "rotation"), "turn"), (12,), 0, 4)
    np.testing.assert_allclose(metrics["accuracy"], (answers == 2).mean())
    np.testing.assert_allclose(value, 50 * (answers != 2).mean(), rtol=1e-5)


def test_dense_contrast_by_loops():
    delta = jnp.asarray(RNG.normal(size=(3, 6, 4, 2)).astype(np.float32))
    objective = paradigms.dense_contrast(
        shift(0.0), shift(delta), samples=7, projector=IDENTITY, temperature=0.5
    )
    value, *_ = evaluate(objective, plain("pyramid"), IMAGES)
    key = stream(stream(KEY, "dense_contrast"), "places")
    places = np.asarray(jax.random.randint(key, (3, 7), 0, 24))
    assert any(len(set(row)) < 7 for row in places)  # some place is drawn twice
    values = np.zeros(3)
    x = np.asarray(IMAGES["image"]).reshape(3, 24, 2)
    y = x + np.asarray(delta).reshape(3, 24, 2)
    for i, row in enumerate(places):
        z = unit(np.concatenate([x[i, row], y[i, row]]))
        at = [*row, *row]
        for a in range(14):
            e = np.exp(z @ z[a] / 0.5)
            total = e.sum() - e[a]
            partners = [e[b] for b in range(14) if b != a and at[b] == at[a]]
            values[i] += -np.mean(np.log(np.array(partners) / total)) / 14
    np.testing.assert_allclose(value, average(values, IMAGE_WEIGHT), rtol=1e-4)


MAPS, VECTORS = plain("pyramid"), FEATURES
FLIP = jm.augment.flip()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: paradigms.simclr(FLIP, temperature=0.0), ValueError, "temperature"),
        (lambda: paradigms.moco(FLIP, queue=0), ValueError, "queue"),
        (lambda: paradigms.moco(FLIP, decay=1.0), ValueError, "decay"),
        (lambda: paradigms.byol(FLIP, decay=-0.1), ValueError, "decay"),
        (lambda: paradigms.dino(FLIP, crops=2), ValueError, "both or neither"),
        (lambda: paradigms.dino(FLIP, temperature=0.0), ValueError, "temperatures"),
        (lambda: paradigms.dense_contrast(FLIP, samples=1), ValueError, "samples"),
        (lambda: paradigms.autoencoder(sparsity=-1.0), ValueError, "sparsity"),
        (lambda: paradigms.inpainting(holes=0), ValueError, "inpainting needs at least 1 hole"),
        (lambda: paradigms.inpainting(size=(0.5, 0.2)), ValueError, "inpainting needs"),
        (lambda: paradigms.masked_autoencoder(2, ratio=1.0), ValueError, "ratio"),
        (lambda: paradigms.jigsaw(grid=1), ValueError, "grid"),
        (lambda: paradigms.jigsaw(margin=1.0), ValueError, "margin"),
        (
            lambda: refused(paradigms.simclr(FLIP, output="pyramid"), MAPS, IMAGES),
            ValueError,
            r"'pyramid' must be \(batch, features\)",
        ),
        (
            lambda: refused(paradigms.byol(FLIP), MAPS, IMAGES),
            KeyError,
            r"no 'features'; it has \['pyramid'\]",
        ),
        (
            lambda: refused(
                paradigms.supervised_contrast(*VIEWS, projector=IDENTITY),
                VECTORS,
                {**BATCH, "label": jnp.zeros((5, 2), int)},
            ),
            ValueError,
            "one class per example",
        ),
        (
            lambda: refused(paradigms.dense_contrast(*VIEWS, output="features"), VECTORS, BATCH),
            ValueError,
            "must be a map",
        ),
        (
            lambda: refused(paradigms.dense_contrast(FLIP, projector=IDENTITY), MAPS, IMAGES),
            ValueError,
            "move voxels",
        ),
        (
            lambda: refused(paradigms.autoencoder(FLIP, decoder=IDENTITY), MAPS, IMAGES),
            ValueError,
            "move voxels",
        ),
        (
            lambda: refused(
                paradigms.autoencoder(decoder=nn.Dense(3), level=0), MAPS, IMAGES
            ),
            ValueError,
            r"the decoder gives \(3, 6, 4, 3\) for images \(3, 6, 4, 2\)",
        ),
        (
            lambda: refused(paradigms.masked_autoencoder(4), MAPS, IMAGES),
            ValueError,
            "do not divide the spatial shape",
        ),
        (
            lambda: refused(
                paradigms.masked_autoencoder(2, drop=True),
                jm.from_linen(networks.vit(patch=(3, 2), width=8, depth=1, heads=1)),
                IMAGES,
            ),
            ValueError,
            "give the patch that the network has",
        ),
        (lambda: refused(paradigms.rotation(), MAPS, IMAGES), ValueError, "of one length"),
        (
            lambda: refused(paradigms.rotation(planes=[(0, 2)]), MAPS, IMAGES),
            ValueError,
            "not a plane of the images",
        ),
        (
            lambda: refused(paradigms.jigsaw(grid=5), MAPS, IMAGES),
            ValueError,
            "5 cells along each axis do not fit",
        ),
    ],
)  # fmt: skip
def test_misuse_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
