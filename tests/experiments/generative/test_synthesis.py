"""A tiny run of a generator that is judged, on images of two kinds."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import pytest
from jaxmed.experiments.generative import _judge, _models, _sets
from jaxmed.experiments.generative.synthesis import Config

from jaxmed.cli import main
from jaxmed.core import Variables
from jaxmed.generative import drawing

pytestmark = pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")


@pytest.fixture
def pixels(monkeypatch):
    """Features are pixels: no network of another's weights."""

    def features(images):
        return images.reshape(len(images), -1)[:, ::40], "every fortieth pixel"

    monkeypatch.setattr(_judge, "features", features)


def run(out, *options):
    assert main(["train", "synthesis", *options, "--out", str(out), "--debug"]) == 0
    return json.loads((out / "metrics.json").read_text()), (out / "report.html").read_text()


def test_a_generator_is_judged_beside_real_images(tmp_path, two_kinds, pixels):
    two_kinds(train=40, val=10, test=20)
    found, page = run(tmp_path / "a", "--components", "2")
    metrics = found["metrics"]
    assert found["task"] == "generation"
    for name in ("kernel_distance", "frechet_distance", "precision", "recall", "coverage"):
        assert {f"{name}/synthetic", f"{name}/real"} <= metrics.keys()
    # Two components are not all that real noise is.
    assert metrics["recall/synthetic"]["upper"] < metrics["recall/real"]["lower"]
    assert metrics["frechet_distance/synthetic"]["value"] > 0
    assert metrics["auc/synthetic"]["value"] > 0.9  # dark against bright, drawn by class
    assert metrics["auc/real"]["value"] > 0.9
    assert metrics["likeness/real"]["n"] == 20
    assert "the training image nearest to each" in page
    assert "Beside real images" in page
    assert "every fortieth pixel" in page


def test_a_generator_that_collapsed_is_judged_too(tmp_path, two_kinds, pixels, monkeypatch):
    two_kinds(train=40, val=10, test=20)

    def one_image(config, shape, classes):
        draw = drawing(
            lambda keys, params, state, condition: jnp.zeros((len(keys), *shape)), classes=classes
        )
        return _models.Model(None, draw, ("label",), lambda arrays, out: Variables({}, {}))

    monkeypatch.setitem(_models.MODELS, "gaussian", one_image)
    metrics = run(tmp_path / "a")[0]["metrics"]
    assert metrics["recall/synthetic"]["value"] == 0
    assert metrics["likeness/synthetic"]["value"] == pytest.approx(1)
    assert metrics["auc/synthetic"]["value"] == 0.5


@pytest.mark.slow
def test_few_labels_are_all_that_is_seen(tmp_path, two_kinds, pixels):
    two_kinds(train=40, val=10, test=20)
    options = ["--labels", "8", "--drawn", "24", "--components", "2", "--cnn-steps", "30"]
    found, _ = run(tmp_path / "a", *options)
    sizes = {split["name"]: split["cases"] for split in found["splits"]}
    assert sizes["train"] == 16
    assert found["metrics"]["copies"]["n"] == 24
    assert found["metrics"]["cnn_auc/synthetic"]["value"] > 0.9
    assert found["metrics"]["cnn_auc_gain"]["n"] == 20


def test_wrong_settings_are_refused(tmp_path, two_kinds, capsys):
    two_kinds(train=10, val=2, test=20)
    for options, told in (
        (["--drawn", "3"], "20 images or more"),
        (["--labels", "9"], "class 0 has 5 training images"),
    ):
        assert main(["train", "synthesis", *options, "--out", str(tmp_path / "a")]) != 0
        assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", _models.MODELS)
def test_a_row_is_a_model(name):
    """What the experiment asks of a row, in two dimensions and three."""
    for shape, classes in (((28, 28, 1), 2), ((20, 28, 20, 1), 0)):
        model = _models.Model(*_models.MODELS[name](Config(model=name), shape, classes))
        assert (model.learner is None) != (model.fit is None)
        assert set(model.conditions) <= {"label", "map"}


def test_scans_become_coarse_volumes_with_maps(phantom_scans, tmp_path, monkeypatch):
    folder = phantom_scans(30, (11, 13, 10))
    folder.rename(tmp_path / "Task04_Hippocampus")
    monkeypatch.setenv("JAXMED_DATA", str(tmp_path))
    parts = _sets.read("hippocampus")
    assert parts.shape == (20, 28, 20, 1)
    assert sum(len(source) for source in parts.sources.values()) == 30
    ids = [name for source in parts.sources.values() for name in source.case_ids]
    assert len(set(ids)) == 30
    shares = parts.arrays("train")["map"]
    assert shares.shape[1:] == (20, 28, 20, 2)
    assert shares.min() == 0
    assert 0 < shares.max() <= 1
    image = parts.arrays("train")["image"]
    assert image.min() == -1
    assert image.max() <= 1
    assert np.isfinite(image).all()
