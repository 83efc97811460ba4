"""What the docstrings say of coverage and size, recomputed (slow tier; exact parts by default)."""

from __future__ import annotations

import coverage_metrics as more
import coverage_study as study
import pytest


def test_exact_coverage_of_proportions() -> None:
    # Wald fails near 1; the exact interval never does; Wilson is near its level.
    assert study.proportion_coverage("wald", 20, 0.98) < 0.4
    for n, p in ((10, 0.8), (20, 0.95)):
        assert study.proportion_coverage("clopper-pearson", n, p) >= 0.95
        assert study.proportion_coverage("blaker", n, p) >= 0.95
        assert study.proportion_coverage("wilson", n, p) > 0.89


def test_exact_size_of_mcnemar() -> None:
    assert study.mcnemar_size("exact", 25, 0.3) <= 0.05
    assert study.mcnemar_size("exact", 25, 0.3) < study.mcnemar_size("mid-p", 25, 0.3) <= 0.06


@pytest.mark.slow
def test_auc_intervals() -> None:
    c = study.auc_coverage(0.95, 10, 20, studies=1500)
    assert c["delong"] < 0.90
    assert c["logit-delong"] > 0.92
    assert c["newcombe"] > 0.92


@pytest.mark.slow
def test_fold_tests() -> None:
    c = study.fold_test_size(repeats=10, studies=150)
    assert c["paired t"] > 0.3
    assert c["corrected t"] < 0.15


@pytest.mark.slow
def test_delong_size() -> None:
    assert 0.03 < study.delong_size(50, 50, 0.8, studies=8000) < 0.065


@pytest.mark.slow
def test_metrics_of_two_classes() -> None:
    c = more.metric_coverage(200, 0.3, studies=200)
    assert {name: v for name, v in c.items() if v < 0.9} == {}


@pytest.mark.slow
def test_rows_that_share_patients_need_groups() -> None:
    for name, (alone, grouped) in more.clustered_coverage(studies=150).items():
        assert alone < 0.88, name
        assert grouped > 0.89, name


@pytest.mark.slow
def test_further_tests_keep_their_size() -> None:
    for name, size in more.sizes_of_tests(studies=150).items():
        assert size < 0.11, name
