"""Deep stacking: each module is a closed form, and folds are what they say."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed.core import stream
from jaxmed.inference import describe
from jaxmed.networks import StackingModule, random_convolutions
from jaxmed.paradigms import closed_form
from jaxmed.protocols import Tuning, class_differences, deep_stacking

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(48, 4, 4, 1)).astype(np.float32)
LABEL = (IMAGE[:, 0, 0, 0] * IMAGE[:, 1, 1, 0] > 0).astype(np.int32) + (IMAGE[:, 2, 2, 0] > 1)
DATA = {"image": IMAGE, "label": LABEL.astype(np.int32)}
KEY = jax.random.key(0)


def module(units=6, **options):
    return jm.from_linen(StackingModule(units, spread=1.0, **options))


def test_one_module_is_the_closed_form():
    part = module()
    stack = deep_stacking(KEY, DATA, [part], classes=3, ridge=0.1, size=20)
    first = {"image": IMAGE[:2], "below": np.zeros((2, 0), np.float32)}
    drawn = part.init(stream(KEY, "module", 1, "weights"), first)
    machine = closed_form(
        part._replace(init=lambda key, given: drawn), ridge=0.1, classes=3, standardise=False,
        inputs=("image", "below"),
    )  # fmt: skip
    batch = {**DATA, "below": np.zeros((48, 0), np.float32)}
    state, _ = machine.step(machine.init(KEY, batch), batch)
    given = {name: batch[name] for name in ("image", "below")}
    expected = machine.predict(state, given)["logits"]
    found = stack.network.apply(*stack.variables, IMAGE)[0]
    np.testing.assert_allclose(found["logits"], expected, atol=1e-4)
    squared = np.square(expected - np.eye(3)[LABEL]).sum(-1).mean()
    assert stack.scores[0]["train/squared_error"] == pytest.approx(squared, rel=1e-3)
    wrong = np.asarray(expected).argmax(-1) != LABEL
    assert stack.scores[0]["train/error"] == pytest.approx(wrong.mean())


@pytest.mark.slow
def test_the_error_on_training_examples_does_not_rise_with_depth():
    """For a module can pass on what is below, where nothing is lost to the ridge."""
    stack = deep_stacking(
        KEY, DATA, [module() for _ in range(3)], classes=3, ridge=1e-4, validation=DATA
    )
    errors = [score["train/squared_error"] for score in stack.scores]
    assert errors[0] > errors[1] + 0.01 > errors[2] + 0.01
    assert errors == pytest.approx([s["validation/squared_error"] for s in stack.scores], rel=1e-4)
    found = stack.network.apply(*stack.variables, IMAGE)[0]
    for logits, error in zip(found["modules"], errors, strict=True):
        own = np.square(logits - np.eye(3)[LABEL]).sum(-1).mean()
        assert own == pytest.approx(error, rel=1e-3)
    assert describe(stack.network)["call"] == "jaxmed.paradigms.stacked"


def test_what_is_passed_up_out_of_fold_is_predicted_without_the_fold():
    part = module(skip=False)
    stack = deep_stacking(
        KEY, DATA, [part, part], classes=3, ridge=0.1, passed="out-of-fold", folds=4, sees="last"
    )
    plain = deep_stacking(KEY, DATA, [part], classes=3, ridge=0.1)
    assert stack.scores[0]["train/squared_error"] == pytest.approx(
        plain.scores[0]["train/squared_error"], rel=1e-4
    )
    params = stack.variables.params["module1"]["trunk"]
    given = {"image": IMAGE, "below": np.zeros((48, 0), np.float32)}
    h = np.asarray(part.apply(params, {}, given)[0]["features"], float)
    of = np.zeros(48, int)
    order = np.asarray(jax.random.permutation(stream(KEY, "module", 1, "folds"), 48))
    of[order] = np.arange(48) % 4
    y, passed = np.eye(3)[LABEL], np.zeros((48, 3))
    for fold in range(4):
        train = of != fold
        mean_h, mean_y = h[train].mean(0), y[train].mean(0)
        rows = np.concatenate([h[train] - mean_h, np.sqrt(0.1) * np.eye(h.shape[1])])
        targets = np.concatenate([y[train] - mean_y, np.zeros((h.shape[1], 3))])
        kernel = np.linalg.lstsq(rows, targets, rcond=None)[0]
        passed[~train] = (h[~train] - mean_h) @ kernel + mean_y
    squared = np.square(passed - y).sum(-1).mean()
    assert stack.scores[0]["passed/squared_error"] == pytest.approx(squared, rel=1e-3)
    assert squared > stack.scores[0]["train/squared_error"]


def test_hidden_weights_begin_as_told_and_are_tuned():
    seen = []

    def start(key, params, inputs):
        seen.append({name: value.shape for name, value in inputs.items()})
        return {**params, "bias": 0 * params["bias"]}

    parts = [module(), module()]
    begun = deep_stacking(KEY, DATA, parts, classes=3, ridge=0.1, start=start)
    assert seen == [
        {"image": (48, 4, 4, 1), "label": (48,), "below": (48, below)} for below in (0, 3)
    ]
    assert not begun.variables.params["module1"]["trunk"]["bias"].any()
    tuning = Tuning(15, optax.adam(0.05), 48)
    drawn = deep_stacking(KEY, DATA, parts[:1], classes=3, ridge=0.1)
    tuned = deep_stacking(KEY, DATA, parts[:1], classes=3, ridge=0.1, tuning=tuning)
    errors = [s.scores[0]["train/squared_error"] for s in (drawn, tuned)]
    assert errors[1] < 0.9 * errors[0]
    with pytest.raises(ValueError, match="start must give parameters of the shapes"):
        deep_stacking(KEY, DATA, parts, classes=3, start=lambda key, params, inputs: {})


@pytest.mark.slow
def test_modules_may_be_convolutional_and_predict_numbers():
    trunk = random_convolutions(maps=(3,), kernel=3, window=2)
    value = (IMAGE[:, 0, 0, 0] * IMAGE[:, 1, 1, 0]).astype(np.float32)
    stack = deep_stacking(
        KEY, {"image": IMAGE, "value": value}, [module(trunk=trunk)] * 2, targets="numbers",
        target="value", ridge="gcv",
    )  # fmt: skip
    found = stack.network.apply(*stack.variables, IMAGE)[0]["logits"]
    error = np.square(np.asarray(found)[:, 0] - value).mean()
    assert stack.scores[-1]["train/squared_error"] == pytest.approx(error, rel=1e-3)
    assert error < value.var()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modules": []}, "at least one module"),
        ({"passed": "all"}, "passed must be"),
        ({"sees": "some"}, "sees must be"),
        ({"passed": "out-of-fold", "folds": 1}, "folds must be 2 to the number"),
        ({"tuning": Tuning(1, optax.sgd(0.1), 8)}, "tuning needs a ridge that is a number"),
        ({"ridge": -1.0}, "ridge must be positive"),
        ({"data": {**DATA, "image": 0 * IMAGE}}, "all units are dead"),
        ({"data": {**DATA, "image": IMAGE * np.nan}}, "the sums are not finite"),
    ],
)
def test_what_cannot_be_stacked_is_refused(options, message):
    given = {"data": DATA, "modules": [module(skip=False)], "classes": 3, **options}
    with pytest.raises(ValueError, match=message):
        deep_stacking(KEY, **given)
    with pytest.raises(KeyError, match="no \\['label'\\]"):
        deep_stacking(KEY, {"image": IMAGE}, [module()], classes=3)


@pytest.mark.parametrize("shape", [(6, 5, 2), (4, 3, 5, 1)])
def test_differences_of_classes_are_seen_through_windows(shape):
    """Pixels of class c are all c + 1, so a unit shows which classes it lies between, and where."""
    label = np.asarray([0, 0, 0, 1, 2, 2, 3])
    image = np.ones((7, *shape), np.float32) * (label + 1).reshape(-1, *[1] * len(shape))
    given = {"image": image, "label": label, "weight": np.asarray([1, 1, 1, 1, 1, 1, 0.0])}
    pixels = int(np.prod(shape))
    params = {"kernel": np.zeros((pixels, 300)), "bias": np.arange(300.0)}
    made = class_differences()(KEY, params, given)
    np.testing.assert_array_equal(made["bias"], params["bias"])
    np.testing.assert_allclose(np.linalg.norm(made["kernel"], axis=0), 1, atol=1e-6)
    units = made["kernel"].T.reshape(300, *shape)
    seen = units != 0
    for axis in range(1, len(shape)):  # boxes: what is seen along an axis is an interval of it
        along = seen.any(axis=tuple(i for i in range(1, len(shape) + 1) if i != axis))
        assert (np.abs(np.diff(along.astype(int), axis=1)).sum(1) <= 2).all()
        assert (along.sum(1) >= shape[axis - 1] * (1 / 16) ** (1 / (len(shape) - 1))).all()
    box = np.ones((300, *shape), bool)
    for axis in range(1, len(shape)):
        keep = tuple(i for i in range(1, len(shape) + 1) if i != axis)
        box &= seen.any(axis=keep, keepdims=True)
    np.testing.assert_array_equal(seen, box)
    whole = class_differences(window=1)(KEY, params, given)["kernel"]
    assert (whole != 0).all()
    # Of 3, 1, 2 examples, by pairs of classes: 3, 6, 2 of 11 pairs; either sign alike.
    assert 0.35 < (whole[0] > 0).mean() < 0.65


def test_pairs_of_classes_are_as_probable_as_their_examples():
    label = np.repeat([0, 1, 2], [3, 1, 2])
    image = np.asarray([[1.0, 0, 0]] * 3 + [[0, 1.0, 0]] + [[0, 0, 1.0]] * 2)[:, None]
    params = {"kernel": np.zeros((3, 4000))}
    made = class_differences(window=1)(KEY, params, {"image": image, "label": label})["kernel"]
    between = np.stack([(made[[a, b]] != 0).all(0).mean() for a, b in ((0, 1), (0, 2), (1, 2))])
    np.testing.assert_allclose(between, np.asarray([3, 6, 2]) / 11, atol=0.03)
    np.testing.assert_allclose((made > 0).sum(0), 1)


def test_a_stack_begins_with_differences():
    stack = deep_stacking(KEY, DATA, [module(40)], classes=3, ridge=0.1, start=class_differences())
    kernel = np.asarray(stack.variables.params["module1"]["trunk"]["kernel"])
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": np.zeros(48, int)}, "two classes"),
        ({"label": LABEL + 0.5}, "whole number"),
        ({"image": IMAGE[:, :2]}, "trunk"),
    ],
)
def test_what_has_no_differences_is_refused(change, message):
    params = {"kernel": np.zeros((16, 3))}
    with pytest.raises(ValueError, match=message):
        class_differences()(KEY, params, {**DATA, **change})


def test_options_of_differences_are_checked():
    with pytest.raises(ValueError, match="window"):
        class_differences(window=0)
    with pytest.raises(KeyError, match="grade"):
        class_differences(target="grade")(KEY, {"kernel": np.zeros((16, 3))}, DATA)
