"""How every outline of this folder is judged: by folds, seeds, corruptions, safe outlines, maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxmed as jm
from jaxmed import bayes, report, stats
from jaxmed.augment import CORRUPTIONS, corruption
from jaxmed.cli.explain._maps import BOUNDS, Case, explain
from jaxmed.cli.explain._models import see
from jaxmed.data import Scan, to_space
from jaxmed.inference import Recipe, Segmenter, average_models, prepare, save_model
from jaxmed.report import Robustness, Split, mask_picture, stage

from .._common.compared import mean, named
from ._cases import times
from ._crossed import Crossed, Fold, Outlined, Outlining, crossed, decided, soft

_STRENGTHS, _MIDDLE = range(1, 6), 3
_METHOD = "integrated-gradients"
_THRESHOLDS = np.arange(0.01, 1.0, 0.01)


def judge(
    config: Outlining,
    cases: Outlined,
    recipe: Recipe,
    out: Path,
    *,
    title: str,
    what: str,
    also: Callable[[Outlined, Crossed], dict[str, stats.Estimate]] | None = None,
) -> report.SegmentationResults:
    """Cross-validate a U-Net, and judge its outlines.

    Each scan is outlined by networks that have seen neither it nor its unit, one for each seed. The
    model that is saved in the run's folder is the mean of the first seed's networks.

    Args:
        config: the settings.
        cases: the scans.
        recipe: of the network.
        out: the run's folder.
        title: of the report.
        what: a sentence on the data, for its description.
        also: further metrics, of the scans and what is said of them.

    Returns:
        The results: agreement of the mean over seeds; `dice over seeds`, whose interval speaks for
        new trainings and new units; how much safe outlines miss, and how large they are;
        calibration of the voxels' probabilities; Dice under each corruption of strength 3, and of
        all strengths in a section of its own; how far maps lie inside outlines.
    """
    seconds: dict[str, float] = {}
    with stage(seconds, "training"):
        found = crossed(config, cases, recipe, out)
        save_model(out, average_models([fold.model for fold in found.dealt]))
    with stage(seconds, "evaluation"):
        whole = [np.mean([s[i] for s in found.said], axis=0) for i in range(len(cases.scans))]
        masks = [decided(one) for one in whole]
        rows = zip(cases.names, cases.masks, masks, strict=True)
        results = report.segmentation(
            [report.MaskPair(name, true, mask) for name, true, mask in rows],
            classes=cases.classes, groups=cases.groups(), title=title,
        )  # fmt: skip
        metrics = dict(results.metrics)
        metrics |= over_seeds(cases, found)
        metrics |= safe_outlines(config, cases, found)
        metrics["calibration error"] = _calibration(cases, whole)
        metrics |= {} if also is None else also(cases, found)
    robustness = None
    if config.corrupted:
        with stage(seconds, "corruptions"):
            robustness = corrupted(config, cases, found.dealt)
        metrics |= named(
            {f"dice/{k} {_MIDDLE}": v[_MIDDLE - 1] for k, v in robustness.corrupted.items()}
        )
    if config.explained:
        with stage(seconds, "explanation"):
            metrics |= maps(config, cases, found.dealt[0])
    assert results.overlap is not None
    results = results.replace(
        metrics=metrics,
        headline=(*results.headline, "dice over seeds"),
        description=described(config, cases, recipe, what),
        splits=(Split("cross-validated", len(cases.scans), len(set(cases.units))),),
        partition=f"{config.folds} folds of {cases.unit}, {times(config.seeds)}",
        seed=0,
        history=found.history,
        seconds=seconds,
        pictures=_pictures(cases, masks, np.nanmean(results.overlap.values["dice"], axis=1)),
        robustness=robustness,
    )
    if not cases.columns:
        return results
    found_by_group = report.with_subgroups(results, cases.columns)
    assert isinstance(found_by_group, report.SegmentationResults)
    return found_by_group


def described(config: Outlining, cases: Outlined, recipe: Recipe, what: str) -> str:
    """How it was done, in the report's words."""
    units = len(set(cases.units))
    patch = " x ".join(map(str, recipe.patch))
    return (
        f"{what} {len(cases.scans)} scans, {units} {cases.unit}. A U-Net of {config.features} "
        f"channels in its finest stage on {patch}, {config.steps} steps of {config.batch}, "
        f"parameters averaged. {config.folds} folds of {cases.unit}, dealt {times(config.seeds)} "
        "with a network for each; a voxel's probability is the mean over networks that have not "
        "seen the scan. Nothing was chosen by these scans."
    )


def dice_of(truth: np.ndarray, mask: np.ndarray, classes: int) -> np.ndarray:
    """(classes,) Dice; NaN where neither has the class."""
    return report.agreement(truth, mask, classes)["dice"]


def over_seeds(cases: Outlined, found: Crossed) -> dict[str, stats.Estimate]:
    """Mean Dice of single networks, with intervals over seeds and units."""
    k = len(cases.classes)
    each = np.array(
        [
            [dice_of(true, decided(one), k) for true, one in zip(cases.masks, said, strict=True)]
            for said in found.said
        ]
    )
    views = {"dice over seeds": each.mean(-1) if k == 1 else np.nanmean(each, -1)}
    if k > 1:
        views |= {f"dice over seeds/{name}": each[..., i] for i, name in enumerate(cases.classes)}
    made = {}
    for name, values in views.items():
        kept = np.isfinite(values).all(0)
        units = [unit for unit, there in zip(cases.units, kept, strict=True) if there]
        made[name] = stats.over_runs(
            mean, np.zeros(kept.sum()), values[:, kept], groups=units, name=name
        )
    return made


def safe_outlines(config: Outlining, cases: Outlined, found: Crossed) -> dict[str, stats.Estimate]:
    """Outlines drawn at a threshold that misses little, chosen on the other folds' scans.

    What is outlined is all structures together. By conformal risk control the mean share of a
    structure that is missed is at most `missed`, of scans of the same kind.
    """
    inside = [1.0 - one[..., 0].astype(np.float64) for one in found.said[0]]
    true = [mask > 0 for mask in cases.masks]
    losses, kept = bayes.false_negative_losses(
        [np.clip(p, 0, 1) for p in inside], true, _THRESHOLDS
    )
    missed, size, units = [], [], []
    for fold in found.dealt:
        here = np.isin(kept, fold.rows)
        rule = bayes.control_risk(losses[~here], _THRESHOLDS, limit=config.missed)
        threshold = rule.threshold if np.isfinite(rule.threshold) else 0.0
        for i in kept[here]:
            drawn = inside[i] >= threshold
            missed.append(1 - float((drawn & true[i]).sum() / true[i].sum()))
            size.append(float(drawn.sum() / true[i].sum()))
            units.append(cases.units[i])
    return {
        "safe outline/missed": stats.mean(
            missed, groups=units, bounds=(0.0, 1.0), name="safe outline/missed"
        ),
        "safe outline/size": stats.mean(
            size, groups=units, bounds=(0.0, np.inf), name="safe outline/size"
        ),
    }


def _calibration(cases: Outlined, whole: Sequence[np.ndarray]) -> stats.Estimate:
    """The mean over scans of how far shares of voxels are from their probabilities."""
    values = []
    for one, mask in zip(whole, cases.masks, strict=True):
        p = np.clip(1.0 - one[..., 0].astype(np.float64), 0, 1).ravel()
        bins = np.minimum((p * 10).astype(int), 9)
        count = np.bincount(bins, minlength=10)
        gap = np.bincount(bins, weights=p - (mask.ravel() > 0), minlength=10)
        values.append(float(np.abs(gap).sum() / count.sum()))
    return stats.mean(values, groups=cases.units, bounds=(0.0, 1.0), name="calibration error")


def corrupted(config: Outlining, cases: Outlined, dealt: Sequence[Fold]) -> Robustness:
    """Dice of scans that are corrupted after training."""
    n, k = len(cases.scans), len(cases.classes)
    rows = np.sort(np.random.default_rng(0).permutation(n)[: config.corrupted])
    model_of = {int(i): fold.model for fold in dealt for i in fold.rows}
    key = jax.random.key(0)

    def measured(change: Any = None, name: str = "dice") -> stats.Estimate:
        found = []
        for i in map(int, rows):
            scan = cases.scans[i]
            array = np.asarray(scan.array, np.float32)
            if change is not None:
                batch = {"image": jnp.asarray(array[None])}
                made = np.asarray(change(jm.stream(key, name, i), batch)["image"])[0]
                within = array.min() >= 0 and array.max() <= 1
                scan = scan._replace(array=np.clip(made, 0, 1) if within else made)
            found.append(np.nanmean(dice_of(cases.masks[i], decided(soft(model_of[i], scan)), k)))
        values = np.array(found)
        there = np.isfinite(values)
        units = [cases.units[i] for i in rows[there]]
        return stats.mean(values[there], groups=units, bounds=(0.0, 1.0), name="dice")

    size = max(max(scan.array.shape[:-1]) for scan in cases.scans)
    return Robustness(
        "Dice", measured(),
        {
            name: [measured(corruption(name, s, size=size), f"{name} {s}") for s in _STRENGTHS]
            for name in CORRUPTIONS
        },
    )  # fmt: skip


def maps(config: Outlining, cases: Outlined, fold: Fold) -> dict[str, stats.Estimate]:
    """Whether a map of the largest structure lies in its true outline, and depends on learning."""
    rows = [int(i) for i in fold.rows if (cases.masks[i] > 0).any()][: config.explained]
    asked = []
    for i in rows:
        counts = np.bincount(cases.masks[i].ravel(), minlength=len(cases.classes) + 1)[1:]
        name = cases.classes[int(counts.argmax())]
        seen = see(fold.model, cases.scans[i], name)
        mask = cases.masks[i] == 1 + int(counts.argmax())
        asked.append(Case(cases.names[i], seen, _on_patch(fold.model, cases.scans[i], mask, seen)))
    if len(asked) < 2:
        return {}
    told = explain(fold.model, asked, (_METHOD,), 0, True).tests[_METHOD]
    return {
        f"maps/{name}": stats.mean(
            np.asarray(values)[np.isfinite(values)], bounds=BOUNDS.get(name), name=f"maps/{name}"
        )
        for name, values in told.items()
        if np.isfinite(values).sum() > 1
    }


def _on_patch(model: Segmenter, scan: Scan, mask: np.ndarray, seen: Any) -> np.ndarray:
    """A true mask on the patch that is explained, which is padded as `see` pads."""
    ready = prepare(model.recipe, scan)
    true = to_space(mask.astype(np.int32), scan.affine, ready.space)
    short = [max(0, p - n) for p, n in zip(model.recipe.patch, true.shape, strict=True)]
    true = np.pad(true, [(s // 2, s - s // 2) for s in short])
    box = tuple(slice(c, c + p) for c, p in zip(seen.where, model.recipe.patch, strict=True))
    return true[box] > 0


def _pictures(cases: Outlined, masks: Sequence[np.ndarray], dice: np.ndarray) -> tuple[Any, ...]:
    """The best, the median and the three worst."""
    order = [int(i) for i in np.argsort(-dice, kind="stable") if np.isfinite(dice[i])]
    chosen = {order[0]: "best", order[len(order) // 2]: "median"}
    for rank, i in zip(("worst", "second worst", "third worst"), order[::-1]):
        chosen.setdefault(i, rank)
    return tuple(
        mask_picture(
            cases.names[i], cases.scans[i].array, cases.masks[i], masks[i], rank=rank,
            caption=f"mean Dice {dice[i]:.3f}", spacing=cases.scans[i].spacing,
        )
        for i, rank in chosen.items()
    )  # fmt: skip
