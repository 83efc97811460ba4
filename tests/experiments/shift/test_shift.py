"""Made-up sets whose border tells the class and whose centre does not."""

from __future__ import annotations

import importlib
import json

import jax
import numpy as np
import pytest
from PIL import Image

from jaxmed.cli import main
from jaxmed.data import ArraySource

remedies = importlib.import_module("jaxmed.experiments.shift.remedies")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty pictures of two classes, of which the border is bright in one; patients of two."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("bordered") / "set"
    for i in range(40):
        label = i % 2
        x = rng.integers(80, 120, (16, 16))
        edge = np.ones((16, 16), bool)
        edge[4:-4, 4:-4] = False
        x = np.where(edge, x + 60 * label, x).astype(np.uint8)
        place = root / ("ill" if label else "well")
        place.mkdir(parents=True, exist_ok=True)
        name = f"{i // 4:08d}_{i}.png" if label else f"{i}.png"
        Image.fromarray(x).save(place / name)
    return root


def test_a_probe_finds_what_the_border_tells(folder, tmp_path):
    command = ["train", "shortcut", "--data", str(folder), "--size", "16", "--border", "0.25"]
    assert main([*command, "--out", str(tmp_path / "out"), "--debug"]) == 0
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    areas = {name: estimate["value"] for name, estimate in record["metrics"].items()}
    assert areas["whole/auc"] > 0.95
    assert areas["border alone/auc"] > 0.95
    assert areas["centre alone/auc"] < 0.8
    assert record["metrics"]["whole/auc"]["n"] == 30  # 20 images, and 10 patients of two
    assert any("20 of 20 of ill, 0 of 20 of well" in note for note in record["notes"])
    assert main([*command[:-1], "0.5", "--out", str(tmp_path / "no")]) == 2


@pytest.mark.slow
def test_a_remedy_is_measured_three_times(folder, tmp_path):
    command = [
        "train", "remedies", "--data", str(folder), "--remedy", "mask", "--size", "16",
        "--border", "0.25", "--folds", "2", "--epochs", "1", "--batch", "10",
    ]  # fmt: skip
    assert main([*command, "--out", str(tmp_path / "out"), "--debug"]) == 0
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["metrics"]
    assert list(found) == ["as they are/auc", "borders exchanged/auc", "border alone/auc"]
    # A network that is not shown the border cannot tell whose it is.
    assert found["as they are/auc"] == found["borders exchanged/auc"]


@pytest.mark.slow
def test_every_remedy_trains():
    rng = np.random.default_rng(0)
    arrays = {
        "image": rng.random((12, 16, 16, 1)).astype(np.float32),
        "label": np.arange(12, dtype=np.int32) % 3,
        "domain": np.arange(12, dtype=np.int32) % 2,
    }
    for remedy in remedies.GRID["remedy"]:
        config = remedies.Config(remedy=remedy, batch=6)
        seen = remedies._seen(config, arrays["image"], 0.5)
        assert seen.shape[1] == (12 if remedy == "crop" else 16)
        batch = remedies._batches(config, ArraySource({**arrays, "image": seen}), 0)[0]
        assert len(batch["label"]) == 6
        run = remedies._learner(config, arrays["label"], 3, 10)
        state, metrics = jax.eval_shape(
            lambda key, batch, run=run: run.step(run.init(key, batch), batch),
            jax.random.key(0), batch,
        )  # fmt: skip
        assert ("alignment" in metrics) == (remedy in ("coral", "mmd"))
        assert ("domain_loss" in metrics) == (remedy == "dann")
        assert state.step.shape == ()


def test_borders_are_exchanged_with_those_of_another_class():
    borders = importlib.import_module("jaxmed.experiments._common.borders")
    x = np.broadcast_to(np.arange(6.0)[:, None, None, None], (6, 8, 8, 1))
    labels = np.array([0, 0, 0, 1, 1, 1])
    made = borders.exchanged(x, labels, 0.25, seed=0)
    np.testing.assert_array_equal(made[:, 2:-2, 2:-2], x[:, 2:-2, 2:-2])
    lent = made[:, 0, 0, 0].astype(int)
    assert (labels[lent] != labels).all()
    assert (made[:, 1] == lent[:, None, None]).all()
