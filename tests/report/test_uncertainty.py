"""The report's uncertainty section, and its figures."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import report

RNG = np.random.default_rng(0)


def test_the_section_shows_what_was_given():
    samples = RNG.dirichlet([1, 1, 1], (4, 30))
    labels = RNG.integers(0, 3, 30)
    sets = RNG.random((30, 3)) < 0.7
    case = report.UncertainCase("p7", np.ones((8, 8)), RNG.dirichlet([1, 1, 1, 1], (3, 8, 8)))
    given = report.Uncertainty(samples, sets, 0.9, (case,), "an ensemble")
    results = report.classification(
        labels, samples.mean(0), classes=["a", "b", "c"], uncertainty=given
    )
    page = report.html(results)
    assert 'id="uncertainty"' in page
    for text in ("Risk and coverage", "Mutual information (nats)", "asked 90%", "p7"):
        assert text in page
    assert 'id="uncertainty"' not in report.html(results.replace(uncertainty=None))


def test_a_map_must_fit_its_image():
    with pytest.raises(ValueError, match=r"samples, 8, 8, classes"):
        report.uncertainty_map_figure(np.ones((8, 8)), np.ones((2, 4, 4, 2)) / 2)
    truth = np.zeros((8, 8), int)
    truth[2:5] = 1
    figure = report.uncertainty_map_figure(
        RNG.random((8, 8)), np.eye(2)[np.stack([truth, truth])], truth=truth
    )
    assert len(figure.axes) == 5
    grey = report.uncertainty_map_figure(RNG.random((8, 8, 1)), np.eye(2)[np.stack([truth, truth])])
    assert grey.axes[0].images[0].get_array().shape == (8, 8, 3)


def test_a_curve_of_any_loss():
    axes = report.risk_coverage_figure(RNG.random(40), RNG.random(40), unit="1 - Dice").axes[0]
    assert axes.get_ylabel() == "1 - Dice among these"
