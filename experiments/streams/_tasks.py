"""Sequences of tasks: digits by permuted pixels or by classes, and three medical sets."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import numpy as np

import jaxmed as jm
from jaxmed.data import column, decathlon, folds, in_memory, medmnist, mnist

Stream = Literal["permuted", "split", "medical"]
Scenario = Literal["task", "domain", "class"]
_SIDE = 28
_LEAST = 20  # Voxels of the hippocampus in a slice that is used.
_HELD_OUT = 6  # A sixth of the training images is what settings are chosen on.


class Task(NamedTuple):
    """One task of a sequence.

    Attributes:
        name: for readers.
        train: arrays `image`, `label` and `task`, a row an example.
        test: likewise.
        classes: names of its own classes.
        start: the label of the first of them.
    """

    name: str
    train: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    classes: tuple[str, ...]
    start: int = 0


def counts_of(task: Task, part: dict[str, np.ndarray]) -> dict[str, int]:
    """How many examples each class of a task has in a part."""
    found = np.bincount(part["label"] - task.start, minlength=len(task.classes))
    return dict(zip(task.classes, map(int, found)))


class Sequence(NamedTuple):
    """Tasks in their order, and how labels are told apart.

    Attributes:
        tasks: in order.
        classes: of the network's output.
        allowed: (tasks, classes), whether an answer is possible for an image of the task.
        earlier: likewise, the answers that were possible before the task came.
    """

    tasks: tuple[Task, ...]
    classes: int
    allowed: np.ndarray
    earlier: np.ndarray


def sequence(
    stream: Stream,
    scenario: Scenario,
    *,
    length: int,
    seed: int,
    examples: int | None = None,
    chosen: bool = False,
) -> Sequence:
    """Make a sequence of tasks.

    Args:
        stream: which.
        scenario: what a prediction is told. `task`: which task, so that its own classes alone are
            possible. `domain`: nothing, and every task has the same classes. `class`: nothing, and
            all classes of all tasks are possible.
        length: tasks, of permuted digits.
        seed: of permutations; of split digits, of the order of classes, which is theirs at 0.
        examples: training images of a task used at most.
        chosen: whether a part of the training images stands in for the test images.

    Raises:
        ValueError: a scenario that the sequence does not have.
    """
    if stream == "permuted":
        tasks = _permuted(length, seed, chosen)
    elif stream == "split":
        tasks = _split(seed, chosen)
    else:
        tasks = _medical(chosen)
    if examples is not None:
        tasks = [one._replace(train=_some(one.train, examples, seed)) for one in tasks]
    if scenario == "domain" and len({len(one.classes) for one in tasks}) > 1:
        raise ValueError(f"--scenario domain: the tasks of {stream} have different classes")
    return _told(tasks, scenario)


def _told(tasks: list[Task], scenario: Scenario) -> Sequence:
    """Labels as the scenario counts them, and which answers are possible."""
    sizes = [len(one.classes) for one in tasks]
    starts = np.zeros(len(tasks), int) if scenario == "domain" else np.cumsum([0, *sizes[:-1]])
    classes = int(max(np.add(starts, sizes)))
    own = np.zeros((len(tasks), classes), bool)
    numbered = []
    for number, (one, start, size) in enumerate(zip(tasks, starts, sizes, strict=True)):
        own[number, start : start + size] = True
        parts = [
            {
                **part,
                "label": (part["label"] + start).astype(np.int32),
                "task": np.full(len(part["label"]), number, np.int32),
            }
            for part in (one.train, one.test)
        ]
        numbered.append(one._replace(train=parts[0], test=parts[1], start=int(start)))
    seen = np.cumsum(own, axis=0) > 0
    earlier = np.concatenate([seen[:1], seen[:-1]])
    allowed = own if scenario == "task" else np.ones_like(own)
    return Sequence(tuple(numbered), classes, allowed, earlier)


def _some(part: dict[str, np.ndarray], most: int, seed: int) -> dict[str, np.ndarray]:
    rows = np.random.default_rng(seed).permutation(len(part["label"]))[:most]
    return {name: array[np.sort(rows)] for name, array in part.items()}


def _digits(chosen: bool) -> list[dict[str, np.ndarray]]:
    read = [in_memory(mnist(part)) for part in (("train",) if chosen else ("train", "test"))]
    parts = [{name: column(part, name) for name in ("image", "label")} for part in read]
    return _parted(parts[0]) if chosen else parts


def _parted(train: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The last of the training images stand in for test images."""
    cut = len(train["label"]) - len(train["label"]) // _HELD_OUT
    return [
        {name: array[:cut] for name, array in train.items()},
        {name: array[cut:] for name, array in train.items()},
    ]


def _permuted(length: int, seed: int, chosen: bool) -> list[Task]:
    parts = [{**part, "image": part["image"].reshape(-1, _SIDE**2)} for part in _digits(chosen)]
    tasks = []
    for number in range(length):
        order = np.arange(_SIDE**2)
        if number:  # the first task's pixels stay where they are
            order = np.random.default_rng([seed, number]).permutation(_SIDE**2)
        train, test = ({**part, "image": part["image"][:, order]} for part in parts)
        tasks.append(Task(f"order {number + 1}", train, test, tuple("0123456789")))
    return tasks


def _split(seed: int, chosen: bool) -> list[Task]:
    parts = _digits(chosen)
    order = np.random.default_rng(seed).permutation(10) if seed else np.arange(10)
    tasks = []
    for pair in order.reshape(5, 2):
        cut = []
        for part in parts:
            rows = np.isin(part["label"], pair)
            second = part["label"][rows] == pair[1]
            cut.append({"image": part["image"][rows], "label": second.astype(int)})
        names = tuple(map(str, pair))
        tasks.append(Task(" or ".join(names), cut[0], cut[1], names))
    return tasks


def _medical(chosen: bool) -> list[Task]:
    tasks = []
    for name in ("breastmnist", "retinamnist"):
        read = [in_memory(medmnist(name, part)) for part in ("train", "val" if chosen else "test")]
        cut = [{"image": _grey(column(part, "image")), "label": column(part, "label")}
               for part in read]  # fmt: skip
        tasks.append(Task(name, cut[0], cut[1], tuple(read[0].classes)))
    tasks.append(_hippocampus(chosen))
    return tasks


def _grey(images: np.ndarray) -> np.ndarray:
    return np.asarray(images, np.float32).mean(-1, keepdims=True)


def _hippocampus(chosen: bool) -> Task:
    """Coronal slices by the part of the hippocampus that fills more of them; split by scan."""
    source = decathlon(jm.data.data_root() / "Task04_Hippocampus")
    train, test = folds(len(source), 4, seed=0)[0]
    if chosen:
        train, test = train[: -len(test)], train[-len(test) :]
    cut = []
    for rows in (train, test):
        found = [_slices(source[int(i)]) for i in rows]
        cut.append({name: np.concatenate([one[name] for one in found]) for name in found[0]})
    return Task("hippocampus slices", cut[0], cut[1], ("anterior", "posterior"))


def _slices(example: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    volume, mask = np.asarray(example["image"], np.float32)[..., 0], np.asarray(example["mask"])
    voxels = np.stack([(mask == part).sum((0, 2)) for part in (1, 2)], 1)
    used = voxels.sum(1) >= _LEAST
    low, high = np.percentile(volume, (0.5, 99.5))
    planes = np.moveaxis(np.clip((volume - low) / (high - low), 0, 1), 1, 0)[used]
    planes = jax.image.resize(planes, (len(planes), _SIDE, _SIDE), "linear")
    return {
        "image": np.asarray(planes, np.float32)[..., None],
        "label": (voxels[used, 1] > voxels[used, 0]).astype(int),
    }
