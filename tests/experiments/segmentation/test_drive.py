"""The experiment on vessels: what is measured, and a run on a folder of DRIVE's layout."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxmed.cli import main
from jaxmed.cli.runs import _experiment


@pytest.fixture(scope="module")
def drive():
    """The experiment's module."""
    return _experiment.load("drive").module


def write_folder(root: Path, cases: dict[str, tuple[int, ...]], shape: tuple[int, int]) -> Path:
    """Dark lines on a bright disc, by part and number."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices(shape)
    middle, radius = (np.array(shape) - 1) / 2, min(shape) / 2
    field = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < radius**2
    for part, numbers in cases.items():
        for number in numbers:
            vessels = (rows + rng.integers(8) + 2 * columns) % 9 < 2
            grey = np.where(field, np.where(vessels, 90.0, 180.0), 0) + rng.normal(0, 4, shape)
            colour = np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
            pictures = {
                f"images/{number:02d}_{part}.tif": colour,
                f"1st_manual/{number:02d}_manual1.gif": np.uint8(255 * (vessels & field)),
                f"mask/{number:02d}_{part}_mask.gif": np.uint8(255 * field),
            }
            for name, picture in pictures.items():
                path = root / part / name
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(path)
    return root


def test_only_the_field_of_view_is_measured(drive):
    field = np.array([[1, 1, 1, 1], [0, 0, 0, 0]])
    example = {"mask": np.array([[1, 1, 0, 0], [1, 1, 1, 1]]), "field": field}
    p = np.array([[0.9, 0.2, 0.8, 0.1], [0.0, 0.9, 0.0, 0.9]])
    assert drive.dice(example, p) == pytest.approx(2 * 1 / (2 + 2))
    assert drive.auc(example, p) == pytest.approx(3 / 4)
    empty = {"mask": 0 * field, "field": field}
    assert drive.dice(empty, 0 * p) == 0


def test_pictures_are_read_as_the_encoder_expects_them(drive, tmp_path):
    folder = write_folder(tmp_path, {"training": (21, 22)}, (20, 24))
    source = drive.read(drive.Config(data=folder), "training")
    assert source.case_ids == ("21", "22")
    image, field = source[0]["image"], source[0]["field"]
    assert image.shape == (20, 24, 3)
    assert image.min() >= -1
    assert image[(field == 1) & (source[0]["mask"] == 0)].mean() == pytest.approx(
        2 * 180 / 255 - 1, abs=0.02
    )
    assert image[field == 0].mean() < -0.9


def test_a_frozen_encoder_leaves_the_decoder_to_learn(drive, monkeypatch):
    found = {}

    def trunk(network, params, state, **options):
        found.update(options)
        return network

    monkeypatch.setattr(drive.jm.networks, "imagenet_lite0", lambda: ({}, {}))
    monkeypatch.setattr(drive.jm.paradigms, "pretrained", trunk)
    network = drive.network(drive.Config(start="frozen"))
    params, _ = jax.eval_shape(network.init, jax.random.key(0), np.zeros((1, 32, 32, 3)))
    assert {path.split("/")[0] for path in drive.jm.core.flatten_paths(params)} == {"heads"}
    assert found == {"only": "^(?!head)", "strict": False}


@pytest.mark.slow
def test_a_run_writes_what_it_measured_and_is_compared_with_its_baseline(drive, tmp_path):
    cases = {"training": (21, 22, 23, 24), "test": (1, 2, 3)}
    data = write_folder(tmp_path / "DRIVE", cases, (64, 72))
    tiny = ["--seeds", "2", "--steps", "2", "--batch", "2", "--patch", "32"]
    command = ["train", "drive", "--start", "scratch", "--data", str(data), *tiny, "--debug"]
    assert main([*command, "--out", str(tmp_path / "first")]) == 0
    again = ["--seed", "0", "--baseline", str(tmp_path / "first")]
    assert main([*command, *again, "--out", str(tmp_path / "second")]) == 0
    for name in ("first", "second"):
        out = tmp_path / name
        metrics = json.loads((out / "metrics.json").read_text())["metrics"]
        assert ("dice/difference" in metrics) == (name == "second")
        values = np.load(out / "scores.npz")
        assert values["dice"].shape == (2, 3)
        assert metrics["dice"]["value"] == pytest.approx(values["dice"].mean(), abs=1e-6)
        assert (out / "report.html").is_file()
    # The same seeds, the same data: no difference at all.
    assert metrics["dice/difference"]["value"] == metrics["auc/difference"]["value"] == 0
    # The model is the last seed's, and does to a photograph what the run did.
    photo, mask = data / "test" / "images" / "01_test.tif", tmp_path / "mask.png"
    assert main(["predict", str(tmp_path / "first"), str(photo), "-o", str(mask), "--debug"]) == 0
    source = drive.read(drive.Config(data=data), "test")
    found = np.asarray(Image.open(mask)) * source[0]["field"]
    truth = source[0]["mask"] * source[0]["field"]
    dice = 2 * (found & truth).sum() / max(found.sum() + truth.sum(), 1)
    last = np.load(tmp_path / "first" / "scores.npz")["dice"][-1, 0]
    assert dice == pytest.approx(last, abs=2e-3)
