"""MONAI's convolutional segmenters."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from jaxmed.networks.vision.segmenters._attention_unet import AttentionUNet
from jaxmed.networks.vision.segmenters._mednext import MedNeXt
from jaxmed.networks.vision.segmenters._segresnet import SegResNet
from jaxmed.networks.vision.segmenters._unet_plus_plus import UNetPlusPlus
from jaxmed.networks.vision.segmenters._vnet import VNet
from jaxmed.networks.weights._published import Names, Shapes, Source, Told
from jaxmed.networks.weights.sources._names import ENDINGS, backwards, counted, number


def _mednext(shapes: Shapes, options: Mapping[str, Any]) -> Told:
    del options
    stem = shapes["stem.weight"]
    stages = number(shapes, r"^enc_stages\.(\d+)\.")
    depths = [number(shapes, rf"^enc_stages\.{i}\.(\d+)\.") for i in range(stages)]
    firsts = [f"enc_stages.{i}.0.conv2.weight" for i in range(stages)] + [
        "bottleneck.0.conv2.weight"
    ]
    rank = len(stem) - 2
    fields = {
        "classes": shapes["out_0.conv_out.weight"][1],
        "width": stem[0],
        "expansions": tuple(shapes[n][0] // shapes[n][1] for n in firsts),
        "depths": (*depths, number(shapes, r"^bottleneck\.(\d+)\.")),
        "kernel": shapes["enc_stages.0.0.conv1.weight"][-1],
        "residual": "down_blocks.0.res_conv.weight" in shapes,
        "deep_supervision": "out_blocks.0.conv_out.weight" in shapes,
    }
    return Told(fields, rank, stem[1], (2 ** (stages + 1),) * rank)


def _mednext_names(network: MedNeXt) -> Names:
    stages = len(network.depths) - 1
    return {
        r"^enc_stages\.(\d+)\.(\d+)\.": counted("encoder{}_block{}/"),
        r"^down_blocks\.(\d+)\.": counted("down{}/"),
        r"^bottleneck\.(\d+)\.": counted("bottleneck_block{}/"),
        r"^up_blocks\.(\d+)\.": backwards("up{}/", stages),
        r"^dec_stages\.(\d+)\.(\d+)\.": backwards("decoder{}_block{}/", stages),
        r"^out_0\.conv_out\.": "head1/conv/",
        r"^out_blocks\.(\d+)\.conv_out\.": backwards("head{}/conv/", stages + 1),
        r"conv1\.": "depthwise/",
        r"conv2\.": "expand/",
        r"conv3\.": "project/",
        r"^(up\d+/)res_conv\.bias$": r"\1shortcut_bias",
        r"res_conv\.": "shortcut/",
        r"\.": "/",
        **ENDINGS,
    }


def _segresnet(shapes: Shapes, options: Mapping[str, Any]) -> Told:
    del options
    stem = shapes["convInit.conv.weight"]
    stages = number(shapes, r"^down_layers\.(\d+)\.")
    depths = [number(shapes, rf"^down_layers\.{i}\.([1-9]\d*)\.") for i in range(stages)]
    ups = [number(shapes, rf"^up_layers\.{i}\.(\d+)\.") for i in range(stages - 1)]
    fields = {
        "classes": shapes["conv_final.2.conv.weight"][0],
        "width": stem[0],
        "depths": tuple(depths),
        "decoder_depths": tuple(ups),
    }
    return Told(fields, len(stem) - 2, stem[1], (2 ** (stages + 1),) * (len(stem) - 2))


def _segresnet_names(network: SegResNet) -> Names:
    ups = len(network.decoder_depths)
    return {
        r"^convInit\.conv\.": "stem/",
        r"^down_layers\.(\d+)\.0\.conv\.": counted("down{}/"),
        r"^down_layers\.(\d+)\.(\d+)\.": lambda m: f"encoder{int(m[1]) + 1}_block{m[2]}/",
        r"^up_samples\.(\d+)\.0\.conv\.": backwards("up{}/", ups),
        r"^up_layers\.(\d+)\.(\d+)\.": backwards("decoder{}_block{}/", ups),
        r"^conv_final\.0\.": "norm/",
        r"^conv_final\.2\.conv\.": "head1/conv/",
        r"(conv\d)\.conv\.": r"\1/",
        r"\.": "/",
        **ENDINGS,
    }


def _vnet(shapes: Shapes, options: Mapping[str, Any]) -> Told:
    del options
    stem = shapes["in_tr.conv_block.conv.weight"]
    downs = [number(shapes, rf"^down_tr{s}\.ops\.(\d+)\.") for s in _VNET]
    ups = [number(shapes, rf"^up_tr{s}\.ops\.(\d+)\.") for s in _VNET]
    fields = {
        "classes": shapes["out_tr.conv2.weight"][0],
        "width": stem[0],
        "depths": tuple(downs),
        "decoder_depths": tuple(ups),
        "bias": "in_tr.conv_block.conv.bias" in shapes,
    }
    return Told(fields, len(stem) - 2, stem[1], (32,) * (len(stem) - 2))


_VNET = (32, 64, 128, 256)  # MONAI names the stages by their channels


def _vnet_names(network: VNet) -> Names:
    del network
    level = lambda m: f"{m[1]}{_VNET.index(int(m[2])) + 1}/"  # noqa: E731
    return {
        r"^in_tr\.conv_block\.": "stem/",
        r"^out_tr\.conv_block\.": "head_layer/",
        r"^out_tr\.conv2\.": "head1/conv/",
        r"^(down|up)_tr(\d+)\.": level,
        r"ops\.(\d+)\.conv_block\.": counted("layer{}/"),
        r"down_conv\.": "conv/",
        r"up_conv\.": "up/",
        r"bn1\.|adn\.N\.": "norm/",
        r"\.": "/",
        **ENDINGS,
    }


def _attention_unet(shapes: Shapes, options: Mapping[str, Any]) -> Told:
    stem = shapes["model.0.conv.0.conv.weight"]
    levels = max(name.count("submodule") for name in shapes)
    firsts = [_attention_level(i, levels) + "conv.0.conv.weight" for i in range(levels)]
    strides = options.get("strides", 2)
    fields = {
        "classes": shapes["model.2.conv.weight"][0],
        "features": (stem[0], *(shapes[name][0] for name in firsts)),
        "strides": (strides,) * levels if isinstance(strides, int) else tuple(strides),
        "kernel": stem[-1],
        "up_kernel": shapes["model.1.upconv.up.conv.weight"][-1],
    }
    size = 2 * math.prod(fields["strides"])
    return Told(fields, len(stem) - 2, stem[1], (size,) * (len(stem) - 2))


def _attention_level(i: int, levels: int) -> str:
    """Where MONAI's recursion puts the convolutions of the stage below stage `i`."""
    last = "submodule." if i == levels - 1 else "submodule.0."
    return "model.1." + "submodule.1." * i + last


def _attention_unet_names(network: AttentionUNet) -> Names:
    levels = len(network.features) - 1
    names: dict[str, Any] = {r"^model\.0\.": "encoder1/", r"^model\.2\.conv\.": "head1/conv/"}
    for i in reversed(range(levels)):
        inner = re.escape(_attention_level(i, levels))
        names[rf"^{inner}conv\."] = f"encoder{i + 2}/conv."
        outer = re.escape("model.1." + "submodule.1." * i)
        names[rf"^{outer}(attention|upconv|merge)\."] = rf"decoder{i + 1}/\1."
    return {
        **names,
        r"/conv\.(\d+)\.": counted("/layer{}/"),
        r"adn\.N\.": "norm/",
        r"attention\.W_g\.0\.conv\.": "gate_conv/",
        r"attention\.W_g\.1\.": "gate_norm/",
        r"attention\.W_x\.0\.conv\.": "skip_conv/",
        r"attention\.W_x\.1\.": "skip_norm/",
        r"attention\.psi\.0\.conv\.": "psi_conv/",
        r"attention\.psi\.1\.": "psi_norm/",
        r"upconv\.up\.conv\.": "up/",
        r"upconv\.up\.norm": "norm",
        r"merge\.conv\.": "merge/",
        r"merge\.adn\.A\.weight$": "slope",
        r"\.": "/",
        r"^(encoder1)/conv/(\d)/": counted("{}/layer{}/"),
        **ENDINGS,
    }


def _unet_plus_plus(shapes: Shapes, options: Mapping[str, Any]) -> Told:
    del options
    stem = shapes["conv_0_0.conv_0.conv.weight"]
    features = [shapes[f"conv_{i}_0.convs.conv_0.conv.weight"][0] for i in range(1, 5)]
    fields = {
        "classes": shapes["final_conv_0_4.weight"][0],
        "features": (stem[0], *features),
        "last": shapes["upcat_0_4.convs.conv_0.conv.weight"][0],
        "deep_supervision": True,
    }
    return Told(fields, len(stem) - 2, stem[1], (32,) * (len(stem) - 2))


def _unet_plus_plus_names(network: UNetPlusPlus) -> Names:
    del network
    return {
        r"^conv_(\d)_0\.(convs\.)?": r"node\1_0/",
        r"^upcat_(\d)_(\d)\.convs\.": r"node\1_\2/",
        r"^upcat_(\d)_(\d)\.upsample\.deconv\.": r"up\1_\2/",
        r"^final_conv_0_(\d)\.": lambda m: f"head{5 - int(m[1])}/conv/",
        r"conv_(\d)\.": counted("layer{}/"),
        r"adn\.N\.": "norm/",
        r"\.": "/",
        **ENDINGS,
    }


MONAI: dict[str, Source] = {
    "monai:MedNeXt": Source(
        MedNeXt, _mednext, _mednext_names, "voxel",
        transposed=(r"/up\d+/(depthwise|shortcut)/", r"/head\d+/"),
        signs=(r"^enc_stages\.", r"^out_0\."),
    ),
    "monai:SegResNet": Source(
        SegResNet, _segresnet, _segresnet_names, "voxel",
        asks={"groups": "groups of the normalisation; 8 unless given"},
        signs=(r"^convInit\.", r"^conv_final\."),
    ),
    "monai:VNet": Source(
        VNet, _vnet, _vnet_names, "voxel",
        transposed=(r"/up\d+/up/",), signs=(r"^in_tr\.", r"^up_tr256\."),
    ),
    "monai:AttentionUnet": Source(
        AttentionUNet, _attention_unet, _attention_unet_names, "voxel",
        asks={"strides": "downsampling of each stage below the first; 2 each unless given"},
        transposed=(r"/decoder\d+/up/",), signs=(r"^model\.1\.attention\.",),
    ),
    "monai:BasicUNetPlusPlus": Source(
        UNetPlusPlus, _unet_plus_plus, _unet_plus_plus_names, "voxel",
        transposed=(r"/up\d_\d/",), signs=(r"^upcat_0_4\.", r"^final_conv_0_4\."),
    ),
}  # fmt: skip
