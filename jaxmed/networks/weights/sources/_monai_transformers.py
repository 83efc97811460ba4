"""MONAI's segmenters with transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jaxmed.networks.vision.segmenters._swin_unetr import SwinUNETR
from jaxmed.networks.vision.segmenters._unetr import UNETR
from jaxmed.networks.weights._published import Names, Shapes, Source, Told
from jaxmed.networks.weights.sources._names import ENDINGS, counted, number

_RESIDUAL = {
    r"(?:layer\.|conv_block\.)?conv(\d)\.conv\.": lambda m: f"block1_{_LAYERS[m[1]]}/conv/",
    r"(?:layer\.|conv_block\.)?\bnorm(\d)\.": lambda m: f"block1_{_LAYERS[m[1]]}/norm/",
    r"transp_conv\.conv\.": "up/",
    r"out\.conv\.conv\.": "head1/conv/",
}
_LAYERS = {"1": "layer1", "2": "layer2", "3": "shortcut"}


def _swin(shapes: Shapes, options: Mapping[str, Any]) -> Told:
    embed = shapes["swinViT.patch_embed.proj.weight"]
    rank = len(embed) - 2
    stages = number(shapes, r"^swinViT\.layers(\d+)\.")
    first = [f"swinViT.layers{i}.0.blocks.0." for i in range(1, stages + 1)]
    tables = [shapes[name + "attn.relative_position_bias_table"] for name in first]
    edge = (round(tables[0][0] ** (1 / rank)) + 1) // 2
    hidden = shapes[first[0] + "mlp.linear1.weight"]
    fields = {
        "classes": shapes["out.conv.conv.weight"][0],
        "width": embed[0],
        "depths": tuple(
            number(shapes, rf"^swinViT\.layers{i}\.0\.blocks\.(\d+)\.")
            for i in range(1, stages + 1)
        ),
        "heads": tuple(table[1] for table in tables),
        "window": options.get("window", edge),
        "mlp_ratio": hidden[0] / hidden[1],
        "bias": first[0] + "attn.qkv.bias" in shapes,
        "convolved": "swinViT.layers1c.0.layer.conv1.conv.weight" in shapes,
        "norm": _norm(shapes, "encoder1.layer.norm1"),
    }
    return Told(fields, rank, embed[1], (2 ** (stages + 2),) * rank)


def _swin_names(network: SwinUNETR) -> Names:
    def block(match: re.Match) -> str:
        return f"stage{match[1]}_block{int(match[2]) + 1}/"

    skips = {"encoder10": "bottleneck"}
    skips |= {f"encoder{i}": f"skip{i}" for i in range(1, len(network.depths) + 1)}
    return {
        r"^swinViT\.patch_embed\.proj\.": "patches/",
        r"^swinViT\.layers(\d+)\.0\.blocks\.(\d+)\.": lambda m: (
            f"stage{m[1]}_block{int(m[2]) + 1}/"
        ),
        r"^swinViT\.layers(\d+)\.0\.downsample\.": r"merge\1/",
        r"^swinViT\.layers(\d+)c\.0\.": r"before\1/",
        r"^(encoder\d+)\.": lambda m: f"{skips[m[1]]}/",
        r"^decoder(\d+)\.conv_block\.": r"decoder\1/stage/",
        r"^decoder(\d+)\.": r"decoder\1/",
        r"^(stage\d+_block\d+/norm\d|merge\d+/norm)\.": r"\1/",
        r"attn\.relative_position_bias_table$": "positions",
        r"attn\.qkv\.": "attention/qkv/",
        r"attn\.proj\.": "attention/out/",
        **_RESIDUAL,
        r"\.": "/",
        **ENDINGS,
    }


def _unetr(shapes: Shapes, options: Mapping[str, Any]) -> Told:
    embed = shapes["vit.patch_embedding.patch_embeddings.weight"]
    rank = len(embed) - 2
    tokens = shapes["vit.patch_embedding.position_embeddings"][1]
    edge = round(tokens ** (1 / rank))
    if edge**rank != tokens and "shape" not in options:
        raise ValueError(
            f"the positions are of {tokens} patches, which are no square or cube: give the shape "
            "of the image, such as 96,96,64"
        )
    fields = {
        "classes": shapes["out.conv.conv.weight"][0],
        "width": shapes["encoder1.layer.conv1.conv.weight"][0],
        "hidden": embed[0],
        "mlp": shapes["vit.blocks.0.mlp.linear1.weight"][0],
        "heads": options.get("heads", 12),
        "depth": number(shapes, r"^vit\.blocks\.(\d+)\."),
        "convolved": "encoder2.blocks.0.0.conv.weight" in shapes,
        "bias": "vit.blocks.0.attn.qkv.bias" in shapes,
        "norm": _norm(shapes, "encoder1.layer.norm1"),
    }
    return Told(fields, rank, embed[1], (16 * edge,) * rank)


def _unetr_names(network: UNETR) -> Names:
    upmost = {2: 3, 3: 2, 4: 1}  # enlargements of each skip, which count down to the finest

    def inner(match: re.Match) -> str:
        level, rest = int(match[1]), match[3]
        at = upmost[level] - 1 - int(match[2])
        if rest.startswith("conv."):
            return f"skip{level}_up{at}/{rest.removeprefix('conv.')}"
        return f"skip{level}_stage{at}/{rest}"

    def block(match: re.Match) -> str:
        return f"decoder{int(match[1]) - 1}/{'stage/' if match[2] else ''}"

    del network
    return {
        r"^vit\.patch_embedding\.patch_embeddings\.": "patches/",
        r"^vit\.patch_embedding\.position_embeddings$": "positions",
        r"^vit\.blocks\.(\d+)\.": counted("block{}/"),
        r"^vit\.norm\.": "norm/",
        r"^(block\d+/norm\d)\.": r"\1/",
        r"attn\.qkv\.": "attention/qkv/",
        r"attn\.out_proj\.": "attention/out/",
        r"^encoder(\d)\.transp_conv_init\.conv\.": (lambda m: f"skip{m[1]}_up{upmost[int(m[1])]}/"),
        r"^encoder(\d)\.blocks\.(\d+)\.(?:\d\.)?(.*)$": inner,
        r"^encoder1\.": "skip1/",
        r"^decoder(\d+)\.(conv_block\.)?": block,
        **_RESIDUAL,
        r"\.": "/",
        **ENDINGS,
    }


def _norm(shapes: Shapes, name: str) -> Any:
    """Instance normalisation, with a scale if there is one; batch, if there are statistics."""
    from jaxmed.networks.vision.segmenters._unetr import PLAIN_INSTANCE

    if f"{name}.running_mean" in shapes:
        return "batch"
    return "instance" if f"{name}.weight" in shapes else PLAIN_INSTANCE


MONAI_TRANSFORMERS: dict[str, Source] = {
    "monai:SwinUNETR": Source(
        SwinUNETR, _swin, _swin_names, "voxel",
        asks={
            "merging": "by_distance (MONAI since 1.6), repeated (earlier), by_axis (mergingv2)",
            "window": "edge of a window, if not the same along all axes",
        },
        transposed=(r"/decoder\d+/up/",), ignore=(r"relative_position_index$",),
        signs=(r"^swinViT\.", r"^decoder1\."),
    ),
    "monai:UNETR": Source(
        UNETR, _unetr, _unetr_names, "voxel",
        asks={
            "heads": "attention heads; 12 unless given",
            "shape": "of the image, if it is no square or cube",
        },
        transposed=(r"/decoder\d+/up/", r"/skip\d+_up\d+/"), ignore=(r"norm_cross_attn\.",),
        signs=(r"^vit\.patch_embedding\.", r"^decoder5\."),
    ),
}  # fmt: skip
