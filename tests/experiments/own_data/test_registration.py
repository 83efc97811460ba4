"""`jaxmed train registration` on one's own scans, tiny, and what it refuses."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from jaxmed import registration as reg
from jaxmed.cli import main

TINY = ["--features", "4", "--stages", "2", "--drawn", "8", "--steps", "8", "--size", "24"]


def disc(seed, shape=(24, 28)):
    """A bright ellipse somewhere near the middle, and its mask."""
    rng = np.random.default_rng(seed)
    at = np.moveaxis(np.indices(shape), 0, -1) - (np.array(shape) - 1) / 2
    away = (((at - rng.uniform(-2, 2, 2)) / rng.uniform(5, 8, 2)) ** 2).sum(-1)
    return (250 * np.exp(-away)).astype(np.uint8), (away < 1).astype(np.uint8)


@pytest.fixture
def pictures(tmp_path):
    """Ten pictures with masks of 0 and 1, of two shapes, in two folders."""
    for kind in ("images", "masks"):
        (tmp_path / "own" / kind).mkdir(parents=True)
    for i in range(10):
        image, mask = disc(i, (24, 28) if i % 2 else (26, 24))
        Image.fromarray(image).save(tmp_path / "own" / "images" / f"{i}.png")
        Image.fromarray(mask).save(tmp_path / "own" / "masks" / f"{i}.png")
    return tmp_path / "own"


def listing(folder, rows, columns="fixed,moving,fixed_mask,moving_mask"):
    path = folder / "pairs.csv"
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


def row(a, b):
    return f"images/{a}.png,images/{b}.png,masks/{a}.png,masks/{b}.png"


def train(data, out, *words):
    return main(["train", "registration", "--data", str(data), "--out", str(out), *words])


def test_a_folder_is_learned_and_its_network_registers_two_files(pictures, tmp_path):
    out = tmp_path / "run"
    assert train(pictures, out, *TINY) == 0
    record = json.loads((out / "metrics.json").read_text())
    assert record["task"] == "registration"
    assert {"dice/before", "dice/after", "local_correlation/after", "folds_percent"} <= set(
        record["metrics"]
    )
    assert record["metrics"]["dice/after"]["n"] == 1  # two are held out: both pairs are one unit
    model = reg.load_warp_model(out)
    assert model.centred
    assert len(model.spacing) == 2
    table = (out / "predictions.csv").read_text().splitlines()
    assert table[0].startswith("case,group,dice/before")
    assert len(table) == 3
    page = (out / "report.html").read_text()
    assert "Pairs before and after" in page
    assert "Pairs begin with their middles on each other" in page
    pair = [str(pictures / "images" / f"{i}.png") for i in (0, 1)]
    moved = tmp_path / "moved"
    assert main(["register", *pair, "--network", str(out), "-o", str(moved)]) == 0
    assert (moved / "warp.nii.gz").exists()


@pytest.mark.slow
def test_listed_pairs_stay_whole_and_a_pyramid_learns_them_level_by_level(pictures, tmp_path):
    table = listing(pictures, [row(a, a + 1) for a in range(0, 10, 2)] + [row(1, 0)])
    out = tmp_path / "run"
    words = ["--network", "lapirn", *TINY, "--similarity", "mse", "--held-out", "0.4"]
    assert train(table, out, *words) == 0
    assert train(table, out, *words) == 0  # a finished run is told again
    record = json.loads((out / "metrics.json").read_text())
    pairs = [line.split(",")[0] for line in (out / "predictions.csv").read_text().splitlines()[1:]]
    assert {tuple(sorted(p.split(" onto "))) for p in pairs} <= {
        (f"{a}.png", f"{a + 1}.png") for a in range(0, 10, 2)
    }
    assert any("share a scan" in note for note in record["notes"])
    assert (out / "level_0").is_dir()
    assert not reg.load_warp_model(out).centred


@pytest.mark.slow
def test_volumes_without_masks_are_told_by_their_likeness(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "scans").mkdir()
    for i in range(6):
        image = np.stack([disc(i, (20, 18))[0]] * 10, -1) + rng.uniform(0, 3, (20, 18, 10))
        affine = np.diag([1.0, 1.5, 3.0, 1.0])
        affine[:3, 3] = rng.uniform(-40, 40, 3)
        nib.save(nib.Nifti1Image(image.astype(np.float32), affine), tmp_path / f"scans/{i}.nii.gz")
    lines = ["image,patient", *(f"scans/{i}.nii.gz,{i // 2}" for i in range(6))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "run"
    assert train(tmp_path / "t.csv", out, *TINY, "--patients", "same", "--held-out", "0.34") == 0
    record = json.loads((out / "metrics.json").read_text())
    assert "dice/after" not in record["metrics"]
    assert record["metrics"]["local_correlation/after"]["n"] == 1
    assert any("Without masks" in note for note in record["notes"])


def spoiled(pictures, what):
    """What is wrong with a folder, and how the message says it."""
    if what == "one scan":
        for i in range(1, 10):
            (pictures / "images" / f"{i}.png").unlink()
            (pictures / "masks" / f"{i}.png").unlink()
        return pictures, "a pair is two scans"
    if what == "a mask on another grid":
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(pictures / "masks" / "3.png")
        return pictures, "3.png"
    if what == "a label of one scan":
        image = np.array(Image.open(pictures / "masks" / "4.png"))
        Image.fromarray(image * 7).save(pictures / "masks" / "4.png")
        return pictures, "images/4 holds 7"
    if what == "a constant scan":
        Image.fromarray(np.full((24, 28), 9, np.uint8)).save(pictures / "images" / "5.png")
        return pictures, "images/5 holds one value"
    if what == "colours among greys":
        image = np.array(Image.open(pictures / "images" / "6.png"))
        Image.fromarray(np.stack([image] * 3, -1)).save(pictures / "images" / "6.png")
        return pictures, "a network registers scans of one kind"
    if what == "a pair of one scan":
        return listing(pictures, [row(0, 1), row(2, 2)]), "fixed and moving at once"
    if what == "an empty cell":
        return listing(pictures, [row(0, 1), row(2, 3).replace("images/3.png", "")]), "is empty"
    if what == "masks of one side":
        rows = ["images/0.png,images/1.png,masks/0.png"]
        return listing(pictures, rows, "fixed,moving,fixed_mask"), "masks are of both"
    return listing(pictures, [row(0, 1), row(1, 2)]), "give more pairs"


@pytest.mark.parametrize(
    "what",
    [
        "one scan", "a mask on another grid", "a label of one scan", "a constant scan",
        "colours among greys", "a pair of one scan", "an empty cell", "masks of one side",
        "pairs that all hang together",
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from_is_refused_by_name(pictures, tmp_path, capsys, what):
    data, told = spoiled(pictures, what)
    if what == "pairs that all hang together":
        told = "a pair is two scans"
    assert train(data, tmp_path / "run", *TINY) in (1, 2)
    assert told in capsys.readouterr().err
