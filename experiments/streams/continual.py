"""Learn tasks one after the other, and measure after each what is left of those before it.

    jaxmed train continual --stream permuted --method ewc
    jaxmed train continual --stream split --scenario class --method replay --memory 500
    jaxmed train continual --stream medical --scenario class --method replay

`permuted`: digits whose pixels come in another order in each task. `split`: digits in pairs, five
tasks. `medical`: ultrasound of the breast, fundus photographs, slices of the hippocampus, 28 pixels
wide and grey. A scenario says what a prediction is told: `task`, which task; `domain`, nothing, and
every task has the same classes; `class`, nothing, and all classes of all tasks are possible.

After each task all test images are classified; the matrix of accuracies, over several seeds, gives
the mean accuracy at the end, backward transfer and forgetting. `joint` trains anew on all tasks so
far, a bound for the rest. Each task has its own checkpoints: a run that was cut goes on there.

Weights were chosen on a sixth of the training digits (`--chosen`). Measured:
docs/paradigms/continual.md. Split digits take about a minute of a CPU core a method.
"""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import jaxmed as jm
from jaxmed import paradigms
from jaxmed._files import replacing
from jaxmed.core import LearnerState, Network, Objective, Variables, stream
from jaxmed.report import ContinualResults, DataSummary, Split, stage

from ._tasks import Scenario, Sequence, Stream, counts_of, sequence

Method = Literal["none", "ewc", "si", "lwf", "replay", "a_gem", "joint"]
GRID = {
    "stream": ("permuted", "split"),
    "method": ("none", "ewc", "si", "lwf", "replay", "a_gem", "joint"),
}
_INPUTS = ("image", "task")
_CARRIED = ("si", "replay", "a_gem")  # Methods whose objective's state goes on to the next task.
_WEIGHTS = {"ewc": 100.0, "si": 1.0, "lwf": 1.0}
_NEVER = -1e9  # The logit of an answer that is not possible.


@dataclasses.dataclass(frozen=True)
class Config:
    """One method on one sequence of tasks, over several seeds.

    Args:
        stream: the sequence.
        scenario: what a prediction is told; by default `domain` of permuted digits, else `class`.
        method: what keeps the earlier tasks.
        tasks: of permuted digits.
        weight: of `ewc`, `si` and `lwf`; by default 100, 1 and 1.
        memory: examples that `replay` and `a_gem` keep.
        draws: of them, drawn at each step; as many as a batch has by default.
        importance: batches from which `ewc` learns what mattered.
        hidden: widths of the perceptron for digits.
        epochs: passes over a task's training images; by default 1 of digits, 20 of medical images.
        batch: images of a step.
        learning_rate: of Adam, which begins anew with each task.
        seeds: runs, of other parameters, permutations or orders of classes.
        examples: training images of a task used at most; by default all.
        chosen: measure on a part of the training images, to choose settings by.
    """

    stream: Stream = "split"
    scenario: Scenario | None = None
    method: Method = "replay"
    tasks: int = 10
    weight: float | None = None
    memory: int = 500
    draws: int | None = None
    importance: int = 8
    hidden: tuple[int, ...] = (256, 256)
    epochs: int | None = None
    batch: int = 64
    learning_rate: float = 1e-3
    seeds: int = 3
    examples: int | None = None
    chosen: bool = False


def run(config: Config, out: Path) -> ContinualResults:
    """Learn every task in turn, for each seed, and sum the matrices of accuracies up."""
    if config.tasks < 2 or config.seeds < 1:
        raise ValueError(f"--tasks {config.tasks} --seeds {config.seeds}: at least 2 and 1")
    seconds: dict[str, float] = {}
    matrices, made = [], None
    for seed in range(config.seeds):
        with stage(seconds, "data"):
            made = sequence(
                config.stream, scenario_of(config), length=config.tasks, seed=seed,
                examples=config.examples, chosen=config.chosen,
            )  # fmt: skip
        with stage(seconds, "training"):
            matrices.append(_accuracies(config, made, seed, out / f"seed_{seed}"))
    assert made is not None
    scores = np.array(matrices)
    _write(out, scores)
    names = tuple(one.name for one in made.tasks)
    found = jm.protocols.continual_scores(scores)
    shown = "a sixth of the training images" if config.chosen else "the test images"
    return ContinualResults(
        title=f"{config.stream}: {config.method}, told {_TOLD[scenario_of(config)]}",
        classes=(),
        metrics={
            "accuracy": found.accuracy,
            "backward_transfer": found.backward_transfer,
            "forgetting": found.forgetting,
            "learned": jm.stats.mean(
                np.diagonal(scores, axis1=1, axis2=2).mean(1),
                bounds=(0, 1),
                unit="seed",
                name="learned",
            ),
        },
        headline=("accuracy", "forgetting"),
        description=(
            f"{len(names)} tasks one after the other, {config.seeds} seeds; after each task "
            f"{shown} of all tasks are classified. A prediction is told "
            f"{_TOLD[scenario_of(config)]}. `learned` is the mean accuracy on each task just after "
            "it. Intervals are of t over seeds."
        ),
        data=DataSummary(
            splits=tuple(
                Split(f"{one.name}, {part}", len(rows["label"]), None, counts_of(one, rows))
                for one in made.tasks
                for part, rows in (("train", one.train), ("test", one.test))
            )
        ),
        matrix=scores,
        sequence=names,
    ).replace(seconds=seconds)


_TOLD = {
    "task": "the task",
    "domain": "nothing, the classes being the same",
    "class": "nothing, all classes being possible",
}


def scenario_of(config: Config) -> Scenario:
    """What a prediction is told."""
    return config.scenario or ("domain" if config.stream == "permuted" else "class")


def _accuracies(config: Config, made: Sequence, seed: int, out: Path) -> np.ndarray:
    """(tasks, tasks): row i after task i."""
    network = told(_trunk(config, made.classes), made)
    past: list[paradigms.Consolidated] = []
    variables: Variables | None = None
    state: LearnerState | None = None
    rows = []
    for number, task in enumerate(made.tasks):
        train = task.train
        if config.method == "joint":
            seen = [one.train for one in made.tasks[: number + 1]]
            train = {name: np.concatenate([part[name] for part in seen]) for name in train}
        learner = jm.learner(
            network,
            _objective(config, past, variables),
            jm.train.optimizer("adam", config.learning_rate),
            inputs=_INPUTS,
        )
        size = min(config.batch, len(train["label"]))
        feed = jm.data.batches(train, size, seed=seed * len(made.tasks) + number)
        begun = learner.init(jax.random.key(seed), feed[0])
        if state is not None and config.method != "joint":
            begun = _taken_up(begun, state, objective=config.method in _CARRIED)
        if config.method == "si" and number:
            begun = paradigms.next_task(begun)
        result = jm.fit(
            learner, feed, seed=seed, state=begun, epochs=_epochs(config),
            out=jm.train.Output(out / f"task_{number + 1}", keep=1), progress=False,
        )  # fmt: skip
        state = result.state
        variables = learner.predicting.get(state)
        if config.method == "ewc":
            some = [feed[i] for i in range(min(config.importance, len(feed)))]
            key = stream(jax.random.key(seed), "importance", number)
            past.append(paradigms.fisher_information(key, network, variables, some, inputs=_INPUTS))
        rows.append([_accuracy(learner, state, one.test) for one in made.tasks])
    return np.array(rows)


def _epochs(config: Config) -> int:
    return config.epochs or (20 if config.stream == "medical" else 1)


def _trunk(config: Config, classes: int) -> Network:
    if config.stream == "medical":
        return jm.from_linen(jm.networks.cnn(classes, features=(16, 32, 64), norm="group"))
    return jm.from_linen(jm.networks.mlp(classes, hidden=config.hidden))


def told(network: Network, made: Sequence) -> Network:
    """The network with the number of the task as a second input, which rules answers out.

    Its `logits` are of the answers possible for an image of the task, `earlier` of those that were
    before the task came.
    """
    allowed, earlier = jnp.asarray(made.allowed), jnp.asarray(made.earlier)

    def init(key, inputs):
        return network.init(key, inputs["image"])

    def apply(params, state, inputs, *, key=None, train=False):
        ends, state = network.apply(params, state, inputs["image"], key=key, train=train)
        logits, task = ends["logits"], inputs["task"]
        ends = {
            **ends,
            "logits": jnp.where(allowed[task], logits, _NEVER),
            "earlier": jnp.where(earlier[task], logits, _NEVER),
        }
        return ends, state

    return Network(init, apply)


def _objective(
    config: Config, past: list[paradigms.Consolidated], before: Variables | None
) -> Objective:
    plain = jm.supervised(jm.losses.cross_entropy, inputs=_INPUTS)
    weight = _WEIGHTS.get(config.method, 0.0) if config.weight is None else config.weight
    if config.method == "si":
        return paradigms.si(plain, weight=weight)
    if config.method == "replay":
        return paradigms.replay(plain, config.memory, draws=config.draws)
    if config.method == "a_gem":
        return paradigms.a_gem(plain, config.memory, draws=config.draws)
    if config.method == "ewc" and past:
        return paradigms.ewc(plain, paradigms.consolidated(*past), weight=weight)
    if config.method == "lwf" and before is not None:
        return paradigms.lwf(plain, before, weight=weight, output="earlier", inputs=_INPUTS)
    return plain


def _taken_up(begun: LearnerState, ended: LearnerState, *, objective: bool) -> LearnerState:
    """A fresh state with the network of one that ended, and what its objective kept."""
    own = ended.state["obj"] if objective else begun.state["obj"]
    return begun._replace(
        params={**begun.params, "net": ended.params["net"]},
        state={"net": ended.state["net"], "obj": own},
    )


def _write(out: Path, scores: np.ndarray) -> None:
    """All accuracies as a table."""
    with replacing(out / "accuracies.csv") as partial, partial.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["seed", "after", "task", "accuracy"])
        for (seed, after, task), value in np.ndenumerate(scores):
            table.writerow([seed, after + 1, task + 1, value])


def _accuracy(learner: Any, state: LearnerState, test: dict[str, np.ndarray]) -> float:
    logits = jm.train.predict(learner, state, test, size=1000, inputs=_INPUTS)
    return float((logits.argmax(-1) == test["label"]).mean())


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
