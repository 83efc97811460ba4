"""Turn and shift a plane until it shows a standard view, by an agent, or by one of two baselines.

    jaxmed train planes --method agent
    jaxmed train planes --method agent --data template

`heads`: made-up heads of known pose, the plane through their ventricles; others than those learned
from are measured. `template`: learned from synthetic scans of the MNI152 tissue maps, each in a
pose of its own, and measured on the real T1 template in poses of its own: one brain, so intervals
are over poses, and say nothing of other brains. The plane is the axial one through the middle of
the atlas.

`mean` says the mean of the training planes; `ridge` is linear in blurred voxels, its penalty chosen
on the training cases; `agent` is a double DQN that begins at planes drawn at random, of whose ends
the mean counts. A walk that comes to no end, or against the border, has failed: `failed walks` is
their share, and the mean is of the others. Errors are of the plane, however it is turned about its
normal: degrees between the normals, mm from the middle of the true plane.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

import jaxmed as jm
from jaxmed import reinforcement as rl
from jaxmed.data import phantoms
from jaxmed.report import DataSummary, Episodes, RegressionResults, Results, RunRecord, Split, stage

from ._agent import Values, agent_in, learned, way
from ._baselines import blurred, linear
from ._seeds import mean_over, seeds, share_over, told_over

GRID = {"data": ("heads", "template"), "method": ("mean", "ridge", "agent")}

_NUMBERS = ("angle 0", "angle 1", "angle 2", "distance")
_ACTIONS = tuple(f"{name} {way}" for name in _NUMBERS for way in ("down", "up"))


@dataclasses.dataclass(frozen=True)
class Config:
    """One method.

    Args:
        data: which volumes.
        method: see above.
        train: volumes to learn from.
        test: volumes to measure, or poses of the template.
        voxel: mm between voxels.
        turn: degrees of each of three angles, at most, either way.
        shift: mm along each axis, at most, either way.
        seed: of everything.
        seeds: how many trainings there are of an agent, from that seed on.
        size: pixels of what the agent sees, along both axes.
        slices: parallel planes that it sees.
        scales: of its steps, coarse to fine; the finest is 1 degree or 1 mm.
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
        starts: walks in each volume that is measured.
        limit: steps of a walk.
    """

    data: Literal["heads", "template"] = "heads"
    method: Literal["mean", "ridge", "agent"] = "mean"
    train: int = 96
    test: int = 32
    voxel: int = 4
    turn: float = 20.0
    shift: float = 12.0
    seed: int = 0
    seeds: int = 1
    size: int = 24
    slices: int = 3
    scales: tuple[int, ...] = (8, 4, 2, 1)
    channels: tuple[int, ...] = ()
    hidden: int = 128
    steps: int = 30
    iterations: int = 100
    agents: int = 64
    transitions: int = 64
    memory: int = 100_000
    warm_up: int = 5_000
    discount: float = 0.9
    target_every: int = 500
    agent_rate: float = 5e-4
    decay: float = 1e-3
    starts: int = 8
    limit: int = 100


class Volumes(NamedTuple):
    """Volumes with a plane each.

    Attributes:
        images: (n, *spatial) float32.
        planes: (n, 4), three angles in degrees and a distance in mm.
        names: of the volumes.
    """

    images: np.ndarray
    planes: np.ndarray
    names: list[str]


def run(config: Config, out: Path) -> Results:
    """Learn from some volumes, find the plane in others, measure."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        train, test = {"heads": _heads, "template": _template}[config.data](config)
    with stage(seconds, "method"):
        found, told, episodes = located(config, train, test, out)
    error = rl.plane_error(found, test.planes)
    degrees, mm = np.asarray(error.degrees, float), np.asarray(error.mm, float)
    names = test.names
    metrics = {
        "angle": mean_over(degrees, names, "angle", "degrees"),
        "distance": mean_over(mm, names, "distance", "mm"),
    }
    near = "within 5 degrees and 5 mm"
    metrics[near] = share_over((degrees <= 5) & (mm <= 5), names, near)
    one = "Intervals are over poses of one brain: they say nothing of other brains."
    return RegressionResults(
        title=f"Standard planes, {config.data}: {config.method}",
        classes=(),
        metrics=metrics | told,
        headline=("angle", "distance"),
        data=DataSummary(splits=(Split("train", len(train.names)), Split("test", len(test.names)))),
        description=(
            f"How far the plane is from the true one in {len(test.names)} volumes; learned from "
            f"{len(train.names)} others, by {len(found)} training(s)."
        ),
        run=RunRecord(seconds=seconds, seed=config.seed),
        notes=(one,) if config.data == "template" else (),
        episodes=episodes,
    )


def located(
    config: Config, train: Volumes, test: Volumes, out: Path
) -> tuple[np.ndarray, dict[str, Any], Episodes | None]:
    """(seeds, n, 4) degrees and mm, and what else a method has to tell and to show."""
    if config.method == "mean":
        return np.broadcast_to(train.planes.mean(axis=0), (1, *test.planes.shape)), {}, None
    if config.method == "ridge":
        x, z = (blurred(part.images[..., None], 1.0, 2) for part in (train, test))
        return linear(x, train.planes, z)[0][None], {}, None
    found, told, shown = zip(*_turned(config, train, test, out))
    return np.stack(found), told_over(told, test.names, ("failed walks",)), shown[0]


def _turned(
    config: Config, train: Volumes, test: Volumes, out: Path
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], Episodes]]:
    """Of each seed where the walks end, how they went, and the first of each volume."""
    look = {
        "spacing": (config.voxel,) * 3, "size": config.size, "slices": config.slices,
        "scales": config.scales, "limit": config.limit, "outside": float(train.images.min()),
    }  # fmt: skip
    world = rl.view(train.images, train.planes, starts="any", **look)
    network = jm.from_linen(Values(config.channels, config.hidden, 8))
    agent = agent_in(config, world, network)
    new = rl.view(test.images, test.planes, end="return", **look)
    rng = np.random.default_rng([config.seed, 2])
    n, k = len(test.names), config.starts
    most = np.array([config.turn] * 3 + [config.shift])
    begin = np.rint(rng.uniform(-most, most, (n * k, 4))).astype(int)
    starts = rl.place(np.repeat(np.arange(n), k), begin)
    for seed, folder in seeds(config, out):
        state = learned(config, agent, seed, folder)
        walks = rl.play(new, agent, state, starts, limit=config.limit, keep_path=True)
        yield _found(walks, test, k, config.voxel)


def _found(
    walks: rl.Played, test: Volumes, k: int, voxel: int
) -> tuple[np.ndarray, dict[str, np.ndarray], Episodes]:
    """The mean over the walks that came to an end; over all where none did."""
    n = len(test.names)
    ended = np.asarray(walks.terminated & ~walks.states.refused).reshape(n, k)
    answer = np.asarray(rl.planes_of(walks.states)).reshape(n, k, 4)
    counted = (ended | ~ended.any(-1, keepdims=True))[..., None]
    single = rl.plane_error(answer, test.planes[:, None])
    told = {
        "angle of one walk": np.asarray(single.degrees).mean(1),
        "distance of one walk": np.asarray(single.mm).mean(1),
        "failed walks": 1.0 - ended.mean(1),
        "steps of a walk": np.asarray(walks.lengths).reshape(n, k).mean(1),
    }
    shown = Episodes(
        [_episode(walks, i * k, test, voxel) for i in range(n)], actions=_ACTIONS,
        chosen=f"The first of {k} walks in each volume that was measured.",
    )  # fmt: skip
    return (answer * counted).sum(1) / counted.sum(1), told, shown


def _episode(walks: rl.Played, i: int, volumes: Volumes, voxel: int) -> jm.report.Episode:
    image = int(walks.states.image[i])
    path, values = way(walks, i, lambda states: rl.planes_of(states.position))
    return jm.report.Episode(
        volumes.images[image], path,
        target=volumes.planes[image],
        answer=rl.planes_of(walks.states)[i],
        values=values,
        scale=way(walks, i, lambda states: states.scale)[0],
        spacing=(voxel,) * 3,
        name=volumes.names[image],
        failed=not bool(walks.terminated[i] & ~walks.states.refused[i]),
    )  # fmt: skip


def _heads(config: Config) -> tuple[Volumes, Volumes]:
    parts = []
    for k, n in enumerate((config.train, config.test)):
        source = phantoms.head(
            n, turn=config.turn, shift=config.shift, spacing=float(config.voxel),
            seed=2 * config.seed + k,
        )  # fmt: skip
        arrays = source.arrays
        parts.append(Volumes(arrays["image"][..., 0], arrays["plane"], list(source.case_ids)))
    return parts[0], parts[1]


def _template(config: Config) -> tuple[Volumes, Volumes]:
    """Scans of the atlas and its real template, each in a pose of its own."""
    made = phantoms.brain(config.train, resolution=config.voxel, deform=0.0, seed=config.seed)
    real = phantoms.brain_template(resolution=config.voxel)
    scans = [made[i]["image"][..., 0] for i in range(config.train)]
    template = real[0]["image"][..., 0]
    rng = np.random.default_rng([config.seed, 1])
    parts = []
    for images, name in ((scans, "scan"), ([template] * config.test, "pose")):
        posed = [_posed(rng, image, config) for image in images]
        names = [f"{name} {i}" for i in range(len(images))]
        volumes, planes = zip(*posed)
        parts.append(Volumes(np.stack(volumes), np.stack(planes), names))
    return parts[0], parts[1]


def _posed(
    rng: np.random.Generator, image: np.ndarray, config: Config
) -> tuple[np.ndarray, np.ndarray]:
    """A volume turned about its middle, moved and scaled, and where its middle plane is then."""
    angles = rng.uniform(-config.turn, config.turn, 3)
    moved = rng.uniform(-config.shift, config.shift, 3)
    turn = Rotation.from_euler("XYZ", angles, degrees=True).as_matrix()
    # From voxels to the brain's own: the transpose of the turn undoes it.
    own = turn.T / rng.uniform(0.9, 1.1)
    middle = (np.array(image.shape) - 1) / 2
    offset = middle - own @ (middle + turn @ moved / config.voxel)
    seen = ndimage.affine_transform(
        image, own, offset, order=1, mode="constant", cval=float(image.min())
    )
    return seen.astype(np.float32), np.append(angles, moved[2])


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
