"""Figures and pages of images that were drawn, or made of others."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import stats
from jaxmed.report import (
    GenerationResults,
    TranslatedCase,
    TranslationResults,
    beside_figure,
    copies_figure,
    html,
    translation_figure,
)
from jaxmed.stats import Estimate


def estimate(value):
    return Estimate(value, value - 0.1, value + 0.1, 0.95, 9, "image", "t")


@pytest.fixture(scope="module")
def memorised():
    rng = np.random.default_rng(0)
    train, held_out, drawn = rng.normal(size=(3, 60, 3))
    return stats.memorised(train, held_out, np.concatenate([drawn, train]), extractor="numbers")


def test_each_measure_stands_in_its_panel():
    open_ended = Estimate(0.3, -np.inf, np.inf, 0.95, 2, "image", "jackknife")
    measures = {
        "Recall": {"synthetic": estimate(0.4), "real": estimate(0.8)},
        "Distance": {"synthetic": open_ended, "real": estimate(0.0), "blurred": estimate(0.1)},
        "AUC": {"real": estimate(0.9)},
    }
    figure = beside_figure(measures)
    shown = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title(loc="left") for ax in shown] == [*measures]
    assert [t.get_text() for t in shown[1].get_yticklabels()] == ["synthetic", "real", "blurred"]
    # A dot each, and an interval where it has ends; whose it is tells the colour.
    assert [len(ax.lines) for ax in shown] == [4, 5, 2]
    colours = [ax.lines[-1].get_color() for ax in (shown[0], shown[2])]
    assert colours[0] == colours[1]
    for wrong in ({}, {"Recall": {}}):
        with pytest.raises(ValueError, match="no measures"):
            beside_figure(wrong)


def test_copies_lie_left_of_the_line(memorised):
    figure = copies_figure(memorised)
    (axes,) = figure.axes
    assert axes.lines[0].get_xdata()[0] == memorised.threshold
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["held out", "synthetic"]


def test_a_page_of_drawn_images_shows_floors_and_copies(memorised):
    page = html(
        GenerationResults(
            title="drawn",
            classes=(),
            metrics={
                "recall/synthetic": estimate(0.4),
                "recall/real": estimate(0.8),
                "copies": memorised.copies,
            },
            headline=("copies",),
            drawings={"synthetic": np.zeros((2, 4, 4))},
            memorised=memorised,
        )
    )
    for told in ("Beside real images", "Drawings", "Copies", "drawn images", "recall"):
        assert told in page
    share = f"{memorised.copies.value:.1%} of drawn images are nearer"
    assert share in page
    plain = html(GenerationResults(title="drawn", classes=(), metrics={}, headline=()))
    assert "Beside real images" not in plain


def case(**changes):
    image = np.linspace(0, 1, 24).reshape(4, 6)
    fields = {"given": {"pre": image, "post": image}, "truth": image, "made": image / 2}
    fields |= changes
    return TranslatedCase("p1", "best", target="flair", caption="error 0.1", **fields)


def test_made_images_stand_beside_true_ones():
    figure = translation_figure([case(), case()])
    titles = [ax.get_title(loc="left") for ax in figure.axes[:5]]
    assert titles == ["pre", "post", "flair, true", "flair, made", "made less true"]
    difference = figure.axes[4].images[0].get_array()
    np.testing.assert_allclose(difference, -np.linspace(0, 1, 24).reshape(4, 6) / 2)
    with pytest.raises(ValueError, match="no cases"):
        translation_figure([])
    with pytest.raises(ValueError, match=r"images of 'p1' are of one \(height, width\)"):
        translation_figure([case(made=np.zeros((3, 6)))])
    page = html(
        TranslationResults(
            title="flair",
            classes=(),
            metrics={"mae/copy": estimate(0.3), "mae/regression": estimate(0.2)},
            headline=("mae/regression",),
            cases=(case(),),
        )
    )
    assert "images made of images" in page
    assert "error 0.1" in page
    assert "Beside others" in page
