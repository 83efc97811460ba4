"""Sheets of images that a model draws."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed.report import DensityResults, drawings_figure, html
from jaxmed.stats import Estimate

ESTIMATE = Estimate(-3.0, -4.0, -2.0, 0.95, 5, "image", "t interval")


def test_each_image_stands_in_its_place():
    images = np.linspace(0, 1, 12)[:, None, None] * np.ones((12, 3, 2))
    figure = drawings_figure({"first": images, "second": np.zeros((1, 3, 2, 3))})
    sheet = figure.axes[0].images[0].get_array()
    assert sheet.shape == (7, 29)  # two rows of ten, a line of white between them
    np.testing.assert_allclose(sheet[0, ::3], images[:10, 0, 0])
    np.testing.assert_allclose(sheet[4, ::3][:2], images[10:, 0, 0])
    assert sheet[4, 6:].min() == 1
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["first", "second"]


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="no images"):
        drawings_figure({})
    with pytest.raises(ValueError, match=r"'a' holds \(n, height, width\)"):
        drawings_figure({"a": np.zeros((3, 4))})
    with pytest.raises(ValueError, match=r"'a' are not all in \[0, 1\]"):
        drawings_figure({"a": np.full((1, 3, 4), 2.0)})


def test_a_page_shows_what_is_drawn():
    results = DensityResults(
        title="digits",
        classes=(),
        metrics={"test_log_likelihood": ESTIMATE},
        headline=("test_log_likelihood",),
        drawings={"drawn images": np.zeros((2, 4, 4))},
    )
    page = html(results)
    assert "model of images" in page
    assert "drawn images" in page
    assert "Drawings" in page
    assert "NOT REPORTED" in page
