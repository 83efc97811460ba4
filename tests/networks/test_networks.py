"""Every network: shapes, modes, dtypes, gradients, and the literature's parameter counts."""

from __future__ import annotations

import itertools
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmed as jm
from jaxmed import networks
from jaxmed.core import count_parameters, flatten_paths, from_linen
from jaxmed.networks import UNetPlan
from jaxmed.networks.layers._positions import sincos_positions

KEY = jax.random.key(0)


def small_unet(classes=None, *, block="plain", **options):
    plan = UNetPlan((4, 6, 8), (1, 2, 2), (3, 3, 3), (1, 2, 1), (1, 1), block)
    return networks.unet(classes, plan=plan, **options)


# name: how to make it small, the input's shape, the shapes of its endpoints.
CASES = {
    "mlp": (
        partial(networks.mlp, hidden=(8, 6), norm="batch"),
        (3, 4, 2),
        {"features": (3, 6), "logits": (3, 2)},
    ),
    "cnn": (
        partial(networks.cnn, features=(4, 6), norm="group"),
        (2, 8, 6, 1),
        {"features": (2, 6), "logits": (2, 2), "pyramid": ((2, 8, 6, 4), (2, 4, 3, 6))},
    ),
    "cnn_1d": (
        partial(networks.cnn, features=(4, 6), convs=2, norm="none"),
        (2, 9, 3),
        {"features": (2, 6), "logits": (2, 2), "pyramid": ((2, 9, 4), (2, 4, 6))},
    ),
    "resnet": (
        partial(networks.ResNet, depths=(1, 1), width=4),
        (3, 8, 7, 1),
        {"features": (3, 8), "logits": (3, 2), "pyramid": ((3, 8, 7, 4), (3, 4, 4, 8))},
    ),
    "resnet_3d": (
        partial(networks.ResNet, depths=(1,), width=2, block="bottleneck", stem="standard"),
        (2, 8, 9, 8, 2),
        {"features": (2, 8), "logits": (2, 2), "pyramid": ((2, 2, 3, 2, 8),)},
    ),
    "unet": (
        partial(small_unet, deep_supervision=True),
        (2, 8, 12, 1),
        {
            "features": (2, 8),
            "logits": (2, 8, 12, 2),
            "deep": ((2, 8, 12, 2), (2, 4, 6, 2)),
            "pyramid": ((2, 8, 12, 4), (2, 4, 6, 6), (2, 2, 3, 8)),
        },
    ),
    "unet_3d": (
        partial(small_unet, block="residual", norm="batch", bias=False),
        (2, 7, 8, 6, 2),  # 7 and 6 are not multiples of 4
        {
            "features": (2, 8),
            "logits": (2, 7, 8, 6, 2),
            "pyramid": ((2, 7, 8, 6, 4), (2, 4, 4, 3, 6), (2, 2, 2, 2, 8)),
        },
    ),
    "densenet": (
        partial(networks.DenseNet, depths=(2, 1), growth=4, width=6, bottleneck=2),
        (2, 16, 17, 1),
        {"features": (2, 11), "logits": (2, 2), "pyramid": ((2, 4, 5, 14), (2, 2, 2, 11))},
    ),
    "efficientnet": (
        partial(
            networks.efficientnet,
            0,
            stages=((1, 3, 1, 1, 8), (1, 3, 2, 2, 8)),
            stem=8,
            width=12,
            dropout=0.0,
            drop_path=0.0,
        ),
        (2, 9, 8, 8, 1),
        {"features": (2, 12), "logits": (2, 2), "pyramid": ((2, 5, 4, 4, 8), (2, 3, 2, 2, 12))},
    ),
    "convnext": (
        partial(networks.ConvNeXt, depths=(1, 1), width=4, kernel=3, patch=2, scale=0.1),
        (2, 8, 9, 1),
        {"features": (2, 8), "logits": (2, 2), "pyramid": ((2, 4, 4, 4), (2, 2, 2, 8))},
    ),
    "mednext": (
        partial(networks.MedNeXt, width=4, expansions=(2, 3), depths=(1, 1), deep_supervision=True),
        (2, 6, 5, 4, 1),
        {
            "features": (2, 8),
            "logits": (2, 6, 5, 4, 2),
            "deep": ((2, 6, 5, 4, 2), (2, 3, 3, 2, 2)),
            "pyramid": ((2, 6, 5, 4, 4), (2, 3, 3, 2, 8)),
        },
    ),
    "segresnet": (
        partial(networks.SegResNet, width=4, depths=(1, 1), decoder_depths=(1,), groups=2),
        (2, 9, 8, 1),
        {
            "features": (2, 8),
            "logits": (2, 9, 8, 2),
            "pyramid": ((2, 9, 8, 4), (2, 5, 4, 8)),
        },
    ),
    "vnet": (
        partial(networks.VNet, width=4, depths=(1, 1), decoder_depths=(1, 1), dropout=0.0),
        (2, 9, 8, 3),
        {
            "features": (2, 16),
            "logits": (2, 9, 8, 2),
            "pyramid": ((2, 9, 8, 8), (2, 5, 4, 16), (2, 3, 2, 16)),
        },
    ),
    "attention_unet": (
        partial(networks.AttentionUNet, features=(4, 6), strides=(2,)),
        (2, 9, 8, 1),
        {
            "features": (2, 6),
            "logits": (2, 9, 8, 2),
            "pyramid": ((2, 9, 8, 4), (2, 5, 4, 6)),
        },
    ),
    "unet_plus_plus": (
        partial(networks.UNetPlusPlus, features=(4, 4, 6), last=5, deep_supervision=True),
        (2, 9, 8, 1),
        {
            "features": (2, 6),
            "logits": (2, 9, 8, 2),
            "deep": ((2, 9, 8, 2),) * 2,
            "pyramid": ((2, 9, 8, 5), (2, 4, 4, 4), (2, 2, 2, 6)),
        },
    ),
    "unetr": (
        partial(networks.UNETR, width=2, hidden=8, mlp=8, heads=2, depth=4),
        (2, 32, 16, 1),
        {
            "features": (2, 8),
            "logits": (2, 32, 16, 2),
            "pyramid": (
                (2, 32, 16, 2),
                (2, 16, 8, 4),
                (2, 8, 4, 8),
                (2, 4, 2, 16),
                (2, 2, 1, 8),
            ),
        },
    ),
    "swin_unetr": (
        partial(
            networks.SwinUNETR, width=4, depths=(2, 1), heads=(2, 2), window=3, norm="instance"
        ),
        (2, 17, 16, 16, 1),
        {
            "features": (2, 16),
            "logits": (2, 17, 16, 16, 2),
            "pyramid": (
                (2, 17, 16, 16, 4),
                (2, 9, 8, 8, 4),
                (2, 5, 4, 4, 8),
                (2, 3, 2, 2, 16),
            ),
        },
    ),
    "trans_unet": (
        partial(
            networks.TransUNet,
            plan=UNetPlan((4, 6), (1, 2), (3, 3), (1, 1), (1,)),
            hidden=8,
            layers=1,
            heads=2,
        ),
        (2, 9, 8, 1),
        {"features": (2, 6), "logits": (2, 9, 8, 2), "pyramid": ((2, 9, 8, 4), (2, 5, 4, 6))},
    ),
    "mamba_unet": (
        partial(
            networks.MambaUNet,
            plan=UNetPlan((4, 6), (1, 2), (3, 3), (1, 1), (1,)),
            state=3,
            where="encoder",
        ),
        (2, 6, 8, 4, 1),
        {
            "features": (2, 6),
            "logits": (2, 6, 8, 4, 2),
            "pyramid": ((2, 6, 8, 4, 4), (2, 3, 4, 2, 6)),
        },
    ),
    "vit": (
        partial(networks.vit, patch=(4, 2), width=8, depth=1, heads=2, positions="learned"),
        (2, 8, 6, 1),
        {
            "features": (2, 8),
            "logits": (2, 2),
            "tokens": (2, 6, 8),
            "pyramid": ((2, 2, 3, 8),),
        },
    ),
    "vit_3d": (
        partial(networks.vit, patch=2, width=8, depth=2, heads=1, pool="mean"),
        (2, 4, 4, 2, 2),
        {
            "features": (2, 8),
            "logits": (2, 2),
            "tokens": (2, 4, 8),
            "pyramid": ((2, 2, 2, 1, 8),),
        },
    ),
}


# What takes seconds to compile, and shares its parts with what is checked each time.
SLOW = {
    "vit_3d", "cnn_1d", "densenet", "efficientnet", "convnext", "segresnet", "vnet",
    "attention_unet", "unet_plus_plus", "unetr", "swin_unetr", "trans_unet", "mamba_unet",
}  # fmt: skip
STATISTICS = {
    "mlp", "resnet", "resnet_3d", "unet_3d", "densenet", "efficientnet", "vnet", "attention_unet",
}  # fmt: skip


def images(shape):
    return jax.random.normal(jax.random.key(1), shape)


def loss_of(network, params, state, x, key):
    """A scalar on which all endpoints of the last layer depend unevenly."""
    endpoints, state = network.apply(params, state, x, key=key, train=True)
    heads = [endpoints["logits"], *endpoints.get("deep", ())]
    return sum(jnp.mean(jnp.sin(y * jnp.arange(1.0, 3.0))) for y in heads), (endpoints, state)


def run(network, params, state, x, key=None):
    """Everything one compiles a network for: a step in training, and an evaluation."""
    step = jax.value_and_grad(partial(loss_of, network), has_aux=True)
    (loss, (endpoints, after)), gradients = step(params, state, x, key)
    return loss, gradients, endpoints, after, network.apply(params, after, x)[0]


@pytest.fixture(
    scope="module",
    params=[pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in CASES],
)
def case(request):
    make, shape, expected = CASES[request.param]
    network = from_linen(make(2))
    x = images(shape)
    params, state = jax.jit(network.init)(KEY, x)
    return request.param, network, params, state, x, expected


def test_endpoints_gradients_and_modes(case):
    name, network, params, state, x, expected = case
    found = jax.jit(partial(run, network))(params, state, x)
    params, state, x = jax.device_get((params, state, x))
    loss, gradients, endpoints, after, evaluated = jax.device_get(found)
    for outputs in (endpoints, evaluated):
        shapes = {
            key: tuple(v.shape for v in y) if isinstance(y, tuple) else y.shape
            for key, y in outputs.items()
        }
        assert shapes == expected
    chex.assert_tree_all_finite((loss, gradients, endpoints, evaluated))
    chex.assert_trees_all_equal_shapes_and_dtypes(gradients, params)
    # Every parameter takes part, but for constants that a normalisation takes away again.
    taken_away = ("conv/bias", "depthwise/bias", "merge/bias")
    for path, g in flatten_paths(gradients).items():
        assert np.any(g != 0.0) or path.endswith(taken_away), path
    if "deep" in endpoints:
        np.testing.assert_array_equal(endpoints["deep"][0], endpoints["logits"])
    # Batch statistics move in training, and make it differ from evaluation.
    moved = [np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (state, after)), strict=True)]
    assert all(moved)
    same = np.allclose(endpoints["logits"], evaluated["logits"], atol=1e-4)
    assert same == (not moved)
    assert bool(moved) == (name in STATISTICS)


@pytest.mark.parametrize(
    "name",
    [
        "unet",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("resnet", *sorted(SLOW - {"cnn_1d", "convnext", "unet_plus_plus"}))
        ),
    ],
)
def test_remat_changes_nothing_but_memory(name):
    make, shape, _ = CASES[name]
    # With dropout, so that the recomputation must draw the same numbers.
    plain, remat = (from_linen(make(2, dropout=0.3, remat=r)) for r in (False, True))
    x = images(shape)
    params, state = jax.jit(plain.init)(KEY, x)
    assert jax.tree.structure((params, state)) == jax.tree.structure(
        jax.eval_shape(remat.init, KEY, x)
    )

    def step(network):
        return jax.jit(jax.grad(partial(loss_of, network), has_aux=True))(params, state, x, KEY)

    wanted, got = step(plain), step(remat)
    chex.assert_trees_all_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_jit_is_eager():
    make, shape, _ = CASES["resnet"]
    network, x = from_linen(make(2)), images(shape)
    params, state = jax.jit(network.init)(KEY, x)
    eager = network.apply(params, state, x, train=True)
    jitted = jax.jit(partial(network.apply, train=True))(params, state, x)
    chex.assert_trees_all_close(jitted, eager, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_bfloat16_computes_with_float32_parameters(name):
    make, shape, _ = CASES[name]
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    network = from_linen(make(2, dtype=jnp.bfloat16))
    params, state = jax.eval_shape(network.init, KEY, x)
    (_, (endpoints, after)), gradients = jax.eval_shape(
        jax.value_and_grad(partial(loss_of, network), has_aux=True), params, state, x, KEY
    )
    maps = [
        *endpoints.pop("pyramid", ()),
        *[endpoints.pop(n) for n in ("tokens",) if n in endpoints],
    ]
    assert {y.dtype for y in maps} <= {jnp.dtype("bfloat16")}
    for tree in (params, after, gradients, endpoints):
        assert {y.dtype for y in jax.tree.leaves(tree)} <= {jnp.dtype("float32")}


def test_bfloat16_is_near_float32():
    make, shape, _ = CASES["unet"]
    x = images(shape)
    single, half = (from_linen(make(2, dtype=d)) for d in (None, jnp.bfloat16))
    params, state = jax.jit(single.init)(KEY, x)
    a, b = (jax.jit(n.apply)(params, state, x)[0]["logits"] for n in (single, half))
    assert 0 < np.abs(a - b).max() < 0.1 * np.std(a)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SLOW | {"mednext"}))
def test_the_laws_of_networks(name):
    make, shape, _ = CASES[name]
    jm.testing.check_network(from_linen(make(2)), images(shape))


@pytest.mark.parametrize("name", CASES)
def test_trunk_has_the_networks_endpoints_but_logits(name):
    make, shape, expected = CASES[name]
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    endpoints, variables = jax.eval_shape(make().init_with_output, KEY, x)
    assert endpoints.keys() == expected.keys() - {"logits", "deep"}
    assert not [path for path in flatten_paths(variables["params"]) if path.startswith("head")]


def test_dropout_needs_a_key_and_acts_in_training_only():
    network = from_linen(networks.mlp(2, dropout=0.5, hidden=(32,)))
    x = images((2, 5))
    params, state = network.init(KEY, x)
    apply = jax.jit(partial(network.apply, params, state, x), static_argnames="train")
    a, b, c = (np.asarray(apply(key=jax.random.key(k), train=True)[0]["logits"]) for k in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert np.any(a != c)
    np.testing.assert_array_equal(apply()[0]["logits"], apply(key=KEY)[0]["logits"])
    with pytest.raises(Exception, match="dropout"):
        apply(train=True)


def test_a_residual_block_that_starts_as_the_identity():
    x = images((2, 8, 8, 1))
    net = networks.ResNet(depths=(2,), width=4, zero_init=True)
    endpoints, variables = jax.jit(net.init_with_output)(KEY, x)
    stem = {k: v for k, v in variables["params"].items() if k.startswith("stem")}
    alone = networks.ResNet(depths=(), width=4)
    stats = {"stem_norm": variables["batch_stats"]["stem_norm"]}
    wanted = jax.jit(lambda v: alone.apply(v, x)["features"])(
        {"params": stem, "batch_stats": stats}
    )
    np.testing.assert_allclose(endpoints["features"], wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "count"),
    [
        # Torchvision's, for 1000 classes.
        (partial(networks.resnet18, 1000, stem="standard"), 11_689_512),
        (partial(networks.resnet34, 1000, stem="standard"), 21_797_672),
        (partial(networks.resnet50, 1000, stem="standard"), 25_557_032),
        # MedMNIST's: a 3x3 stem (-9408 + 1728), two classes (-513000 + 1026).
        (partial(networks.resnet18, 2), 11_169_858),
    ],
)
def test_resnets_have_the_published_number_of_parameters(make, count):
    variables = jax.eval_shape(make().init, KEY, jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))
    assert count_parameters(variables["params"]) == count


@pytest.mark.parametrize(
    ("make", "count"),
    [
        # Torchvision's, for 1000 classes.
        (networks.densenet121, 7_978_856),
        (partial(networks.efficientnet, 0), 5_288_548),
        (partial(networks.convnext, "T"), 28_589_128),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                (networks.densenet169, 14_149_480),
                (networks.densenet201, 20_013_928),
                (partial(networks.efficientnet, 1), 7_794_184),
                (partial(networks.efficientnet, 2), 9_109_994),
                (partial(networks.efficientnet, 3), 12_233_232),
                (partial(networks.efficientnet, 4), 19_341_616),
                (partial(networks.convnext, "S"), 50_223_688),
                (partial(networks.convnext, "B"), 88_591_464),
            )
        ),
    ],
)
def test_trunks_have_the_published_number_of_parameters(make, count):
    x = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    assert count_parameters(jax.eval_shape(make(1000).init, KEY, x)["params"]) == count


def test_vits_have_the_published_number_of_parameters():
    # Timm's ViT-B/16 and ViT-Ti/16, but for the position of the class token, itself a parameter.
    x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    for options, count in (
        ({"width": 768, "heads": 12}, 86_567_656 - 768),
        ({}, 5_717_416 - 192),
    ):
        variables = jax.eval_shape(networks.vit(1000, positions="learned", **options).init, KEY, x)
        assert count_parameters(variables["params"]) == count


def test_a_vit_sees_the_visible_patches_alone():
    net = networks.vit(2, patch=2, width=8, depth=2, heads=2)
    x = images((2, 4, 4, 1))
    variables = jax.jit(net.init)(KEY, x)
    visible = jnp.array([[0, 3], [2, 1]])
    apply = jax.jit(lambda x, visible: net.apply(variables, {"image": x, "visible": visible}))
    seen = apply(x, visible)
    assert seen["tokens"].shape == (2, 2, 8)
    assert "pyramid" not in seen
    # Row 0 does not see patch 1, the upper right one; row 1 does.
    other = apply(x.at[:, :2, 2:].set(9.0), visible)
    np.testing.assert_allclose(other["features"][0], seen["features"][0], atol=1e-6)
    assert np.abs(other["features"][1] - seen["features"][1]).max() > 0.01
    # All patches in another order are the same set: attention knows places by position alone.
    whole = jax.jit(net.apply)(variables, x)
    turned = apply(x, jnp.array([[3, 2, 1, 0]] * 2))
    np.testing.assert_allclose(turned["features"], whole["features"], atol=1e-5)
    np.testing.assert_allclose(turned["tokens"][:, ::-1], whole["tokens"], atol=1e-5)


def test_the_fixed_positions_serve_images_of_any_size():
    net = networks.vit(2, patch=2, width=8, depth=1, heads=2)
    variables = jax.jit(net.init)(KEY, jnp.ones((1, 4, 4, 1)))
    larger = jax.eval_shape(net.apply, variables, jnp.ones((1, 8, 6, 1)))
    assert larger["tokens"].shape == (1, 12, 8)
    table = np.asarray(sincos_positions((3, 2), 8))
    angle = np.array([0.0, 1.0]) * 100.0**-1  # the second of two frequencies, 10000^(-1/2)
    np.testing.assert_allclose(table[:2, 5], np.sin(angle), rtol=1e-5)
    assert len(np.unique(table.round(5), axis=0)) == 6


def test_unet_parameters_by_hand():
    # nnU-Net's plan for the hippocampus: 27-tap convolutions with bias, affine norms.
    def conv(i, o):
        return 27 * i * o + o + 2 * o

    widths = [32, 64, 128, 256]
    count = sum(conv(i, o) + conv(o, o) for i, o in zip([1, *widths], widths, strict=False))
    for fine, coarse in itertools.pairwise(widths):
        count += 8 * coarse * fine + fine + conv(2 * fine, fine) + conv(fine, fine)
        count += 3 * fine + 3
    net = networks.unet(3, patch_size=(40, 56, 40), deep_supervision=True)
    x = jax.ShapeDtypeStruct((1, 40, 56, 40, 1), jnp.float32)
    assert count_parameters(jax.eval_shape(net.init, KEY, x)["params"]) == count == 5_603_177


def test_initialisation_may_be_torchs():
    net = networks.ResNet(5, depths=(1,), width=64, kernel_init=networks.torch_uniform)
    params = jax.jit(net.init)(KEY, jnp.ones((1, 8, 8, 1)))["params"]
    kernel = np.asarray(params["stage1_block1"]["conv1"]["kernel"])
    bound = 1 / np.sqrt(9 * 64)
    np.testing.assert_allclose(np.abs(kernel).max(), bound, rtol=1e-3)
    np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3), rtol=0.01)


def test_initialisation_keeps_the_scale():
    # He's fan-out in the ResNet; the head uniform within 1 / sqrt(fan_in).
    x = jnp.ones((1, 8, 8, 3))
    net = networks.ResNet(5, depths=(1,), width=64)
    params = jax.device_get(jax.jit(net.init)(KEY, x)["params"])
    kernel = params["stage1_block1"]["conv1"]["kernel"]
    assert kernel.std() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert np.abs(params["head"]["linear"]["kernel"]).max() == pytest.approx(1 / 8, rel=0.02)
    plan = UNetPlan((32, 64), (1, 2), (3, 3), (1, 1), (1,))
    params = jax.device_get(jax.jit(networks.unet(2, plan=plan).init)(KEY, x)["params"])
    kernel = params["encoder2"]["layer1"]["conv"]["kernel"]
    assert kernel.std() == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.02)


def test_anisotropic_kernels():
    net = networks.unet(2, patch_size=(4, 16, 16), spacing=(6.0, 1.0, 1.0))
    x = jax.ShapeDtypeStruct((1, 4, 16, 16, 1), jnp.float32)
    endpoints, variables = jax.eval_shape(net.init_with_output, KEY, x)
    assert variables["params"]["encoder1"]["layer1"]["conv"]["kernel"].shape[:3] == (1, 3, 3)
    assert variables["params"]["up1"]["kernel"].shape[:3] == (1, 2, 2)
    assert [m.shape[1:4] for m in endpoints["pyramid"]] == [(4, 16, 16), (4, 8, 8), (4, 4, 4)]


def test_segmentation_head_is_the_unets_own():
    make, shape, _ = CASES["unet"]
    x = images(shape)
    whole = make(2)
    variables = jax.jit(whole.init)(KEY, x)
    params = dict(variables["params"])
    heads = {name: params.pop(name) for name in ("head1", "head2")}
    wanted = jax.jit(whole.apply)(variables, x)["logits"]
    pyramid = jax.jit(make().apply)({"params": params}, x)["pyramid"]
    head = networks.SegmentationHead(2)
    got = jax.jit(head.apply)({"params": heads["head1"]}, pyramid)["logits"]
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("net", "shape", "message"),
    [
        (networks.resnet18(2), (2, 8), r"one, two or three spatial axes, got the shape \(2, 8\)"),
        (networks.unet(2), (1, 8, 8, 8, 8, 1), "one, two or three spatial axes"),
        (networks.mlp(2), (4,), "rank at least 2"),
        (networks.cnn(2, features=(4,) * 5), (1, 8, 8, 1), "too few voxels"),
        (networks.resnet18(2, stem="tiny"), (1, 8, 8, 1), "stem must be one of small, standard"),
        (networks.resnet18(2, norm="layer"), (1, 8, 8, 1), "norm must be one of"),
        (networks.unet(2, patch_size=(32, 32)), (1, 8, 8, 8, 1), "the plan's stride must be"),
        (networks.unet(2), (1, 8, 8, 8), "group of one value"),
        (networks.vit(2, patch=3), (1, 9, 8, 1), r"patches of \(3, 3\) voxels do not divide"),
        (networks.vit(2, patch=4, heads=5), (1, 8, 8, 1), "5 heads do not divide a width of 192"),
        (networks.vit(2, patch=4, pool="max"), (1, 8, 8, 1), "positions must be"),
        (networks.vit(2, patch=4, width=4, heads=1), (1, 4, 4, 4, 1), "no room for the positions"),
        (networks.Decoder(1, (4, 4)), (1, 8, 8, 2), r"no image of \(4, 4\) voxels"),
    ],
)
def test_bad_inputs(net, shape, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(net.init, KEY, jax.ShapeDtypeStruct(shape, jnp.float32))


def test_bad_options():
    with pytest.raises(ValueError, match="give plan or patch_size"):
        networks.unet(2, plan=UNetPlan(), patch_size=(32, 32))
    with pytest.raises(ValueError, match="spacing is used in planning"):
        networks.unet(2, spacing=(1.0, 1.0))


@pytest.mark.parametrize(
    ("trunk", "shape", "stride"),
    [
        (networks.ResNet(depths=(1, 1), width=4), (2, 9, 7, 1), 1),
        (networks.EfficientNet(stages=((1, 3, 2, 1, 8), (1, 3, 2, 2, 12)), stem=4, width=16),
         (2, 18, 22, 3), 2),
        (networks.CNN(features=(4, 6)), (1, 6, 5, 4, 1), 1),
    ],
    ids=["resnet", "efficientnet", "3D"],
)  # fmt: skip
def test_a_pyramid_is_decoded_to_the_images_grid(trunk, shape, stride):
    x = jax.random.normal(KEY, shape)
    head = networks.PyramidHead(3, stride=stride, width=4)

    @jax.jit
    def logits_and_gradients(x):
        maps = trunk.init_with_output(KEY, x)[0]["pyramid"]
        found, variables = head.init_with_output(KEY, maps)
        run = lambda maps: head.apply(variables, maps)["logits"].sum()  # noqa: E731
        return found["logits"], jax.grad(run)(maps)

    logits, gradients = logits_and_gradients(x)
    assert logits.shape == (*shape[:-1], 3)
    # Each map of the pyramid counts.
    assert all(np.abs(g).max() > 0 for g in gradients)


def test_a_pyramid_whose_maps_do_not_halve_is_refused():
    maps = (jnp.ones((1, 4, 4, 2)),) * 2
    with pytest.raises(ValueError, match="halve from fine to coarse"):
        networks.PyramidHead(2).init(KEY, maps)
