"""Tests of explanations, on maps that are known to be right or wrong."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr

from jaxmed import explain as ex
from jaxmed.core import Variables, from_functions, from_linen
from jaxmed.networks import cnn

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.normal(size=(8, 6, 6, 1)), jnp.float32)
# Of the score, the six voxels of the first row decide, the left ones most.
WEIGHTS = np.zeros((6, 6, 1), np.float32)
WEIGHTS[0, :, 0] = [6, 5, 4, 3, 2, 1]
LINEAR = from_functions(lambda key, x: {}, lambda p, x: (x * WEIGHTS).sum((1, 2)))
TRUE = IMAGES * WEIGHTS


@pytest.fixture(autouse=True)
def _same_draws():
    """Whatever ran before, in whichever worker."""
    RNG.bit_generator.state = np.random.default_rng(1).bit_generator.state


def test_rank_correlation_is_scipys():
    a, b = RNG.normal(size=(2, 3, 5, 5, 1)).round(1)
    found = ex.rank_correlation(a, b)
    want = [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(found, want)
    np.testing.assert_allclose(ex.rank_correlation(a, -a), -1)
    np.testing.assert_allclose(ex.rank_correlation(a, -a, absolute=True), 1)
    assert np.isnan(ex.rank_correlation(a, np.zeros_like(a))).all()
    with pytest.raises(ValueError, match="one shape"):
        ex.rank_correlation(a, b[:2])
    matrix = ex.agreement({"a": a, "b": b, "none": 0 * a})
    assert matrix.names == ("a", "b", "none")
    np.testing.assert_allclose(np.diag(matrix.mean)[:2], 1)
    np.testing.assert_allclose(matrix.mean[0, 1], np.mean(want))
    assert np.isnan(matrix.mean[2]).all()


@pytest.mark.parametrize("fill", [0.0, "linear"])
def test_curves_of_the_right_map_are_better_than_those_of_any_other(fill):
    image = jnp.ones((1, 6, 6, 1)) * jnp.linspace(1, 2, 6)[None, :, None, None]
    right = image * WEIGHTS
    given = (KEY, LINEAR, {}, {}, image, 1)
    noise = jnp.asarray(RNG.normal(size=right.shape), jnp.float32)
    falls, others = (ex.deletion(*given, m, fill=fill, points=12) for m in (right, noise))
    assert falls.shares[0] == 0
    assert falls.shares[-1] == 1
    assert falls.scores.shape == (13, 1)
    np.testing.assert_allclose(falls.scores[0], ex.score(LINEAR, {}, {}, image, 1))
    if fill == 0:
        assert falls.area[0] < others.area[0]
        # The first twelfth is three voxels, of the weights 6, 5 and 4.
        np.testing.assert_allclose(falls.scores[1], 6, rtol=1e-5)
        kept = ex.insertion(*given, right, points=12)
        np.testing.assert_allclose(kept.scores[1], 15, rtol=1e-5)
        last = ex.deletion(*given, right, least_first=True, points=12)
        np.testing.assert_allclose(last.scores[10], 21, rtol=1e-5)
    else:  # what is missing is like its neighbours, so little changes in a smooth image
        assert abs(falls.scores[1, 0] - falls.scores[0, 0]) < 5


def test_missing_voxels_are_the_means_of_their_neighbours():
    ramp = jnp.broadcast_to(jnp.arange(6.0)[None, :, None, None], (1, 6, 6, 1))
    whole = from_functions(lambda key, x: {}, lambda p, x: jnp.abs(x - ramp).sum((1, 2)))
    inner = jnp.zeros((1, 6, 6, 1)).at[:, 2:4, 2:4].set(1.0)  # four voxels within a plane
    found = ex.deletion(KEY, whole, {}, {}, ramp, 1, inner, fill="linear", points=9)
    assert found.shares[1] == pytest.approx(4 / 36)
    # A plane is its own interpolation: only the noise remains, of a hundredth of the spread.
    assert 0 < found.scores[1, 0] < 4 * 4 * 0.01 * float(ramp.std())
    with pytest.raises(ValueError, match='fill is numbers or "linear"'):
        ex.deletion(KEY, whole, {}, {}, ramp, 1, inner, fill="mean")
    with pytest.raises(ValueError, match="images' shape"):
        ex.insertion(KEY, whole, {}, {}, ramp, 1, inner[:, :3])


def test_maps_against_masks():
    masks = np.zeros((3, 4, 4), bool)
    masks[:2, :2, :2] = True
    maps = np.zeros((3, 4, 4, 2))
    maps[0, 0, 0] = [1, 1]  # inside
    maps[1, 2, 0, 0] = 1  # beside
    np.testing.assert_array_equal(ex.pointing_game(maps, masks), [1, 0, np.nan])
    np.testing.assert_array_equal(ex.pointing_game(maps, masks, tolerance=1), [1, 1, np.nan])
    np.testing.assert_array_equal(ex.mass_in_mask(maps, masks), [1, 0, np.nan])
    np.testing.assert_allclose(ex.mask_share(masks), [0.25, 0.25, 0])
    found = ex.mask_average_precision(np.where(masks, 1.0, 0.0)[..., None], masks)
    np.testing.assert_array_equal(found, [1, 1, np.nan])
    # Of ties, the share of them that hit.
    flat = np.zeros((1, 1, 4, 1))
    flat[0, 0, :2] = 1
    assert ex.pointing_game(flat, np.array([[[True, False, False, False]]])).tolist() == [0.5]
    with pytest.raises(ValueError, match="have the shape"):
        ex.pointing_game(maps, masks[:, :3])


def test_infidelity_is_0_of_a_map_that_foretells_and_1_of_one_that_does_not():
    given = (KEY, LINEAR, {}, {}, IMAGES, 1)
    right = ex.infidelity(*given, TRUE, samples=64)
    np.testing.assert_allclose(right, 0, atol=1e-4)
    np.testing.assert_allclose(ex.infidelity(*given, 7 * TRUE, samples=64), right, atol=1e-4)
    np.testing.assert_allclose(ex.infidelity(*given, 0 * TRUE, samples=64), 1)
    assert (ex.infidelity(*given, jnp.roll(TRUE, 3, 1), samples=64) > 0.3).all()
    deaf = from_functions(lambda key, x: {}, lambda p, x: 0 * x.sum((1, 2)))
    assert jnp.isnan(ex.infidelity(KEY, deaf, {}, {}, IMAGES, 1, TRUE, samples=8)).all()


def _steps(params, x):
    hidden = jax.nn.relu(x.reshape(len(x), -1) @ params["b"]["kernel"])
    return hidden @ params["a"]["kernel"]  # called so that the alphabet is not the order


STEPS = from_functions(
    lambda key, x: {
        "b": {"kernel": jnp.asarray(RNG.normal(size=(36, 16)), jnp.float32)},
        "a": {"kernel": jnp.asarray(RNG.normal(size=(16, 2)), jnp.float32)},
    },
    _steps,
)


def test_layers_are_made_random_from_the_answer_down():
    params, state = STEPS.init(KEY, IMAGES)
    found = ex.parameter_randomisation(KEY, ex.gradient, STEPS, params, state, IMAGES, 1)
    assert found.layers == ("a", "b")
    assert found.likeness.shape == (2, 8)
    assert found.likeness[0].mean() > found.likeness[1].mean()
    whole = ex.parameter_randomisation(
        KEY, ex.gradient, STEPS, params, state, IMAGES, 1, layers="all"
    )
    assert whole.layers == ("all",)
    np.testing.assert_allclose(whole.likeness[0], found.likeness[1], atol=1e-6)

    def edges(key, network, params, state, inputs, target):  # knows of no parameter
        return jnp.abs(jnp.diff(inputs, axis=1, append=inputs[:, -1:]))

    blind = ex.parameter_randomisation(KEY, edges, STEPS, params, state, IMAGES, 1)
    np.testing.assert_allclose(blind.likeness, 1)
    with pytest.raises(ValueError, match="cascade"):
        ex.parameter_randomisation(KEY, edges, STEPS, params, state, IMAGES, 1, layers="some")


def test_guided_gradients_fail_where_gradients_pass():
    network = from_linen(cnn(2, features=(8, 8, 8), norm="none"))
    x = jnp.asarray(RNG.normal(size=(6, 12, 12, 1)), jnp.float32)
    params, state = network.init(KEY, x)
    found = [
        np.nanmean(
            ex.parameter_randomisation(
                KEY, method, network, params, state, x, 1, layers="all"
            ).likeness
        )
        for method in (ex.guided_backprop, ex.gradient)
    ]
    assert found[0] > found[1] + 0.05


def test_labels_and_seeds():
    params, state = STEPS.init(KEY, IMAGES)
    other, _ = STEPS.init(KEY, IMAGES)  # whose draws go on: another training
    first, second = Variables(params, state), Variables(other, state)
    same = ex.label_randomisation(KEY, ex.gradient, STEPS, first, first, IMAGES, 1)
    np.testing.assert_allclose(same, 1)
    changed = ex.label_randomisation(KEY, ex.gradient, STEPS, first, second, IMAGES, 1)
    assert changed.mean() < 0.6
    np.testing.assert_allclose(ex.repeatability(KEY, ex.gradient, STEPS, first, IMAGES, 1), 1)
    between = ex.repeatability(KEY, ex.gradient, STEPS, [first, second], IMAGES, 1)
    np.testing.assert_allclose(
        between, ex.rank_correlation(*(
            ex.gradient(None, STEPS, v.params, v.state, IMAGES, 1) for v in (first, second)
        )),
    )  # fmt: skip
    noisy = partial(ex.smooth_grad, samples=2, noise=2.0)
    assert (ex.repeatability(KEY, noisy, STEPS, first, IMAGES, 1) < 1).all()
    with pytest.raises(ValueError, match="at least two"):
        ex.repeatability(KEY, noisy, STEPS, [first], IMAGES, 1)


def test_what_moves_with_the_image_is_repeatable():
    here = from_functions(lambda key, x: {}, lambda p, x: (x**2).sum((1, 2)))
    given = (KEY, ex.input_x_gradient, here, {}, {}, IMAGES, 1)
    np.testing.assert_allclose(ex.shift_repeatability(*given, voxels=2), 1)
    own = IMAGES[0]
    fixed = from_functions(lambda key, x: {}, lambda p, x: (x * own).sum((1, 2)))
    stays = ex.shift_repeatability(KEY, ex.gradient, fixed, {}, {}, IMAGES, 1)
    assert (abs(stays) < 0.5).all()
    with pytest.raises(ValueError, match="cannot be moved"):
        ex.shift_repeatability(*given, voxels=6)


def test_a_shortcut_is_seen_and_what_is_none_is_not():
    labels = np.arange(80) % 2
    images = RNG.normal(size=(80, 6, 6, 1)).astype("f4")
    border = np.ones((6, 6), bool)
    border[1:-1, 1:-1] = False
    images[labels == 1, 0, 0] += 4  # a marker in the corner
    images[labels == 1, 2:4, 2:4] += 1.5  # and a sign of the disease
    reads = {
        "corner": from_functions(lambda key, x: {}, lambda p, x: x[:, 0, 0]),
        "inside": from_functions(lambda key, x: {}, lambda p, x: x[:, 2:4, 2:4].sum((1, 2))),
    }
    found = {
        name: ex.shortcut(KEY, net, {}, {}, images, labels, border, repeats=3)
        for name, net in reads.items()
    }
    cheat, honest = found["corner"], found["inside"]
    assert cheat.alone.value == pytest.approx(cheat.whole.value)
    assert cheat.whole.value > 0.95
    assert cheat.without.lower < 0.5 < cheat.without.upper
    assert cheat.moved == np.inf or np.isnan(cheat.moved)
    assert honest.without.value == pytest.approx(honest.whole.value)
    assert honest.whole.value > 0.9
    assert honest.alone.lower < 0.5 < honest.alone.upper
    assert honest.moved == 0
    for region, words in ((np.zeros((6, 6)), "covers nothing"), (border[:3], "has the shape")):
        with pytest.raises(ValueError, match=words):
            ex.shortcut(KEY, reads["corner"], {}, {}, images, labels, region)
    with pytest.raises(ValueError, match="labels are 80 of 0 and 1"):
        ex.shortcut(KEY, reads["corner"], {}, {}, images, 0 * labels, border)


def test_over_cases_tells_shares_from_means() -> None:
    hits = np.array([1.0] * 19 + [0.0, np.nan])
    found = ex.over_cases(hits)
    assert (found.n, found.method) == (20, "wilson")
    assert found.upper < 1
    assert ex.over_cases(np.ones(20)).lower < 1, "all agree, and the interval has a width"
    means = ex.over_cases([0.99, 1.0, 0.7, 1.0], bounds=(0, 1))
    assert means.method == "t"
    assert means.upper == 1
    with pytest.raises(ValueError, match="values"):
        ex.over_cases([np.nan])
