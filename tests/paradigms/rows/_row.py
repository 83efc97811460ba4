"""What a line of the registry says, and the tiny tasks and networks that it is tried on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmed as jm
from jaxmed.core import Learner, Network, Objective, stream

CLASSES = 3
NORMS = ("batch", "group", "dropout")
SPATIAL = {"2D": (6, 6), "3D": (4, 4, 4)}


class Task(NamedTuple):
    """A supervised task on the tiny batch; ``activation`` turns its logits into predictions."""

    objective: Objective
    outputs: int = CLASSES
    dense: bool = False
    activation: str | None = "softmax"


# What is given to `supervised` of each task, and to paradigms that judge single examples.
LOSSES = {
    "classification": {"loss": jm.losses.cross_entropy, "target": "label"},
    "regression": {"loss": jm.losses.mse, "target": "value"},
    "segmentation": {"loss": jm.losses.dice_ce, "target": "mask"},
}
TASKS = {
    "classification": Task(jm.supervised(**LOSSES["classification"])),
    "regression": Task(jm.supervised(**LOSSES["regression"]), 1, activation=None),
    "segmentation": Task(jm.supervised(**LOSSES["segmentation"]), dense=True),
}


class Row(NamedTuple):
    """One paradigm: how it is put on a task, and where it means something.

    Attributes:
        objective: ``task -> objective``; the task's own by default.
        network: ``(trunk, task) -> network``, for paradigms on networks.
        learner: ``learner -> learner``, for paradigms on learners.
        solved: ``(network, name of the task) -> learner``, for paradigms that make a learner of a
            network alone.
        batch: ``batch -> batch``: what the paradigm needs that the tiny batch has not.
        trunk: ``(task, norm) -> module``, where not :class:`Tiny`.
        tasks: the tasks on which it means something.
        spatial: the ranks on which it does.
        norms: the normalisations that its trunk has.
        stacks: whether it makes an objective of the *task's objective*, so that it may be put on
            any other that does (``task._replace(objective=...)``).
        padded: whether padding rows count for nothing; not where a head of its own has BatchNorm.
        across: whether it is tried on eight devices by default: one of each way in which an
            example's loss looks at others (contrast, queue, moments, partners). The others are by
            `-m slow`.
    """

    objective: Callable[[Task], Objective] = lambda task: task.objective
    network: Callable[[Network, Task], Network] = lambda trunk, task: trunk
    learner: Callable[[Learner], Learner] = lambda learner: learner
    solved: Callable[[Network, str], Learner] | None = None
    batch: Callable[[dict], dict] = lambda batch: batch
    trunk: Callable[[Task, str], nn.Module] | None = None
    tasks: tuple[str, ...] = tuple(TASKS)
    spatial: tuple[str, ...] = tuple(SPATIAL)
    norms: tuple[str, ...] = NORMS
    stacks: bool = False
    padded: bool = True
    across: bool = False

    def build(self, task: str, norm: str) -> tuple[Network, Objective]:
        """The network and the objective of this row on a task."""
        given = TASKS[task]
        make = self.trunk or (lambda given, norm: Tiny(given.outputs, given.dense, norm))
        network = self.network(jm.from_linen(make(given, norm)), given)
        return network, self.objective(given)

    def run(self, task: str, norm: str) -> Learner:
        """The learner of this row on a task."""
        network, objective = self.build(task, norm)
        if self.solved is not None:
            return self.solved(network, task)
        return self.learner(jm.learner(network, objective, optax.sgd(0.1)))


class Tiny(nn.Module):
    """Two convolutions; logits per example or per voxel; 2D and 3D by the input's rank."""

    outputs: int = CLASSES
    dense: bool = False
    norm: str = "none"

    @nn.compact
    def __call__(self, x, *, train: bool = False):
        kernel = (3,) * (x.ndim - 2)
        x = nn.relu(nn.Conv(4, kernel)(x))
        if self.norm == "batch":
            x = nn.BatchNorm(use_running_average=not train)(x)
        if self.norm == "group":
            x = nn.GroupNorm(num_groups=2)(x)
        if self.norm == "dropout":
            x = nn.Dropout(0.3, deterministic=not train)(x)
        features = x.mean(tuple(range(1, x.ndim - 1)))
        head = nn.Dense(self.outputs, name="head")
        return {
            "features": features,
            "pyramid": (x,),
            "logits": head(x if self.dense else features),
        }


def make_batch(spatial: tuple[int, ...], size: int = 8) -> dict:
    """A batch of noise, with labels for every task and two padding rows."""
    rng = np.random.default_rng(0)
    weight = np.ones(size, np.float32)
    weight[-2:] = 0
    return jax.tree.map(
        jnp.asarray,
        {
            "image": rng.normal(size=(size, *spatial, 1)).astype(np.float32),
            "unlabelled": rng.normal(size=(size, *spatial, 1)).astype(np.float32),
            "label": rng.integers(0, CLASSES, size).astype(np.int32),
            "mask": rng.integers(0, CLASSES, (size, *spatial)).astype(np.int32),
            "value": rng.normal(size=size).astype(np.float32),
            "weight": weight,
            "weight_unlabelled": weight,
        },
    )


def noisy(key, batch):
    """A view that leaves the geometry alone."""
    image = batch["image"]
    return {**batch, "image": image + 0.1 * jax.random.normal(stream(key, "noise"), image.shape)}
