"""Find landmarks in scans by an agent that walks to them, or by one of four other methods.

    jaxmed train landmarks --method ridge
    jaxmed train landmarks --method agent --data acdc

`hippocampus`: the centre of the surface on which the anterior and the posterior part touch, in 3D,
in mm. `acdc`: the two points at which the right ventricle meets the septum, in a middle slice of
each phase, in pixels. One of four folds by patient is held out, and measured once, with the last
parameters.

`mean` says the mean position of the training landmarks, counted from the middle of the image;
`ridge` is linear in blurred voxels, its penalty chosen on the training cases; `cnn` says the
coordinates; `heatmap` is a U-Net that says where they may lie; `agent` is a double DQN that walks,
from several starts, of whose ends the mean counts. A walk that comes to no end, or against the
border, has failed: `failed walks` is their share, and the mean is of the others. The report shows
the first walk in each image, and two of them with their distance and the actions' values by step.

Measured on fold 0 of the hippocampus: 2.21 mm (1.91 to 2.51) by `mean`, 1.83 mm (1.57 to 2.10) by
`ridge`, in seconds.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np

import jaxmed as jm
from jaxmed import stats
from jaxmed.report import DataSummary, Episodes, RegressionResults, Results, RunRecord, Split, stage

from . import _baselines, _walks
from ._cases import Cases, acdc, hippocampus
from ._seeds import mean_over, share_over, told_over

GRID = {
    "data": ("hippocampus", "acdc"),
    "method": ("mean", "ridge", "cnn", "heatmap", "agent"),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """One method on one fold.

    Args:
        data: which scans.
        folder: where they are; by default in JAXMED_DATA.
        method: see above.
        fold: the one held out, from 0.
        folds: into how many the patients are dealt.
        split_seed: of the folds.
        seed: of everything else.
        seeds: how many trainings there are of a network or an agent, from that seed on.
        epochs: of the networks.
        batch: images of a step.
        features: channels of the networks' stages.
        learning_rate: at the start.
        shrink: along each axis, how many voxels the networks see as one.
        shift: of these, by how many training images are moved at most.
        width: standard deviation of a heat map's target, in these.
        copies: of each training image for the agent, turned, scaled and shaded at random.
        window: of the agent, voxels along each axis.
        scales: of the agent, coarse to fine.
        border: by how much what lies beyond an image is darker than the darkest voxel, in standard
            deviations of an image; so the agent sees where the image ends.
        frames: windows that it sees at once, about its last positions.
        pyramid: whether it sees all scales at once.
        channels: of its convolutions, each followed by pooling; none for layers alone.
        hidden: units of its first layer; the second has half.
        steps: of the agent, each of so many iterations.
        iterations: actions of all agents, and of the network's steps, in one program.
        agents: that act at once.
        transitions: that it learns from at once.
        memory: transitions that are remembered.
        warm_up: transitions before it learns.
        discount: of a step.
        target_every: the network's steps after which the target network is copied.
        agent_rate: learning rate at the start; it falls to 0 along a cosine.
        decay: of the weights, a share of the learning rate.
        starts: walks for each landmark of an image that is held out.
        limit: steps of a walk.
    """

    data: Literal["hippocampus", "acdc"] = "hippocampus"
    folder: Path | None = None
    method: Literal["mean", "ridge", "cnn", "heatmap", "agent"] = "mean"
    fold: int = 0
    folds: int = 4
    split_seed: int = 0
    seed: int = 0
    seeds: int = 1
    epochs: int = 60
    batch: int = 8
    features: tuple[int, ...] = (8, 16, 32, 64)
    learning_rate: float = 2e-3
    shrink: int = 2
    shift: int = 3
    width: float = 1.0
    copies: int = 3
    window: int = 13
    scales: tuple[int, ...] = (4, 2, 1)
    border: float = 2.0
    frames: int = 1
    pyramid: bool = True
    channels: tuple[int, ...] = ()
    hidden: int = 128
    steps: int = 12
    iterations: int = 100
    agents: int = 64
    transitions: int = 64
    memory: int = 100_000
    warm_up: int = 5_000
    discount: float = 0.5
    target_every: int = 500
    agent_rate: float = 5e-4
    decay: float = 3.0
    starts: int = 16
    limit: int = 100


def run(config: Config, out: Path) -> Results:
    """Learn from the other folds, find the landmarks of the one held out, measure."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        cases = {"hippocampus": hippocampus, "acdc": acdc}[config.data](config.folder)
        train, test = parts(config, cases)
    with stage(seconds, "method"):
        found, told, episodes = located(config, train, test, out)
    away = np.linalg.norm((found - test.points) * test.spacing, axis=-1)
    return RegressionResults(
        title=f"Landmarks, {config.data}: {config.method}, fold {config.fold} of {config.folds}",
        classes=(),
        metrics=measured(away, test) | told,
        headline=("error",),
        data=DataSummary(splits=(Split("train", len(train.names)), Split("test", len(test.names)))),
        description=(
            f"Distance from the landmarks of {len(test.names)} images in {cases.unit}, of "
            f"{len(set(test.patients))} patients; learned from {len(train.names)} images. "
            f"{_spread(len(found))}"
        ),
        run=RunRecord(seconds=seconds, seed=config.seed),
        notes=cases.notes,
        episodes=episodes,
    )


def parts(config: Config, cases: Cases) -> tuple[Cases, Cases]:
    """The cases learned from, and those held out."""
    if not 0 <= config.fold < config.folds:
        raise ValueError(f"fold is 0 to {config.folds - 1}, got {config.fold}")
    dealt = jm.data.folds(
        len(cases.names), config.folds, groups=cases.patients, seed=config.split_seed
    )
    train, test = dealt[config.fold]
    return cases.take(train), cases.take(test)


def located(
    config: Config, train: Cases, test: Cases, out: Path
) -> tuple[np.ndarray, dict[str, Any], Episodes | None]:
    """(seeds, n, landmarks, rank) voxels, and what else a method has to tell and to show."""
    if config.method == "mean":
        return _baselines.mean_position(train, test, _frame(train, test))[None], {}, None
    if config.method == "ridge":
        return _baselines.ridge(train, test, _frame(train, test))[0][None], {}, None
    if config.method == "agent":
        walks = _walks.walked(config, train, test, out)
        told = told_over([each.told for each in walks], test.patients, ("failed walks",))
        return np.stack([each.points for each in walks]), told, walks[0].episodes
    method = {"cnn": _baselines.regression, "heatmap": _baselines.heat_map}[config.method]
    few = config.shrink
    train, test = train.shrunk(few), test.shrunk(few)
    found = method(config, train, test, _frame(train, test), out)
    return found * few + (few - 1) / 2, {}, None


def _frame(*parts: Cases) -> tuple[int, ...]:
    """A shape that holds every image, of which a network may take halves three times."""
    longest = np.max([x.shape for part in parts for x in part.images], axis=0)
    return tuple(int(n) for n in -(-longest // 8) * 8)


def measured(away: np.ndarray, test: Cases) -> dict[str, Any]:
    """Of (seeds, n, landmarks) the mean of all and of each landmark, and shares of near ones."""
    values = {"error": away.mean(axis=2)}
    if away.shape[2] > 1:
        values |= {f"error/{name}": away[..., k] for k, name in enumerate(test.landmarks)}
    metrics = {
        name: mean_over(value, test.patients, name, test.unit) for name, value in values.items()
    }
    for far in (1, 2, 3):
        name = f"within {far} {test.unit}"
        metrics[name] = share_over((away <= far).mean(axis=2), test.patients, name)
    median = stats.median(away.mean(axis=(0, 2)), name="median error")
    metrics["median error"] = dataclasses.replace(median, notes=(*median.notes, f"in {test.unit}"))
    return metrics


def _spread(runs: int) -> str:
    if runs == 1:
        return "Intervals are over patients, and of one training."
    return f"{runs} trainings that differ in their seed; intervals are over seeds and patients."


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
