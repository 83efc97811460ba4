"""Landmarks of made-up scans, by each method; the linear one finds what is linear."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
from scipy import ndimage

from jaxmed.cli import main

TINY = {
    "mean": "",
    "ridge": "",
    "cnn": "--epochs 1 --batch 3 --features 2 4 --seeds 2",
    "heatmap": "--epochs 1 --batch 3 --features 2 --shrink 1",
    "agent": (
        "--copies 1 --limit 5 --window 5 --scales 2 1 --hidden 8 --channels 2 --steps 2 "
        "--iterations 2 --agents 4 --transitions 4 --memory 64 --warm-up 8 --starts 2 --seeds 2"
    ),
}


@pytest.fixture(scope="module")
def made():
    """Scans of two blocks that touch, at a place that differs from scan to scan."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(9, 12, (9, 3))
    images, points = [], []
    for size in sizes:
        at = rng.integers(3, 6, 3)
        image = 0.1 * rng.normal(size=size).astype(np.float32)
        image[tuple(slice(p - 2, p + 2) for p in at)] += 1
        images.append(image)
        points.append(at - 0.5)
    names = [f"scan {i}" for i in range(9)]
    cases = importlib.import_module("jaxmed.experiments.reinforcement._cases")
    return cases.Cases(
        names, names, images, np.stack(points)[:, None], np.array([1.0, 1.0, 2.0]), ("corner",),
        "mm", (),
    )  # fmt: skip


# A heat map is trained as the coordinates are; agents have tests of their own.
SLOW = ("heatmap", "agent")


@pytest.mark.parametrize(
    "method",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in TINY],
)
def test_each_method_answers_in_mm(made, method, tmp_path, monkeypatch):
    landmarks = importlib.import_module("jaxmed.experiments.reinforcement.landmarks")
    monkeypatch.setattr(landmarks, "hippocampus", lambda folder: made)
    out = tmp_path / "run"
    command = ["train", "landmarks", "--method", method, "--folds", "3", "--out", str(out)]
    assert main([*command, *TINY[method].split(), "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    several = "--seeds" in TINY[method]
    assert metrics["error"]["n"] == (2 if several else 3)
    assert metrics["error"]["method"].startswith("Obuchowski") == several
    assert 0 < metrics["error"]["value"] < 15
    assert ("failed walks" in metrics) == (method == "agent")
    page = (out / "report.html").read_text()
    assert ('id="episodes"' in page) == (method == "agent")


def test_the_ridge_is_that_of_the_least_error_of_cases_left_out(made):
    baselines = importlib.import_module("jaxmed.experiments.reinforcement._baselines")
    shape = (16, 16, 16)
    train, test = made.take(np.arange(7)), made.take(np.arange(7, 9))
    found, chosen = baselines.ridge(train, test, shape, blur=1.0, step=4)
    images, points, _ = train.framed(shape)
    x = ndimage.gaussian_filter(images, (0, 1, 1, 1, 0))[:, 2::4, 2::4, 2::4].reshape(7, -1)
    x, y = x.astype(float), points[:, 0]

    def fitted(rows, new, penalty):
        mean, middle = x[rows].mean(axis=0), y[rows].mean(axis=0)
        z = x[rows] - mean
        w = np.linalg.solve(z.T @ z + penalty * np.eye(z.shape[1]), z.T @ (y[rows] - middle))
        return (new - mean) @ w + middle

    def left_out(penalty):
        others = [np.delete(np.arange(7), i) for i in range(7)]
        return sum(np.square(fitted(o, x[i], penalty) - y[i]).sum() for i, o in enumerate(others))

    step = 10**0.25  # Of the grid.
    assert left_out(chosen) <= min(left_out(chosen * step), left_out(chosen / step)) + 1e-9
    new, _, begin = test.framed(shape)
    z = ndimage.gaussian_filter(new, (0, 1, 1, 1, 0))[:, 2::4, 2::4, 2::4].reshape(2, -1)
    expected = fitted(np.arange(7), z.astype(float), chosen) - begin
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)


def test_images_and_points_move_into_a_frame_together(made):
    framed, points, begin = made.framed((16, 16, 16))
    assert framed.shape == (9, 16, 16, 16, 1)
    for image, whole, point, low in zip(framed, made.images, points[:, 0], begin):
        inner = tuple(slice(b, b + n) for b, n in zip(low, whole.shape))
        np.testing.assert_array_equal(image[inner][..., 0], whole)
        corner = tuple((point + 0.5).astype(int) - 1)
        assert image[corner][0] > 0.5


def test_copies_move_the_point_with_the_image(made):
    blobs = []
    for image, point in zip(made.images, made.points[:, 0]):
        away = np.moveaxis(np.indices(image.shape), 0, -1) - point
        blobs.append(np.exp(-np.square(away).sum(-1) / 4).astype(np.float32))
    copied = made._replace(images=blobs).with_copies(2, 0)
    assert len(copied.names) == len(copied.images) == len(copied.points) == 27
    assert copied.patients[9:13] == ["scan 0", "scan 0", "scan 1", "scan 1"]
    for image, point in zip(copied.images[9:], copied.points[9:, 0]):
        brightest = np.unravel_index(image.argmax(), image.shape)
        assert np.abs(brightest - point).max() < 1.5
    assert np.abs(copied.points[9:] - np.repeat(made.points, 2, axis=0)).max() > 0.1


def test_shrunk_cases_have_their_points_where_they_were(made):
    half = made.shrunk(2)
    assert half.images[0].shape == tuple(n // 2 for n in made.images[0].shape)
    np.testing.assert_allclose(half.images[1][1, 0, 2], made.images[1][2:4, :2, 4:6].mean())
    np.testing.assert_allclose(2 * half.points + 0.5, made.points)
    np.testing.assert_array_equal(half.spacing, 2 * made.spacing)
    # A voxel's centre, in mm from where its image begins.
    edges = [(part.points + 0.5) * part.spacing for part in (half, made)]
    np.testing.assert_allclose(*edges)


def test_intervals_over_seeds_count_patients_and_stay_within_their_range():
    seeds = importlib.import_module("jaxmed.experiments.reinforcement._seeds")
    values, patients = np.array([[1.0, 3.0, 5.0, 6.0], [2.0, 4.0, 5.0, 8.0]]), ["a", "a", "b", "c"]
    found = seeds.mean_over(values, patients, "error", "mm")
    # Patient a is the mean of its two images.
    assert found.value == pytest.approx(np.mean([[2, 5, 6], [3, 5, 8]]))
    assert found.details["cases"] == 3
    assert "in mm" in found.notes
    near = seeds.share_over(np.array([[1, 1, 1, 0], [1, 1, 1, 1.0]]), patients, "near")
    assert near.value == pytest.approx(5 / 6)
    assert 0 <= near.lower < near.value < near.upper == 1
