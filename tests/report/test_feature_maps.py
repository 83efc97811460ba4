"""Maps of a network's features in a classification's report."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import report
from jaxmed.report.page._features import feature_exhibits

RNG = np.random.default_rng(0)
LABELS = np.arange(60) % 3
FEATURES = RNG.normal(size=(60, 5)) + 6 * np.eye(5)[LABELS]
IMAGES = RNG.random((60, 6, 6, 1))
SCORES = np.eye(3)[LABELS] * 0.7 + 0.1


@pytest.fixture(scope="module")
def maps():
    return report.feature_maps(FEATURES, images=IMAGES, most=40, k=5)


def test_the_page_shows_them_by_true_class(maps):
    assert [m.name for m in maps.maps] == ["Principal components", "Random projection", "t-SNE"]
    assert len(set(maps.rows)) == len(maps.rows) == 40
    assert all(len(m.places) == 40 for m in maps.maps)
    for row, image in zip(maps.rows, maps.images, strict=True):
        np.testing.assert_array_equal(image, IMAGES[row])
    results = report.classification(LABELS, SCORES, classes=("a", "b", "c"))
    assert feature_exhibits(results) == []
    shown = results.replace(maps=maps)
    page = report.html(shown)
    assert ">Features<" in page
    assert "Maps of features, 40 of 60 cases, by their true class." in page
    trust = maps.maps[2].trust
    assert f"t-SNE: trustworthiness {trust.value:.3f}" in page
    assert "means nothing, and noise may look like clusters" in page
    # Classes that lie apart in the features lie apart in components.
    places, labels = maps.maps[0].places, LABELS[maps.rows]
    middles = np.stack([places[labels == i].mean(0) for i in range(3)])
    nearest = ((places[:, None] - middles) ** 2).sum(-1).argmin(1)
    assert (nearest == labels).mean() > 0.9


def test_cases_of_several_labels_have_no_colours(maps):
    several = np.stack([LABELS == 0, LABELS > 1], 1).astype(int)
    results = report.classification(several, RNG.random((60, 2)), classes=("a", "b"))
    (drawn,) = feature_exhibits(results.replace(maps=maps._replace(images=None)))
    assert "by their true class" not in drawn["caption"]


def test_places_among_the_results_are_kept():
    rows = np.arange(60) + 100
    groups = [f"p{i // 2}" for i in range(60)]
    found = report.feature_maps(FEATURES, rows=rows, groups=groups, most=30, k=5)
    assert found is not None
    assert set(found.rows) <= set(rows)
    assert found.maps[0].trust.unit == "patient"


def test_too_few_cases_and_dead_units_have_none():
    assert report.feature_maps(FEATURES[:49]) is None
    assert report.feature_maps(np.ones((60, 5)) * LABELS[:, None]) is None
    with pytest.raises(ValueError, match="features holds 1 value"):
        report.feature_maps(np.where(np.arange(300).reshape(60, 5) == 7, np.nan, FEATURES))
    with pytest.raises(ValueError, match="lengths differ"):
        report.feature_maps(FEATURES, images=IMAGES[:5])
