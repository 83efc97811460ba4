"""Closed forms, hand-worked values, and independent NumPy and scikit-learn oracles."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import special
from sklearn import metrics as sk

import jaxmed as jm
from jaxmed import losses

RNG = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order():
    global RNG
    RNG = np.random.default_rng(3)


def _run(loss, outputs, targets, where=None, **options):
    """One compiled program: eager calls would compile every operation for itself."""
    outputs, targets = jax.tree.map(jnp.asarray, (outputs, targets))
    return jax.jit(partial(loss, **options))(outputs, targets, where=where)


def _probabilities(shape, classes):
    logits = RNG.normal(size=(*shape, classes))
    return logits, special.softmax(logits, -1)


def test_cross_entropy_is_scikit_learns_log_loss():
    logits, p = _probabilities((50,), 4)
    y = RNG.integers(0, 4, 50)
    value = _run(losses.cross_entropy, logits, y)
    assert float(value.mean()) == pytest.approx(sk.log_loss(y, p, labels=range(4)), rel=1e-5)
    one_hot = np.eye(4)[y]
    np.testing.assert_allclose(_run(losses.cross_entropy, logits, one_hot), value, rtol=1e-6)


def test_cross_entropy_smoothing_and_weights_by_numpy():
    logits, p = _probabilities((6, 3, 2), 3)
    y = RNG.integers(0, 3, (6, 3, 2))
    w = np.array([0.2, 1.0, 3.0])
    share = 0.8 * np.eye(3)[y] + 0.2 / 3
    expected = -(w * share * np.log(p)).sum(-1).reshape(6, -1).mean(1)
    value = _run(losses.cross_entropy, logits, y, class_weights=w, label_smoothing=0.2)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_a_class_weight_scales_the_loss_of_its_examples():
    logits, _ = _probabilities((3,), 2)
    plain = _run(losses.cross_entropy, logits, np.array([0, 1, 1]))
    heavy = _run(losses.cross_entropy, logits, np.array([0, 1, 1]), class_weights=[1.0, 5.0])
    np.testing.assert_allclose(heavy, plain * np.array([1, 5, 5]), rtol=1e-6)


def test_where_as_a_weight_is_a_weighted_mean():
    logits, p = _probabilities((2, 4), 3)
    y = RNG.integers(0, 3, (2, 4))
    w = RNG.uniform(size=(2, 4))
    nll = -np.log(np.take_along_axis(p, y[..., None], -1))[..., 0]
    value = _run(losses.cross_entropy, logits, y, where=w)
    np.testing.assert_allclose(value, (nll * w).sum(1) / w.sum(1), rtol=1e-5)


def test_focal_without_focus_is_cross_entropy_and_with_it_the_formula():
    logits, p = _probabilities((5, 2, 2), 3)
    y = RNG.integers(0, 3, (5, 2, 2))
    np.testing.assert_allclose(
        _run(losses.focal, logits, y, gamma=0.0), _run(losses.cross_entropy, logits, y), rtol=1e-5
    )
    p_true = np.take_along_axis(p, y[..., None], -1)[..., 0]
    w = np.array([1.0, 2.0, 3.0])
    expected = (-w[y] * (1 - p_true) ** 1.5 * np.log(p_true)).reshape(5, -1).mean(1)
    value = _run(losses.focal, logits, y, gamma=1.5, class_weights=w)
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    soft = _run(losses.focal, logits, np.eye(3)[y], gamma=1.5, class_weights=w)
    np.testing.assert_allclose(soft, value, rtol=1e-5)


def test_robust_losses_are_their_formulas():
    logits, p = _probabilities((6, 2), 3)
    y = RNG.integers(0, 3, (6, 2))
    p_true = np.take_along_axis(p, y[..., None], -1)[..., 0]
    for q in (0.3, 1.0):
        value = _run(losses.generalised_cross_entropy, logits, y, q=q)
        np.testing.assert_allclose(value, ((1 - p_true**q) / q).mean(1), rtol=1e-4)
    near = _run(losses.generalised_cross_entropy, logits, y, q=1e-3)
    np.testing.assert_allclose(near, _run(losses.cross_entropy, logits, y), rtol=1e-2)
    value = _run(losses.symmetric_cross_entropy, logits, y, alpha=0.5, beta=2.0, floor=-6.0)
    expected = (-0.5 * np.log(p_true) + 2.0 * 6 * (1 - p_true)).mean(1)
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    shares = RNG.dirichlet(np.ones(3), (6, 2))
    value = _run(losses.symmetric_cross_entropy, logits, shares, alpha=1.0, beta=1.0)
    floored = np.log(np.maximum(shares, np.exp(-4)))
    expected = -(shares * np.log(p) + p * floored).sum(-1).mean(1)
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_forward_correction_is_least_at_the_true_probabilities():
    transition = np.array([[0.7, 0.3, 0.0], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    logits, p = _probabilities((4, 2), 3)
    y = RNG.integers(0, 3, (4, 2))
    value = _run(losses.forward_corrected, logits, y, transition=transition)
    written = np.take_along_axis(p @ transition, y[..., None], -1)[..., 0]
    np.testing.assert_allclose(value, -np.log(written).mean(1), rtol=1e-4)
    plain = _run(losses.forward_corrected, logits, y, transition=np.eye(3))
    np.testing.assert_allclose(plain, _run(losses.cross_entropy, logits, y), rtol=1e-5)
    true = np.array([0.5, 0.3, 0.2])
    said = (true @ transition)[None]
    slope = jax.grad(lambda x: losses.forward_corrected(x, said, transition=transition)[0])
    np.testing.assert_allclose(slope(jnp.log(true)[None]), 0, atol=1e-6)


def test_losses_of_rare_classes_are_their_formulas():
    logits, _ = _probabilities((6, 2), 3)
    y = RNG.integers(0, 3, (6, 2))
    prior = np.array([0.7, 0.2, 0.1])
    log_p = special.log_softmax(logits + 0.5 * np.log(prior), axis=-1)
    expected = -np.take_along_axis(log_p, y[..., None], -1)[..., 0].mean(1)
    value = _run(losses.logit_adjusted, logits, y, prior=prior, tau=0.5)
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    counts = np.array([160, 20, 10])
    width = 0.4 * (10 / counts) ** 0.25
    shifted = 3 * (logits - width * np.eye(3)[y])
    expected = -np.take_along_axis(special.log_softmax(shifted, -1), y[..., None], -1)[..., 0]
    value = _run(losses.ldam, logits, y, counts=counts, margin=0.4, scale=3.0)
    np.testing.assert_allclose(value, expected.mean(1), rtol=1e-4)


def test_class_balanced_weights_are_inverse_effective_numbers():
    counts = np.array([5000, 50, 1])
    number = np.array([sum(0.99**i for i in range(n)) for n in counts])
    found = losses.class_balanced_weights(counts, beta=0.99)
    np.testing.assert_allclose(found / found[0], number[0] / number, rtol=1e-9)
    assert found.sum() == pytest.approx(3)
    np.testing.assert_allclose(losses.class_balanced_weights(counts, beta=0.0), 1)
    inverse = losses.class_balanced_weights(counts, beta=1.0)
    np.testing.assert_allclose(inverse * counts, inverse[2])
    near = losses.class_balanced_weights(counts, beta=1 - 1e-12)
    np.testing.assert_allclose(near, inverse, rtol=1e-3)


def test_adjusted_logits_are_the_best_for_the_balanced_error():
    """Two normal classes of which one is rare: what is learned is their likelihood ratio."""
    x = np.linspace(-3, 4, 400)
    dens = np.stack([np.exp(-(x**2) / 2), np.exp(-((x - 1) ** 2) / 2)], 1)
    prior = np.array([0.95, 0.05])
    posterior = dens * prior / (dens * prior).sum(1, keepdims=True)
    slope = jax.jit(jax.grad(lambda z: losses.logit_adjusted(z, posterior, prior=prior).sum()))
    logits = jnp.zeros((400, 2))
    for _ in range(400):
        logits = logits - 4.0 * slope(logits)
    wanted = dens.argmax(1)
    assert (np.asarray(logits).argmax(1) == wanted).mean() > 0.99
    assert (posterior.argmax(1) == wanted).mean() < 0.8


def test_sigmoid_focal_is_optax():
    logits, y = RNG.normal(size=(6, 4)).astype(np.float32), RNG.integers(0, 2, (6, 4))
    value = _run(losses.focal, logits, y, activation="sigmoid", alpha=0.25)
    oracle = jax.jit(partial(optax.sigmoid_focal_loss, alpha=0.25, gamma=2.0))(logits, y)
    np.testing.assert_allclose(value, oracle.mean(1), rtol=1e-4)


def test_binary_cross_entropy_forms():
    x = RNG.normal(size=40)
    y = RNG.integers(0, 2, 40)
    value = _run(losses.binary_cross_entropy, x, y)
    assert float(value.mean()) == pytest.approx(sk.log_loss(y, special.expit(x)), rel=1e-5)
    np.testing.assert_array_equal(_run(losses.binary_cross_entropy, x[:, None], y), value)
    weighted = _run(losses.binary_cross_entropy, x, y, pos_weight=3.0)
    np.testing.assert_allclose(weighted, value * np.where(y == 1, 3, 1), rtol=1e-6)
    smooth = _run(losses.binary_cross_entropy, x, y, label_smoothing=0.2)
    np.testing.assert_allclose(
        smooth, 0.9 * value + 0.1 * _run(losses.binary_cross_entropy, x, 1 - y), rtol=1e-5
    )


def test_two_class_softmax_is_the_sigmoid_of_the_difference():
    x = RNG.normal(size=(20, 2))
    y = RNG.integers(0, 2, 20)
    np.testing.assert_allclose(
        _run(losses.cross_entropy, x, y),
        _run(losses.binary_cross_entropy, x[:, 1] - x[:, 0], y),
        rtol=1e-4,
    )


def test_ordinal_is_the_sum_of_its_binary_questions():
    x, y = RNG.normal(size=(8, 3)), RNG.integers(0, 4, 8)
    questions = [_run(losses.binary_cross_entropy, x[:, k], y > k) for k in range(3)]
    np.testing.assert_allclose(_run(losses.ordinal, x, y), sum(questions), rtol=1e-5)
    second = _run(losses.ordinal, x, y, importance=[0.0, 2.0, 0.0])
    np.testing.assert_allclose(second, 2 * questions[1], rtol=1e-5)


def test_ordinal_probabilities_are_differences_of_the_cumulative_ones():
    x = np.sort(RNG.normal(size=(10, 4)))[:, ::-1]  # consistent: falling
    above = np.concatenate([np.ones((10, 1)), special.expit(x), np.zeros((10, 1))], 1)
    probabilities = jax.jit(losses.ordinal_probabilities)
    p = probabilities(x.copy())
    np.testing.assert_allclose(p, -np.diff(above, axis=1), atol=1e-6)
    inconsistent = np.asarray(probabilities(RNG.normal(size=(10, 4)) * 5))
    assert inconsistent.min() >= 0
    np.testing.assert_allclose(inconsistent.sum(-1), 1, atol=1e-6)


def test_regression_losses_by_hand_and_missing_targets():
    x, y = jnp.array([[1.0, 5.0], [0.0, 2.0]]), jnp.array([[0.0, jnp.nan], [jnp.nan, jnp.nan]])
    where = ~jnp.isnan(y)
    for loss, expected in ((losses.mse, 1.0), (losses.mae, 1.0), (losses.huber, 0.5)):
        value = _run(loss, x, y, where=where)
        np.testing.assert_array_equal(value, [expected, 0.0])
        gradient = jax.jit(jax.grad(lambda x, f=loss: _run(f, x, y, where=where).sum()))(x)
        assert np.isfinite(gradient).all()
    np.testing.assert_allclose(
        _run(losses.huber, jnp.array([4.0]), jnp.array([0.0]), delta=2.0), [6.0]
    )
    np.testing.assert_array_equal(_run(losses.mse, x[:, :1], jnp.array([0.0, 1.0])), [1.0, 1.0])


def _numpy_dice(p, t, smooth=1e-5):
    """Per case and class, straight from the formula."""
    p, t = (a.reshape(a.shape[0], -1, a.shape[-1]) for a in (p, t))
    return (2 * (p * t).sum(1) + smooth) / (p.sum(1) + t.sum(1) + smooth)


def test_dice_by_numpy_with_and_without_background():
    logits, p = _probabilities((3, 4, 4), 3)
    y = RNG.integers(0, 3, (3, 4, 4))
    score = _numpy_dice(p, np.eye(3)[y])
    np.testing.assert_allclose(_run(losses.dice, logits, y), 1 - score[:, 1:].mean(1), rtol=1e-5)
    np.testing.assert_allclose(
        _run(losses.dice, logits, y, include_background=True), 1 - score.mean(1), rtol=1e-5
    )
    np.testing.assert_allclose(
        _run(losses.dice, p, np.eye(3)[y], activation=None, include_background=False),
        1 - score[:, 1:].mean(1),
        rtol=1e-5,
    )
    squared = _run(losses.dice, logits, y, squared=True, include_background=True)
    t = np.eye(3)[y]
    inter, below = (p * t).sum((1, 2)), (p**2 + t**2).sum((1, 2))
    np.testing.assert_allclose(squared, 1 - (2 * inter / below).mean(1), rtol=1e-4)


def test_batch_dice_is_the_dice_of_the_concatenated_batch():
    logits, p = _probabilities((4, 3, 3), 3)
    y = RNG.integers(0, 3, (4, 3, 3))
    one_case = 1 - _numpy_dice(p.reshape(1, 12, 3, 3), np.eye(3)[y].reshape(1, 12, 3, 3))
    value = _run(losses.dice, logits, y, over="batch")
    np.testing.assert_allclose(value, np.full(4, one_case[0, 1:].mean()), rtol=1e-5)
    # The weighted mean over rows with labels is the batch score, whatever the padding.
    padded = _run(losses.dice, np.concatenate([logits, 9 * logits]), np.concatenate([y, y]),
                         where=np.repeat([1, 0], 4), over="batch")  # fmt: skip
    np.testing.assert_allclose(padded, np.r_[value, np.zeros(4)], rtol=1e-5)


def test_training_on_the_batch_dice_does_not_see_padding():
    """`known="weight"` keeps the padding rows out of the sums over the batch."""
    logits, y = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32), RNG.integers(0, 3, (4, 3, 3))
    objective = jm.supervised(partial(losses.dice, over="batch"), target="mask", known="weight")
    network = jm.from_functions(lambda key, x: {}, lambda params, x: x)

    @jax.jit
    def loss(weight):
        batch = {"image": jnp.asarray(logits), "mask": jnp.asarray(y), "weight": weight}
        empty = {"net": {}, "obj": {}}
        return objective.loss(network, empty, empty, batch, jax.random.key(0))[0]

    expected = _run(losses.dice, logits[:3], y[:3], over="batch")[0]
    np.testing.assert_allclose(loss(jnp.array([1.0, 1, 1, 0])), expected, rtol=1e-6)


def test_dice_of_a_perfect_and_of_a_wrong_mask():
    y = np.array([[[0, 1], [1, 2]]])
    right, wrong = 40.0 * np.eye(3)[y], 40.0 * np.eye(3)[(y + 1) % 3]
    for loss in (losses.dice, losses.generalized_dice, losses.tversky, losses.focal_tversky):
        assert float(_run(loss, right, y)[0]) == pytest.approx(0, abs=1e-5), loss
        assert float(_run(loss, wrong, y)[0]) == pytest.approx(1, abs=1e-3), loss


def test_an_empty_class_is_skipped_or_counted():
    y = np.array([[0, 0, 1, 1]])
    logits = 40.0 * np.eye(3)[np.array([[2, 0, 1, 1]])]  # a false voxel of class 2, which is empty
    assert float(_run(losses.dice, logits, y)[0]) == pytest.approx(0, abs=1e-5)
    counted = _run(losses.dice, logits, y, empty="count")
    assert float(counted[0]) == pytest.approx(0.5, abs=1e-4)
    nothing = np.zeros((1, 4), int)
    assert float(_run(losses.dice, logits, nothing)[0]) == 0
    for smooth in (0.0, 1e-5):
        run = lambda x, s=smooth: _run(losses.dice, x, nothing, smooth=s).sum()  # noqa: E731
        gradient = jax.jit(jax.grad(run))(logits)
        np.testing.assert_array_equal(gradient, 0)


def test_generalized_dice_by_numpy():
    logits, p = _probabilities((2, 5, 4), 3)
    y = RNG.integers(0, 3, (2, 5, 4))
    t = np.eye(3)[y]
    w = 1 / t.sum((1, 2)) ** 2
    expected = 1 - 2 * (w * (p * t).sum((1, 2))).sum(1) / (w * (p + t).sum((1, 2))).sum(1)
    np.testing.assert_allclose(_run(losses.generalized_dice, logits, y), expected, rtol=1e-4)
    uniform = _run(losses.generalized_dice, logits, y, weighting="uniform")
    expected = 1 - 2 * (p * t).sum((1, 2, 3)) / (p + t).sum((1, 2, 3))
    np.testing.assert_allclose(uniform, expected, rtol=1e-4)


def test_tversky_prices_and_dice_as_a_special_case():
    logits, p = _probabilities((2, 6), 3)
    y = np.array([[0, 1, 2, 2, 1, 0], [2, 2, 1, 0, 2, 1]])
    t = np.eye(3)[y]
    tp, fp, fn = (p * t).sum(1), (p * (1 - t)).sum(1), ((1 - p) * t).sum(1)
    index = (tp / (tp + 0.2 * fp + 0.9 * fn))[:, 1:]
    np.testing.assert_allclose(
        _run(losses.tversky, logits, y, alpha=0.2, beta=0.9), 1 - index.mean(1), rtol=1e-4
    )
    np.testing.assert_allclose(
        _run(losses.focal_tversky, logits, y, alpha=0.2, beta=0.9, gamma=2.0),
        ((1 - index) ** 0.5).mean(1),
        rtol=1e-4,
    )
    np.testing.assert_allclose(
        _run(losses.tversky, logits, y, alpha=0.5, beta=0.5, smooth=5e-6),
        _run(losses.dice, logits, y),
        rtol=1e-5,
    )  # fmt: skip


def test_dice_ce_is_its_parts():
    logits, _ = _probabilities((2, 3, 3), 3)
    y = RNG.integers(0, 3, (2, 3, 3))
    value = _run(losses.dice_ce, logits, y, dice_weight=0.3, ce_weight=2.0, label_smoothing=0.1)
    parts = 0.3 * _run(losses.dice, logits, y) + 2 * _run(
        losses.cross_entropy, logits, y, label_smoothing=0.1
    )
    np.testing.assert_allclose(value, parts, rtol=1e-6)


def test_one_sigmoid_channel_takes_a_binary_mask():
    logits = RNG.normal(size=(2, 3, 3, 1))
    mask = RNG.integers(0, 2, (2, 3, 3))
    value = _run(losses.dice, logits, mask, activation="sigmoid")
    np.testing.assert_array_equal(
        value, _run(losses.dice, logits, mask[..., None], activation="sigmoid")
    )
    score = _numpy_dice(special.expit(logits), mask[..., None])
    np.testing.assert_allclose(value, 1 - score[:, 0], rtol=1e-5)


def test_a_missing_class_of_a_region_mask():
    """With a sigmoid, `where` may hide one class of a voxel and not the others."""
    logits = RNG.normal(size=(2, 5, 2))
    bits = RNG.integers(0, 2, (2, 5, 2))
    bits[:, 0] = 1
    where = np.ones((2, 5, 2), bool)
    where[..., 1] = False
    value = _run(losses.dice, logits, bits, where=where, activation="sigmoid")
    first = _run(losses.dice, logits[..., :1], bits[..., :1], activation="sigmoid")
    np.testing.assert_allclose(value, first, rtol=1e-5)


def test_deep_supervision_halves_the_weights_and_takes_the_nearest_voxel():
    sizes = [(8, 6), (4, 3), (2, 3)]
    logits = [RNG.normal(size=(2, *s, 3)) for s in sizes]
    y = RNG.integers(0, 3, (2, 8, 6))
    truth = [y, y[:, 1::2, 1::2], y[:, 2::4, 1::2]]
    parts = [_run(losses.cross_entropy, a, b) for a, b in zip(logits, truth, strict=True)]
    loss = losses.deep_supervision(losses.cross_entropy)
    np.testing.assert_allclose(
        _run(loss, logits, y), (4 * parts[0] + 2 * parts[1] + parts[2]) / 7, rtol=1e-5
    )
    skipping = losses.deep_supervision(losses.cross_entropy, skip_coarsest=True)
    np.testing.assert_allclose(_run(skipping, logits, y), (2 * parts[0] + parts[1]) / 3, rtol=1e-5)
    own = losses.deep_supervision(losses.cross_entropy, weights=[0.0, 0.0, 3.0])
    np.testing.assert_allclose(_run(own, logits, y), 3 * parts[2], rtol=1e-5)
    masked = _run(loss, logits, y, where=np.array([True, False]))
    np.testing.assert_allclose(masked, _run(loss, logits, y) * np.array([1, 0]), rtol=1e-5)


def test_deep_supervision_of_sizes_that_do_not_divide():
    y = np.arange(7)[None] % 3
    loss = losses.deep_supervision(lambda x, t, where=None: t.astype(jnp.float32), weights=[0, 1])
    got = loss([np.zeros((1, 7, 3)), np.zeros((1, 3, 3))], y)
    np.testing.assert_array_equal(got[0], y[0, [1, 3, 5]])  # floor((i + 1/2) 7/3)


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: losses.cross_entropy(np.zeros((2, 3)), np.zeros(3, int)), r"\(3,\).*\(2, 3\)"),
        (lambda: losses.cross_entropy(np.zeros((2, 3)), np.zeros(2)), "integer labels.*float"),
        (lambda: losses.cross_entropy(np.zeros((2, 1)), np.zeros(2, int)), "at least 2"),
        (lambda: losses.cross_entropy(np.zeros(2), np.zeros(2, int)), "batch, .*classes"),
        (
            lambda: losses.cross_entropy(np.zeros((2, 3)), np.zeros(2, int), class_weights=[1, 2]),
            r"class_weights .*\(3,\)",
        ),
        (
            lambda: losses.cross_entropy(np.zeros((2, 3)), np.zeros(2, int), label_smoothing=1.5),
            "label_smoothing=1.5",
        ),
        (
            lambda: losses.dice(np.zeros((2, 4, 4, 3)), np.zeros((2, 4, 4), int), where=np.ones(4)),
            r"where has shape \(4,\).*\(2, 4, 4\)",
        ),
        (lambda: losses.dice(np.zeros((2, 3)), np.zeros(2, int)), "spatial"),
        (
            lambda: losses.dice(np.zeros((1, 4, 3)), np.zeros((1, 4), int), over="all"),
            "over='all'",
        ),
        (
            lambda: losses.dice(np.zeros((1, 4, 3)), np.zeros((1, 4), int), activation="sigmoid"),
            "sigmoid over 3",
        ),
        (lambda: losses.dice(np.zeros((1, 4, 3)), np.zeros((1, 4), int), empty="no"), "empty='no'"),
        (lambda: losses.mse(np.zeros((2, 3)), np.zeros((2, 4))), r"mse.*\(2, 3\).*\(2, 4\)"),
        (lambda: losses.mse(np.zeros((2, 3)), np.zeros(3)), "one shape"),
        (lambda: losses.huber(np.zeros(2), np.zeros(2), delta=0), "delta=0"),
        (lambda: losses.ordinal(np.zeros((2, 3)), np.zeros(2)), "integer grades"),
        (lambda: losses.ordinal(np.zeros((2, 3)), np.zeros((2, 3), int)), "grades - 1"),
        (lambda: losses.focal(np.zeros((2, 3)), np.zeros(2, int), alpha=0.3), "alpha belongs"),
        (lambda: losses.generalised_cross_entropy(np.zeros((2, 3)), [0, 1], q=0.0), "q=0.0"),
        (lambda: losses.symmetric_cross_entropy(np.zeros((2, 3)), [0, 1], floor=1.0), "floor=-1"),
        (
            lambda: losses.forward_corrected(np.zeros((2, 3)), [0, 1], transition=np.eye(2)),
            r"must be \(3, 3\)",
        ),
        (
            lambda: losses.forward_corrected(np.zeros((2, 2)), [0, 1], transition=np.ones((2, 2))),
            "must be distributions",
        ),
        (lambda: losses.logit_adjusted(np.zeros((2, 2)), [0, 1], prior=np.arange(2)), "above 0"),
        (lambda: losses.ldam(np.zeros((2, 2)), [0, 1], counts=np.ones(3)), "counts has shape"),
        (lambda: losses.ldam(np.zeros((2, 2)), [0.5, 1], counts=np.ones(2)), "integer labels"),
        (lambda: losses.class_balanced_weights([3, 0]), "each above 0"),
        (lambda: losses.class_balanced_weights([3, 1], beta=1.5), "beta=1.5"),
        (
            lambda: losses.binary_cross_entropy(np.zeros((2, 3)), np.zeros((2, 3)), pos_weight=[1]),
            "pos_weight",
        ),
        (
            lambda: losses.deep_supervision(losses.dice, weights=[1.0])([np.zeros(1)] * 2, 0),
            "1 weights for 2 outputs",
        ),
        (
            lambda: losses.deep_supervision(losses.dice)(
                [np.zeros((1, 8, 2))], np.zeros((1, 4), int)
            ),
            "larger than the targets",
        ),
    ],
)  # fmt: skip
def test_a_wrong_argument_names_itself_and_the_rule(call, rule):
    with pytest.raises(ValueError, match=rule):
        call()


@pytest.mark.parametrize("count", [3, 40])  # class by class, and all at once
def test_a_class_that_is_impossible_adds_nothing(count):
    """A logit of -inf, where the class has no share: SciPy's log-sum-exp, and a finite gradient."""
    logits = np.zeros((2, count), np.float32)
    logits[:, 1], logits[:, 2] = 1, -np.inf
    labels = np.array([1, 0])
    expected = special.logsumexp(logits, axis=1) - logits[[0, 1], labels]
    shares = np.eye(count)[labels]
    for call in (
        lambda x: losses.cross_entropy(x, labels),
        lambda x: losses.cross_entropy(x, shares),
        lambda x: losses.focal(x, labels, gamma=0.0),
        lambda x: losses.focal(x, shares, gamma=0.0),
    ):

        def value_and_sum(x, call=call):
            values = call(x)
            return values.sum(), values

        run = jax.jit(jax.value_and_grad(value_and_sum, has_aux=True))
        (_, values), gradient = run(logits)
        np.testing.assert_allclose(values, expected, rtol=1e-5)
        assert np.isfinite(gradient).all()
    assert np.isinf(_run(losses.cross_entropy, logits[:1], np.array([2])))[0]


def test_a_binary_answer_that_is_certain_and_right_costs_nothing():
    logits, labels = np.array([[np.inf, -np.inf, 0.0]], np.float32), np.array([[1, 0, 1]])
    for call in (
        losses.binary_cross_entropy,
        lambda x, y: losses.focal(x, y, gamma=0.0, activation="sigmoid"),
    ):
        run = jax.jit(call)
        np.testing.assert_allclose(run(logits, labels), np.log(2) / 3, rtol=1e-6)
        assert np.isinf(run(logits, 1 - labels))[0]
