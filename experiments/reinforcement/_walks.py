"""An agent that walks to landmarks, from several starts in each image."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import jaxmed as jm
from jaxmed import reinforcement as rl

from ._agent import Values, agent_in, learned, way
from ._cases import Cases
from ._seeds import seeds


class Found(NamedTuple):
    """What the agent found.

    Attributes:
        points: (n, landmarks, rank), the mean over the walks that came to an end.
        told: how the walks in each image went, (n,) each.
        episodes: the first walk to each landmark of each image.
    """

    points: np.ndarray
    told: dict[str, np.ndarray]
    episodes: jm.report.Episodes


def walked(config: Any, train: Cases, test: Cases, out: Path) -> list[Found]:
    """Learn on the training images, walk in the others from several starts; for each seed."""
    train = train.with_copies(config.copies, config.seed)
    landmarks, rank = len(train.landmarks), train.points.shape[-1]
    look = {"frames": config.frames, "pyramid": config.pyramid, "limit": config.limit}
    packed, new = (
        rl.pack_volumes(
            part.images, spacing=part.spacing, window=config.window, scales=config.scales,
            outside=float(min(x.min() for x in train.images)) - config.border,
        )
        for part in (train, test)
    )  # fmt: skip
    world = rl.landmark(packed, _points(train), starts="any", **look)
    several = landmarks > 1
    module = Values(config.channels, config.hidden, None if several else 2 * rank)
    network = jm.from_linen(module)
    if several:
        network = rl.landmark_heads(network, landmarks, 2 * rank)
    agent = agent_in(config, world, network)
    new_world = rl.landmark(new, _points(test), end="return", **look)
    starts = _starts(config, test)
    found = []
    for seed, folder in seeds(config, out):
        state = learned(config, agent, seed, folder)
        walks = rl.play(new_world, agent, state, starts, limit=config.limit, keep_path=True)
        found.append(_found(walks, test, config.starts))
    return found


def _points(cases: Cases) -> np.ndarray:
    return cases.points if len(cases.landmarks) > 1 else cases.points[:, 0]


def _starts(config: Any, cases: Cases) -> rl.Place:
    """Starts in the inner half of each image, for each of its landmarks."""
    rng = np.random.default_rng(config.split_seed)
    n, k = len(cases.names), len(cases.landmarks)
    share = rng.uniform(0.25, 0.75, (n, k, config.starts, cases.points.shape[-1]))
    size = np.array([x.shape for x in cases.images])
    position = (share * size[:, None, None]).astype(int)
    image, target, _ = np.indices(position.shape[:3])
    return rl.place(image.ravel(), position.reshape(-1, position.shape[-1]), target=target.ravel())


def _found(walks: rl.Played, cases: Cases, starts: int) -> Found:
    """The mean of the walks that came to an end; of all where none did."""
    n, k = len(cases.names), len(cases.landmarks)
    ended = np.asarray(walks.terminated & ~walks.states.refused).reshape(n, k, starts)
    answer = np.asarray(walks.states.estimate).reshape(n, k, starts, -1)
    counted = ended | ~ended.any(-1, keepdims=True)
    points = np.nanmean(np.where(counted[..., None], answer, np.nan), axis=2)
    single = np.linalg.norm((answer - cases.points[:, :, None]) * cases.spacing, axis=-1)
    told = {
        "error of one walk": single.mean((1, 2)),
        "steps of a walk": np.asarray(walks.lengths).reshape(n, -1).mean(1),
        "failed walks": 1.0 - ended.mean((1, 2)),
    }
    shown = jm.report.Episodes(
        [_episode(walks, i, cases) for i in range(0, len(walks.lengths), starts)],
        cases.unit,
        chosen=f"The first of {starts} walks to each landmark of each image that was held out.",
    )
    return Found(points, told, shown)


def _episode(walks: rl.Played, i: int, cases: Cases) -> jm.report.Episode:
    after = walks.states
    image, target = int(after.image[i]), int(after.target[i])
    name = cases.names[image]
    if len(cases.landmarks) > 1:
        name = f"{name}, {cases.landmarks[target]}"
    path, values = way(walks, i, lambda states: states.position)
    return jm.report.Episode(
        cases.images[image], path,
        target=cases.points[image, target],
        answer=after.estimate[i],
        values=values,
        scale=way(walks, i, lambda states: states.scale)[0],
        spacing=cases.spacing,
        name=name,
        failed=not bool(walks.terminated[i] & ~after.refused[i]),
    )  # fmt: skip
