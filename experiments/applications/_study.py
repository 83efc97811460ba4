"""How every classification of this folder is judged: by folds, seeds, corruptions, maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxmed as jm
from jaxmed import quantities, stats
from jaxmed.augment import CORRUPTIONS, corruption
from jaxmed.data import folds
from jaxmed.inference import save_model
from jaxmed.report import (
    Results,
    Robustness,
    Split,
    class_pictures,
    classification,
    stage,
    with_subgroups,
)

from .._common.compared import named
from .._common.explained import explanations
from .._common.frozen import Lite0
from .._common.probe import Probe, fitted_probe
from ._cases import Cases, times
from ._frozen import answering
from ._sets import sets_of

_STRENGTHS = range(1, 6)
_MIDDLE = 3


@dataclasses.dataclass(frozen=True)
class Study:
    """Settings that all applications share.

    Args:
        data: folder of the set; by default the one of its name in JAXMED_DATA.
        size: side to which images are brought.
        folds: of the cross-validation.
        seeds: how often images are dealt into folds.
        corrupted: images, drawn at random, on which corruptions in five strengths are measured; 0
            for none.
        explained: images whose answers the report explains by maps.
        level: coverage that the sets of classes promise.
    """

    data: Path | None = None
    size: int = 160
    folds: int = 5
    seeds: int = 3
    corrupted: int = 150
    explained: int = 4
    level: float = 0.9


class Fold(NamedTuple):
    """A probe, and the images that it has not seen.

    Attributes:
        probe: of the other images.
        rows: the images.
    """

    probe: Probe
    rows: np.ndarray


def judge(
    config: Study,
    cases: Cases,
    out: Path,
    *,
    title: str,
    what: str,
    parts: Mapping[str, np.ndarray] | None = None,
    held_out: Cases | None = None,
) -> Results:
    """Cross-validate a linear answer on frozen features, and judge it.

    Each image is predicted by probes that have not seen it, nor its unit, once for each seed. The
    model that is saved in the run's folder has seen all images.

    Args:
        config: the settings.
        cases: the images.
        out: the run's folder.
        title: of the report.
        what: a sentence on the data, for its description.
        parts: (size, size) masks by name: `auc/NAME alone` is of probes that are taught and asked
            by images of which the rest is grey.
        held_out: images that are measured once, by the model that has seen all others.

    Returns:
        The results: metrics of the mean over seeds; `auc over seeds`, whose interval speaks for new
        dealings and new units; coverage and size of sets of classes; the AUC under each corruption
        of strength 3, and of all strengths in a section of its own.
    """
    seconds: dict[str, float] = {}
    frozen, y = Lite0(config.size), cases.labels
    with stage(seconds, "features"):
        features = frozen.features(cases.images)
    with stage(seconds, "training"):
        dealt, said = _over_seeds(config, cases, features)
        whole = fitted_probe(features, y, classes=len(cases.classes))
        channels = cases.images.shape[-1]
        save_model(out, answering(frozen, whole, cases.classes, channels))
    results = classification(
        y, said.mean(0), classes=cases.classes, cases=cases.names,
        groups=cases.groups(), title=title,
    )  # fmt: skip
    metrics = dict(results.metrics)
    metrics["auc over seeds"] = stats.over_runs(
        _auc, y, said, groups=cases.units, name="auc over seeds"
    )
    rows = [fold.rows for fold in dealt[0]]
    metrics |= sets_of(y, said[0], rows, config.level, cases.units)
    if held_out is not None:
        measured = classification(
            held_out.labels, whole.predict(frozen.features(held_out.images)),
            classes=cases.classes, cases=held_out.names, groups=held_out.groups(),
        )  # fmt: skip
        metrics |= named({f"held out/{name}": e for name, e in measured.metrics.items()})
    for name, mask in (parts or {}).items():
        metrics[f"auc/{name} alone"] = _alone(config, cases, frozen, mask, f"auc/{name} alone")
    robustness = None
    if config.corrupted:
        with stage(seconds, "corruptions"):
            robustness = _corrupted(config, cases, frozen, dealt[0])
        rows = robustness.corrupted.items()
        metrics |= named({f"auc/{name} {_MIDDLE}": row[_MIDDLE - 1] for name, row in rows})
    with stage(seconds, "explanation"):
        first = dealt[0][0]
        explained = explanations(
            answering(frozen, first.probe, cases.classes, channels),
            frozen.prepared(cases.images[first.rows]), said[0][first.rows], y[first.rows],
            [cases.names[i] for i in first.rows], count=config.explained, seed=0,
        )  # fmt: skip
    results = results.replace(
        metrics=metrics,
        headline=(
            *results.headline,
            "auc over seeds",
            *([] if held_out is None else ["held out/auc", "held out/accuracy"]),
        ),
        description=(
            f"{what} {len(y)} images, {len(set(cases.units))} {cases.unit}, at {config.size} x "
            f"{config.size} pixels. A linear answer of at most 50 principal components of the "
            "features of EfficientNet-Lite0, which was taught ImageNet and is not trained here. "
            f"{config.folds} folds of {cases.unit}, dealt {times(config.seeds)}; an image's "
            "probability is the mean of its predictions by probes that have not seen it."
        ),
        splits=(
            Split("cross-validated", len(y)),
            *([] if held_out is None else [Split("held out", len(held_out.labels))]),
        ),
        partition=f"{config.folds} folds of {cases.unit}, {times(config.seeds)}",
        seed=0,
        seconds=seconds,
        pictures=class_pictures(cases.images, results.scores, classes=cases.classes),
        explanations=explained,
        robustness=robustness,
    )
    return with_subgroups(results, cases.columns) if cases.columns else results


def _dealt(config: Study, cases: Cases, features: np.ndarray, seed: int) -> list[Fold]:
    """Probes of all folds of a seed."""
    parts = folds(
        len(features), config.folds, groups=cases.units, stratify=cases.labels.tolist(), seed=seed
    )
    classes = len(cases.classes)
    return [
        Fold(
            fitted_probe(features[part.train], cases.labels[part.train], classes=classes), part.test
        )
        for part in parts
    ]


def _over_seeds(
    config: Study, cases: Cases, features: np.ndarray
) -> tuple[list[list[Fold]], np.ndarray]:
    """The folds of each seed, and (seeds, n, classes), what their probes say."""
    dealt = [_dealt(config, cases, features, seed) for seed in range(config.seeds)]
    return dealt, np.stack([_said(runs, features, len(cases.classes)) for runs in dealt])


def _said(dealt: list[Fold], features: np.ndarray, classes: int) -> np.ndarray:
    """(n, classes): each image by the probe that has not seen it."""
    said = np.empty((len(features), classes))
    for fold in dealt:
        said[fold.rows] = fold.probe.predict(features[fold.rows])
    return said


def _auc(labels: np.ndarray, said: np.ndarray) -> float:
    """Of two classes the second's; of more the mean of each against the others."""
    if said.shape[1] == 2:
        return quantities.auc(labels == 1, said[:, 1])
    return quantities.macro_auc(labels, said)


def _alone(
    config: Study, cases: Cases, frozen: Lite0, mask: np.ndarray, name: str
) -> stats.Estimate:
    """What a part of the images tells, over seeds."""
    kept = np.where(mask[..., None], cases.images, cases.images.mean())
    features = frozen.features(kept.astype(np.float32))
    _, said = _over_seeds(config, cases, features)
    return stats.over_runs(_auc, cases.labels, said, groups=cases.units, name=name)


def _corrupted(config: Study, cases: Cases, frozen: Lite0, dealt: list[Fold]) -> Robustness:
    """The AUC of images that are corrupted after training."""
    n = len(cases.labels)
    rows = np.sort(np.random.default_rng(0).permutation(n)[: config.corrupted])
    units, key = [cases.units[i] for i in rows], jax.random.key(0)
    folds_of_rows = [Fold(f.probe, np.flatnonzero(np.isin(rows, f.rows))) for f in dealt]
    asked = [fold for fold in folds_of_rows if len(fold.rows)]

    def measured(images: np.ndarray) -> stats.Estimate:
        said = _said(asked, frozen.features(images), len(cases.classes))
        return stats.over_runs(_auc, cases.labels[rows], said[None], groups=units, name="auc")

    def changed(name: str, strength: int) -> np.ndarray:
        change = corruption(name, strength, size=config.size)
        batch = {"image": jnp.asarray(cases.images[rows])}
        made = change(jm.stream(key, name, strength), batch)["image"]
        return np.clip(np.asarray(made), 0, 1)

    return Robustness(
        "AUC", measured(cases.images[rows]),
        {name: [measured(changed(name, s)) for s in _STRENGTHS] for name in CORRUPTIONS},
    )  # fmt: skip
