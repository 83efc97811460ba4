"""What is measured of drawn images: nearness to real ones, variety, copies, use."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

import jaxmed as jm
from jaxmed import quantities, stats
from jaxmed.stats import Estimate, Memorised, TestResult

from .._common.compared import named
from .._common.frozen import frozen_features
from .._common.plain import Plain
from .._common.probe import fitted_probe
from ._sets import Parts

_SIDE = 96
_BLUR = 0.7  # Pixels: a blur that is just seen, as a yardstick of the distances.
_SHOWN = 20
_CUTS = (1 / 3, 1 / 2, 2 / 3)  # Of each axis of a volume.


Labelled = tuple[np.ndarray, np.ndarray]


class Verdict(NamedTuple):
    """Numbers of drawn images, and what is shown of them.

    Attributes:
        metrics: `NAME/synthetic`, `NAME/real` (as many training images in their place),
            `NAME/blurred` (training images, blurred), copies, and AUCs.
        memorised: how near drawn images come to training images.
        drawings: images side by side.
        notes: of all numbers, each once.
    """

    metrics: dict[str, Estimate]
    memorised: Memorised
    drawings: dict[str, np.ndarray]
    notes: tuple[str, ...]


def features(images: np.ndarray) -> tuple[np.ndarray, str]:
    """Features of images in [-1, 1] by ImageNet's network, and its name.

    A volume's are the mean over nine slices, three across each axis.
    """
    scaled = np.clip((images + 1) / 2, 0, 1)
    name = f"EfficientNet-Lite0, {_SIDE} px"
    if images.ndim == 4:
        return frozen_features(scaled, "imagenet", size=_SIDE), name
    slices = [
        frozen_features(
            np.take(scaled, int(cut * scaled.shape[axis]), axis=axis), "imagenet", size=_SIDE
        )
        for axis in (1, 2, 3)
        for cut in _CUTS
    ]
    return np.mean(slices, axis=0), f"{name}, mean of 9 slices"


def judge(
    parts: Parts, drawn: np.ndarray, labels: np.ndarray | None, *, seed: int, cnn_steps: int = 0
) -> Verdict:
    """Measure drawn images, of given classes, by images that the generator has not seen.

    Args:
        parts: the real images.
        drawn: (n, *spatial, channels) in [-1, 1].
        labels: (n,) classes that they were drawn by; None if by none.
        seed: of what is drawn, dealt and trained.
        cnn_steps: of a small CNN that is taught by pixels, beside the probe; 0 for none.
    """
    train, held_out, test = (
        parts.arrays(*names) for names in (("train",), ("val", "test"), ("test",))
    )
    (of_train, name), (of_drawn, _), (of_held_out, _) = (
        features(x) for x in (train["image"], drawn, held_out["image"])
    )
    found = stats.synthetic_quality(of_train, of_held_out, of_drawn, extractor=name, seed=seed)
    blurred, _ = features(_blurred(train["image"]))
    yardstick = {
        "kernel_distance": stats.kernel_distance(of_held_out, blurred, extractor=name),
        "frechet_distance": stats.frechet_distance(of_held_out, blurred, extractor=name, seed=seed),
    }
    metrics = {}
    for measure, both in found.measures.items():
        metrics[f"{measure}/synthetic"], metrics[f"{measure}/real"] = both
        if measure in yardstick:
            metrics[f"{measure}/blurred"] = yardstick[measure]
    memory = found.memorised
    metrics |= {
        "copies": memory.copies,
        "nearer_than_held_out": memory.nearer,
        "unauthentic/synthetic": memory.unauthentic,
        "unauthentic/held-out": memory.held_out_unauthentic,
    }
    for which, images, classes in (
        ("synthetic", drawn, labels), ("real", train["image"], train.get("label")),
    ):  # fmt: skip
        metrics[f"likeness/{which}"] = likeness(images, classes, seed=seed)
    notes = [f"Features: {name}. Likeness: {_likeness_name(drawn)}."]
    if labels is not None:
        of_test = of_held_out[-len(test["image"]) :]
        metrics |= _use(
            (of_train, train["label"]), (of_drawn, labels), (of_test, test["label"]),
            len(parts.classes),
        )  # fmt: skip
        if cnn_steps:
            metrics |= by_cnn(
                (train["image"], train["label"]), (drawn, labels), (test["image"], test["label"]),
                len(parts.classes), steps=cnn_steps, seed=seed,
            )  # fmt: skip
    return Verdict(
        named(metrics),
        memory,
        _shown(train["image"], held_out["image"], drawn, memory),
        tuple(notes),
    )


def likeness(images: np.ndarray, labels: np.ndarray | None, *, seed: int) -> Estimate:
    """Mean MS-SSIM of pairs of different images of one class: 1 where a class is one image.

    Images are paired once, so that pairs do not depend on each other.
    """
    rng = np.random.default_rng(seed)
    labels = np.zeros(len(images), int) if labels is None else labels
    pairs = []
    for k in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == k))
        pairs += [*zip(rows[0::2], rows[1::2], strict=False)]
    if len(pairs) < 2:
        raise ValueError(f"{len(images)} images are too few for pairs of one class: draw more")
    first, second = (images[list(side)].astype(np.float64) for side in zip(*pairs, strict=True))
    scales = quantities.most_scales(images.shape[1:-1])
    values = quantities.ms_ssim(first, second, data_range=2.0, scales=scales)
    return stats.mean(values, unit="pair")


def _likeness_name(images: np.ndarray) -> str:
    scales = quantities.most_scales(images.shape[1:-1])
    return f"mean MS-SSIM ({scales} of 5 scales fit) of pairs of one class, lower is more varied"


def _blurred(images: np.ndarray) -> np.ndarray:
    sigma = (0, *(_BLUR,) * (images.ndim - 2), 0)
    return gaussian_filter(images, sigma, mode="nearest")


def _use(train: Labelled, drawn: Labelled, test: Labelled, classes: int) -> dict[str, Estimate]:
    """AUC on real test images of a probe taught by drawn images, by real ones, by both."""
    scores = {
        name: fitted_probe(x, y, classes=classes).predict(test[0])
        for name, (x, y) in _taught(train, drawn).items()
    }
    return _compared("auc", test[1], scores)


def by_cnn(
    train: Labelled, drawn: Labelled, test: Labelled, classes: int, *, steps: int, seed: int
) -> dict[str, Estimate]:
    """The same of a small CNN that learns from pixels, mirrored and shifted."""
    network = jm.from_linen(jm.networks.cnn(classes, features=(16, 32, 64), norm="group"))
    moved = jm.augment.chain(jm.augment.flip(1), jm.augment.random_affine())
    objective = jm.augmented(jm.supervised(jm.losses.cross_entropy), moved)
    optimizer = jm.train.optimizer("adamw", 1e-3, schedule="cosine", steps=steps, weight_decay=1e-3)
    plain = Plain(jm.learner(network, objective, optimizer))
    scores = {}
    for name, (x, y) in _taught(train, drawn).items():
        arrays = {"image": x.astype(np.float32), "label": y.astype(np.int32)}
        batches = jm.data.batches(arrays, min(32, len(y)), seed=seed)
        scores[name] = plain.probabilities(plain.train(batches, steps, seed), test[0])
    return _compared("cnn_auc", test[1], scores)


def _taught(train: Labelled, drawn: Labelled) -> dict[str, Labelled]:
    both = np.concatenate([train[0], drawn[0]]), np.concatenate([train[1], drawn[1]])
    return {"synthetic": drawn, "real": train, "real and synthetic": both}


def _compared(name: str, labels: np.ndarray, scores: dict[str, np.ndarray]) -> dict[str, Estimate]:
    """Each AUC, and what drawn images add to real ones."""
    found = {f"{name}/{taught}": _auc(labels, s) for taught, s in scores.items()}
    gain = _paired(labels, scores["real and synthetic"], scores["real"])
    return found | {f"{name}_gain": _as_estimate(gain)}


def _auc(labels: np.ndarray, scores: np.ndarray) -> Estimate:
    if scores.shape[1] == 2:
        return stats.auc(labels, scores[:, 1])
    return stats.multiclass_auc(labels, scores)


def _paired(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> TestResult:
    if first.shape[1] == 2:
        return stats.delong_test(labels, first[:, 1], second[:, 1])
    return stats.bootstrap_test(quantities.macro_auc, labels, first, second)


def _as_estimate(test: TestResult) -> Estimate:
    """The difference that was tested, with its interval."""
    low, high = (np.nan, np.nan) if test.interval is None else test.interval
    value = np.nan if test.effect is None else test.effect
    return Estimate(value, low, high, test.level, test.n, test.unit, test.method, test.notes)


def _shown(
    train: np.ndarray, held_out: np.ndarray, drawn: np.ndarray, memory: Memorised
) -> dict[str, np.ndarray]:
    """Drawn images and their neighbours; those first that come nearest."""
    near = np.argsort(memory.distance, kind="stable")[:_SHOWN]
    few = np.arange(min(_SHOWN, len(drawn)))
    rows = {
        "real, held out": held_out[:_SHOWN],
        "synthetic": drawn[few],
        "the training image nearest to each": train[memory.nearest[few]],
        "synthetic, those nearest to a training image": drawn[near],
        "that training image": train[memory.nearest[near]],
    }
    return {name: _pictures(images) for name, images in rows.items()}


def _pictures(images: np.ndarray) -> np.ndarray:
    """Images in [0, 1], of volumes the middle slice."""
    x: Any = np.clip((images + 1) / 2, 0, 1)
    if x.ndim == 5:
        x = x[:, :, :, x.shape[3] // 2]
    return x if x.shape[-1] == 3 else x[..., 0]
