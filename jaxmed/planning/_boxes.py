"""The plan of a detector of boxes, each choice with its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from jaxmed.data import read_image
from jaxmed.planning import _check as check

Trunk = Literal["efficientnet_lite0", "resnet8", "resnet18"]

_EDGE = 4.0  # Edge of an anchor in strides of its map.
_SIZE = {2: 320, 3: 96}  # Of the longer side of the network's input.


@dataclass(frozen=True)
class BoxPrint:
    """Images with boxes, as a plan sees them.

    Attributes:
        cases: number of images.
        channels: of each.
        shapes: spatial size of each image.
        edges: geometric mean of each box's edges, in voxels of an image whose longer side is 1.
        kinds: class of each box.
    """

    cases: int
    channels: int
    shapes: tuple[tuple[int, ...], ...]
    edges: np.ndarray
    kinds: np.ndarray


@dataclass(frozen=True)
class BoxPlan:
    """How objects are found in images; `plan_boxes` makes it, and people may edit it.

    Attributes:
        classes: names of the classes.
        channels: names of the image's channels.
        shape: spatial shape of the network's input, into which images are fitted.
        network: the trunk.
        start: ``"imagenet"`` weights, or ``"scratch"``.
        levels: maps of the trunk on which objects are looked for, finest first.
        anchor: edge of an anchor in strides of its map.
        width: channels of the feature pyramid.
        depth: convolutions of each tower of the head.
        batch: images of a step.
        epochs: passes over the training images.
        learning_rate: of AdamW, rising over a twentieth of the steps, then falling to 0.
        rotation: largest angle of augmentation, in degrees.
        scale: largest magnification of augmentation, and the inverse of the smallest.
        mirror: spatial axes along which images are mirrored.
        nms: overlap above which the less sure of two boxes of a class is left out.
        most: boxes an image, at most.
        least: boxes with a score at or below this are not told.
        why: the reason for each choice.
    """

    classes: tuple[str, ...]
    channels: tuple[str, ...]
    shape: tuple[int, ...]
    network: Trunk
    start: Literal["imagenet", "scratch"]
    levels: tuple[int, ...]
    anchor: float = _EDGE
    width: int = 64
    depth: int = 2
    batch: int = 8
    epochs: int = 40
    learning_rate: float = 1e-3
    rotation: float = 0.0
    scale: float = 1.25
    mirror: tuple[int, ...] = ()
    nms: float = 0.5
    most: int = 100
    least: float = 0.02
    why: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no training can follow.

        Raises:
            ValueError: names the field.
        """
        check.names("classes", self.classes, 1)
        check.some("channels", self.channels, 1)
        check.between("the length of shape", len(self.shape), 2, 3)
        step = _step(len(self.shape))
        for side in self.shape:
            check.at_least("a side of shape", side, step)
            if side % step:
                raise ValueError(f"a side of shape is a multiple of {step}, got {side}")
        if self.start == "imagenet" and self.network != "efficientnet_lite0":
            raise ValueError(f"start 'imagenet' is of efficientnet_lite0, not of {self.network}")
        if not self.levels or [*self.levels] != sorted({*self.levels}) or self.levels[0] < 0:
            raise ValueError(f"levels rises from 0 on, got {list(self.levels)}")
        check.above("anchor", self.anchor)
        for name in ("width", "batch", "epochs", "most"):
            check.at_least(name, getattr(self, name), 1)
        check.at_least("depth", self.depth, 0)
        check.above("learning_rate", self.learning_rate)
        check.between("rotation", self.rotation, 0, 180)
        check.at_least("scale", self.scale, 1)
        check.axes("mirror", self.mirror, len(self.shape))
        check.between("nms", self.nms, 0, 1)
        check.between("least", self.least, 0, 1, below=True)


def box_print(source: Any, cases: Sequence[int]) -> BoxPrint:
    """Read the images of a source of boxes and describe them.

    Args:
        source: of :func:`jaxmed.data.box_dataset`.
        cases: positions of the images that are looked at.

    Returns:
        What a plan needs to know.

    Raises:
        ValueError: no image has a box.
    """
    shapes, edges, kinds = [], [], []
    channels = 1
    for i in cases:
        array = read_image(source.images[i]).array
        shape = array.shape[:-1]
        channels = array.shape[-1]
        shapes.append(tuple(int(n) for n in shape))
        boxes, labels = source.boxes[i], source.box_labels[i]
        kept = np.asarray(labels) >= 0
        lengths = (boxes[:, len(shape) :] - boxes[:, : len(shape)])[kept]
        edges.append(lengths.prod(1) ** (1 / len(shape)) / max(shape))
        kinds.append(np.asarray(labels)[kept])
    found = np.concatenate(edges) if edges else np.zeros(0)
    if not len(found):
        raise ValueError(f"{source.name}: no image that is trained on has a box")
    return BoxPrint(len(shapes), channels, tuple(shapes), found, np.concatenate(kinds))


def plan_boxes(
    found: BoxPrint,
    classes: Sequence[str],
    strides: Callable[[str, tuple[int, ...], int], Sequence[tuple[int, ...]]],
    *,
    size: int | None = None,
    network: Trunk | None = None,
    start: Literal["imagenet", "scratch"] | None = None,
    **options: Any,
) -> BoxPlan:
    """Plan a detector.

    Args:
        found: of :func:`box_print`.
        classes: names of the classes.
        strides: from a trunk's name, the shape of its input and its channels to the strides of its
            maps, finest first, one for each axis.
        size: longer side of the network's input; 320 of pictures and 96 of volumes by default.
        network: in place of the plan's choice.
        start: likewise.
        **options: further fields of the plan, as they are given.

    Returns:
        The plan.

    Raises:
        ValueError: weights that the trunk has not, or a field that cannot be.
    """
    rank = len(found.shapes[0])
    why: dict[str, str] = {}
    told = f"{size} is given" if size else f"{_SIZE[rank]} is usual"
    size = size or _SIZE[rank]
    shape = input_shape(found.shapes, size)
    widest = max(max(s) for s in found.shapes)
    why["shape"] = (
        f"of the longer side {told}, images have up to {widest}; every image fits in, and sides "
        f"are multiples of {_step(rank)}"
    )
    if network is None:
        network = "efficientnet_lite0" if rank == 2 else "resnet8"
        kind = "pictures" if rank == 2 else "volumes"
        why["network"] = f"the usual one of {kind}"
    else:
        why["network"] = "given"
    pretrained = network == "efficientnet_lite0" and rank == 2
    why["start"] = "given" if start else (
        "weights of photographs are a good beginning for pictures" if pretrained
        else "there are no weights for this trunk"
    )  # fmt: skip
    if start == "imagenet" and rank != 2:
        raise ValueError("start 'imagenet' is of pictures: take resnet8 from scratch for volumes")
    start = start or ("imagenet" if pretrained else "scratch")
    longer = np.array([max(s) * min(1.0, size / max(s)) for s in found.shapes])
    edges = found.edges * np.median(longer)
    maps = strides(network, shape, found.channels)
    levels = levels_of(maps, edges, found.kinds)
    low, high = np.quantile(edges, [0.05, 0.95])
    why["levels"] = f"objects have edges of {low:.0f} to {high:.0f} voxels of the input"
    names = ("red", "green", "blue") if found.channels == 3 else tuple(
        map(str, range(found.channels))
    )  # fmt: skip
    for name in options:
        why[name] = "given"
    return BoxPlan(
        classes=tuple(classes), channels=names, shape=shape, network=network, start=start,
        levels=levels, why=why, **options,
    )  # fmt: skip


def levels_of(
    strides: Sequence[tuple[int, ...]], edges: np.ndarray, kinds: np.ndarray | None = None
) -> tuple[int, ...]:
    """The maps whose anchors are of the objects' sizes: (levels,) of a pyramid.

    Every class counts alike, as in the mean of average precision: a rare one of large or of small
    objects has a map of its own.

    Args:
        strides: of all maps, finest first.
        edges: (objects,) geometric means of the objects' edges, in voxels of the network's input.
        kinds: (objects,) their classes; one by default.

    Returns:
        Those from the one whose anchors suit the smallest objects to the largest's, two at least.
        The finest map is left out if there is another: it is expensive and sees little.

    Examples:
        >>> levels_of([(2, 2), (4, 4), (8, 8), (16, 16)], np.array([15.0, 40, 80]))
        (1, 2, 3)
    """
    sizes = np.array([_EDGE * np.prod(s) ** (1 / len(s)) for s in strides])
    kinds = np.zeros(len(edges), int) if kinds is None else kinds
    ends = np.array([np.quantile(edges[kinds == k], [0.05, 0.95]) for k in np.unique(kinds)])
    small, large = ends[:, 0].min(), ends[:, 1].max()
    first = int(np.argmin(np.abs(np.log(sizes / small))))
    last = int(np.argmin(np.abs(np.log(sizes / large))))
    first = max(first, 1 if max(strides[0]) < 4 and len(strides) > 2 else 0)
    last = max(last, first + 1)
    if last >= len(strides):
        first, last = max(0, len(strides) - 2), len(strides) - 1
    return tuple(range(first, last + 1))


def input_shape(shapes: Sequence[Sequence[int]], size: int) -> tuple[int, ...]:
    """The shape that holds every image with a longer side of `size` at most.

    Edges are multiples of 32, of volumes of 8.

    Examples:
        >>> input_shape([(480, 640)], 320), input_shape([(32, 32, 32)], 320)
        ((256, 320), (32, 32, 32))
        >>> input_shape([(480, 640), (640, 480)], 320)  # lying and standing
        (320, 320)
    """
    step = _step(len(shapes[0]))
    fitted = [[round(n * min(1.0, size / max(shape))) for n in shape] for shape in shapes]
    return tuple(int(np.ceil(max(side) / step) * step) for side in zip(*fitted, strict=True))


def _step(rank: int) -> int:
    return 32 if rank == 2 else 8
