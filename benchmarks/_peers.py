"""The same networks in torch, with our weights: ResNet-18 by hand, the U-Net as MONAI's DynUNet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from benchmarks._case import UnavailableError
from benchmarks._memory import mark
from jaxmed.networks import Recurrent, ResNet, UNet


def torch_resnet(torch: Any, network: ResNet, channels: int, params: dict) -> Any:
    """`jaxmed.networks.ResNet` of basic blocks with the small stem, for 2D images."""
    mark()
    model = _resnet_class(torch)(network, channels)
    modules = dict(model.named_modules())
    for path, value in flatten_dict(params).items():
        module = modules[".".join(path[:-1])]
        _set(torch, module, path[-1], np.asarray(value))
    return model


def monai_unet(torch: Any, network: UNet, channels: int, params: dict) -> Any:
    """`jaxmed.networks.UNet` without biases as MONAI's `DynUNet`, with our weights in it.

    Raises:
        UnavailableError: if MONAI is not installed.
        ValueError: if a parameter of either has no counterpart.
    """
    try:
        import monai.inferers
        import monai.losses  # noqa: F401
        from monai.networks.nets import DynUNet
    except ImportError as error:
        raise UnavailableError("pip install --no-deps monai") from error
    plan = network.plan
    mark()
    model = DynUNet(
        spatial_dims=3,
        in_channels=channels,
        out_channels=network.classes,
        kernel_size=list(plan.kernels),
        strides=list(plan.strides),
        upsample_kernel_size=list(plan.strides[1:]),
        filters=list(plan.features),
    )
    modules = dict(model.named_modules())
    flat = flatten_dict(params)
    names = dict(_unet_names(plan.stages))
    for path, value in flat.items():
        where, leaf = names[path[:-1]], path[-1]
        _set(torch, modules[where], leaf, np.asarray(value), transposed="transp_conv" in where)
    ours = sum(np.size(v) for v in flat.values())
    theirs = sum(p.numel() for p in model.parameters())
    if ours != theirs:
        raise ValueError(f"the U-Net has {ours} parameters here and {theirs} in MONAI")
    return model


def torch_recurrent(torch: Any, network: Recurrent, channels: int, params: dict) -> Any:
    """`jaxmed.networks.Recurrent` without its head as torch's LSTM or GRU, with our weights.

    Raises:
        ValueError: if layers are not equally wide, as torch's are.
    """
    if len(set(network.features)) != 1:
        raise ValueError(f"torch's layers are equally wide, not {network.features}")
    width = network.features[0]
    mark()
    make = torch.nn.LSTM if network.cell == "lstm" else torch.nn.GRU
    model = make(
        channels, width, len(network.features),
        bidirectional=network.bidirectional, batch_first=True,
    )  # fmt: skip
    gates = "ifgo" if network.cell == "lstm" else "rzn"
    for name, value in model.named_parameters():
        kind, side, layer = name.split("_")[:3]  # such as weight_ih_l0_reverse
        back = "_back" if name.endswith("reverse") else ""
        own = params[f"layer{int(layer[1:]) + 1}{back}"][network.cell]
        parts = [own[f"{side[0]}{gate}"] for gate in gates]
        if kind == "weight":
            ours = [np.asarray(part["kernel"]).T for part in parts]
        else:  # of the two biases that torch adds, Flax has one
            ours = [np.asarray(part.get("bias", np.zeros(width))) for part in parts]
        with torch.no_grad():
            value.copy_(torch.tensor(np.concatenate(ours)))
    return model


def _unet_names(stages: int) -> Iterator[tuple[tuple[str, ...], str]]:
    """Path of a layer here and in `DynUNet`."""
    blocks = {"encoder1": "input_block", f"encoder{stages}": "bottleneck"}
    for i in range(1, stages - 1):
        blocks[f"encoder{i + 1}"] = f"downsamples.{i - 1}"
    for i in range(1, stages):
        coarsest_first = stages - 1 - i
        blocks[f"decoder{i}"] = f"upsamples.{coarsest_first}.conv_block"
        yield (f"up{i}",), f"upsamples.{coarsest_first}.transp_conv.conv"
    for ours, theirs in blocks.items():
        for layer in (1, 2):
            yield (ours, f"layer{layer}", "conv"), f"{theirs}.conv{layer}.conv"
            yield (ours, f"layer{layer}", "norm"), f"{theirs}.norm{layer}"
    yield ("head1", "conv"), "output_block.conv.conv"


def _set(
    torch: Any, module: Any, leaf: str, value: np.ndarray, *, transposed: bool = False
) -> None:
    """Copy one parameter, in torch's order of axes."""
    if leaf == "kernel" and value.ndim == 2:
        value = value.T
    elif leaf == "kernel":
        window = range(value.ndim - 2)
        if transposed:  # ours convolves the spread image, torch's is a convolution's gradient
            value = np.flip(value, tuple(window)).transpose(-2, -1, *window)
        else:
            value = value.transpose(-1, -2, *window)
    target = module.bias if leaf == "bias" else module.weight
    if tuple(target.shape) != value.shape:
        raise ValueError(
            f"{module}: {leaf} has shape {value.shape} here, {tuple(target.shape)} there"
        )
    with torch.no_grad():
        target.copy_(torch.from_numpy(np.array(value, order="C")))


def _resnet_class(torch: Any) -> type:
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, before: int, width: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(width)
            self.short = before != width or stride != 1
            if self.short:
                self.conv_shortcut = nn.Conv2d(before, width, 1, stride, bias=False)
                self.norm_shortcut = nn.BatchNorm2d(width)

        def forward(self, x: Any) -> Any:
            y = self.norm1(self.conv1(x)).relu()
            y = self.norm2(self.conv2(y))
            if self.short:
                x = self.norm_shortcut(self.conv_shortcut(x))
            return (x + y).relu()

    class Network(nn.Module):
        def __init__(self, like: ResNet, channels: int) -> None:
            super().__init__()
            self.stem_conv = nn.Conv2d(channels, like.width, 3, 1, 1, bias=False)
            self.stem_norm = nn.BatchNorm2d(like.width)
            self.blocks = []
            before = like.width
            for stage, depth in enumerate(like.depths, 1):
                width = like.width * 2 ** (stage - 1)
                for i in range(1, depth + 1):
                    name = f"stage{stage}_block{i}"
                    stride = 2 if i == 1 and stage > 1 else 1
                    self.add_module(name, Block(before, width, stride))
                    self.blocks.append(name)
                    before = width
            self.head = nn.ModuleDict({"linear": nn.Linear(before, like.classes)})

        def forward(self, x: Any) -> Any:
            x = self.stem_norm(self.stem_conv(x)).relu()
            for name in self.blocks:
                x = getattr(self, name)(x)
            return self.head["linear"](x.mean((2, 3)))

    return Network
