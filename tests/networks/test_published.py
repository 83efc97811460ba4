"""Networks of other libraries at random weights: the same numbers, by name maps alone."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxmed.core import count_parameters
from jaxmed.networks import from_published

torch = pytest.importorskip("torch", reason="torch computes what is compared with")


def _operators():
    """Declare what torchvision built for another device lacks; no network here calls it."""
    kept = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        try:
            kept.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        except RuntimeError:
            return None
    return kept


_KEPT = _operators()
torch.set_num_threads(1)


def peer(library):
    """The library's networks, or a skip."""
    return pytest.importorskip(library, reason=f"{library} computes what is compared with")


def _swin(nets, **options):
    return nets.SwinUNETR(
        in_channels=1, out_channels=2, feature_size=12, depths=(1, 1, 1, 1),
        num_heads=(3, 3, 6, 6), window_size=3, **options,
    )  # fmt: skip


def _merging_of_old(nets):
    """MONAI's merging before 1.6, as it was published with weights: two voxels come twice."""
    from monai.networks.nets.swin_unetr import PatchMergingV2

    offsets = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1)]

    class Old(PatchMergingV2):
        def forward(self, x):
            parts = [x[:, i::2, j::2, k::2] for i, j, k in [*offsets, (1, 1, 1)]]
            return self.reduction(self.norm(torch.cat(parts, -1)))

    return _swin(nets, downsample=Old)


# name: (library, how it makes the network, the image's shape, options)
CASES = {
    "monai:MedNeXt": (
        "monai.networks.nets",
        lambda nets: nets.MedNeXt(
            spatial_dims=2, init_filters=4, in_channels=2, out_channels=3, kernel_size=3,
            encoder_expansion_ratio=(2, 3), decoder_expansion_ratio=(3, 2),
            bottleneck_expansion_ratio=3, blocks_down=(1, 2), blocks_bottleneck=1, blocks_up=(2, 1),
            use_residual_connection=True,
        ),
        (2, 16, 12, 2), {},
    ),
    "monai:MedNeXt S 3D": (
        "monai.networks.nets",
        lambda nets: nets.MedNeXtS(
            in_channels=1, out_channels=2, kernel_size=5, deep_supervision=True
        ),
        (1, 32, 32, 32, 1), {},
    ),
    "monai:SegResNet": (
        "monai.networks.nets",
        lambda nets: nets.SegResNet(
            spatial_dims=3, init_filters=8, in_channels=2, out_channels=3, blocks_down=(1, 2, 1),
            blocks_up=(2, 1),
        ),
        (2, 8, 8, 12, 2), {},
    ),
    "monai:VNet": (
        "monai.networks.nets",
        lambda nets: nets.VNet(spatial_dims=2, in_channels=2, out_channels=3),
        (2, 32, 16, 2), {},
    ),
    "monai:AttentionUnet": (
        "monai.networks.nets",
        lambda nets: nets.AttentionUnet(
            spatial_dims=2, in_channels=2, out_channels=3, channels=(4, 6, 8), strides=(2, 2)
        ),
        (2, 16, 12, 2), {},
    ),
    "monai:BasicUNetPlusPlus": (
        "monai.networks.nets",
        lambda nets: nets.BasicUNetPlusPlus(
            spatial_dims=2, in_channels=2, out_channels=3, features=(4, 4, 6, 8, 10, 5)
        ),
        (2, 36, 32, 2), {},
    ),
    "monai:UNETR": (
        "monai.networks.nets",
        lambda nets: nets.UNETR(
            in_channels=2, out_channels=3, img_size=(32, 16), feature_size=4, hidden_size=24,
            mlp_dim=16, num_heads=3, spatial_dims=2,
        ),
        (2, 32, 16, 2), {"heads": 3, "shape": (32, 16)},
    ),
    "monai:SwinUNETR": (
        "monai.networks.nets",
        lambda nets: nets.SwinUNETR(
            in_channels=2, out_channels=3, feature_size=12, num_heads=(3, 3, 6, 6), window_size=5,
            spatial_dims=2,
        ),
        (2, 64, 64, 2), {},
    ),
    "monai:SwinUNETR 3D": (
        "monai.networks.nets",
        lambda nets: nets.SwinUNETR(
            in_channels=1, out_channels=2, feature_size=12, depths=(2, 1, 1, 1),
            num_heads=(3, 3, 6, 6), window_size=3, norm_name="batch", use_v2=True,
        ),
        (1, 64, 32, 32, 1), {},
    ),
    "monai:SwinUNETR by axis": (
        "monai.networks.nets", lambda nets: _swin(nets, downsample="mergingv2"),
        (1, 64, 32, 32, 1), {"merging": "by_axis"},
    ),
    "monai:SwinUNETR of old": (
        "monai.networks.nets", _merging_of_old, (1, 64, 32, 32, 1), {"merging": "repeated"},
    ),
    "torchvision:resnet": (
        "torchvision.models", lambda m: m.resnet18(num_classes=3), (2, 33, 64, 3), {},
    ),
    "torchvision:resnet 50": (
        "torchvision.models", lambda m: m.resnet50(num_classes=3), (1, 32, 32, 3), {},
    ),
    "torchvision:video_resnet": (
        "torchvision.models.video", lambda m: m.r3d_18(num_classes=3), (1, 8, 16, 16, 3), {},
    ),
    "torchvision:densenet": (
        "torchvision.models",
        lambda m: m.DenseNet(8, (2, 3, 2), 6, num_classes=3), (2, 33, 48, 3), {},
    ),
    "torchvision:efficientnet": (
        "torchvision.models", lambda m: m.efficientnet_b0(num_classes=3), (1, 33, 32, 3), {},
    ),
    "torchvision:convnext": (
        "torchvision.models", lambda m: m.convnext_tiny(num_classes=3), (1, 33, 64, 3), {},
    ),
    "timm:efficientnet": (
        "timm", lambda m: m.create_model("efficientnet_b1", num_classes=3), (1, 33, 32, 3), {},
    ),
    "timm:efficientnet tf": (
        "timm", lambda m: m.create_model("tf_efficientnet_b0", num_classes=3), (1, 33, 32, 3),
        {"symmetric": False},
    ),
    "timm:convnext": (
        "timm",
        lambda m: m.create_model("convnext_tiny", num_classes=3, depths=(1, 1, 2, 1)),
        (1, 33, 64, 3), {},
    ),
    "monai:ResNet": (
        "monai.networks.nets",
        lambda nets: nets.resnet18(spatial_dims=3, n_input_channels=1, num_classes=2),
        (1, 16, 17, 16, 1), {},
    ),
    "monai:ResNet 10": (
        "monai.networks.nets",
        lambda nets: nets.resnet10(
            spatial_dims=3, n_input_channels=1, num_classes=2, shortcut_type="A", conv1_t_stride=2
        ),
        (1, 32, 32, 16, 1), {"stem": "standard"},
    ),
    "monai:DenseNet": (
        "monai.networks.nets",
        lambda nets: nets.DenseNet(3, 1, 2, 8, 6, (2, 3, 2)), (1, 32, 33, 48, 1), {},
    ),
    "monai:EfficientNetBN": (
        "monai.networks.nets",
        lambda nets: nets.EfficientNetBN(
            "efficientnet-b0", pretrained=False, in_channels=1, num_classes=3
        ),
        (1, 224, 224, 1), {},
    ),
}  # fmt: skip


def randomised(network, seed=0):
    """Draw every tensor, running statistics too: zeros and ones would hide a misplaced one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if not value.is_floating_point():
                continue
            drawn = torch.randn(value.shape, generator=generator)
            if name.endswith("running_var"):
                value.copy_(0.5 + drawn.abs())
            elif value.ndim > 1:
                fan = max(value[0].numel(), 1)
                value.copy_(drawn * (1.0 / fan) ** 0.5)
            else:
                value.copy_(drawn * 0.3 + ("weight" in name))
    return network.eval()


def compared(case, atol=1e-4):
    name, (library, make, shape, options) = case
    theirs = randomised(make(peer(library)))
    tensors = {k: v.numpy() for k, v in theirs.state_dict().items()}
    source = name.partition(" ")[0]
    ours = from_published(tensors, source, **options)
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    with torch.no_grad():
        wanted = theirs(torch.tensor(np.moveaxis(image, -1, 1)))
    wanted = wanted[-1] if isinstance(wanted, list | tuple) else wanted
    wanted = np.moveaxis(wanted.numpy(), 1, -1)
    variables = {"params": ours.params, **ours.state}
    got = jax.jit(lambda v, x: ours.network.apply(v, x)["logits"])(variables, image)
    scale = max(np.abs(wanted).max(), 1.0)
    np.testing.assert_allclose(got / scale, wanted / scale, atol=atol)
    assert wanted.std() > 1e-3
    return theirs, ours


SLOW = (
    "monai:MedNeXt S 3D", "monai:SwinUNETR 3D", "monai:SwinUNETR by axis", "monai:SwinUNETR of old",
    "torchvision:resnet 50", "monai:ResNet 10", "monai:EfficientNetBN",
    "timm:efficientnet tf",
)  # fmt: skip


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow if case[0] in SLOW else (), id=case[0])
        for case in CASES.items()
    ],
)
def test_the_same_numbers(case):
    theirs, ours = compared(case)
    # MONAI's transformer makes a normalisation that it never applies.
    used = [p.numel() for n, p in theirs.named_parameters() if "norm_cross_attn" not in n]
    assert count_parameters(ours.params) == sum(used)
