"""Networks as data: every public constructor comes back, whatever it was given."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmed as jm
from jaxmed import losses, networks, paradigms
from jaxmed.inference import DescriptionError, build, describe

TRUNK = jm.from_linen(networks.cnn(features=(4, 6), norm="group"))
PLAN = networks.plan_unet((8, 16), (2.0, 1.0), block="residual", base_features=4)

# Constructors with options that are not the defaults, and what they are applied to.
MODULES = {
    "AdditivePooling": networks.AdditivePooling(2),
    "AttentionPooling": networks.AttentionPooling(2, gated=True),
    "AttentionUNet": networks.AttentionUNet(2, (4, 6), (2,), up_kernel=2),
    "BatchNorm": networks.BatchNorm(0.5, scale_init=nn.initializers.zeros),
    "CNN": networks.CNN(2, (4,), norm=functools.partial(networks.GroupNorm, groups=2)),
    "ClassificationHead": networks.ClassificationHead(3, dropout=0.1),
    "Codebook": networks.Codebook(5, 3, decay=None, revive=0.0),
    "Conv": networks.Conv(3, (3, 1), kernel_init=networks.torch_uniform, dtype=jnp.float16),
    "ConvTranspose": networks.ConvTranspose(3, (2, 1)),
    "ConvNeXt": networks.convnext("S", 2, width=8, drop_path=0.1),
    "DCGANGenerator": networks.DCGANGenerator((9, 6), 2, (8, 4), classes=3, bounded=False),
    "Decoder": networks.Decoder(1, (8, 12), norm=networks.InstanceNorm),
    "DenseNet": networks.densenet121(2, growth=4, norm=networks.InstanceNorm),
    "DenoiserUNet": networks.DenoiserUNet(2, (4, 8), attention=(), classes=2, dtype="bfloat16"),
    "DualStreamPooling": networks.DualStreamPooling(2),
    "EfficientNet": networks.EfficientNet(2, stages=((1, 3, 2, 2, 8),), stem=4, width=8),
    "FeaturePyramid": networks.FeaturePyramid(8, (0, 2), extra=1, norm="none"),
    "GroupNorm": networks.GroupNorm(2),
    "Hierarchical": networks.Hierarchical(networks.CNN(None, (4,)), networks.Recurrent(2)),
    "ImageVAE": networks.ImageVAE((9, 6), 2, latent=3, spatial=True, scale=None, remat=True),
    "InstanceNorm": networks.InstanceNorm(dtype="bfloat16", affine=False),
    "LadderVAE": networks.LadderVAE((9, 6), features=(4, 8), levels=1, classes=2, dropout=0.1),
    "LinearHead": networks.LinearHead(2),
    "LossHead": networks.LossHead(6),
    "MLP": networks.MLP(None, (4, 3), norm="batch", dropout=np.float32(0.5)),
    "MambaUNet": networks.MambaUNet(2, PLAN, state=4, where="encoder"),
    "MedNeXt": networks.mednext("L", 3, kernel=5, dtype=jnp.bfloat16),
    "ModulatedConv": networks.ModulatedConv(4, 1, demodulate=False),
    "NoNorm": networks.NoNorm(),
    "PatchCritic": networks.PatchCritic((4, 8), 3, classes=2, pooled=True, slope=0.1),
    "ProjectionHead": networks.ProjectionHead(4, (6,), dtype=np.dtype("float32")),
    "PyramidHead": networks.PyramidHead(2, (2, 1), width=4),
    "RandomConvolutions": networks.RandomConvolutions((4, 6), window=(2, 1), units=5),
    "Recurrent": networks.Recurrent(2, (8,), "gru", bidirectional=True, pooling="attention"),
    "ResNet": networks.ResNet(2, (1,), "bottleneck", width=4, kernel_init=networks.he_fan_in),
    "RetinaHead": networks.RetinaHead(
        2, ((4, 2), 8), (2.0, 4.0), ((1.0, 1.0), (0.5, 2.0)), form="sides", prior=0.1
    ),
    "SegResNet": networks.SegResNet(2, 4, (1, 1), (1,), groups=2),
    "SegmentationHead": networks.SegmentationHead(2, np.float32),
    "SimplePooling": networks.SimplePooling(2, "lse", 2.0),
    "StackingModule": networks.StackingModule(7, networks.RandomConvolutions(), skip=False),
    "StyleGenerator": networks.StyleGenerator((8, 8), 3, (8, 4), width=6, classes=2),
    "SweepNetwork": networks.SweepNetwork(3, (4,), "gru", drop_connect=0.5, remat=True),
    "SwinUNETR": networks.SwinUNETR(2, 12, (1, 1), (3, 3), merging="repeated"),
    "Tabular": networks.Tabular((0, 3), 2, (1.5, 0.0), (2.0, 1.0), hidden=(4,), norm="batch"),
    "TokenDecoder": networks.TokenDecoder((2, 2), 16, width=12),
    "TransUNet": networks.TransUNet(2, PLAN, hidden=16, heads=2),
    "TransformerPooling": networks.TransformerPooling(2),
    "UNETR": networks.UNETR(2, 4, hidden=24, heads=3),
    "UNet": networks.UNet(3, PLAN, deep_supervision=True, dtype=jnp.bfloat16, remat=True),
    "UNetPlusPlus": networks.UNetPlusPlus(2, (4, 6), last=4),
    "VNet": networks.VNet(2, 4, (1,), (1,)),
    "VQCodec": networks.VQCodec((9, 6), codes=7, latent=3, features=(4, 8), decay=0.9),
    "ViT": networks.ViT(2, (4, 2), 12, 1, positions="learned"),
}
NETWORKS = {
    "batch_statistics": paradigms.batch_statistics(TRUNK),
    "fuse": paradigms.fuse(
        {"scan": TRUNK, "record": networks.tabular((0, 2), hidden=(4,))},
        "attention",
        width=4,
        classes=2,
        drop={"scan": 0.25},
    ),
    "fuse_channels": paradigms.fuse_channels(TRUNK, drop=0.5),
    "mixstyle": paradigms.mixstyle(TRUNK, at="stage1"),
    "adapters": paradigms.adapters(TRUNK, width=2, activation=jax.nn.relu),
    "cross_stitch": paradigms.cross_stitch({"a": [nn.Dense(3)], "b": [nn.Dense(3)]}, own=0.8),
    "frozen": paradigms.frozen(TRUNK, "stage1", evaluate=True),
    "lora": paradigms.lora(TRUNK, rank=2, learns="stage2", alpha=3.0),
    "maml": paradigms.maml(
        jm.with_heads(TRUNK, {"logits": nn.Dense(2)}), losses.cross_entropy, steps=2
    ),
    "matching": paradigms.matching(TRUNK, 3, scale=5.0),
    "multiple_instance": paradigms.multiple_instance(TRUNK, "gated_attention", classes=2, hidden=4),
    "pretrained": paradigms.pretrained(TRUNK, {"stage1": {"conv1": {"kernel": jnp.ones(2)}}}),
    "prototype_segmenter": paradigms.prototype_segmenter(TRUNK, 2, level=0),
    "prototypical": paradigms.prototypical(TRUNK, 2, distance="cosine"),
    "stacked": paradigms.stacked(
        [jm.with_heads(TRUNK, {"logits": nn.Dense(2)})] * 2, outputs=2, sees="last"
    ),
    "towers": paradigms.towers({"a": nn.Dense(2), "b": TRUNK}),
    "with_heads": jm.with_heads(
        TRUNK, {"a": paradigms.Head(networks.PyramidHead(2, 1), "pyramid"), "b": nn.Dense(3)}
    ),
}


def through_json(value):
    table = describe(value)
    stored = json.loads(json.dumps(table, allow_nan=False))
    made = build(stored)
    assert describe(made) == table == stored
    return made


def test_every_public_module_is_among_them():
    public = {name: getattr(networks, name) for name in networks.__all__}
    modules = {n for n, v in public.items() if inspect.isclass(v) and issubclass(v, nn.Module)}
    assert modules == set(MODULES)


def test_every_public_function_from_networks_to_a_network_is_among_them():
    found = {
        name
        for name in paradigms.__all__
        if inspect.isfunction(getattr(paradigms, name))
        and str(inspect.signature(getattr(paradigms, name)).return_annotation) == "Network"
    }
    assert found == set(NETWORKS)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_comes_back_with_every_option(name):
    module = MODULES[name]
    made = through_json(module)
    assert type(made) is type(module)
    for field in dataclasses.fields(module):
        given, found = getattr(module, field.name), getattr(made, field.name)
        if field.name == "dtype" and given is not None:
            assert jnp.dtype(found) == jnp.dtype(given)
        elif isinstance(given, functools.partial):
            assert (found.func, found.keywords) == (given.func, given.keywords)
        elif field.name != "parent":
            assert found == given


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_networks_comes_back(name):
    through_json(NETWORKS[name])


def test_pretrained_weights_are_no_part_of_a_description():
    assert describe(NETWORKS["pretrained"]) == describe(TRUNK)


@pytest.mark.parametrize("name", ["with_heads", "lora", "multiple_instance"])
def test_what_comes_back_predicts_the_same_with_the_same_weights(name):
    network = NETWORKS[name]
    x = jnp.arange(2 * 3 * 8 * 8.0).reshape(2, 3, 8, 8, 1) / 100
    x = x if name == "multiple_instance" else x.reshape(6, 8, 8, 1)
    params, state = jax.jit(network.init)(jax.random.key(0), x)
    made = through_json(network)
    for one, two in zip(
        jax.tree.leaves(jax.jit(network.apply)(params, state, x)),
        jax.tree.leaves(jax.jit(made.apply)(params, state, x)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)


def test_functions_that_only_choose_options_give_what_they_chose():
    for module in (
        networks.resnet18(2), networks.unet(2, patch_size=(16, 16)), networks.efficientnet_lite0(),
        networks.vit(), networks.mlp(), networks.cnn(), nn.Dense(3),
        nn.Sequential([nn.Dense(2), jax.nn.gelu]),
    ):  # fmt: skip
        through_json(module)
    assert through_json(networks.plan_unet((40, 56, 40))) == networks.plan_unet((40, 56, 40))


class Mine(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (networks.cnn(2, norm=lambda **options: None), "norm is the function .*lambda"),
        (networks.resnet8(kernel_init=nn.initializers.normal(1.0)), "kernel_init is the function"),
        (Mine(), "the class .*Mine"),
        (jm.with_heads(TRUNK, {"a": Mine()}), r"heads\.a\.network\.module is the class .*Mine"),
        (
            jm.from_functions(lambda key, x: {}, lambda p, x: x),
            "of functions or NNX modules of one's own",
        ),
        (networks.mlp(hidden=np.ones(3)), "hidden is a ndarray"),
        (3, "a network or module is described, not 3"),
    ],
)
def test_what_is_no_data_is_refused_with_what_to_do(value, told):
    with pytest.raises(DescriptionError, match=told):
        describe(value)


def test_a_wrapped_function_is_another_network():
    @functools.wraps(TRUNK.apply)
    def apply(*args, **options):
        return {}, {}

    with pytest.raises(DescriptionError, match="functions or NNX modules of one's own"):
        describe(TRUNK._replace(apply=apply))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": "jaxmed network 9"}, "format 'jaxmed network 9'"),
        ({"call": "os.system"}, "'os.system' is not a public name"),
        ({"call": "jaxmed.networks.read_tensors"}, "not a constructor"),
        ({"call": "jaxmed.networks.Missing"}, "no 'Missing'"),
        ({"call": "jaxmed.networks._private"}, "no '_private'"),
        ({"options": {"classes": 2, "colour": 1}}, "does not take its options.*colour"),
        ({"options": {"dtype": {"dtype": "float99"}}}, "no dtype is 'float99'"),
        ({"options": {"norm": {"odd": 1}}}, "describes nothing"),
    ],
)
def test_data_that_describes_nothing_is_refused(change, told):
    with pytest.raises(DescriptionError, match=told):
        build({**describe(networks.mlp(2)), **change})
