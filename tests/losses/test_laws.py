"""The laws every loss keeps, crossed with a registry: a new loss is covered by adding one line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import losses

BATCH, CLASSES = 4, 3


class Entry(NamedTuple):
    loss: Callable
    kind: str  # of the targets: label, soft, bits, grade, value or survival
    spatial: tuple[int, ...] = (4, 6)
    channels: int = CLASSES
    per_example: bool = True  # False: examples share sums, as in the batch Dice
    extreme: float = 1e30
    local: bool = False  # True: a voxel's loss is one of its surroundings


def _both_ranks(name: str, loss: Callable, kind: str, **options) -> dict[str, Entry]:
    return {
        f"{name}-2d": Entry(loss, kind, (4, 6), **options),
        f"{name}-3d": Entry(loss, kind, (3, 4, 2), **options),
    }


ce_weighted = partial(
    losses.cross_entropy, class_weights=jnp.array([0.5, 1.0, 2.0]), label_smoothing=0.1
)
bce = partial(losses.binary_cross_entropy, pos_weight=2.0)
sigmoid_focal = partial(losses.focal, activation="sigmoid", alpha=0.25)
region_dice = partial(losses.dice, activation="sigmoid")

turned = partial(
    losses.forward_corrected,
    transition=jnp.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.0, 0.3, 0.7]]),
)
adjusted = partial(losses.logit_adjusted, prior=jnp.array([0.6, 0.3, 0.1]))


def boxes(outputs, targets, *, where=None):
    """Known or not box by box, and not coordinate by coordinate."""
    if where is not None and where.ndim == 3:
        where = where[..., 0]
    return losses.generalised_iou(outputs, targets, where=where)


REGISTRY: dict[str, Entry] = {
    "generalised_cross_entropy-class": Entry(losses.generalised_cross_entropy, "label", ()),
    "generalised_cross_entropy-soft": Entry(losses.generalised_cross_entropy, "soft"),
    "symmetric_cross_entropy-2d": Entry(losses.symmetric_cross_entropy, "label"),
    "symmetric_cross_entropy-soft": Entry(losses.symmetric_cross_entropy, "soft", ()),
    "forward_corrected-2d": Entry(turned, "label"),
    "logit_adjusted-class": Entry(adjusted, "soft", ()),
    "ldam-2d": Entry(partial(losses.ldam, counts=jnp.array([90, 9, 1])), "label"),
    "cross_entropy-class": Entry(losses.cross_entropy, "label", ()),
    "cross_entropy-many": Entry(losses.cross_entropy, "label", (), channels=20),
    "cross_entropy-soft": Entry(ce_weighted, "soft", ()),
    "focal-class": Entry(losses.focal, "label", ()),
    "bce-tasks": Entry(bce, "bits", ()),
    "ordinal-class": Entry(losses.ordinal, "grade", ()),
    "discrete_hazard-survival": Entry(
        partial(losses.discrete_hazard, edges=(0.5, 1.0, 2.0)), "survival", ()
    ),
    "cox-survival": Entry(losses.cox, "survival", (), channels=1, per_example=False),
    "mse-value": Entry(losses.mse, "value", (), extreme=1e4),
    "huber-value": Entry(losses.huber, "value", ()),
    "dice-many": Entry(losses.dice, "label", channels=20),
    "focal-soft": Entry(partial(losses.focal, gamma=1.5), "soft"),
    **_both_ranks("cross_entropy", ce_weighted, "label"),
    **_both_ranks("focal", losses.focal, "label"),
    **_both_ranks("sigmoid_focal", sigmoid_focal, "bits"),
    **_both_ranks("bce", bce, "bits"),
    **_both_ranks("ordinal", losses.ordinal, "grade"),
    **_both_ranks("mse", losses.mse, "value", extreme=1e4),
    **_both_ranks("mae", losses.mae, "value"),
    **_both_ranks("huber", losses.huber, "value"),
    **_both_ranks("dice", losses.dice, "label"),
    **_both_ranks("region_dice", region_dice, "bits"),
    **_both_ranks("batch_dice", partial(losses.dice, over="batch"), "label", per_example=False),
    **_both_ranks("generalized_dice", losses.generalized_dice, "label"),
    **_both_ranks("tversky", losses.tversky, "label"),
    **_both_ranks("focal_tversky", losses.focal_tversky, "label"),
    **_both_ranks("dice_ce", losses.dice_ce, "label"),
    "generalised_iou-boxes": Entry(boxes, "value", (4,), channels=4, extreme=1e15),
    **_both_ranks("ncc", losses.ncc, "value", extreme=1e4),
    **_both_ranks("lncc", partial(losses.lncc, window=3), "value", extreme=1e4, local=True),
    "ssim-2d": Entry(
        partial(losses.ssim, data_range=2.0), "value", (12, 11), extreme=1e4, local=True
    ),
    "ssim-3d": Entry(
        partial(losses.ssim, data_range=2.0), "value", (11, 12, 11), 1, extreme=1e4, local=True
    ),
    "mutual_information-2d": Entry(losses.mutual_information, "value", extreme=1e4),
    "mind-2d": Entry(losses.mind, "value", extreme=1e4, local=True),
    **_both_ranks("deep_supervision", losses.deep_supervision(losses.dice_ce), "label"),
}


def _data(entry: Entry) -> tuple[np.ndarray, np.ndarray]:
    """On the host, where changing an entry compiles nothing."""
    rng = np.random.default_rng(7)
    shape = (BATCH, *entry.spatial)
    outputs = rng.normal(size=(*shape, entry.channels)).astype(np.float32)
    targets = {
        "label": lambda: rng.integers(0, entry.channels, shape),
        "soft": lambda: rng.dirichlet(np.ones(entry.channels), shape),
        "bits": lambda: rng.integers(0, 2, outputs.shape),
        "grade": lambda: rng.integers(0, entry.channels + 1, shape),
        "value": lambda: rng.normal(size=outputs.shape),
        "survival": lambda: np.array([[0.7, 1], [0.7, 1], [1.6, 0], [0.2, 1]]),
    }[entry.kind]()
    return outputs, targets.astype(np.int32 if targets.dtype.kind == "i" else np.float32)


def _with(array: np.ndarray, at, value) -> np.ndarray:
    changed = array.copy()
    changed[at] = value
    return changed


_COMPILED: dict[str, Callable] = {}


def _value_and_gradient(name: str) -> Callable:
    """One compiled program per entry, shared by the laws: (outputs, targets, where) -> v, grad."""
    loss = REGISTRY[name].loss

    def total(outputs, targets, where):
        values = loss(outputs, targets, where=where)
        return values.sum(), values

    if name not in _COMPILED:
        _COMPILED[name] = jax.jit(jax.value_and_grad(total, has_aux=True))

    def call(outputs, targets, where):
        entry = REGISTRY[name]
        shape = targets.shape if entry.kind in ("bits", "value") else (BATCH, *entry.spatial)
        where = where.reshape(where.shape + (1,) * (len(shape) - where.ndim))
        where = np.broadcast_to(where.astype(np.float32), shape)
        (_, values), gradient = _COMPILED[name](outputs, targets, where)
        return values, gradient

    return call


every = pytest.mark.parametrize("name", list(REGISTRY))
# What does not depend on rank is shown without the 3D entries: compiling dominates.
some = pytest.mark.parametrize("name", [n for n in REGISTRY if not n.endswith("3d")])
independent = pytest.mark.parametrize(
    "name", [n for n, e in REGISTRY.items() if e.per_example and not n.endswith("3d")]
)
labelled = pytest.mark.parametrize(
    "name", [n for n, e in REGISTRY.items() if e.kind in ("label", "grade", "bits")]
)
spatial = pytest.mark.parametrize(
    "name",
    [n for n, e in REGISTRY.items() if e.spatial and not e.local and not n.endswith("3d")],
)


# Eager operations compile one by one: by default one entry of each loss is also run so.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n.endswith(("2d", "soft")) else pytest.mark.slow)
        for n in REGISTRY
        if not n.endswith("3d")
    ],
)
def test_jit_equals_eager_one_value_per_example_in_float32(name):
    entry = REGISTRY[name]
    outputs, targets = _data(entry)
    eager = entry.loss(jnp.asarray(outputs), jnp.asarray(targets))
    compiled, gradient = _value_and_gradient(name)(outputs, targets, np.ones(BATCH))
    assert eager.shape == (BATCH,)
    assert eager.dtype == jnp.float32
    assert np.abs(gradient).max() > 0
    np.testing.assert_allclose(compiled, eager, rtol=2e-5, atol=1e-6)


@every
def test_extreme_outputs_have_finite_values_and_gradients(name):
    entry = REGISTRY[name]
    outputs, targets = _data(entry)
    for scale in (entry.extreme, 0.0):
        values, gradient = _value_and_gradient(name)(
            outputs * np.float32(scale), targets, np.ones(BATCH)
        )
        assert np.isfinite(values).all(), scale
        assert np.isfinite(gradient).all(), scale


@every
def test_padding_rows_have_no_effect_whatever_they_hold(name):
    """Rows of NaN, with labels outside the classes, masked by where."""
    entry = REGISTRY[name]
    outputs, targets = _data(entry)
    call = _value_and_gradient(name)
    rows = np.array([0, 1, 0, 0])
    mask = np.array([1.0, 1, 0, 0])
    dirty = _with(outputs, slice(2, None), np.nan)
    labels = _with(targets, slice(2, None), -1 if targets.dtype == np.int32 else np.nan)
    values, gradient = call(dirty, labels, mask)
    clean, clean_gradient = call(outputs[rows], targets[rows], mask)
    np.testing.assert_array_equal(values, clean)
    np.testing.assert_array_equal(gradient, clean_gradient)
    np.testing.assert_array_equal(values[2:], 0)
    np.testing.assert_array_equal(gradient[2:], 0)
    if entry.per_example:
        whole, _ = call(outputs, targets, np.ones(BATCH))
        np.testing.assert_array_equal(values[:2], whole[:2])


@every
def test_all_missing_is_zero_with_zero_gradient(name):
    outputs, targets = _data(REGISTRY[name])
    values, gradient = _value_and_gradient(name)(outputs, targets, np.zeros(BATCH))
    np.testing.assert_array_equal(values, 0)
    np.testing.assert_array_equal(gradient, 0)


@independent
def test_vmap_over_examples_is_the_batch(name):
    entry = REGISTRY[name]
    outputs, targets = _data(entry)
    one_by_one = jax.jit(jax.vmap(lambda x, y: entry.loss(x[None], y[None])[0]))(outputs, targets)
    whole, _ = _value_and_gradient(name)(outputs, targets, np.ones(BATCH))
    np.testing.assert_allclose(one_by_one, whole, rtol=2e-5, atol=1e-6)


@some
def test_bfloat16_outputs_are_computed_in_float32(name):
    entry = REGISTRY[name]
    outputs, targets = _data(entry)
    half = outputs.astype(jnp.bfloat16)
    values = jax.jit(entry.loss)(half, targets)
    assert values.dtype == jnp.float32
    whole, _ = _value_and_gradient(name)(half.astype(jnp.float32), targets, np.ones(BATCH))
    np.testing.assert_allclose(values, whole, rtol=2e-5, atol=1e-6)


@labelled
def test_label_outside_the_classes_shows(name):
    entry = REGISTRY[name]
    outputs, targets = _data(entry)
    for wrong in (-1, 50):
        targets = _with(targets, (0,) * targets.ndim, wrong)
        values, _ = _value_and_gradient(name)(outputs, targets, np.ones(BATCH))
        assert np.isnan(values[0])


@spatial
def test_masking_single_labels_is_leaving_them_out(name):
    """A masked half that holds garbage gives what a copy of the known half gives."""
    entry = REGISTRY[name]
    outputs, targets = _data(entry)
    outputs = np.concatenate([outputs[:, :2], outputs[:, :2]], axis=1)
    targets = np.concatenate([targets[:, :2], targets[:, :2]], axis=1)
    known, unknown = np.s_[:, :2], np.s_[:, 2:]
    half = _with(np.zeros((BATCH, *entry.spatial)), known, 1)
    dirty = _with(targets, unknown, -1 if targets.dtype == np.int32 else np.nan)
    masked, _ = _value_and_gradient(name)(_with(outputs, unknown, np.nan), dirty, half)
    whole, _ = _value_and_gradient(name)(outputs, targets, np.ones(BATCH))
    np.testing.assert_allclose(masked, whole, rtol=2e-5, atol=2e-6)
