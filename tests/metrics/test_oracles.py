"""Against scikit-learn, with ties and sample weights, under Hypothesis."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn import metrics as sk
from sklearn.exceptions import UndefinedMetricWarning

from jaxmed import metrics

quick = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def labelled(draw, classes=(3, 4), tied=True):
    """Logits on a coarse grid (many ties), labels and weights; every class occurs."""
    k = draw(st.integers(*classes))
    n = draw(st.integers(k, 25))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(k), rng.integers(0, k, n - k)]
    x = rng.integers(-3, 4, (n, k)) * 0.5 if tied else rng.normal(size=(n, k))
    w = rng.integers(1, 4, n) * 0.5
    return x, y, w


def _mcc(y, predicted, w):
    """scikit-learn's, but undefined where truth or prediction is of one class."""
    if min(len(np.unique(y)), len(np.unique(predicted))) < 2:
        return np.nan
    return sk.matthews_corrcoef(y, predicted, sample_weight=w)


def _binary(case):
    x, y, w = case
    return x[:, 1] - x[:, 0], y, w


two = labelled(classes=(2, 2))


@quick
@given(case=labelled())
def test_labels_of_several_classes(case):
    x, y, w = case
    predicted, k = x.argmax(1), x.shape[1]
    expected = {
        "accuracy": sk.accuracy_score(y, predicted, sample_weight=w),
        "balanced": sk.balanced_accuracy_score(y, predicted, sample_weight=w),
        "mcc": _mcc(y, predicted, w),
        "kappa": sk.cohen_kappa_score(
            y, predicted, weights="quadratic", sample_weight=w, labels=range(k)
        ),
        "matrix": sk.confusion_matrix(y, predicted, sample_weight=w, labels=range(k)),
    }
    ours = {
        "accuracy": metrics.accuracy(),
        "balanced": metrics.balanced_accuracy(),
        "mcc": metrics.mcc(),
        "kappa": metrics.quadratic_kappa(),
        "matrix": metrics.confusion_matrix(),
    }
    for average in ("macro", "micro", "weighted", None):
        options = {"average": average, "sample_weight": w, "zero_division": 0.0}
        for name in ("precision", "recall", "f1"):
            oracle = getattr(sk, f"{name}_score")
            expected[f"{name}-{average}"] = oracle(y, predicted, **options)
            ours[f"{name}-{average}"] = getattr(metrics, name)(average=average)
    value = metrics.evaluate(metrics.collection(ours), x, y, weight=w)
    for name, want in expected.items():
        np.testing.assert_allclose(value[name], want, rtol=1e-9, atol=1e-12, err_msg=name)


@quick
@given(case=two)
def test_labels_of_two_classes(case):
    x, y, w = _binary(case)
    predicted = (x >= 0).astype(int)
    both = {"sample_weight": w, "zero_division": np.nan}
    expected = {
        "accuracy": sk.accuracy_score(y, predicted, sample_weight=w),
        "precision": sk.precision_score(y, predicted, **both),
        "recall": sk.recall_score(y, predicted, **both),
        "specificity": sk.recall_score(y, predicted, pos_label=0, **both),
        "f1": sk.f1_score(y, predicted, **both),
        "mcc": _mcc(y, predicted, w),
    }
    # One logit; the logits of both classes, whose tie is class 1 only by a threshold.
    for outputs, options in (
        ((x, x[:, None]), {}),
        ((case[0], np.stack([0 * x, x], 1)), {"threshold": 0.5}),
    ):
        ours = metrics.collection({n: getattr(metrics, n)(**options) for n in expected})
        for output in outputs:
            value = metrics.evaluate(ours, output, y, weight=w)
            np.testing.assert_allclose(list(value.values()), list(expected.values()), rtol=1e-9)
    first = metrics.evaluate(metrics.confusion_matrix(), case[0], y, weight=w)
    np.testing.assert_allclose(first, sk.confusion_matrix(y, case[0].argmax(1), sample_weight=w))
    both["zero_division"] = 0.0  # of a class among others
    assert metrics.evaluate(metrics.f1(average="macro"), x, y, weight=w) == pytest.approx(
        sk.f1_score(y, predicted, average="macro", **both)
    )


@quick
@given(case=two)
def test_scores_of_two_classes(case):
    x, y, w = _binary(case)
    p = special.expit(x)
    expected = {
        "auc": sk.roc_auc_score(y, x, sample_weight=w),
        "average_precision": sk.average_precision_score(y, x, sample_weight=w),
        "brier": sk.brier_score_loss(y, p, sample_weight=w),
        "log_loss": sk.log_loss(y, p, sample_weight=w),
    }
    logits = metrics.collection({n: getattr(metrics, n)() for n in expected})
    chances = metrics.collection({n: getattr(metrics, n)(activation=None) for n in expected})
    for ours, output in (
        (logits, x),
        (logits, case[0]),
        (chances, p),
        (chances, np.stack([1 - p, p], 1)),
    ):
        value = metrics.evaluate(ours, output, y, weight=w)
        np.testing.assert_allclose(list(value.values()), list(expected.values()), rtol=1e-9)


@quick
@given(case=labelled(tied=False))
def test_scores_of_several_classes(case):
    x, y, w = case
    p, k = special.softmax(x, 1), x.shape[1]
    bits = np.eye(k)[y]
    ovr = {"multi_class": "ovr", "sample_weight": w}
    expected = {
        ("auc", "macro"): sk.roc_auc_score(y, p, average="macro", **ovr),
        ("auc", "weighted"): sk.roc_auc_score(y, p, average="weighted", **ovr),
        ("auc", "micro"): sk.roc_auc_score(y, p, average="micro", **ovr),
        ("auc", None): [sk.roc_auc_score(bits[:, j], p[:, j], sample_weight=w) for j in range(k)],
        ("brier",): sk.brier_score_loss(y, p, sample_weight=w),
        ("log_loss",): sk.log_loss(y, p, sample_weight=w),
    }
    for average in ("macro", "weighted", "micro", None):
        expected["average_precision", average] = sk.average_precision_score(
            bits, p, average=average, sample_weight=w
        )
    for (name, *average), want in expected.items():
        options = {"average": average[0]} if average else {}
        for activation, output in (("auto", x), (None, p)):
            metric = getattr(metrics, name)(activation=activation, **options)
            value = metrics.evaluate(metric, output, y, weight=w)
            np.testing.assert_allclose(value, want, rtol=1e-7, err_msg=f"{name} {average}")


@quick
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(4, 20))
def test_several_tasks_with_missing_labels(seed, n):
    """Each task is scored on its known labels; a task of one class is left out of the mean."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-3, 4, (n, 3)) * 0.5, rng.integers(0, 2, (n, 3))
    known, w = rng.uniform(size=(n, 3)) < 0.8, rng.integers(1, 4, n) * 1.0
    rows = [known[:, t] for t in range(3)]
    assume(all(len(np.unique(y[r, t])) == 2 for t, r in enumerate(rows)))

    def each(oracle, transform=lambda v: v):
        return [oracle(y[r, t], transform(x[r, t]), sample_weight=w[r]) for t, r in enumerate(rows)]

    expected = {
        "auc": each(sk.roc_auc_score),
        "average_precision": each(sk.average_precision_score),
        "accuracy": each(sk.accuracy_score, lambda v: v >= 0),
        "balanced_accuracy": each(sk.balanced_accuracy_score, lambda v: v >= 0),
        "f1": each(sk.f1_score, lambda v: v >= 0),
        "brier": each(sk.brier_score_loss, special.expit),
        "log_loss": each(sk.log_loss, special.expit),
    }
    missing = np.where(known, y, -1)
    for name, want in expected.items():
        value = metrics.evaluate(getattr(metrics, name)(), x, missing, weight=w, where=known)
        assert value == pytest.approx(np.mean(want), rel=1e-9), name
    each_mcc = [_mcc(y[r, t], x[r, t] >= 0, w[r]) for t, r in enumerate(rows)]
    want = np.nanmean(each_mcc) if np.isfinite(each_mcc).any() else np.nan
    value = metrics.evaluate(metrics.mcc(), x, missing, weight=w, where=known)
    assert value == pytest.approx(want, rel=1e-9, nan_ok=True)


@quick
@given(case=labelled())
def test_ece_by_its_definition(case):
    """scikit-learn has none: bins counted one by one."""
    x, y, w = case
    p = special.softmax(x, 1)
    confidence, right = p.max(1), p.argmax(1) == y
    edges, total = np.linspace(0, 1, 11), 0.0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            v = w[inside]
            gap = np.average(confidence[inside], weights=v) - np.average(right[inside], weights=v)
            total += v.sum() / w.sum() * abs(gap)
    assert metrics.evaluate(metrics.ece(bins=10), x, y, weight=w) == pytest.approx(total, abs=1e-9)


@quick
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(3, 20))
def test_regression(seed, n):
    rng = np.random.default_rng(seed)
    x, y, w = rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) + 1e4, rng.integers(1, 4, n)
    for name, oracle in (
        ("mse", sk.mean_squared_error),
        ("mae", sk.mean_absolute_error),
        ("r2", sk.r2_score),
    ):
        metric = getattr(metrics, name)()
        value = metrics.evaluate(metric, x, y, weight=w)
        assert value == pytest.approx(oracle(y, x, sample_weight=w), rel=1e-9)
        halves = [metric.from_batch(x[s], y[s], weight=w[s]) for s in (slice(2), slice(2, None))]
        assert metric.compute(metric.merge(*halves)) == pytest.approx(value, rel=1e-9)


def test_absent_classes_follow_scikit_learn_for_labels():
    """A class in neither truth nor prediction is no part of a macro mean."""
    x, y = np.eye(5)[[0, 1, 1, 2]], np.array([0, 1, 2, 2])
    for name in ("precision", "recall", "f1"):
        oracle = getattr(sk, f"{name}_score")(y, x.argmax(1), average="macro")
        assert metrics.evaluate(getattr(metrics, name)(), x, y) == pytest.approx(oracle)
    per_class = metrics.evaluate(metrics.f1(average=None), x, y)
    assert np.isnan(per_class).tolist() == [False, False, False, True, True]


def test_one_class_only_is_nan_with_a_warning_that_names_it():
    x, y = np.eye(3)[[0, 1, 1, 0]], np.array([0, 1, 0, 1])
    with pytest.warns(metrics.UndefinedMetricWarning, match="auc of class or task 2 is undefined"):
        value = metrics.evaluate(metrics.auc(), x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        assert value == pytest.approx(
            np.mean([sk.roc_auc_score(y == k, special.softmax(x, 1)[:, k]) for k in (0, 1)])
        )
    with pytest.warns(metrics.UndefinedMetricWarning, match="auc is undefined"):
        assert np.isnan(metrics.evaluate(metrics.auc(), [0.1, 0.2], [1, 1]))
    assert metrics.evaluate(metrics.average_precision(), [0.1, 0.2], [1, 1]) == 1


def test_confident_logits_do_not_tie():
    """Softmax saturates at 1 in floating point; the order of the logits does not."""
    x = np.array([[60.0, 0, 0], [50.0, 0, 0], [55.0, 0, 0], [45.0, 0, 0]])
    y = np.array([0, 1, 0, 2])
    value = metrics.evaluate(metrics.auc(average=None), x, y)
    assert value[0] == 1
    assert metrics.evaluate(metrics.auc(), [50.0, 60.0, 70.0], [0, 1, 1]) == 1


def test_log_loss_of_confident_errors_is_exact_from_logits():
    assert metrics.evaluate(metrics.log_loss(), [-1000.0], [1]) == 1000
    assert metrics.evaluate(metrics.log_loss(), [[1000.0, 0, 0]], [1]) == 1000
    raised = metrics.evaluate(metrics.log_loss(activation=None), [0.0], [1])
    assert raised == pytest.approx(-np.log(1e-12))
