"""Training of a detector on one's own boxes: what its parts are, and how they are chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxmed as jm
from jaxmed import detection
from jaxmed.core import Network
from jaxmed.data import ArraySource, BoxSource, check_disjoint, folds
from jaxmed.inference import BoxModel, BoxRecipe, FoundInImage, box_model, prepare_boxes
from jaxmed.inference._box_model import in_image
from jaxmed.planning import BoxPlan, box_print, plan_boxes
from jaxmed.report import Split

from .._common.lite0 import imagenet, lite0
from .._common.pieces import in_pieces
from ._own import unsaid
from ._parts import split_name


class Dealt(NamedTuple):
    """Positions of the images that are trained on, looked at meanwhile, and measured.

    Attributes:
        folds: `(train, held out)` positions, one pair for each network that is trained; nothing is
            held out where all but the test images are trained on.
        test: positions of the test images, which are read once; perhaps none, and then what is held
            out is measured.
        flow: how they came to be there, one sentence a step.
    """

    folds: list[tuple[list[int], list[int]]]
    test: list[int]
    flow: tuple[str, ...]

    @property
    def development(self) -> list[int]:
        """All images but the test images."""
        return sorted({i for fold in self.folds for part in fold for i in part})

    @property
    def measured(self) -> list[int]:
        """The images that are measured."""
        return self.test or sorted(i for _, held in self.folds for i in held)


def dealt(source: BoxSource, config: Any) -> Dealt:
    """The data's own splits where they name them, else folds of the patients.

    Raises:
        ValueError: a patient in two splits, a share or a fold that is none, splits that
            `train_on` asks for and the data do not name.
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
    if config.train_on == "trainval":
        if not (of["train"] and of["val"] and of["test"]) or config.folds > 1:
            raise ValueError(
                "--train-on trainval: "
                + ("--folds trains on both in turn, leave it out" if config.folds > 1 else "")
                + (
                    "" if config.folds > 1 else "the data name no splits train, val and test, but "
                    + (", ".join(sorted({*source.splits} - {""})) or "none")
                )
            )  # fmt: skip
        flow.append("dealt into train, val and test as the data say; val is trained on too")
        return Dealt([(sorted(of["train"] + of["val"]), [])], of["test"], tuple(flow))
    named = bool(of["train"] and (of["test"] or of["val"]))
    if named:
        flow.append("dealt into " + ", ".join(s for s in of if of[s]) + " as the data say")
    if named and of["val"] and config.folds == 1:
        return Dealt([(of["train"], of["val"])], of["test"], tuple(flow))
    rest = sorted(of["train"] + of["val"]) if named else [*range(len(source))]
    if named and config.folds == 1:
        return Dealt([(rest, [])], of["test"], tuple(flow))
    pairs, told = _folds(source, rest, config)
    return Dealt(pairs, of["test"] if named else [], (*flow, *told))


def _folds(
    source: BoxSource, rest: list[int], config: Any
) -> tuple[list[tuple[list[int], list[int]]], list[str]]:
    """Folds by patient, and a sentence on them; of a single network the one that is held out."""
    if config.folds < 1:
        raise ValueError(f"--folds is 1 or more, got {config.folds}")
    if not 0 < config.held_out <= 0.5:
        raise ValueError(f"--held-out is a share above 0 and at most 0.5, got {config.held_out}")
    groups = None if source.groups is None else [source.groups[i] for i in rest]
    several = len(rest) if groups is None else len(set(groups))
    count = config.folds if config.folds > 1 else round(1 / config.held_out)
    if several < 2:
        raise ValueError(
            f"{source.name}: {len(rest)} image{'s' * (len(rest) != 1)} of one patient: nothing can "
            "be held out to be measured; give images of two patients or more"
        )
    parts = folds(len(rest), min(count, several), groups=groups, seed=config.seed)
    pairs = [([rest[i] for i in fold.train], [rest[i] for i in fold.test]) for fold in parts]
    unit = "image: no patients are named" if groups is None else "patient"
    told = f"dealt at random into {len(pairs)} folds by {unit}"
    if config.folds == 1:
        if not 0 <= config.fold < len(pairs):
            raise ValueError(f"--fold is 0 to {len(pairs) - 1}, got {config.fold}")
        pairs = [pairs[config.fold]]
        told += f"; fold {config.fold} held out, {len(pairs[0][1])} images"
    elif len(pairs) < config.folds:
        told += f", not {config.folds}, as there are no more"
    for train, held in pairs:
        check_disjoint({"train": train, "held out": held}, groups=source.groups)
    return pairs, [told]


def sizes(source: BoxSource, parts: Dealt) -> tuple[Split, ...]:
    """Images, patients and boxes of each class of each part."""

    def one(name: str, rows: Sequence[int]) -> Split:
        kinds = np.concatenate([source.box_labels[i] for i in rows])
        counts = {c: int((kinds == k).sum()) for k, c in enumerate(source.classes)}
        groups = source.groups
        return Split(
            name, len(rows), None if groups is None else len({groups[i] for i in rows}), counts
        )

    if len(parts.folds) > 1:
        found = [one(f"development, {len(parts.folds)} folds", parts.development)]
    else:
        train, held = parts.folds[0]
        name = "looked at" if parts.test else "held out"
        found = [one("train", train), *([one(name, held)] if held else [])]
    return (*found, *([one("test", parts.test)] if parts.test else []))


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


def plan_of(config: Any, source: BoxSource, parts: Dealt) -> BoxPlan:
    """The plan of these images and settings."""
    found = box_print(source, parts.development)
    rank = len(found.shapes[0])
    said = {
        name: getattr(config, name)
        for name in ("width", "depth", "batch", "epochs", "learning_rate", "rotation", "scale",
                     "nms", "most", "least")
    }  # fmt: skip
    plan = plan_boxes(
        found, source.classes, _strides, size=config.size, network=config.network,
        start=config.weights, mirror=tuple(range(rank)) if config.mirror else (), **said,
    )  # fmt: skip
    given = unsaid(config, [*said, "mirror"])
    why = {name: reason for name, reason in plan.why.items() if reason != "given" or name in given
           or name not in {*said, "mirror"}}  # fmt: skip
    return dataclasses.replace(plan, why=why)


def _strides(name: str, shape: tuple[int, ...], channels: int) -> list[tuple[int, ...]]:
    trunk = trunk_of(name, "scratch")
    return maps_of(trunk, shape, channels * _repeat(name, channels))


def _repeat(name: str, channels: int) -> int:
    """How often a grey image's channel is repeated, for a trunk of colour images."""
    return 3 if name == "efficientnet_lite0" and channels == 1 else 1


def recipe_of(plan: BoxPlan) -> tuple[BoxRecipe, Network]:
    """What is done to an image and by which network, and the network that is trained.

    Raises:
        ValueError: a level that the trunk has no map for.
    """
    repeat = _repeat(plan.network, len(plan.channels))
    trunk = trunk_of(plan.network, plan.start)
    strides = maps_of(trunk, plan.shape, len(plan.channels) * repeat)
    if plan.levels[-1] >= len(strides):
        raise ValueError(
            f"the plan's levels are {list(plan.levels)}, but {plan.network} has the maps 0 to "
            f"{len(strides) - 1}"
        )
    pyramid = jm.networks.pyramid(trunk, levels=plan.levels, width=plan.width)
    head = detection.retina_head(
        len(plan.classes), strides=[strides[i] for i in plan.levels], scales=(plan.anchor,),
        depth=plan.depth,
    )  # fmt: skip
    network = jm.with_heads(pyramid, {"boxes": head})
    linear = (255 / 128, -127 / 128) if plan.network == "efficientnet_lite0" else (1.0, 0.0)
    recipe = BoxRecipe(
        classes=plan.classes,
        channels=plan.channels,
        shape=plan.shape,
        net=detection.detector(network, iou=plan.nms, count=plan.most, least=plan.least),
        normalisation="linear" if plan.network == "efficientnet_lite0" else "zscore",
        linear=linear,
        repeat=repeat,
    )
    return recipe, network


def joined(models: Sequence[BoxModel]) -> BoxModel:
    """One model of several of one recipe, whose boxes are fused; a single one as it is."""
    first = models[0]
    if len(models) == 1:
        return first
    net = detection.detector_ensemble(first.recipe.network(), len(models))
    params, state = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *[(m.params, m.state) for m in models]
    )
    return box_model(dataclasses.replace(first.recipe, net=net), params, state)


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
