"""The figure of projections, and a first look at features."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxmed import report
from jaxmed import unsupervised as un

RNG = np.random.default_rng(0)
LABELS = np.arange(40) % 2
X = RNG.normal(size=(40, 6)) + 8 * LABELS[:, None]
IMAGES = RNG.random((40, 5, 7, 1))


@pytest.fixture(scope="module")
def maps():
    return report.projections(X, k=5)


def test_every_map_has_its_trust_and_t_sne_its_line(maps):
    assert [m.name for m in maps] == ["Principal components", "Random projection", "t-SNE"]
    for m in maps:
        expected = un.trustworthiness(X.astype(np.float32), m.places, k=5)
        assert m.trust == expected
    shares = un.pca(X, 2).explained
    assert maps[0].axes[0] == f"component 1 ({shares[0]:.0%})"
    assert [bool(m.note) for m in maps] == [False, False, True]


def test_the_figure_shows_classes_images_and_numbers(maps):
    figure = report.projection_figure(None, LABELS, maps=maps, classes=("a", "b"), images=IMAGES)
    top, below = figure.axes[:3], figure.axes[3:]
    for axes, m in zip(top, maps, strict=True):
        assert f"{m.trust.value:.3f} ({m.trust.lower:.3f} to {m.trust.upper:.3f})" in (
            axes.get_title(loc="left")
        )
        drawn = axes.collections
        assert [len(part.get_offsets()) for part in drawn] == [20, 20]
        colours = {tuple(part.get_facecolor()[0]) for part in drawn}
        shapes = {part.get_paths()[0].vertices.shape for part in drawn}
        assert len(colours) == len(shapes) == 2  # colour and marker
    assert all(len(axes.artists) > 3 for axes in below)
    assert report.NOT_MEANT in figure.get_supxlabel()
    assert [text.get_text() for text in figure.legends[0].texts] == ["a", "b"]


def test_more_classes_than_colours_differ_by_marker():
    many = np.arange(40) % 20
    drawn = report.Projection("map", X[:, :2])
    figure = report.projection_figure(None, many, maps=[drawn])
    seen = {
        (tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes())
        for c in figure.axes[0].collections
    }
    assert len(seen) == 20


def test_what_the_figure_refuses(maps):
    with pytest.raises(ValueError, match="give x, or maps"):
        report.projection_figure(None)
    with pytest.raises(ValueError, match="labels must be 0 to 0"):
        report.projection_figure(None, LABELS, maps=maps, classes=("a",))
    with pytest.raises(ValueError, match="lengths differ"):
        report.projection_figure(None, LABELS[:-1], maps=maps)
    with pytest.raises(ValueError, match="less than half of 8 rows"):
        report.projections(X[:8], k=4)


def test_exploring_finds_copies_across_splits_first_and_the_odd_row():
    x = X.copy()
    x[7] = x[6] + 1e-5  # in one split
    x[9] = x[8] + 1e-3  # across
    x[3] = 60
    splits = np.where(np.arange(40) == 9, "test", "train")
    found = un.explore(jax.random.key(0), x, LABELS, splits=splits, ks=(2, 3), k=5)
    assert [(p.first, p.second, p.across) for p in found.pairs] == [(8, 9, True), (6, 7, False)]
    assert found.pairs[0].distance == pytest.approx(np.sqrt(6) * 1e-3, rel=1e-3)
    assert found.outliers[0] == 3
    groups = np.arange(40)
    groups[7] = 6
    alone = un.explore(jax.random.key(0), x, LABELS, splits=splits, groups=groups, ks=(2, 3), k=5)
    assert [(p.first, p.second) for p in alone.pairs] == [(8, 9)]
    assert set(found.agreement) == {"adjusted Rand index", "normalised mutual information"}
    with pytest.raises(ValueError, match="lengths differ"):
        un.explore(jax.random.key(0), x, LABELS[:5])
