"""Training of a detector on one's own boxes: what its parts are, and how they are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxmed as jm
from jaxmed import detection
from jaxmed.core import Network
from jaxmed.data import ArraySource, BoxSource, check_disjoint, folds, read_image
from jaxmed.inference import BoxModel, BoxRecipe, FoundInImage, prepare_boxes
from jaxmed.inference._box_model import in_image
from jaxmed.report import Split

from .._common.lite0 import imagenet, lite0
from .._common.pieces import in_pieces
from ._own import split_name

_SCALE = 4.0  # Edge of an anchor in strides of its map.


class Dealt(NamedTuple):
    """Positions of the images that are trained on, looked at meanwhile, and measured.

    Attributes:
        train: positions.
        held: what the learning curve is of; the test images where the data name no split, and none
            where all but these are trained on.
        test: positions.
        flow: how they came to be there, one sentence a step.
    """

    train: list[int]
    held: list[int]
    test: list[int]
    flow: tuple[str, ...]


def dealt(source: BoxSource, held_out: float, seed: int, on: str = "train") -> Dealt:
    """The data's own splits where they name a test split, else a share of the patients.

    Args:
        source: the images.
        held_out: share of the patients that is measured, where no split is named.
        seed: of the dealing.
        on: the split that is trained on, train, or trainval, that and val.
    """
    flow = [f"{len(source)} images of {Path(source.name).name}"]
    given = [name and split_name(name, source.name) for name in source.splits]
    of = {s: [i for i, x in enumerate(given) if x == s] for s in ("train", "val", "test")}
    if source.groups is not None and any(given):
        named = {s: [source.groups[i] for i in rows] for s, rows in of.items() if rows}
        for s, patients in named.items():
            if s != "train" and (both := sorted({*patients} & {*named.get("train", ())})):
                raise ValueError(
                    f"{source.name}: the patient {both[0]} is in the splits train and {s}: images "
                    "of one patient belong to one split"
                )
    if any(given) and (rest := given.count("")):
        flow.append(f"{rest} left out, which are in no split")
    if on == "trainval":
        if not (of["train"] and of["val"] and of["test"]):
            raise ValueError(
                "--train-on trainval: the data name no splits train, val and test, but "
                + (", ".join(sorted({*source.splits} - {""})) or "none")
            )
        flow.append("dealt into train, val and test as the data say; val is trained on too")
        return Dealt(sorted(of["train"] + of["val"]), [], of["test"], tuple(flow))
    if of["test"] and of["train"]:
        flow.append("dealt into train, val and test as the data say")
        return Dealt(of["train"], of["val"] or of["test"], of["test"], tuple(flow))
    if of["val"] and of["train"]:
        flow.append("dealt into train and val as the data say; val is measured")
        return Dealt(of["train"], of["val"], of["val"], tuple(flow))
    if not 0 < held_out < 1:
        raise ValueError(f"--held-out is a share between 0 and 1, got {held_out}")
    parts = folds(len(source), max(2, round(1 / held_out)), groups=source.groups, seed=seed)
    train, test = ([int(i) for i in rows] for rows in parts[0])
    check_disjoint({"train": train, "held out": test}, groups=source.groups)
    unit = "image: no patients are named" if source.groups is None else "patient"
    flow.append(f"{len(test)} images held out at random, by {unit}")
    return Dealt(train, test, test, tuple(flow))


def sizes(source: BoxSource, parts: Dealt) -> tuple[Split, ...]:
    """Images, patients and boxes of each class of each part."""

    def one(name: str, rows: Sequence[int]) -> Split:
        kinds = np.concatenate([source.box_labels[i] for i in rows])
        counts = {c: int((kinds == k).sum()) for k, c in enumerate(source.classes)}
        groups = source.groups
        return Split(
            name, len(rows), None if groups is None else len({groups[i] for i in rows}), counts
        )

    apart = parts.held and parts.held != parts.test
    middle = [one("looked at", parts.held)] if apart else []
    return (one("train", parts.train), *middle, one("test", parts.test))


def trunk_of(name: str, weights: str) -> Network:
    """The trunk that a name stands for."""
    if name == "efficientnet_lite0":
        return imagenet(lite0(drop_path=0.0)) if weights == "imagenet" else lite0(drop_path=0.0)
    return jm.from_linen(getattr(jm.networks, name)())


def maps_of(trunk: Network, shape: Sequence[int], channels: int) -> list[tuple[int, ...]]:
    """Strides of the maps of a trunk's pyramid, finest first, one for each axis."""
    image = jax.ShapeDtypeStruct((1, *shape, channels), jnp.float32)
    variables = jax.eval_shape(trunk.init, jax.random.key(0), image)
    found = jax.eval_shape(lambda p, s, x: trunk.apply(p, s, x)[0]["pyramid"], *variables, image)
    return [
        tuple(2 ** round(np.log2(n / m)) for n, m in zip(shape, x.shape[1:-1], strict=True))
        for x in found
    ]


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
    """
    sizes = np.array([_SCALE * np.prod(s) ** (1 / len(s)) for s in strides])
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


def recipe_of(config: Any, source: BoxSource, parts: Dealt) -> tuple[BoxRecipe, Network]:
    """What is done to an image and by which network, and the network that is trained."""
    first = read_image(source.images[parts.train[0]]).array
    rank, channels = first.ndim - 1, first.shape[-1]
    shape = input_shape(first.shape[:-1], config.size)
    name = config.network or ("efficientnet_lite0" if rank == 2 else "resnet8")
    weights = config.weights or ("imagenet" if name == "efficientnet_lite0" else "scratch")
    if name == "efficientnet_lite0" and rank != 2 and weights == "imagenet":
        raise ValueError("--weights imagenet are of pictures: give --network resnet8 for volumes")
    repeat = 3 if name == "efficientnet_lite0" and channels == 1 else 1
    trunk = trunk_of(name, weights)
    strides = maps_of(trunk, shape, channels * repeat)
    scale = min(n / m for n, m in zip(shape, first.shape[:-1], strict=True))
    boxes = np.concatenate([source.boxes[i] for i in parts.train])
    if not len(boxes):
        raise ValueError(f"{source.name}: no image that is trained on has a box")
    edges = scale * (boxes[:, rank:] - boxes[:, :rank]).prod(1) ** (1 / rank)
    kinds = np.concatenate([source.box_labels[i] for i in parts.train])
    levels = levels_of(strides, edges, kinds)
    pyramid = jm.networks.pyramid(trunk, levels=levels, width=config.width)
    head = detection.retina_head(
        len(source.classes), strides=[strides[i] for i in levels], scales=(_SCALE,),
        depth=config.depth,
    )  # fmt: skip
    network = jm.with_heads(pyramid, {"boxes": head})
    linear = (255 / 128, -127 / 128) if name == "efficientnet_lite0" else (1.0, 0.0)
    recipe = BoxRecipe(
        classes=source.classes,
        channels=("red", "green", "blue") if channels == 3 else tuple(map(str, range(channels))),
        shape=shape,
        net=detection.detector(network, iou=config.nms, count=config.most, least=config.least),
        normalisation="linear" if name == "efficientnet_lite0" else "zscore",
        linear=linear,
        repeat=repeat,
    )
    return recipe, network


def input_shape(spatial: Sequence[int], size: int) -> tuple[int, ...]:
    """The shape of the network's input: a longer side of `size`, edges multiples of 32 or 8.

    >>> input_shape((480, 640), 320), input_shape((32, 32, 32), 320)
    ((256, 320), (32, 32, 32))
    """
    step = 32 if len(spatial) == 2 else 8
    factor = min(1.0, size / max(spatial))
    return tuple(int(np.ceil(round(n * factor) / step) * step) for n in spatial)


def prepared(source: BoxSource, rows: Sequence[int], recipe: BoxRecipe) -> ArraySource:
    """Images in memory as the network takes them, with their boxes."""
    images, boxes, labels, scales, shapes = [], [], [], [], []
    for i in rows:
        example = source[i]
        image, scale = prepare_boxes(recipe, example["image"])
        images.append(image)
        boxes.append(example["box"] * np.tile(scale, 2).astype(np.float32))
        labels.append(example["box_label"])
        scales.append(scale)
        shapes.append(example["image"].shape[:-1])
    return ArraySource(
        {
            "image": np.stack(images),
            "box": np.stack(boxes).astype(np.float32),
            "box_label": np.stack(labels),
            "scale": np.stack(scales),
            "shape": np.array(shapes),
        },
        case_ids=tuple(source.case_ids[i] for i in rows),
        groups=None if source.groups is None else tuple(source.groups[i] for i in rows),
        classes=source.classes,
        name=source.name,
    )


def found_in(model: BoxModel, images: ArraySource, size: int = 8) -> list[FoundInImage]:
    """What a model finds in prepared images, in the voxels of the images as they were read."""
    arrays = images.arrays
    said = in_pieces(model.predict, arrays["image"], size)
    return [
        in_image(
            {name: value[i] for name, value in said.items()},
            arrays["scale"][i],
            tuple(arrays["shape"][i].tolist()),
        )
        for i in range(len(images))
    ]
