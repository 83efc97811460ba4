"""Compare where maps of a classifier point with where a segmenter sees the structure.

    jaxmed train evidence --data lgg
    jaxmed train evidence --data ph2
    jaxmed train evidence --data wbc

EfficientNet-Lite0, begun with ImageNet's weights, learns a class of each image: slices with and
without a glioma, melanomas and nevi, white blood cells. A small U-Net learns the masks of the same
images. On images of other patients, the maps of each method and the U-Net's probabilities are read
as scores of the mask's pixels: area under the precision-recall curve, beside the share of the image
that the mask covers. Images without a mask are left out. A map that is low there does not say what
the class was told from; a map that is high has only found the structure, not shown why.

Expected with seed 0: the U-Net .881, .978 and .998; the best of nine maps, Grad-CAM, .174, .720 and
.819; by chance .033, .322 and .320. Three minutes each.
"""

from __future__ import annotations

import csv
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

import jaxmed as jm
from jaxmed import explain, losses
from jaxmed.augment import brightness, chain, flip, random_affine
from jaxmed.data import ArraySource, batches, data_root, folds, read_image, read_mask
from jaxmed.networks import UNetPlan, unet
from jaxmed.paradigms import Head, augmented, with_heads
from jaxmed.report import Results, Split, classification, stage

from .._common.lite0 import imagenet, lite0

GRID = {"data": ("lgg", "ph2", "wbc"), "seed": (0, 1, 2)}


@dataclasses.dataclass(frozen=True)
class Config:
    """One data set.

    Args:
        data: gliomas in MRI, skin lesions in dermoscopy, or white blood cells.
        folder: of the images; by default that of the name in JAXMED_DATA.
        size: side to which images are brought.
        epochs: passes over the training images, of both networks.
        batch: images of a step.
        learning_rate: of AdamW, rising at first, then falling to 0.
        passes: of the network for each image, of the methods that sample.
        seed: of the split, the parameters, the order and the methods' draws.
    """

    data: Literal["lgg", "ph2", "wbc"] = "lgg"
    folder: Path | None = None
    size: int = 96
    epochs: int = 10
    batch: int = 16
    learning_rate: float = 1e-3
    passes: int = 256
    seed: int = 0


class Masked(NamedTuple):
    """Images with a class and the mask of what it is about.

    Attributes:
        images: (n, size, size, 3) as ImageNet's weights know them.
        masks: (n, size, size).
        labels: (n,).
        classes: their names.
        groups: (n,) patients.
        names: of the images.
    """

    images: np.ndarray
    masks: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    groups: list[str]
    names: list[str]


def run(config: Config, out: Path) -> Results:
    """Train both networks, make the maps, measure them against the masks."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        found = _read(config)
        part = folds(
            len(found.labels), 3, groups=found.groups, stratify=found.labels.tolist(),
            seed=config.seed,
        )[0]  # fmt: skip
    rows = {"train": part.train, "held out": part.test}
    parts = {
        name: ArraySource(
            {"image": found.images[at], "mask": found.masks[at], "label": found.labels[at]},
            case_ids=[found.names[i] for i in at],
            classes=found.classes,
        )
        for name, at in rows.items()
    }
    classifier = _trained(config, parts["train"], len(found.classes), out / "classifier")
    segmenter = _trained(config, parts["train"], 0, out / "segmenter")
    seconds["training"] = classifier.seconds + segmenter.seconds
    test = parts["held out"].arrays
    with stage(seconds, "evaluation"):
        logits = _logits(classifier, test["image"])
        results = classification(
            test["label"], jax.nn.softmax(logits), classes=found.classes,
            cases=parts["held out"].case_ids, groups=[found.groups[i] for i in part.test],
            title=f"{_TOLD[config.data]}: where maps point, and where a segmenter sees it",
        )  # fmt: skip
    shown = np.flatnonzero(test["mask"].reshape(len(logits), -1).any(1))
    masks = test["mask"][shown] > 0
    groups = [found.groups[part.test[i]] for i in shown]
    with stage(seconds, "maps"):
        seen = np.asarray(jax.nn.softmax(_logits(segmenter, test["image"][shown])))[..., 1:]
        precision = {
            "share": explain.mask_share(masks),
            "segmenter": explain.mask_average_precision(seen, masks),
            **_of_maps(config, classifier, test["image"][shown], logits[shown], masks),
        }
    told = {
        f"precision/{name}": explain.over_cases(
            values, groups=groups, bounds=(0, 1), name=f"precision/{name}"
        )
        for name, values in precision.items()
    }
    return results.replace(
        metrics={**results.metrics, **told},
        description=(
            f"EfficientNet-Lite0 and a U-Net, {config.epochs} epochs on {len(part.train)} images "
            f"of {config.size} x {config.size}. Maps are of the class that is predicted, in "
            f"{len(shown)} images of other patients that have a mask; nothing was chosen by them. "
            "`precision` is the area under the precision-recall curve of the mask's pixels, "
            "`share` what chance would reach."
        ),
        splits=tuple(Split(name, len(at)) for name, at in rows.items()),
        partition="by patient, a third held out",
        history=classifier.history,
        seconds=seconds,
    )


class _Trained(NamedTuple):
    network: jm.Network
    params: Any
    state: Any
    seconds: float
    history: Any


def _trained(config: Config, source: ArraySource, classes: int, out: Path) -> _Trained:
    """Train the classifier; without classes, the segmenter."""
    if classes:
        network = with_heads(
            imagenet(lite0()), {"logits": Head(jm.networks.ClassificationHead(classes), "features")}
        )
        objective = jm.supervised(losses.cross_entropy)
    else:
        plan = UNetPlan((16, 32, 64, 128), (1, 2, 2, 2), (3,) * 4, (2,) * 4, (2,) * 3)
        network = jm.core.as_network(unet(2, plan=plan))
        objective = jm.supervised(losses.dice_ce, target="mask")
    order = batches(source, config.batch, seed=config.seed)
    steps = config.epochs * len(order)
    move = chain(
        flip(), random_affine(), brightness(0.1), images=("image",), masks=("mask",)
    )  # fmt: skip
    optimizer = jm.train.optimizer(
        "adamw", learning_rate=config.learning_rate, schedule="cosine", steps=steps,
        warmup=steps // 10, weight_decay=1e-3, clip=5.0,
    )  # fmt: skip
    learner = jm.learner(network, augmented(objective, move), optimizer)
    made = jm.fit(learner, order, seed=config.seed, steps=steps, out=out)
    return _Trained(network, *learner.predicting.get(made.state), made.seconds, made.history)


def _logits(trained: _Trained, images: np.ndarray) -> np.ndarray:
    apply = jax.jit(lambda x: trained.network.apply(trained.params, trained.state, x)[0]["logits"])
    return np.concatenate(
        [np.asarray(apply(images[i : i + 16])) for i in range(0, len(images), 16)]
    )


def methods(config: Config, grey: float) -> dict[str, Any]:
    """The methods by name; absence is one grey."""
    regions = explain.grid_regions((config.size,) * 2, 8)
    covered = {"baseline": grey}
    return {
        "gradient": explain.gradient,
        "smooth_grad": partial(explain.smooth_grad, samples=16),
        "integrated_gradients": partial(explain.integrated_gradients, steps=32, **covered),
        "guided_backprop": explain.guided_backprop,
        "lrp": explain.lrp,
        "grad_cam": explain.grad_cam,
        "occlusion": partial(explain.occlusion, window=config.size // 8, **covered),
        "rise": partial(explain.rise, samples=config.passes, **covered),
        "kernel_shap": partial(
            explain.kernel_shap, regions=regions, samples=config.passes, **covered
        ),
    }


# Of these the size says how much a pixel matters, whichever way.
_UNSIGNED = ("gradient", "smooth_grad", "guided_backprop")


def _of_maps(
    config: Config, trained: _Trained, images: np.ndarray, logits: np.ndarray, masks: np.ndarray
) -> dict[str, np.ndarray]:
    """The average precision of each method's maps of the class predicted."""
    targets = logits.argmax(-1).astype(np.int32)
    found = {}
    for name, method in methods(config, float(images.mean())).items():
        ask = explain.compiled(method)
        pieces = []
        for i in range(0, len(images), 8):
            # The last piece is filled up, so that one program serves all.
            at = np.minimum(np.arange(i, i + 8), len(images) - 1)
            given = (trained.network, trained.params, trained.state, images[at], targets[at])
            pieces.append(np.asarray(ask(jax.random.key(config.seed), *given)))
        maps = np.concatenate(pieces)[: len(images)]
        maps = np.abs(maps) if name in _UNSIGNED else maps
        found[name] = explain.mask_average_precision(maps, masks)
    return found


_TOLD = {"lgg": "Gliomas", "ph2": "Skin lesions", "wbc": "White blood cells"}


def _read(config: Config) -> Masked:
    """Read a set, images as ImageNet's weights know them."""
    name = {"lgg": "lgg_mri/kaggle_3m"}.get(config.data, config.data)
    folder = config.folder or data_root() / name
    if config.data == "lgg":
        source = jm.data.lgg_mri(folder)
        pairs = [(one["image"], one["mask"]) for one in (source[i] for i in range(len(source)))]
        labels = [int((mask > 0).any()) for _, mask in pairs]
        classes, groups, names = ("none", "glioma"), list(source.groups), list(source.case_ids)
    else:
        with (folder / "labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        told = [row["diagnosis" if config.data == "ph2" else "class"] for row in rows]
        if config.data == "ph2":
            classes, labels = ("nevus", "melanoma"), [int(one == "melanoma") for one in told]
        else:
            # A class of one image cannot be learned and tested.
            rows = [row for row, one in zip(rows, told, strict=True) if told.count(one) > 1]
            classes = tuple(sorted({row["class"] for row in rows}))
            labels = [classes.index(row["class"]) for row in rows]
        names = groups = [row["image"] for row in rows]
        pairs = [_pair(folder, one) for one in names]
    images = np.stack([_resized(image, config.size, "linear") for image, _ in pairs])
    masks = np.stack([_resized(mask[..., None] > 0, config.size, "linear") for _, mask in pairs])
    return Masked(
        ((255 * images - 127) / 128).astype(np.float32),
        (masks[..., 0] > 0.5).astype(np.int32),
        np.array(labels, np.int32),
        classes,
        groups,
        names,
    )


def _pair(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    found = sorted((folder / "images").glob(f"{name}.*"))
    if not found:
        raise ValueError(f"{folder / 'images'}: no image {name}, which labels.csv names")
    image = read_image(found[0])
    return image.array, read_mask(folder / "masks" / f"{name}.png", like=image).array


def _resized(array: np.ndarray, size: int, method: str) -> np.ndarray:
    shape = (size, size, array.shape[-1])
    return np.asarray(jax.image.resize(np.asarray(array, np.float32), shape, method))


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
