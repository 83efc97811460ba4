"""Phantom data sets, one per task, with exact ground truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxmed.data._source import ArraySource, Example
from jaxmed.data.phantoms._shapes import KINDS, Shape, degrade, place

_BACKGROUND = 0.2


def _build(
    name: str, n: int, seed: int, draw: Callable[[np.random.Generator], Example], **about: Any
) -> ArraySource:
    """Draw n examples, each from its own generator: example i does not depend on n."""
    if n < 1:
        raise ValueError(f"a phantom data set has at least one example, got n={n}")
    examples = [draw(np.random.default_rng([seed, i])) for i in range(n)]
    arrays = {key: np.stack([e[key] for e in examples]) for key in examples[0]}
    about.setdefault("case_ids", [f"{name}-{i}" for i in range(n)])
    return ArraySource(arrays, name=f"phantoms.{name}", **about)


def _kinds(classes: int) -> tuple[str, ...]:
    if not 1 <= classes <= len(KINDS):
        raise ValueError(f"there are {len(KINDS)} kinds of shapes, got classes={classes}")
    return KINDS[:classes]


def _paint(
    rng: np.random.Generator, spatial: tuple[int, ...], shapes: Sequence[Shape]
) -> np.ndarray:
    image = np.full(spatial, _BACKGROUND)
    for shape in shapes:
        image[shape.inside(spatial)] = rng.uniform(0.5, 0.9)
    return image


def classification(
    n: int,
    shape: Sequence[int] = (32, 32),
    *,
    classes: int = 2,
    noise: float = 0.05,
    bias: float = 0.0,
    patients: int | None = None,
    seed: int = 0,
) -> ArraySource:
    """Draw images of one shape each, whose kind is the class.

    Args:
        n: number of images.
        shape: spatial shape, two or three numbers.
        classes: 1 to 4: ellipsoid, box, shell, cross.
        noise: standard deviation of Gaussian noise (the shape stands out by 0.3 to 0.7).
        bias: standard deviation of the logarithm of a smooth multiplicative field.
        patients: number of patients that share the images in turn, as ``groups``.
        seed: the same seed gives the same images.

    Returns:
        ``image`` (*shape, 1) float32 and ``label`` int32.

    Examples:
        >>> source = classification(4, (16, 16))
        >>> source[0]["image"].shape, source.classes
        ((16, 16, 1), ('ellipsoid', 'box'))
    """
    spatial, kinds = tuple(shape), _kinds(classes)

    def draw(rng: np.random.Generator) -> Example:
        label = int(rng.integers(classes))
        shapes = place(rng, spatial, [kinds[label]], smallest=0.2, largest=0.4)
        image = degrade(rng, _paint(rng, spatial, shapes), noise=noise, bias=bias)
        return {"image": image[..., None], "label": np.int32(label)}

    groups = None if patients is None else tuple(f"patient-{i % patients}" for i in range(n))
    return _build("classification", n, seed, draw, classes=kinds, groups=groups)


def segmentation(
    n: int,
    shape: Sequence[int] = (32, 32),
    *,
    classes: int = 3,
    noise: float = 0.05,
    bias: float = 0.0,
    seed: int = 0,
) -> ArraySource:
    """Draw images of one shape of every foreground class, with mask and exact volumes.

    Args:
        n: number of images.
        shape: spatial shape, two or three numbers.
        classes: 2 to 5, background included.
        noise: as in `classification`.
        bias: as in `classification`.
        seed: as in `classification`.

    Returns:
        ``image`` (*shape, 1), ``mask`` (*shape,) int32 and ``volume`` (classes - 1,) float32, the
        analytic volume of each shape in voxels (the mask counts voxels whose centre is inside).

    Examples:
        >>> example = segmentation(1, (24, 24, 24), classes=2)[0]
        >>> bool(abs(example["mask"].sum() / example["volume"][0] - 1) < 0.1)
        True
    """
    spatial, kinds = tuple(shape), _kinds(classes - 1)

    def draw(rng: np.random.Generator) -> Example:
        shapes = place(rng, spatial, list(kinds))
        mask = np.zeros(spatial, np.int32)
        for k, each in enumerate(shapes, start=1):
            mask[each.inside(spatial)] = k
        image = degrade(rng, _paint(rng, spatial, shapes), noise=noise, bias=bias)
        volume = np.asarray([each.volume() for each in shapes], np.float32)
        return {"image": image[..., None], "mask": mask, "volume": volume}

    return _build("segmentation", n, seed, draw, classes=("background", *kinds))


def detection(
    n: int,
    shape: Sequence[int] = (48, 48),
    *,
    classes: int = 2,
    objects: int = 4,
    noise: float = 0.05,
    bias: float = 0.0,
    seed: int = 0,
) -> ArraySource:
    """Draw images of up to ``objects`` shapes, with the bounding box of each.

    Args:
        n: number of images.
        shape: spatial shape, two or three numbers.
        classes: 1 to 4 kinds of shapes.
        objects: maximum number of shapes per image; the minimum is one.
        noise: as in `classification`.
        bias: as in `classification`.
        seed: as in `classification`.

    Returns:
        ``image`` (*shape, 1); ``box`` (objects, 2 rank) float32, lows then highs in voxels, where
        voxel i covers i to i + 1; ``box_label`` (objects,) int32, -1 for the empty places.

    Examples:
        >>> example = detection(1, objects=3)[0]
        >>> example["box"].shape, example["box_label"].shape
        ((3, 4), (3,))
    """
    spatial, kinds = tuple(shape), _kinds(classes)

    def draw(rng: np.random.Generator) -> Example:
        labels = rng.integers(classes, size=rng.integers(1, objects + 1))
        shapes = place(rng, spatial, [kinds[k] for k in labels], smallest=0.08, largest=0.15)
        box = np.zeros((objects, 2 * len(spatial)), np.float32)
        box_label = np.full(objects, -1, np.int32)
        box[: len(shapes)] = [each.box() for each in shapes]
        box_label[: len(shapes)] = labels
        image = degrade(rng, _paint(rng, spatial, shapes), noise=noise, bias=bias)
        return {"image": image[..., None], "box": box, "box_label": box_label}

    return _build("detection", n, seed, draw, classes=kinds)


def modalities(
    n: int,
    shape: Sequence[int] = (32, 32),
    *,
    names: Sequence[str] = ("t1", "t2"),
    noise: float = 0.05,
    bias: float = 0.0,
    seed: int = 0,
) -> ArraySource:
    """Draw patients in several modalities, each of which encodes one bit of the class.

    Modality j shows a box if bit j of the class is set and an ellipsoid if not, so one modality
    alone is right at most once in 2^(modalities - 1), and all together always.

    Args:
        n: number of patients.
        shape: spatial shape, two or three numbers.
        names: names of the modalities, which are the fields of the examples.
        noise: as in `classification`.
        bias: as in `classification`.
        seed: as in `classification`.

    Returns:
        One image (*shape, 1) per name and ``label`` int32, 0 to 2^modalities - 1.

    Examples:
        >>> sorted(modalities(2)[0])
        ['label', 't1', 't2']
    """
    spatial = tuple(shape)

    def draw(rng: np.random.Generator) -> Example:
        label = int(rng.integers(2 ** len(names)))
        example: Example = {"label": np.int32(label)}
        for j, name in enumerate(names):
            kind = KINDS[(label >> j) & 1]
            shapes = place(rng, spatial, [kind], smallest=0.2, largest=0.4)
            image = degrade(rng, _paint(rng, spatial, shapes), noise=noise, bias=bias)
            example[name] = image[..., None]
        return example

    labels = tuple(f"class {k}" for k in range(2 ** len(names)))
    return _build("modalities", n, seed, draw, classes=labels)


def bags(
    n: int,
    shape: Sequence[int] = (16, 16),
    *,
    instances: int = 8,
    rate: float = 0.25,
    noise: float = 0.05,
    bias: float = 0.0,
    seed: int = 0,
) -> ArraySource:
    """Draw bags of small images with one weak label: whether any instance holds a box.

    Half of the bags are positive; in those every instance is positive with probability ``rate``,
    and one at least. The others, and the other instances, hold ellipsoids.

    Args:
        n: number of bags.
        shape: spatial shape of an instance.
        instances: instances in a bag.
        rate: share of positive instances in a positive bag.
        noise: as in `classification`.
        bias: as in `classification`.
        seed: as in `classification`.

    Returns:
        ``image`` (instances, *shape, 1), ``label`` int32 of the bag, and ``instance_label``
        (instances,) int32, the ground truth hidden from learners.

    Examples:
        >>> example = bags(1, instances=5)[0]
        >>> example["image"].shape, bool(example["label"] == example["instance_label"].max())
        ((5, 16, 16, 1), True)
    """
    spatial = tuple(shape)

    def draw(rng: np.random.Generator) -> Example:
        label = int(rng.integers(2))
        truth = (rng.random(instances) < rate).astype(np.int32) * label
        truth[rng.integers(instances)] |= label
        images = []
        for positive in truth:
            shapes = place(rng, spatial, [KINDS[positive]], smallest=0.2, largest=0.4)
            images.append(degrade(rng, _paint(rng, spatial, shapes), noise=noise, bias=bias))
        image = np.stack(images)[..., None]
        return {"image": image, "label": np.int32(label), "instance_label": truth}

    return _build("bags", n, seed, draw, classes=("negative", "positive"))
