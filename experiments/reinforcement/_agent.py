"""An agent that walks to a landmark: double Q-learning from windows of the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
import optax

import jaxmed as jm
from jaxmed import reinforcement as rl
from jaxmed import stats
from jaxmed.protocols import interact

from ._cases import Cases


class Found(NamedTuple):
    """What the agent found.

    Attributes:
        points: (n, landmarks, rank), the median over the walks that came to an end.
        metrics: how the walks went.
        walks: of :func:`jaxmed.reinforcement.play`, (n * landmarks * starts, ...).
    """

    points: np.ndarray
    metrics: dict[str, Any]
    walks: rl.Played


class Values(nn.Module):
    """Values of actions, by convolutions whose outputs keep their place in the window."""

    features: tuple[int, ...]
    hidden: int
    actions: int | None

    @nn.compact
    def __call__(self, x: Any, *, train: bool = False) -> Any:
        for width in self.features:
            x = nn.relu(jm.networks.Conv(width)(x))
            x = jm.ops.max_pool(x, (2,) * (x.ndim - 2))
        x = nn.relu(nn.Dense(self.hidden)(x.reshape(len(x), -1)))
        x = nn.relu(nn.Dense(self.hidden // 2)(x))
        ends = {"features": x}
        return ends if self.actions is None else {**ends, "logits": nn.Dense(self.actions)(x)}


def walked(config: Any, train: Cases, test: Cases, out: Path) -> Found:
    """Learn on the training images, walk in the others from several starts."""
    train = train.with_copies(config.copies, config.seed)
    landmarks, rank = len(train.landmarks), train.points.shape[-1]
    look = {"frames": config.frames, "pyramid": config.pyramid, "limit": config.limit}
    packed, new = (
        rl.pack_volumes(
            part.images, spacing=part.spacing, window=config.window, scales=config.scales,
            outside=float(min(x.min() for x in train.images)),
        )
        for part in (train, test)
    )  # fmt: skip
    world = rl.landmark(packed, _points(train), starts="any", **look)
    several = landmarks > 1
    module = Values(config.channels, config.hidden, None if several else 2 * rank)
    network = jm.from_linen(module)
    if several:
        network = rl.landmark_heads(network, landmarks, 2 * rank)
    total = config.steps * config.iterations
    optimizer = optax.chain(
        optax.clip_by_global_norm(10.0),
        optax.adamw(optax.cosine_decay_schedule(config.agent_rate, total), weight_decay=1e-3),
    )
    objective = rl.q_learning(
        discount=config.discount, target_every=config.target_every, distance="huber"
    )
    learner = jm.train.parameter_average(
        jm.learner(network, objective, optimizer, inputs="observation"), 0.999
    )
    agent = rl.off_policy(
        world, learner, rl.replay(config.memory),
        behaviour=rl.epsilon_greedy(optax.linear_schedule(1.0, 0.1, total // 2)),
        environments=config.agents, batch=config.transitions, warm_up=config.warm_up,
        iterations=config.iterations,
    )  # fmt: skip
    every = max(config.steps // 20, 1)
    state = interact(agent, steps=config.steps, every=every, seed=config.seed, out=out).state
    walks = rl.play(
        rl.landmark(new, _points(test), end="return", **look), agent, state,
        _starts(config, test), limit=config.limit, keep_path=True,
    )  # fmt: skip
    draw(walks, test, config.starts, out)
    return _found(walks, test, config.starts)


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


def draw(walks: rl.Played, cases: Cases, starts: int, out: Path) -> None:
    """The first walk of each landmark side by side, and the median one of these by itself."""
    chosen = range(0, len(walks.lengths), starts)
    episodes = [_episode(walks, i, cases) for i in chosen]
    far = [np.linalg.norm((e.answer - e.target) * e.spacing) for e in episodes]
    figures = {
        "walks": jm.report.episodes_figure(episodes, unit=cases.unit),
        "walk": jm.report.episode_figure(
            episodes[int(np.argsort(far)[len(far) // 2])], unit=cases.unit
        ),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png", dpi=160)


def _episode(walks: rl.Played, i: int, cases: Cases) -> jm.report.Episode:
    assert walks.path is not None
    length = int(walks.lengths[i])
    before, after = walks.path["state"], walks.states
    image, target = int(after.image[i]), int(after.target[i])
    name = cases.names[image]
    if len(cases.landmarks) > 1:
        name = f"{name}, {cases.landmarks[target]}"
    return jm.report.Episode(
        cases.images[image],
        np.concatenate([before.position[i, :length], after.position[i][None]]),
        target=cases.points[image, target],
        answer=after.estimate[i],
        values=walks.path["values"][i, :length],
        scale=np.append(before.scale[i, :length], after.scale[i]),
        spacing=cases.spacing,
        name=name,
        failed=not bool(walks.terminated[i] & ~after.refused[i]),
    )


def _found(walks: rl.Played, cases: Cases, starts: int) -> Found:
    """The median of the walks that came to an end; of all where none did."""
    n, k = len(cases.names), len(cases.landmarks)
    ended = np.asarray(walks.terminated & ~walks.states.refused).reshape(n, k, starts)
    answer = np.asarray(walks.states.estimate).reshape(n, k, starts, -1)
    counted = ended | ~ended.any(-1, keepdims=True)
    points = np.nanmedian(np.where(counted[..., None], answer, np.nan), axis=2)
    single = np.linalg.norm((answer - cases.points[:, :, None]) * cases.spacing, axis=-1)
    values = {
        "error of one walk": single.mean((1, 2)),
        "failed walks": 1 - ended.mean((1, 2)),
        "steps of a walk": np.asarray(walks.lengths).reshape(n, -1).mean(1),
    }
    metrics = {
        name: stats.mean(value, groups=cases.patients, name=name) for name, value in values.items()
    }
    return Found(points, metrics, walks)
