"""Published weights without their library: a file MONAI wrote, wrapped, spoilt, misnamed."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import networks
from jaxmed.networks import from_published, published

STORED = Path(__file__).parent / "stored"


@pytest.fixture(scope="module")
def tensors():
    """Of MONAI's SegResNet, 2D, four channels, two groups: random, drawn once."""
    return dict(np.load(STORED / "segresnet.npz"))


@pytest.fixture(scope="module")
def answer():
    """An image, and what MONAI's network made of it."""
    return dict(np.load(STORED / "segresnet_answer.npz"))


def test_a_file_becomes_the_network_that_computes_the_same(answer):
    found = from_published(STORED / "segresnet.npz", "monai:SegResNet", groups=2)
    assert found.network == networks.SegResNet(3, 4, (1, 1), (1,), groups=2)
    assert (found.kind, found.rank, found.channels, found.classes) == ("voxel", 2, 1, 3)
    made = jax.jit(found.network.apply)({"params": found.params}, answer["image"])
    np.testing.assert_allclose(made["logits"], answer["logits"], atol=1e-5)
    half = from_published(
        STORED / "segresnet.npz", "MONAI:segresnet", groups=2, dtype=jnp.bfloat16, remat=True
    )
    assert (half.network.dtype, half.network.remat) == (jnp.bfloat16, True)
    assert {leaf.dtype for leaf in jax.tree.leaves(half.params)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    "wrap",
    [
        "module.{}",
        "state_dict.{}",
        "state_dict.module.{}",
        "model.net.{}",
        "model_state._orig_mod.{}",
    ],
)
def test_what_a_trainer_wraps_around_a_state_dict_is_taken_off(tensors, wrap):
    wrapped = {wrap.format(name): value for name, value in tensors.items()}
    # A nested file holds other tensors too, the optimizer's say.
    if "." in wrap.partition("{")[0][:-1] or wrap.startswith("state_dict"):
        wrapped["optimizer.state.0.exp_avg"] = np.zeros(3)
    found = from_published(wrapped, "monai:SegResNet", groups=2)
    kernel = found.params["stem"]["kernel"]
    np.testing.assert_array_equal(kernel[..., 1, 0, 2], tensors["convInit.conv.weight"][2, 0, :, 1])


def spoilt(tensors, **changes):
    return {k: v for k, v in {**tensors, **changes}.items() if v is not None}


@pytest.mark.parametrize(
    ("changes", "source", "options", "told"),
    [
        ({}, "monai:Nothing", {}, "of 'monai:Nothing' are not known here; there are monai:"),
        ({}, "monai:VNet", {}, r"not of monai:VNet: no tensor is named like \^in_tr.*convInit"),
        ({"conv_final.2.conv.weight": None}, "monai:SegResNet", {}, "no tensor 'conv_final.2.conv"),
        (
            {"up_samples.0.0.conv.weight": None}, "monai:SegResNet", {},
            "nothing goes to params/up1/kernel",
        ),
        (
            {"up_samples.0.0.conv.weight": np.zeros((4, 7, 1, 1))}, "monai:SegResNet", {},
            r"up_samples.0.0.conv.weight becomes \(1, 1, 7, 4\), but params/up1/kernel is",
        ),
        (
            {"extra.weight": np.zeros(2)}, "monai:SegResNet", {},
            "extra.weight becomes params/extra/kernel, which the network does not have",
        ),
        ({}, "monai:SegResNet", {"colour": 1}, "has no such option: .*colour.*groups"),
    ],
)  # fmt: skip
def test_misfits_are_told_by_name(tensors, changes, source, options, told):
    with pytest.raises(ValueError, match=told):
        from_published(spoilt(tensors, **changes), source, **options)


def test_every_source_is_a_network_and_says_what_it_asks():
    listed = published()
    assert {name.partition(":")[0] for name in listed} == {"monai", "torchvision", "timm"}
    assert "merging" in listed["monai:SwinUNETR"]
    assert "heads" in listed["monai:UNETR"]


def test_transposed_kernels_are_mirrored_and_regrouped():
    # By hand: torch's transposed convolution of one voxel writes its kernel as it stands.
    weight = np.arange(2 * 3 * 2 * 2.0).reshape(2, 3, 2, 2)
    variables = {"params": {"up": {"kernel": np.zeros((2, 2, 2, 3)), "bias": np.zeros(3)}}}
    names = {r"^up\.weight$": "params/up/kernel", r"^up\.bias$": "params/up/bias"}
    given = {"up.weight": weight, "up.bias": np.zeros(3)}
    filled = networks.from_tensors(variables, given, names, transposed=["up/"])
    made = networks.ConvTranspose(3, 2).apply(
        {"params": filled["params"]["up"]}, np.array([1.0, 10.0]).reshape(1, 1, 1, 2)
    )
    np.testing.assert_allclose(made[0], np.moveaxis(weight[0] + 10 * weight[1], 0, -1), rtol=1e-6)
    depthwise = {"params": {"up": {"kernel": np.zeros((3, 3, 1, 5))}}}
    weight = np.random.default_rng(0).normal(size=(5, 1, 3, 3))
    filled = networks.from_tensors(depthwise, {"up.weight": weight}, names, transposed=["up/"])
    kernel = np.asarray(filled["params"]["up"]["kernel"])
    np.testing.assert_allclose(kernel[0, 2, 0, 4], weight[4, 0, 2, 0], rtol=1e-6)
