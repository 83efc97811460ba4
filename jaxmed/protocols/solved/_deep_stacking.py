"""Deep stacking networks: modules solved in closed form, one upon the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from jaxmed.core import Key, LearnerState, Network, PyTree, Variables, learner, stream
from jaxmed.data import Batches, batches
from jaxmed.paradigms import ClosedForm, closed_form, stacked, variable_projection
from jaxmed.train import fit, predict

Passed = Literal["in-sample", "out-of-fold"]
Start = Callable[[Key, PyTree, dict[str, np.ndarray]], PyTree]
"""From a key, a module's random parameters and the training arrays to what it begins with."""


class DeepStack(NamedTuple):
    """What :func:`deep_stacking` returns.

    Attributes:
        network: all modules as one network, by :func:`jaxmed.paradigms.stacked`.
        variables: its parameters and state.
        scores: of each module, the lowest first: ``train/squared_error``, the mean over examples
            of the squared error summed over outputs, ``train/error`` for classes; of predictions
            that are passed up out of fold, ``passed/...``; with ``validation``,
            ``validation/...``.
    """

    network: Network
    variables: Variables
    scores: tuple[dict[str, float], ...]


class Tuning(NamedTuple):
    """How a module's hidden weights are tuned through the solution of its head.

    Attributes:
        steps: of the optimizer.
        optimizer: any Optax transformation.
        size: examples of a step; several times as many as a module has features, for the head is
            solved on them.
    """

    steps: int
    optimizer: optax.GradientTransformation
    size: int


def deep_stacking(
    key: Key,
    data: Mapping[str, ArrayLike],
    modules: Sequence[Network],
    *,
    classes: int | None = None,
    ridge: float | Literal["gcv"] = "gcv",
    targets: Literal["one-hot", "plus-minus", "numbers"] = "one-hot",
    target: str = "label",
    image: str = "image",
    sees: Literal["all", "last"] = "all",
    passed: Passed = "in-sample",
    folds: int = 5,
    start: Start | None = None,
    tuning: Tuning | None = None,
    validation: Mapping[str, ArrayLike] | None = None,
    size: int = 1000,
) -> DeepStack:
    """Train modules from the lowest to the topmost, each by least squares.

    A module's hidden weights are drawn, or begin as ``start`` says, and are tuned if asked for by
    the gradient through the solution (:func:`jaxmed.paradigms.variable_projection`); its head is
    then :func:`jaxmed.paradigms.closed_form` on all examples. Nothing is propagated from one module
    to another.

    Args:
        key: random key of the hidden weights, folds and tuning.
        data: training arrays by name, with ``image`` and ``target``; ``weight`` if examples have
            one.
        modules: the lowest first, each a network from ``{"image": ..., "below": ...}`` to
            ``features``, such as ``from_linen(networks.StackingModule(1000))``.
        classes: number of classes; of numbers, how many (1).
        ridge: as :func:`closed_form` takes it; a number where there is tuning.
        targets: as :func:`closed_form` takes it.
        target: name of the targets.
        image: name of the inputs.
        sees: whether a module sees the predictions of all below it or of the last.
        passed: the predictions that training examples pass up: of a head solved on all of them, or
            of one solved without the example's fold. The former are better on training than
            on new examples, and a module above trusts them too much. Tuned hidden weights have
            seen all examples either way.
        folds: number of folds.
        start: ``(key, params, arrays) -> params``: from a module's random parameters and the
            training arrays (``image``, ``below``, ``target`` by its name, ``weight`` if there is
            one) to the parameters that it begins with: :func:`class_differences`, or those of a
            restricted Boltzmann machine.
        tuning: how hidden weights are tuned; None: they stay as they begin.
        validation: arrays that every module is measured on and that decide nothing.
        size: examples of a batch; changes no result but by rounding.

    Returns:
        The stack.

    Raises:
        KeyError: if an array is missing.
        ValueError: if an option is not as said, there are no modules, a module's features are not
            finite or all constant.

    References:
        Deng and Yu (2011), Deep convex network: a scalable architecture for speech pattern
        classification, Interspeech; Deng, Yu and Platt (2012), Scalable stacking and learning for
        building deep architectures, ICASSP; Wolpert (1992), Stacked generalization, Neural
        Networks 5.
    """
    if not modules:
        raise ValueError("deep_stacking needs at least one module")
    if passed not in ("in-sample", "out-of-fold"):
        raise ValueError(f"passed must be 'in-sample' or 'out-of-fold', got {passed!r}")
    if tuning is not None and isinstance(ridge, str):
        raise ValueError(f"tuning needs a ridge that is a number, got {ridge!r}")
    arrays = _arrays(data, image, target)
    if passed == "out-of-fold" and not 2 <= folds <= len(arrays[image]):
        raise ValueError(f"folds must be 2 to the number of examples, got {folds}")
    parts = {"train": arrays}
    if validation is not None:
        parts["validation"] = _arrays(validation, image, target)
    inputs = {"image": image, "below": "below"}
    options: dict[str, Any] = {
        "classes": classes, "targets": targets, "target": target, "inputs": inputs,
    }  # fmt: skip
    found: dict[str, list[np.ndarray]] = {name: [] for name in parts}
    states, whole, scores = [], [], []
    for number, module in enumerate(modules, start=1):
        own = stream(key, "module", number)
        for name, part in parts.items():
            part["below"] = _below(found[name], len(part[image]), sees)
        begun = _begun(own, module, arrays, image, start)
        if tuning is not None:
            begun = _tuned(own, module, begun, arrays, ridge, tuning, options)
        machine = closed_form(
            module._replace(init=lambda key, given, begun=begun: begun), ridge=ridge,
            standardise=False, **options,
        )  # fmt: skip
        state, without = _solved(own, machine, arrays, size, folds if passed != "in-sample" else 1)
        score: dict[str, float] = {}
        for name, part in parts.items():
            logits = predict(machine, state, part, size=size, inputs=inputs)
            score |= _score(f"{name}/", logits, part, targets, target)
            found[name].append(logits)
        if without is not None:
            logits = _predict_without(machine, without, arrays, inputs, size)
            score |= _score("passed/", logits, arrays, targets, target)
            found["train"][-1] = logits
        states.append(machine.predicting.get(state))
        whole.append(machine.network)
        scores.append(score)
    network = stacked(whole, outputs=found["train"][0].shape[-1], sees=sees)
    params, state = ({f"module{i + 1}": one[at] for i, one in enumerate(states)} for at in (0, 1))
    return DeepStack(network, Variables(params, state), tuple(scores))


class _Folds(NamedTuple):
    """The fold of each example, and the solution without each fold."""

    of: np.ndarray
    states: list[LearnerState]


def _arrays(data: Mapping[str, ArrayLike], image: str, target: str) -> dict[str, np.ndarray]:
    if missing := [name for name in (image, target) if name not in data]:
        raise KeyError(f"the arrays have no {missing}; they have {sorted(data)}")
    names = (image, target, *(("weight",) if "weight" in data else ()))
    return {name: np.asarray(data[name]) for name in names}


def _below(found: list[np.ndarray], rows: int, sees: str) -> np.ndarray:
    if sees not in ("all", "last"):
        raise ValueError(f"sees must be 'all' or 'last', got {sees!r}")
    if not found:
        return np.zeros((rows, 0), np.float32)
    return np.concatenate(found, axis=-1) if sees == "all" else found[-1]


def _begun(
    key: Key, module: Network, arrays: dict[str, np.ndarray], image: str, start: Start | None
) -> tuple[PyTree, PyTree]:
    first = {"image": arrays[image][:2], "below": arrays["below"][:2]}
    params, state = module.init(stream(key, "weights"), first)
    if start is not None:
        named = {name: array for name, array in arrays.items() if name != image}
        made = start(stream(key, "start"), params, {"image": arrays[image], **named})
        shapes = [jax.tree.map(np.shape, tree) for tree in (params, made)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"start must give parameters of the shapes {shapes[0]}, it gave {shapes[1]}"
            )
        params = made
    return params, state


def _tuned(
    key: Key,
    module: Network,
    begun: tuple[PyTree, PyTree],
    arrays: dict[str, np.ndarray],
    ridge: Any,
    tuning: Tuning,
    options: Mapping[str, Any],
) -> tuple[PyTree, PyTree]:
    """Hidden weights by the gradient through the solution on parts of the examples."""
    size = min(tuning.size, len(arrays["below"]))
    objective = variable_projection(ridge=ridge * size / len(arrays["below"]), **options)
    one = learner(
        module._replace(init=lambda key, given: begun), objective, tuning.optimizer,
        inputs=options["inputs"],
    )  # fmt: skip
    seed = int(jax.random.randint(stream(key, "order"), (), 0, 2**31 - 1))
    feed = batches(arrays, size, seed=seed, remainder="drop")
    made = fit(one, feed, steps=tuning.steps, key=stream(key, "tuning"), progress=False).state
    return made.params["net"], made.state["net"]


def _solved(
    key: Key, machine: ClosedForm, arrays: dict[str, np.ndarray], size: int, folds: int
) -> tuple[LearnerState, _Folds | None]:
    """The solution on all examples, and those without each fold."""
    n = len(arrays["below"])
    order = np.asarray(jax.random.permutation(stream(key, "folds"), n)) if folds > 1 else None
    of = np.zeros(n, int)
    if order is not None:
        of[order] = np.arange(n) % folds
    first = {name: jnp.asarray(value[:2]) for name, value in arrays.items()}
    begun = machine.init(stream(key, "solution"), first)
    step = jax.jit(machine.step)

    def summed(rows: np.ndarray) -> LearnerState:
        feed: Batches = batches(
            {name: value[rows] for name, value in arrays.items()}, min(size, n), shuffle=False
        )
        state = begun
        for at in range(len(feed)):
            state, _ = step(state, feed[at])
        return state

    parts = [summed(np.flatnonzero(of == fold)) for fold in range(folds)]
    whole = machine.solve(_merged(machine, parts))
    if folds == 1:
        return whole, None
    without = [
        machine.solve(_merged(machine, [p for i, p in enumerate(parts) if i != fold]))
        for fold in range(folds)
    ]
    return whole, _Folds(of, without)


def _merged(machine: ClosedForm, parts: Sequence[LearnerState]) -> LearnerState:
    state = parts[0]
    for other in parts[1:]:
        state = machine.merge(state, other)
    return state


def _predict_without(
    machine: ClosedForm,
    folds: _Folds,
    arrays: dict[str, np.ndarray],
    inputs: Mapping[str, str],
    size: int,
) -> np.ndarray:
    """Each example's prediction by the solution without its fold."""
    logits = None
    for fold, state in enumerate(folds.states):
        rows = np.flatnonzero(folds.of == fold)
        part = {name: value[rows] for name, value in arrays.items()}
        own = predict(machine, state, part, size=size, inputs=inputs)
        logits = np.zeros((len(folds.of), *own.shape[1:]), own.dtype) if logits is None else logits
        logits[rows] = own
    assert logits is not None  # there are two folds or more
    return logits


def _score(
    prefix: str, logits: np.ndarray, arrays: Mapping[str, np.ndarray], targets: str, target: str
) -> dict[str, float]:
    labels = arrays[target]
    weight = arrays.get("weight", np.ones(len(labels)))
    if targets == "numbers":
        apart = logits - labels.reshape(logits.shape)
        found = {}
    else:
        ones = np.eye(logits.shape[-1])[labels]
        apart = logits - (2 * ones - 1 if targets == "plus-minus" else ones)
        wrong = logits.argmax(-1) != labels
        found = {f"{prefix}error": float(np.average(wrong, weights=weight))}
    squared = np.square(apart).sum(-1)
    return {f"{prefix}squared_error": float(np.average(squared, weights=weight)), **found}
