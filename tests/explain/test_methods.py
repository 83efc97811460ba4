"""Laws of every method of explanation, and answers that are known in closed form."""

from __future__ import annotations

import itertools
import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import explain as ex
from jaxmed import ops
from jaxmed.core import from_functions, from_linen, from_nnx
from jaxmed.networks import cnn, vit

KEY = jax.random.key(0)
REGIONS = ex.grid_regions((6, 6), (2, 3))
REFERENCES = np.random.default_rng(1).normal(size=(3, 6, 6, 1)).astype("f4")


def images(shape=(3, 6, 6, 1), seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def mlp(rank_shape=(6, 6, 1), biases=0.3, seed=0):
    """A network of two layers with rectifiers, of plain functions, and its parameters."""
    rng = np.random.default_rng(seed)
    wide = math.prod(rank_shape)
    params = {
        "a": jnp.asarray(rng.normal(size=(wide, 8)) / math.sqrt(wide), jnp.float32),
        "b": jnp.asarray(biases * rng.normal(size=8), jnp.float32),
        "c": jnp.asarray(rng.normal(size=(8, 3)) / 3, jnp.float32),
        "d": jnp.asarray(biases * rng.normal(size=3), jnp.float32),
    }

    def apply(params, x):
        hidden = jax.nn.relu(x.reshape(len(x), -1) @ params["a"] + params["b"])
        return {"features": hidden, "logits": hidden @ params["c"] + params["d"]}

    return from_functions(lambda key, x: params, apply), params


METHODS = {
    "gradient": ex.gradient,
    "input_x_gradient": ex.input_x_gradient,
    "smooth_grad": partial(ex.smooth_grad, samples=3, chunk=2),
    "integrated_gradients": partial(ex.integrated_gradients, steps=5, chunk=2),
    "expected_gradients": partial(ex.expected_gradients, references=REFERENCES, samples=5, chunk=3),
    "guided_backprop": ex.guided_backprop,
    "lrp": ex.lrp,
    "occlusion": partial(ex.occlusion, window=3, stride=2, chunk=2),
    "rise": partial(ex.rise, samples=5, cells=2, chunk=2),
    "exact_shapley": partial(ex.exact_shapley, regions=REGIONS, chunk=5),
    "kernel_shap": partial(ex.kernel_shap, regions=REGIONS, samples=24, chunk=5),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_map_has_the_shape_of_the_input_and_no_case_knows_of_another(name):
    network, params = mlp()
    x, method = images(), METHODS[name]
    target = jnp.array([0, 1, 2])
    found = jax.jit(lambda x, t: method(KEY, network, params, {}, x, t))(x, target)
    assert found.shape == x.shape
    assert found.dtype == x.dtype
    assert jnp.isfinite(found).all()
    assert jnp.ptp(found) > 0
    # A method whose draws are by case or for all cases: the first two cases are as without a third.
    fewer, asked = jax.jit(
        lambda x: (
            method(KEY, network, params, {}, x[:2], target[:2]),
            method(KEY, network, params, {}, x, lambda e: e["logits"][:, 2]),
        )
    )(x)
    if name != "smooth_grad":  # whose noise is one array
        np.testing.assert_allclose(found[:2], fewer, atol=1e-5)
    np.testing.assert_allclose(found[2], asked[2], atol=1e-5)


@pytest.mark.parametrize("name", [n for n in METHODS if n not in ("gradient", "guided_backprop")])
def test_a_linear_network_has_one_explanation(name):
    """Shares of a linear score are input times weight, by voxel or by region."""
    weights = images((36, 2), seed=3)
    network = from_functions(lambda key, x: {}, lambda p, x: x.reshape(len(x), -1) @ weights)
    x = images((2, 6, 6, 1))
    want = (x.reshape(2, -1) * weights[:, 1]).reshape(x.shape)
    if name in ("rise", "occlusion", "smooth_grad"):
        return _of_windows(name, network, x, want, weights)
    if name == "expected_gradients":
        mean = REFERENCES.mean(0)
        method = partial(METHODS[name], samples=6)
        want = ((x - mean).reshape(2, -1) * weights[:, 1]).reshape(x.shape)
    else:
        method = METHODS[name]
    found = method(KEY, network, {}, {}, x, 1)
    if "sha" in name:
        found, want = (_by_region(m) for m in (found, want))
    if name == "lrp":
        found = ex.lrp(KEY, network, {}, {}, x, 1, gamma=0, epsilon=0)
    np.testing.assert_allclose(found, want, atol=2e-4)


def _by_region(values):
    return np.stack([values[:, r == REGIONS].sum((1, 2)) for r in range(6)], 1)


def _of_windows(name, network, x, want, weights):
    if name == "smooth_grad":
        found = METHODS[name](KEY, network, {}, {}, x, 1)
        np.testing.assert_allclose(found[0].ravel(), weights[:, 1], atol=1e-5)
    elif name == "occlusion":
        found = ex.occlusion(KEY, network, {}, {}, x, 1, window=1)
        np.testing.assert_allclose(found, want, atol=1e-5)
    else:  # the covariance of a cell's mask with the score is its share, but for chance
        block = jnp.zeros((1, 6, 6, 1)).at[0, :3].set(1.0)
        one = from_functions(lambda key, x: {}, lambda p, x: x.sum((1, 2)))
        found = ex.rise(KEY, one, {}, {}, block, 1, samples=300, cells=2)
        assert found[0, :2].mean() > 2 * abs(found[0, 4:].mean())


def test_integrated_gradients_sum_to_what_the_score_gained():
    network, params = mlp()
    x = images()
    gaps = {}
    for steps in (2, 400):
        found = ex.integrated_gradients(None, network, params, {}, x, 1, baseline=0.5, steps=steps)
        gaps[steps] = abs(ex.completeness_gap(found, network, params, {}, x, 1, baseline=0.5)).max()
    assert gaps[400] < 0.01 < gaps[2]  # the network has edges, which no rule integrates exactly
    square = from_functions(lambda key, x: {}, lambda p, x: (x**2).sum((1, 2)))
    for rule, exact in (("gauss-legendre", 1), ("midpoint", 1)):
        found = ex.integrated_gradients(None, square, {}, {}, x, 1, steps=exact, rule=rule)
        np.testing.assert_allclose(found, x**2, atol=1e-5)


def test_the_number_at_once_changes_nothing():
    network, params = mlp()
    x = images()
    for method in (
        partial(ex.integrated_gradients, steps=7),
        partial(ex.smooth_grad, samples=7),
        partial(ex.rise, samples=7, cells=2),
        partial(ex.kernel_shap, regions=REGIONS, samples=14),
        partial(ex.occlusion, window=3),
    ):
        few, many = jax.jit(
            lambda x, m=method: [m(KEY, network, params, {}, x, 1, chunk=c) for c in (3, 50)]
        )(x)
        np.testing.assert_allclose(few, many, atol=1e-5)


def test_shapley_values_are_means_over_all_orders():
    network, params = mlp()
    x, regions = images((1, 6, 6, 1)), ex.grid_regions((6, 6), (2, 2))

    def worth(shown):
        mask = np.isin(regions, list(shown))[None, ..., None]
        return float(ex.score(network, params, {}, jnp.where(mask, x, 0.2), 1)[0])

    want = np.zeros(4)
    orders = list(itertools.permutations(range(4)))
    for order in orders:
        for i, player in enumerate(order):
            want[player] += worth(order[: i + 1]) - worth(order[:i])
    want /= len(orders)
    for method in (
        ex.exact_shapley,
        partial(ex.kernel_shap, samples=2000, chunk=200),
    ):
        found = method(KEY, network, params, {}, x, 1, regions=regions, baseline=0.2)
        sums = [float(found[0][regions == r].sum()) for r in range(4)]
        np.testing.assert_allclose(
            sums, want, atol=0.02 if method is not ex.exact_shapley else 1e-5
        )
        gap = ex.completeness_gap(found, network, params, {}, x, 1, baseline=0.2)
        np.testing.assert_allclose(gap, 0, atol=1e-5)


def test_lrp_0_is_input_times_gradient_where_there_are_rectifiers():
    network, params = mlp(biases=0)
    x = images()
    found = ex.lrp(None, network, params, {}, x, 2, gamma=0, epsilon=0)
    np.testing.assert_allclose(
        found, ex.input_x_gradient(None, network, params, {}, x, 2), atol=1e-6
    )


def _conserved(network, params, state, x, gamma):
    options = {"gamma": gamma, "epsilon": 0.0}

    @jax.jit
    def all_of_it(params, state, x):
        given = (network, params, state, x, 1)
        return (
            ex.lrp(None, *given, **options),
            ex.lrp_biases(None, *given, **options),
            ex.score(*given),
        )

    found, kept, score = all_of_it(params, state, x)
    np.testing.assert_allclose(found.reshape(len(x), -1).sum(1) + kept, score, atol=1e-5)
    return kept


@pytest.mark.parametrize("gamma", [pytest.param(0.0, marks=pytest.mark.slow), 0.5])
def test_relevance_is_conserved_with_the_biases_counted(gamma):
    network = from_linen(cnn(2, features=(3, 4)))
    x = images((2, 6, 6, 1))
    params, state = network.init(KEY, x)
    rng = np.random.default_rng(0)
    disturbed = jax.tree.map(lambda p: p + 0.2 * rng.normal(size=p.shape), (params, state))
    params, state = jax.tree.map(lambda p: jnp.abs(p).astype("f4"), disturbed)
    assert abs(_conserved(network, params, state, x, gamma)).max() > 1e-3
    network = from_linen(vit(2, patch=3, width=8, depth=1, heads=2))
    params, state = network.init(KEY, x)
    _conserved(network, params, state, x, gamma)


class _Nnx:
    """A convolution and a swish, by NNX."""

    @staticmethod
    def network():
        from flax import nnx

        class Small(nnx.Module):
            def __init__(self, rngs):
                self.conv = nnx.Conv(1, 3, (3, 3), rngs=rngs)
                self.linear = nnx.Linear(3, 2, rngs=rngs)

            def __call__(self, x):
                features = nnx.swish(self.conv(x)).mean((1, 2))
                return {"features": features, "logits": self.linear(features)}

        return from_nnx(lambda rngs: Small(rngs))


def fused(rectify):
    """A convolution with bias and rectifier in one pass, or one after the other."""

    def apply(params, x):
        if rectify == "one pass":
            y = ops.conv(x, params["a"], bias=params["b"], activation="relu")
        else:
            y = jax.nn.relu(ops.conv(x, params["a"]) + params["b"])
        return {"logits": y.sum((1, 2))}

    return from_functions(lambda key, x: {}, apply)


def test_what_is_computed_in_one_pass_is_explained_as_one_after_the_other():
    rng = np.random.default_rng(2)
    params = {
        "a": jnp.asarray(rng.normal(size=(3, 3, 1, 2)), jnp.float32),
        "b": jnp.asarray(rng.normal(size=2), jnp.float32),
    }
    x = images()
    one, other = fused("one pass"), fused("one by one")
    for method in (ex.lrp, ex.lrp_biases, ex.guided_backprop):
        maps = [method(KEY, net, params, {}, x, 1) for net in (one, other)]
        np.testing.assert_allclose(*maps, rtol=1e-5, atol=1e-6)
    exact = partial(ex.lrp, gamma=0.0, epsilon=0.0)
    kept = ex.lrp_biases(KEY, one, params, {}, x, 1, gamma=0.0, epsilon=0.0)
    score = one.apply(params, {}, x)[0]["logits"][:, 1]
    total = exact(KEY, one, params, {}, x, 1).sum((1, 2, 3)) + kept
    np.testing.assert_allclose(total, score, rtol=1e-4)


def test_nnx_and_gates_are_explained_like_any_other():
    network = _Nnx.network()
    x = images((2, 6, 6, 1))
    params, state = network.init(KEY, x)
    _conserved(network, params, state, x, 0.25)
    _, slopes = ex.endpoint_gradient(network, params, state, x, 1)
    np.testing.assert_allclose(slopes[0], slopes[1], atol=1e-6)
    with pytest.raises(ValueError, match="no rectifier"):
        ex.guided_backprop(None, network, params, state, x, 1)


def test_lrp_refuses_loops():
    def apply(params, x):
        carried, _ = jax.lax.scan(lambda c, row: (c + row, None), jnp.zeros(()), x.ravel())
        return jnp.broadcast_to(carried, (len(x), 1))

    with pytest.raises(ValueError, match="loop"):
        ex.lrp(None, from_functions(lambda key, x: {}, apply), {}, {}, images(), 1)


@pytest.mark.parametrize(
    "rectify",
    [jax.nn.relu, jax.nn.relu6, lambda x: jnp.maximum(x, 0)],
    ids=("relu", "relu6", "max"),
)
def test_guided_gradients_pass_nothing_negative_through_a_rectifier(rectify):
    weights = jnp.array([[1.0, -1.0], [2.0, 1.0]])  # one hidden unit speaks against class 1
    network = from_functions(
        lambda key, x: {},
        lambda p, x: {"logits": rectify(x[:, :, 0] @ weights) @ jnp.array([[0, 1.0], [0, -1]])},
    )
    x = jnp.array([[[0.0], [1.0]]])
    found = ex.guided_backprop(None, network, {}, {}, x, 1)
    assert found.ravel().tolist() == [1.0, 2.0]
    assert ex.gradient(None, network, {}, {}, x, 1).ravel().tolist() == [2.0, 1.0]


def test_grad_cam_is_the_map_weighed_by_hand():
    kernel = jnp.array([1.0, -2.0])

    def apply(params, x):
        maps = jnp.concatenate([x, x**2], -1)
        return {"pyramid": (maps,), "logits": maps.mean((1, 2)) @ kernel[:, None]}

    network = from_functions(lambda key, x: {}, apply)
    x = images((2, 4, 4, 1))
    want = (x - 2 * x**2) / 16
    np.testing.assert_allclose(ex.grad_cam(None, network, {}, {}, x, 1), want, atol=1e-5)
    # Slopes are one number a channel: the ++ weights are those of the formula.
    found = ex.grad_cam(None, network, {}, {}, x, 1, weights="plusplus")
    g, a = 1 / 16, jnp.concatenate([x, x**2], -1)
    weight = 16 * g * g**2 / (2 * g**2 + a[..., 0].sum((1, 2)) * g**3)
    np.testing.assert_allclose(found[..., 0], weight[:, None, None] * x[..., 0], rtol=1e-4)


def test_an_endpoint_beside_the_way_is_refused_and_another_named():
    network = from_linen(vit(2, patch=3, width=8, depth=1, heads=2))
    x = images((1, 6, 6, 1))
    params, state = network.init(KEY, x)
    with pytest.raises(ValueError, match=r"does not depend on .*'pyramid'.*'features'"):
        ex.grad_cam(None, network, params, state, x, 1)
    with pytest.raises(KeyError, match="nowhere"):
        ex.grad_cam(None, network, params, state, x, 1, endpoint="nowhere")
    with pytest.raises(ValueError, match="no level 3"):
        ex.endpoint_gradient(network, params, state, x, 1, endpoint="pyramid", level=3)


def test_an_endpoint_may_be_the_input_itself():
    network = from_functions(
        lambda key, x: {}, lambda p, x: {"features": x, "logits": 3 * x.sum((1, 2))}
    )
    values, slopes = ex.endpoint_gradient(network, {}, {}, images(), 1)
    np.testing.assert_array_equal(values, images())
    np.testing.assert_array_equal(slopes, 3.0)


def test_rollout_of_one_block_is_its_attention():
    rng = np.random.default_rng(0)
    scores = jnp.asarray(rng.normal(size=(2, 1, 4, 4)), jnp.float32)

    def apply(params, x):
        tokens = x.reshape(len(x), 1, 4, 1)
        mixed = jnp.einsum("bhqk,bhkc->bhqc", jax.nn.softmax(scores + 0 * x.sum()), tokens)
        return mixed.mean((1, 2, 3))[:, None]

    network = from_functions(lambda key, x: {}, apply)
    x = images((2, 2, 2, 1))
    found = ex.attention_rollout(None, network, {}, {}, x, 1, grid=(2, 2), weigh=False)
    want = ((np.eye(4) + np.asarray(jax.nn.softmax(scores)[:, 0])) / 2).mean(1).reshape(x.shape)
    np.testing.assert_allclose(found, want, atol=1e-6)
    heads = from_linen(vit(2, patch=3, width=8, depth=2, heads=2))
    params, state = heads.init(KEY, images((2, 6, 6, 1)))
    of = partial(ex.attention_rollout, None, heads, params, state, images((2, 6, 6, 1)))
    weighed, plain = jax.jit(
        lambda: [jnp.stack([of(t, grid=(2, 2), weigh=w) for t in (0, 1)]) for w in (True, False)]
    )()
    assert jnp.abs(weighed[0] - weighed[1]).max() > 0  # it knows the target
    np.testing.assert_array_equal(plain[0], plain[1])
    with pytest.raises(ValueError, match="does not fit"):
        of(1, grid=(3, 3))
    with pytest.raises(ValueError, match="no attention"):
        ex.attention_rollout(None, mlp()[0], mlp()[1], {}, images(), 1, grid=(2, 2))


class _Volumes(nn.Module):
    @nn.compact
    def __call__(self, x):
        maps = nn.relu(nn.Conv(3, (3, 3, 3))(x))
        return {"pyramid": (maps,), "logits": nn.Conv(2, (1, 1, 1))(maps)}


def test_a_structure_in_a_volume_is_explained_where_it_is_predicted():
    network = from_linen(_Volumes())
    x = images((2, 4, 5, 4, 2))
    params, state = network.init(KEY, x)
    logits = network.apply(params, state, x)[0]["logits"]
    mask = logits.argmax(-1) == 1
    want = jnp.where(mask, logits[..., 1], 0).sum((1, 2, 3)) / mask.sum((1, 2, 3))
    np.testing.assert_allclose(ex.score(network, params, state, x, 1), want, rtol=1e-5)
    one = jnp.zeros((2, 4, 5, 4), bool).at[:, 1, 2, 1].set(True)
    found = ex.gradient(None, network, params, state, x, ex.structure_score(1, one))
    assert found.shape == x.shape
    seen = np.abs(np.asarray(found)).sum((0, -1)) > 0
    assert seen[:3, 1:4, :3].any()
    assert seen.sum() <= 27
    for method in (ex.lrp, ex.grad_cam, partial(ex.occlusion, window=2, stride=2)):
        explain = jax.jit(lambda x, m=method: m(None, network, params, state, x, 1))
        assert explain(x).shape == x.shape
    with pytest.raises(ValueError, match="not of the shape"):
        ex.score(network, params, state, x, ex.structure_score(1, one[:, :2]))


def test_voxels_of_a_structure_are_those_of_the_image_as_it_is():
    network = from_functions(lambda key, x: {}, lambda p, x: jnp.concatenate([1 - x, x - 1], -1))
    x = jnp.zeros((1, 4, 4, 1)).at[0, 1:3, 1:3].set(5.0)
    for method in (partial(ex.occlusion, window=1), partial(ex.integrated_gradients, steps=4)):
        found = method(None, network, {}, {}, x, 1)
        np.testing.assert_allclose(found, x / 4, atol=1e-5)  # each is a quarter of the mean
    curve = ex.deletion(KEY, network, {}, {}, x, 1, x, points=4)
    np.testing.assert_allclose(curve.scores[:, 0], [4, -1, -1, -1, -1], atol=1e-5)


def test_a_class_that_is_nowhere_predicted_has_a_map_of_zeros():
    network = from_functions(
        lambda key, x: {}, lambda p, x: jnp.concatenate([x**2 + 1, -(x**2)], -1)
    )
    assert not ex.gradient(None, network, {}, {}, images(), 1).any()


def test_scores_of_classes():
    logits = jnp.array([[1.0, 2.0, 4.0]])
    of = {q: float(ex.class_score(2, of=q)({"logits": logits})[0]) for q in
          ("logit", "log_odds", "probability")}  # fmt: skip
    p = float(jax.nn.softmax(logits)[0, 2])
    assert of["logit"] == 4
    assert of["probability"] == pytest.approx(p)
    assert of["log_odds"] == pytest.approx(math.log(p / (1 - p)), rel=1e-5)
    one = {"logits": jnp.array([[0.7]])}
    assert float(ex.class_score(1)(one)[0]) == -float(ex.class_score(0)(one)[0])


def test_a_counterfactual_reaches_its_score_by_the_least_change():
    weights = jnp.array([3.0, 0.0])
    network = from_functions(lambda key, x: {}, lambda p, x: (x[..., 0] @ weights)[:, None])
    x = jnp.array([[[-1.0], [5.0]], [[-9.0], [5.0]]])
    found = ex.counterfactual(network, {}, {}, x, 1, steps=150, learning_rate=0.05)
    assert found.reached.tolist() == [True, False]  # the second is too far for so many steps
    assert found.before.tolist() == [-3.0, -27.0]
    assert found.after[1] > found.before[1]
    assert 0 <= found.after[0] < 0.5
    np.testing.assert_allclose(found.images[0, 1], 5.0, atol=1e-3)
    deep = ex.counterfactual(
        network, {}, {}, x[:1], 1, steps=150, learning_rate=0.05,
        encode=lambda x: x[:, :1], decode=lambda z: jnp.concatenate([z, 5 + 0 * z], 1),
    )  # fmt: skip
    assert deep.reached.all()
    assert float(deep.images[0, 1, 0]) == 5.0
    held = ex.counterfactual(network, {}, {}, x[:1], 1, bounds=(-2.0, -0.5), steps=50)
    assert not held.reached.any()
    assert float(held.images.max()) == -0.5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda n, p, x: ex.gradient(None, n, p, {}, x, 3), "no class 3"),
        (lambda n, p, x: ex.gradient(None, n, p, {}, x, -1), "no class -1"),
        (lambda n, p, x: ex.gradient(None, n, p, {}, x, jnp.array([0, 1])), "one of each of 3"),
        (lambda n, p, x: ex.gradient(None, n, p, {}, x, 1.5), "class is an integer"),
        (lambda n, p, x: ex.gradient(None, n, p, {}, x, lambda e: e["logits"]), "a target is one"),
        (lambda n, p, x: ex.class_score(1, of="odds"), "of is one of"),
        (lambda n, p, x: ex.integrated_gradients(None, n, p, {}, x, 1, steps=0), "steps is a"),
        (lambda n, p, x: ex.integrated_gradients(None, n, p, {}, x, 1, rule="x"), "rule is"),
        (lambda n, p, x: ex.integrated_gradients(
            None, n, p, {}, x, 1, baseline=jnp.zeros(5)), "a baseline is"),
        (lambda n, p, x: ex.expected_gradients(
            KEY, n, p, {}, x, 1, references=REFERENCES[:, :3]), "references are images"),
        (lambda n, p, x: ex.smooth_grad(KEY, n, p, {}, x, 1, noise=-1), "noise is"),
        (lambda n, p, x: ex.rise(KEY, n, p, {}, x, 1, keep=1.0), "keep is a share"),
        (lambda n, p, x: ex.occlusion(None, n, p, {}, x, 1, window=7), "window is from 1"),
        (lambda n, p, x: ex.occlusion(None, n, p, {}, x, 1, window=2, stride=3), "uncovered"),
        (lambda n, p, x: ex.exact_shapley(
            None, n, p, {}, x, 1, regions=ex.grid_regions((6, 6), 5)), "25 regions"),
        (lambda n, p, x: ex.kernel_shap(
            KEY, n, p, {}, x, 1, regions=REGIONS, samples=10), "at least twice the 6"),
        (lambda n, p, x: ex.kernel_shap(
            KEY, n, p, {}, x, 1, regions=REGIONS[:3]), "regions are numbers of the shape"),
        (lambda n, p, x: ex.rise(KEY, n, p, {}, {"image": x}, 1), "from_functions"),
        (lambda n, p, x: ex.lrp(None, n, p, {}, x, 1, gamma=-1), "gamma and epsilon"),
        (lambda n, p, x: ex.grad_cam(
            None, n, p, {}, x, 1, endpoint="features"), "is no map of images"),
        (lambda n, p, x: ex.counterfactual(n, p, {}, x, 1, encode=lambda x: x), "together"),
        (lambda n, p, x: ex.grid_regions((6, 6), 7), "blocks is"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_words(call, words):
    network, params = mlp()
    with pytest.raises(ValueError, match=words):
        call(network, params, images())


def test_trees_of_inputs_have_maps_of_zeros_where_there_are_integers():
    network = from_functions(
        lambda key, x: {}, lambda p, x: (x["image"] ** 2).sum((1, 2)) + x["site"][:, None] * 0.0
    )
    given = {"image": images(), "site": jnp.array([1, 2, 3])}
    found = ex.gradient(None, network, {}, {}, given, 1)
    np.testing.assert_allclose(found["image"], 2 * given["image"], rtol=1e-5)
    assert not found["site"].any()
