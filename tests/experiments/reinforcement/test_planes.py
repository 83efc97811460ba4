"""Standard planes: by each method; a posed template lies where it is said to lie."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

import jaxmed as jm
from jaxmed.cli import main
from jaxmed.reinforcement import plane_image

AGENT = (
    "--size 6 --slices 1 --scales 4 2 --hidden 8 --steps 2 --iterations 2 --agents 4 "
    "--transitions 4 --memory 64 --warm-up 8 --starts 2 --limit 5"
)


@pytest.fixture(scope="module")
def planes():
    # Tests of the command come first to nothing without it.
    from jaxmed.cli.runs import _experiment

    return _experiment.load("planes").module


@pytest.mark.parametrize("method", ["mean", "ridge", pytest.param("agent", marks=pytest.mark.slow)])
def test_each_method_answers_in_degrees_and_mm(planes, method, tmp_path):
    out = tmp_path / "run"
    command = f"train planes --method {method} --train 6 --test 3 --voxel 6 {AGENT}"
    assert main([*command.split(), "--out", str(out), "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert metrics["angle"]["n"] == metrics["distance"]["n"] == 3
    assert 0 < metrics["angle"]["value"] < 90
    assert 0 < metrics["distance"]["value"] < 60
    assert ("failed walks" in metrics) == (method == "agent")
    page = (out / "report.html").read_text()
    assert ('id="episodes"' in page) == (method == "agent")


@pytest.mark.slow
def test_the_ridge_sees_more_of_heads_than_their_mean(planes, tmp_path):
    found = [
        planes.run(planes.Config(method=method, train=60, test=12), tmp_path)
        for method in ("mean", "ridge")
    ]
    far, near = (each.metrics["distance"].value for each in found)
    assert near < 0.6 * far


def test_a_posed_volume_shows_its_middle_plane_where_it_is_said_to_be(planes):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:21, :21] - 10.0
    # A volume that differs from plane to plane, brightest in the middle one.
    image = np.exp(-((x / 6) ** 2 + (y / 8) ** 2))[..., None]
    image = (image * np.exp(-((np.arange(21) - 10.0) ** 2) / 8)).astype(np.float32)
    config = planes.Config(voxel=2, turn=30.0, shift=6.0)
    for _ in range(3):
        posed, plane = planes._posed(rng, image, config)

        def seen(away, posed=posed, plane=plane):
            moved = plane + np.array([0, 0, 0, away])
            return float(plane_image(posed, moved, spacing=(2, 2, 2), size=15, pixel=2.0).mean())

        at = [seen(away) for away in (-2.0, 0.0, 2.0)]
        assert max(at) == at[1]
        assert at[0] == pytest.approx(at[2], rel=0.05)
        assert abs(plane[:3]).max() <= 30
        assert abs(plane[3]) <= 6


def test_the_template_is_one_brain_in_poses_and_never_learned_from(planes, monkeypatch):
    learned = jm.data.ArraySource({"image": np.random.default_rng(0).random((2, 9, 9, 9, 1))})
    real = jm.data.ArraySource({"image": np.random.default_rng(1).random((1, 9, 9, 9, 1))})
    phantoms = importlib.import_module("jaxmed.data.phantoms")
    monkeypatch.setattr(phantoms, "brain", lambda n, **options: learned)
    monkeypatch.setattr(phantoms, "brain_template", lambda **options: real)
    config = planes.Config(data="template", train=2, test=3, turn=0.01, shift=0.01)
    train, test = planes._template(config)
    assert test.names == ["pose 0", "pose 1", "pose 2"]
    middle = real[0]["image"][4, 4, 4, 0]
    np.testing.assert_allclose(test.images[:, 4, 4, 4], middle, atol=1e-2)
    for i in range(2):
        np.testing.assert_allclose(
            train.images[i, 4, 4, 4], learned[i]["image"][4, 4, 4, 0], atol=1e-2
        )
