"""`jaxmed convert WEIGHTS --as LIBRARY:NETWORK`: a published checkpoint as a model of jaxmed."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxmed.cli._place import writing

# What a network is given at once, unless it says so itself, by kind and number of axes.
_SHAPES = {("voxel", 2): 256, ("voxel", 3): 96, ("image", 2): 224, ("image", 3): 96}


def run(arguments: Sequence[str]) -> int:
    """Read the options, convert the weights, write the model.

    Returns:
        0.
    """
    options = _parser().parse_args([*arguments])
    if options.list:
        _list()
        return 0
    if options.weights is None or options.source is None or options.out is None:
        raise ValueError("give the file, --as LIBRARY:NETWORK and -o FOLDER; --list lists networks")
    if not options.weights.is_file():
        raise ValueError(f"there is no file {options.weights}")
    if (options.out / "model.json").exists():
        raise ValueError(f"{options.out} holds a model already: name another folder, or delete it")
    model, said = _model(options)
    from jaxmed.inference import save_model

    with writing(options.out):
        path = save_model(options.out, model)
    print(f"{path}: {said}")
    return 0


def _model(options: argparse.Namespace) -> tuple[Any, str]:
    from jaxmed import inference
    from jaxmed.core import count_parameters
    from jaxmed.networks import from_published

    given = dict(_option(text) for text in options.option)
    found = from_published(options.weights, options.source, **given)
    if found.classes is None:
        raise ValueError(
            f"{options.weights} holds a trunk without its last layer, which predicts nothing by "
            "itself: jaxmed.networks.from_published gives it to Python, to be trained further"
        )
    edge = _SHAPES.get((found.kind, found.rank), min(found.shape))
    shape = tuple(options.shape or given.get("shape", ()) or _fitting(edge, found))
    if len(shape) != found.rank:
        raise ValueError(f"--shape: the network has {found.rank} axes, got {len(shape)} numbers")
    channels = tuple(options.channels or (f"channel{i}" for i in range(found.channels)))
    # A grey image in the place of a colour one, as the network of whole images sees it.
    repeat = found.channels if found.kind == "image" and len(channels) == 1 else 1
    if len(channels) * repeat != found.channels:
        raise ValueError(
            f"--channels: the network takes {found.channels}, got {', '.join(channels)}"
        )
    normalisation, linear, told = _normalisation(options, found)
    common = {
        "channels": channels, "net": found.network, "normalisation": normalisation,
        "linear": linear,
    }  # fmt: skip
    of_other = ("task",) if found.kind == "voxel" else ("spacing",)
    if said := [name for name in of_other if getattr(options, name) is not None]:
        other = "classifier" if found.kind == "voxel" else "segmenter"
        raise ValueError(f"--{said[0]} is of a {other}, which {options.source} is not")
    if found.kind == "voxel":
        classes = _classes(options, found.classes + options.sigmoid, first="background")
        spacing = tuple(options.spacing or (0.0,) * found.rank)
        regions = tuple(range(1, found.classes + 1)) if options.sigmoid else ()
        recipe = inference.Recipe(classes, spacing=spacing, patch=shape, regions=regions, **common)
        model = inference.segmenter(recipe, found.params, found.state)
    else:
        task = options.task or ("multi-label" if options.sigmoid else "multi-class")
        wanted = 2 if task == "binary" and found.classes == 1 else found.classes
        outputs = _classes(options, wanted, first="class0")
        recipe = inference.ImageRecipe(task, outputs, shape=shape, repeat=repeat, **common)
        model = inference.image_model(recipe, found.params, found.state)
    said = (
        f"{type(found.network).__name__} of {count_parameters(found.params):,} parameters, for "
        f"{found.rank}D images of {', '.join(channels)}, {' x '.join(map(str, shape))} at once; "
        f"normalised by {told}. A file of weights does not say how its images "
        "were prepared: --spacing, --normalisation, --shape and the order of --channels must be "
        "those of its training"
    )
    return model, said


def _normalisation(options: argparse.Namespace, found: Any) -> tuple[str, Any, str]:
    """The normalisation, its linear map, and both in words."""
    asked, linear = options.normalisation, options.linear
    given = [name for name in ("mean", "sd", "linear") if getattr(options, name) is not None]
    if given and asked not in (None, "linear"):
        raise ValueError(f"--{given[0]} is of the linear normalisation, not of {asked}")
    if linear is not None and len(given) > 1:
        raise ValueError(f"--linear and --{given[0]} say the same: give one of them")
    standard = found.standard
    if given in (["mean"], ["sd"]):
        raise ValueError("--mean and --sd belong together: give both")
    if options.mean is not None:
        for name in ("mean", "sd"):
            numbers = getattr(options, name)
            if len(numbers) not in (1, found.channels) or (name == "sd" and min(numbers) <= 0):
                raise ValueError(
                    f"--{name} is a number, or one for each of the {found.channels} channels"
                    f"{', above 0' * (name == 'sd')}, got {' '.join(map(str, numbers))}"
                )
        means, sds = (list(n) * (found.channels // len(n)) for n in (options.mean, options.sd))
        standard = tuple(zip(means, sds, strict=True))
    if linear is not None or (asked == "linear" and not standard):
        gain, offset = linear or (1.0, 0.0)
        return "linear", (gain, offset), f"linear, {gain:g} x {offset:+g}"
    if not standard or asked not in (None, "linear"):
        return asked or "zscore", (1.0, 0.0), asked or "zscore"
    means, sds = zip(*standard, strict=True)
    words = "mean " + ", ".join(map(str, means)) + " and deviation " + ", ".join(map(str, sds))
    whose = "given" if options.mean is not None else f"{options.source.partition(':')[0]}'s own"
    return "linear", tuple((1 / sd, -m / sd) for m, sd in standard), f"{words} ({whose})"


def _fitting(edge: int, found: Any) -> tuple[int, ...]:
    """The usual edge; the network's own shape, where its weights are tied to one."""
    tied = "positions" in found.params
    return found.shape if tied else (edge,) * found.rank


def _classes(options: argparse.Namespace, count: int, *, first: str) -> tuple[str, ...]:
    names = tuple(options.classes or (first, *(f"class{i}" for i in range(1, count))))
    if len(names) != count:
        raise ValueError(
            f"--classes: the network has {count}{' with the background' * (first != 'class0')}, "
            f"got {', '.join(names)}"
        )
    return names


def _option(text: str) -> tuple[str, Any]:
    """Read ``name=value``: a number, true or false, numbers joined by commas, or a word."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"--option is name=value, such as heads=12, got {text!r}")
    plain = {"true": "True", "false": "False", "none": "None"}.get(value.lower(), value)
    try:
        return name, ast.literal_eval(plain)
    except (ValueError, SyntaxError):
        return name, value


def _list() -> None:
    from jaxmed.networks import published

    for name, asks in published().items():
        print(name)
        for option, text in asks.items():
            print(f"    --option {option}=...  {text}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxmed convert",
        description="Read a checkpoint of another library, without running what is in it, and "
        "write the network of jaxmed that computes the same, for jaxmed predict, train --from, "
        "explain and export. Widths, depths, classes and axes are read off the tensors.",
    )
    parser.add_argument(
        "weights", type=Path, nargs="?",
        help="a file of torch.save, safetensors or NumPy's npz; the state dict may be nested",
    )  # fmt: skip
    parser.add_argument(
        "--as", dest="source", metavar="LIBRARY:NETWORK",
        help="whose weights they are, such as monai:SwinUNETR; --list lists all",
    )  # fmt: skip
    parser.add_argument("-o", "--out", type=Path, help="folder of the model, which is created")
    parser.add_argument("--list", action="store_true", help="list the networks and their options")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE",
        help="an option of the network that its tensors do not tell; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--shape", type=int, nargs="+", metavar="N",
        help="voxels along each axis that the network is given at once: a segmenter's patch, a "
        "classifier's image",
    )  # fmt: skip
    parser.add_argument(
        "--spacing", type=float, nargs="+", metavar="MM",
        help="voxel edges to which a segmenter's scans are brought; 0, the default: as they are",
    )  # fmt: skip
    parser.add_argument(
        "--normalisation", choices=("zscore", "unit", "percentile", "linear"),
        help="of each image's intensities; by default the library's own mean and deviation of each "
        "channel where it has them (torchvision, timm), else zscore",
    )  # fmt: skip
    parser.add_argument(
        "--linear", type=float, nargs=2, metavar=("GAIN", "OFFSET"),
        help="of the linear normalisation",
    )  # fmt: skip
    parser.add_argument(
        "--mean", type=float, nargs="+", metavar="M",
        help="of each channel, or of all, of images as they are read (pictures in [0, 1]), which "
        "is subtracted",
    )  # fmt: skip
    parser.add_argument(
        "--sd", type=float, nargs="+", metavar="SD", help="by which it is then divided"
    )  # fmt: skip
    parser.add_argument(
        "--channels", nargs="+", metavar="NAME",
        help="of the image, in order; of a classifier of colour images one name is a grey image's, "
        "which is repeated",
    )  # fmt: skip
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME",
        help="in the order of the outputs; a segmenter's begin with the background",
    )  # fmt: skip
    parser.add_argument(
        "--sigmoid", action="store_true",
        help="outputs do not exclude each other: overlapping regions, without one for the "
        "background, or independent labels",
    )  # fmt: skip
    parser.add_argument(
        "--task", choices=("binary", "multi-class", "ordinal", "multi-label", "regression"),
        help="of a classifier; multi-class unless given",
    )  # fmt: skip
    return parser
