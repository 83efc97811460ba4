"""Networks that segment volumes, each at a size that two CPU cores train."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxmed import networks


class Small(NamedTuple):
    """A network of a comparison.

    Attributes:
        make: from classes, patch and spacing to the module.
        words: what it is.
    """

    make: Callable[[int, Sequence[int], Sequence[float]], Any]
    words: str


def _planned(block: Any, kind: Any = networks.UNet, **options: Any) -> Callable[..., Any]:
    def make(classes: int, patch: Sequence[int], spacing: Sequence[float]) -> Any:
        plan = networks.plan_unet(patch, spacing, block=block, base_features=8)
        plan = dataclasses.replace(
            plan, depths=(1,) * plan.stages, decoder_depths=(1,) * (plan.stages - 1)
        )
        return kind(classes, plan, **options)

    return make


def _plain(kind: Any, **options: Any) -> Callable[..., Any]:
    return lambda classes, patch, spacing: kind(classes, **options)


NETWORKS: dict[str, Small] = {
    "unet_residual": Small(_planned("residual"), "U-Net with a residual encoder"),
    "unet": Small(_planned("plain"), "U-Net"),
    "mednext": Small(
        _plain(networks.MedNeXt, width=8, expansions=(2,) * 4, depths=(1,) * 4), "MedNeXt"
    ),
    "segresnet": Small(
        _plain(networks.SegResNet, depths=(1, 1, 1, 1), decoder_depths=(1, 1, 1)), "SegResNet"
    ),
    "attention_unet": Small(
        _plain(networks.AttentionUNet, features=(8, 16, 32, 64)), "attention U-Net"
    ),
    "unet_plus_plus": Small(_plain(networks.UNetPlusPlus, features=(8, 16, 32, 64)), "UNet++"),
    "vnet": Small(
        _plain(networks.VNet, width=4, depths=(1, 1, 1), decoder_depths=(1, 1, 1)), "V-Net"
    ),
    "swin_unetr": Small(
        _plain(
            networks.SwinUNETR, width=12, depths=(2, 2), heads=(3, 6), window=4, norm="instance"
        ),
        "Swin-UNETR of two stages",
    ),
    "unetr": Small(
        _plain(networks.UNETR, width=4, hidden=48, mlp=96, heads=3, depth=4, norm="instance"),
        "UNETR",
    ),
    "trans_unet": Small(
        _planned("residual", networks.TransUNet, hidden=48, layers=2, heads=3),
        "the residual U-Net with a transformer at its bottom",
    ),
    "mamba_unet": Small(
        _planned("residual", networks.MambaUNet, state=8),
        "the residual U-Net with a state space at its bottom",
    ),
}
