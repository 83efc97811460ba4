"""Classifiers of torchvision, timm and MONAI, which name most of their layers alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from jaxmed.networks.vision.classifiers._convnext import ConvNeXt
from jaxmed.networks.vision.classifiers._densenet import DenseNet
from jaxmed.networks.vision.classifiers._efficientnet import LITE0, LITE_NORM, EfficientNet
from jaxmed.networks.vision.classifiers._resnet import ResNet
from jaxmed.networks.weights._published import Names, Shapes, Source, Told
from jaxmed.networks.weights.sources._names import ENDINGS, counted, number


def _resnet(shapes: Shapes, options: Mapping[str, Any], stem: str, at: str, conv: str) -> Told:
    """Read a ResNet, whose stem's and blocks' convolutions have these names."""
    del options
    first = shapes[f"{at}.weight"]
    blocks = [number(shapes, rf"^layer{i}\.(\d+)\.") for i in range(1, 5)]
    shortcut = "projection" if any("downsample.0.weight" in n for n in shapes) else "padding"
    shortcut = "biased" if any("downsample.0.bias" in n for n in shapes) else shortcut
    fields = {
        "classes": shapes["fc.weight"][0] if "fc.weight" in shapes else None,
        "depths": tuple(blocks),
        "block": "bottleneck" if f"layer1.0.{conv.format(3)}.weight" in shapes else "basic",
        "stem": stem,
        "width": first[0],
        "shortcut": shortcut,
    }
    return Told(fields, len(first) - 2, first[1], (64,) * (len(first) - 2))


def _resnet_names(network: ResNet) -> Names:
    del network
    return {
        r"^(conv1|stem\.0)\.": "stem_conv/",
        r"^(bn1|stem\.1)\.": "stem_norm/",
        r"^layer(\d)\.(\d+)\.": lambda m: f"stage{m[1]}_block{int(m[2]) + 1}/",
        r"downsample\.0\.": "conv_shortcut/",
        r"downsample\.1\.": "norm_shortcut/",
        r"conv(\d)\.1\.": r"norm\1/",  # a clip's convolution and normalisation share a name
        r"conv(\d)(\.0)?\.": r"conv\1/",
        r"bn(\d)\.": r"norm\1/",
        r"^fc\.": "head/linear/",
        r"\.": "/",
        **ENDINGS,
    }


def _densenet(shapes: Shapes, options: Mapping[str, Any]) -> Told:
    del options
    stem = shapes["features.conv0.weight"]
    blocks = number(shapes, r"^features\.denseblock(\d+)\.")
    inside = "layers." if any(".layers." in name for name in shapes) else ""
    layer = f"features.denseblock1.denselayer1.{inside}"
    growth, wide = shapes[f"{layer}conv2.weight"][:2]
    head = next((n for n in ("classifier.weight", "class_layers.out.weight") if n in shapes), None)
    fields = {
        "classes": shapes[head][0] if head else None,
        "depths": tuple(
            number(shapes, rf"^features\.denseblock{i}\.denselayer(\d+)\.")
            for i in range(1, blocks + 1)
        ),
        "growth": growth,
        "width": stem[0],
        "bottleneck": wide // growth,
    }
    return Told(fields, len(stem) - 2, stem[1], (64,) * (len(stem) - 2))


def _densenet_names(network: DenseNet) -> Names:
    return {
        r"^features\.(conv|norm)0\.": r"stem_\1/",
        r"^features\.denseblock(\d+)\.denselayer(\d+)\.(layers\.)?": r"block\1_layer\2/",
        r"^features\.transition(\d+)\.(conv|norm)\.": r"transition\1_\2/",
        r"^features\.norm\d\.": "norm/",
        r"^(classifier|class_layers\.out)\.": "head/linear/",
        # The names of torchvision's first weights, which it still reads.
        r"(conv|norm)\.(\d)\.": r"\1\2/",
        r"\.": "/",
        **ENDINGS,
    }


class _Blocks(NamedTuple):
    """How a library names the inverted residual blocks of a stage, from 0."""

    stem: str
    top: str
    block: str
    head: str
    layers: Mapping[bool, Mapping[str, str]]  # by whether the block expands


_LIBRARIES = {
    "torchvision": _Blocks(
        "features.0.{}", "features.8.{}", "features.{stage}.{block}.block.", "classifier.1",
        {
            False: {"0.0": "depthwise", "0.1": "depthwise/norm", "1.fc1": "squeeze/reduce",
                    "1.fc2": "squeeze/expand", "2.0": "project", "2.1": "project/norm"},
            True: {"0.0": "expand", "0.1": "expand/norm", "1.0": "depthwise",
                   "1.1": "depthwise/norm", "2.fc1": "squeeze/reduce", "2.fc2": "squeeze/expand",
                   "3.0": "project", "3.1": "project/norm"},
        },
    ),
    "timm": _Blocks(
        "conv_stem|bn1", "conv_head|bn2", "blocks.{stage}.{block}.", "classifier",
        {
            False: {"conv_dw": "depthwise", "bn1": "depthwise/norm",
                    "se.conv_reduce": "squeeze/reduce", "se.conv_expand": "squeeze/expand",
                    "conv_pw": "project", "bn2": "project/norm"},
            True: {"conv_pw": "expand", "bn1": "expand/norm", "conv_dw": "depthwise",
                   "bn2": "depthwise/norm", "se.conv_reduce": "squeeze/reduce",
                   "se.conv_expand": "squeeze/expand", "conv_pwl": "project",
                   "bn3": "project/norm"},
        },
    ),
    "monai": _Blocks(
        "_conv_stem|_bn0", "_conv_head|_bn1", "_blocks.{stage}.{at}.", "_fc",
        {
            False: {"_depthwise_conv": "depthwise", "_bn1": "depthwise/norm",
                    "_se_reduce": "squeeze/reduce", "_se_expand": "squeeze/expand",
                    "_project_conv": "project", "_bn2": "project/norm"},
            True: {"_expand_conv": "expand", "_bn0": "expand/norm", "_depthwise_conv": "depthwise",
                   "_bn1": "depthwise/norm", "_se_reduce": "squeeze/reduce",
                   "_se_expand": "squeeze/expand", "_project_conv": "project",
                   "_bn2": "project/norm"},
        },
    ),
}  # fmt: skip


def _places(library: str, part: str) -> tuple[str, str]:
    """Names of a convolution and of its normalisation."""
    text = getattr(_LIBRARIES[library], part)
    return tuple(text.split("|")) if "|" in text else (text.format(0), text.format(1))  # type: ignore


def _each_block(library: str, blocks: list[int]):
    """Yield the name of each block, whether it expands, its stage and its number here."""
    at, style = 0, _LIBRARIES[library]
    for stage, count in enumerate(blocks):
        for i in range(count):
            shift = int(library == "torchvision")  # its stem is the stage 0
            prefix = style.block.format(stage=stage + shift, block=i, at=at)
            yield prefix, stage > 0, stage, at
            at += 1


def _efficientnet(shapes: Shapes, options: Mapping[str, Any], library: str) -> Told:
    # TensorFlow's padding comes with its normalisation.
    symmetric = options.get("symmetric", library != "monai")
    style = _LIBRARIES[library]
    stem = shapes[_places(library, "stem")[0] + ".weight"]
    blocks = []
    for stage in range(len(LITE0)):
        shift = int(library == "torchvision")
        prefix = style.block.format(stage=stage + shift, block="@", at="@")
        pattern = prefix.replace(".", r"\.").replace("@", r"(\d+)")
        blocks.append(number(shapes, rf"^{pattern}"))
    stages, squeezed = [], False
    for prefix, wide, stage, _ in _each_block(library, blocks):
        names = {here: prefix + there for there, here in style.layers[wide].items()}
        squeezed |= names["squeeze/reduce"] + ".weight" in shapes
        if len(stages) > stage:
            continue
        expand = shapes[names["expand"] + ".weight"] if wide else (1, 1)
        kernel = shapes[names["depthwise"] + ".weight"][-1]
        channels = shapes[names["project"] + ".weight"][0]
        stages.append((blocks[stage], kernel, LITE0[stage][2], expand[0] // expand[1], channels))
    head = f"{style.head}.weight"
    fields: dict[str, Any] = {
        "classes": shapes[head][0] if head in shapes else None,
        "stages": tuple(stages),
        "stem": stem[0],
        "width": shapes[_places(library, "top")[0] + ".weight"][0],
        "norm": "batch" if symmetric else LITE_NORM,
        "squeeze": 0.25 if squeezed else 0.0,
        "activation": "swish" if squeezed else "relu6",
        "symmetric": symmetric,
    }
    return Told(fields, len(stem) - 2, stem[1], (64,) * (len(stem) - 2))


def _efficientnet_names(network: EfficientNet, library: str) -> Names:
    style, names = _LIBRARIES[library], {}
    blocks = [stage[0] for stage in network.stages]
    for part in ("stem", "top"):
        conv, norm = (place.replace(".", r"\.") for place in _places(library, part))
        names[rf"^{conv}\."] = f"{part}/"
        names[rf"^{norm}\."] = f"{part}/norm/"
    for prefix, wide, _, at in _each_block(library, blocks):
        for there, here in style.layers[wide].items():
            names["^" + (prefix + there).replace(".", r"\.") + r"\."] = f"block{at}/{here}/"
    head = style.head.replace(".", r"\.")
    return {**names, rf"^{head}\.": "head/linear/", **ENDINGS}


def _convnext(shapes: Shapes, options: Mapping[str, Any], library: str) -> Told:
    del options
    timm = library == "timm"
    stem = shapes["stem.0.weight" if timm else "features.0.0.weight"]
    pattern = r"^stages\.{}\.blocks\.(\d+)\." if timm else r"^features\.{}\.(\d+)\.block\."
    depths = [number(shapes, pattern.format(i if timm else 2 * i + 1)) for i in range(4)]
    kernel = "stages.0.blocks.0.conv_dw.weight" if timm else "features.1.0.block.0.weight"
    head = "head.fc.weight" if timm else "classifier.2.weight"
    fields = {
        "classes": shapes[head][0] if head in shapes else None,
        "depths": tuple(depths),
        "width": stem[0],
        "kernel": shapes[kernel][-1],
        "patch": stem[-1],
    }
    return Told(fields, len(stem) - 2, stem[1], (64,) * (len(stem) - 2))


def _convnext_names(network: ConvNeXt, library: str) -> Names:
    del network
    if library == "timm":
        names: dict[str, str | Callable] = {
            r"^stem\.0\.": "stem/",
            r"^stem\.1\.": "stem_norm/",
            r"^stages\.(\d)\.downsample\.0\.": counted("down{}_norm/"),
            r"^stages\.(\d)\.downsample\.1\.": counted("down{}/"),
            r"^stages\.(\d)\.blocks\.(\d+)\.": counted("stage{}_block{}/"),
            r"conv_dw\.": "depthwise/",
            r"mlp\.fc(\d)\.": r"mlp/linear\1/",
            r"/norm\.": "/norm/",
            r"gamma$": "scale",
            r"^head\.norm\.": "norm/",
            r"^head\.fc\.": "head/linear/",
        }
    else:
        half = lambda text: lambda m: text.format(int(m[1]) // 2 + 1)  # noqa: E731
        names = {
            r"^features\.0\.0\.": "stem/",
            r"^features\.0\.1\.": "stem_norm/",
            r"^features\.([246])\.0\.": half("down{}_norm/"),
            r"^features\.([246])\.1\.": half("down{}/"),
            r"^features\.([1357])\.(\d+)\.": (
                lambda m: f"stage{int(m[1]) // 2 + 1}_block{int(m[2]) + 1}/"
            ),
            r"layer_scale$": "scale",
            r"block\.0\.": "depthwise/",
            r"block\.2\.": "norm/",
            r"block\.3\.": "mlp/linear1/",
            r"block\.5\.": "mlp/linear2/",
            r"^classifier\.0\.": "norm/",
            r"^classifier\.2\.": "head/linear/",
        }
    return {**names, **ENDINGS}


_TF = {"symmetric": "false for networks whose names begin with tf_"}

# What the libraries' own weights were trained on: pictures of ImageNet, videos of Kinetics-400.
_IMAGENET = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
_KINETICS = ((0.43216, 0.22803), (0.394666, 0.22145), (0.37645, 0.216989))
_STANDARD = {"torchvision": _IMAGENET, "timm": _IMAGENET}

CLASSIFIERS: dict[str, Source] = {
    "torchvision:resnet": Source(
        ResNet, partial(_resnet, stem="standard", at="conv1", conv="conv{}"), _resnet_names,
        "image", signs=(r"^conv1\.weight$", r"^layer4\."), standard=_IMAGENET,
    ),
    "torchvision:video_resnet": Source(
        ResNet, partial(_resnet, stem="video", at="stem.0", conv="conv{}.0"), _resnet_names,
        "image", signs=(r"^stem\.0\.weight$", r"^layer4\."), standard=_KINETICS,
    ),
    "monai:ResNet": Source(
        ResNet, partial(_resnet, stem="dense", at="conv1", conv="conv{}"), _resnet_names, "image",
        asks={"stem": "dense, or standard for conv1_t_stride=2, as MedicalNet's"},
        signs=(r"^conv1\.weight$", r"^layer4\."),
    ),
    **{
        f"{library}:{name}": Source(
            DenseNet, _densenet, _densenet_names, "image", signs=(r"^features\.denseblock1\.",),
            standard=_STANDARD.get(library, ()),
        )
        for library, name in (("torchvision", "densenet"), ("monai", "DenseNet"))
    },
    **{
        f"{library}:{name}": Source(
            EfficientNet, partial(_efficientnet, library=library),
            partial(_efficientnet_names, library=library), "image", asks=asks, signs=(sign,),
            standard=_STANDARD.get(library, ()),
        )
        for library, name, asks, sign in (
            ("torchvision", "efficientnet", {}, r"^features\.1\.0\.block\.1\.fc1\.weight$"),
            ("timm", "efficientnet", _TF, r"^conv_stem\.weight$"),
            ("monai", "EfficientNetBN", {}, r"^_conv_stem\.weight$"),
        )
    },
    **{
        f"{library}:convnext": Source(
            ConvNeXt, partial(_convnext, library=library),
            partial(_convnext_names, library=library), "image", signs=(sign,),
            standard=_STANDARD.get(library, ()),
        )
        for library, sign in (
            ("torchvision", r"^features\.1\.0\.layer_scale$"), ("timm", r"^stages\.0\.blocks\."),
        )
    },
}  # fmt: skip
