"""Scores painted back into the image, against a loop over patches."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed.inference import instance_map
from jaxmed.report import heat_map_figure


@pytest.mark.parametrize(("shape", "patch"), [((20, 17), 5), ((9, 8, 7), (3, 4, 2)), ((60,), 6)])
def test_a_map_is_the_mean_of_the_patches_over_a_voxel(shape, patch):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=12)
    centres = rng.uniform(-2, np.array(shape) + 1, (12, len(shape)))
    real = np.arange(12) < 9
    total, count = np.zeros(shape), np.zeros(shape)
    widths = np.broadcast_to(patch, len(shape))
    for score, centre in zip(scores[real], centres[real]):
        first = np.round(centre).astype(int) - (widths - 1) // 2
        box = tuple(slice(max(f, 0), max(f + w, 0)) for f, w in zip(first, widths))
        total[box] += score
        count[box] += 1
    with np.errstate(invalid="ignore"):
        expected = total / count
    found = instance_map(scores, centres, shape, patch, mask=real)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.isnan(found).any()
    assert np.isfinite(instance_map(scores, centres, shape, patch, fill=0.0)).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"centres \(instances, 2\).*\(3,\) and \(3, 3\)"):
        instance_map(np.ones(3), np.ones((3, 3)), (8, 8), 3)
    with pytest.raises(ValueError, match="at least 1 voxel"):
        instance_map(np.ones(3), np.ones((3, 2)), (8, 8), 0)
    with pytest.raises(ValueError, match="mask must have the shape"):
        instance_map(np.ones(3), np.ones((3, 2)), (8, 8), 1, mask=np.ones(2))
    with pytest.raises(ValueError, match="size"):
        heat_map_figure(np.ones((8, 8)), np.ones((8, 7)))


def test_a_figure_of_a_map_is_drawn_for_grey_and_colour(tmp_path):
    heat = np.full((8, 8), np.nan)
    heat[2:5, 2:5] = 0.5
    for image in (np.ones((8, 8)), np.ones((8, 8, 1)), np.ones((8, 8, 3))):
        figure = heat_map_figure(image, heat, centres=[[3, 3], [6, 6]], positive=[True, False])
        plain, painted = figure.axes[:2]
        drawn = painted.images[-1].get_array()
        np.testing.assert_array_equal(np.ma.getmaskarray(drawn), np.isnan(heat))
        assert drawn.compressed().tolist() == [0.5] * 9
        marked = [dots.get_offsets().tolist() for dots in plain.collections]
        assert marked == [[[6, 6]], [[3, 3]]]  # hollow where negative, then filled
        figure.savefig(tmp_path / "map.png")
        assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
        (tmp_path / "map.png").unlink()
