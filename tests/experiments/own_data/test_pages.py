"""The commands of the page on one's own scans, in their order, at a small size."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from jaxmed.cli import main

PAGE = Path(__file__).parents[3] / "docs" / "own-scans.md"
SMALL = {
    "segmentation": ["--steps", "4", "--memory-gb", "0.002"],
    "classification": ["--network", "resnet8", "--size", "8", "--epochs", "1"],
    "regression": ["--network", "resnet8", "--size", "8", "--epochs", "1"],
}
RUNS = ("scans", "lesions", "melanoma", "density", "age")


def commands():
    """The lines of the page's console blocks that are typed."""
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line[2:]) for line in lines if line.startswith("$ ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The data that the page speaks of, as phantoms."""
    root = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    (root / "scans" / "imagesTr").mkdir(parents=True)
    (root / "scans" / "labelsTr").mkdir()
    (root / "new").mkdir()
    (root / "scans" / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "MRI"}, "labels": {"background": 0, "blob": 1}})
    )
    for i in range(6):
        mask = np.zeros((12, 14, 10), np.uint8)
        mask[3:8, 4 + i % 3 : 9 + i % 3, 2:7] = 1
        image = (rng.normal(size=mask.shape) + 3 * mask).astype(np.float32)
        affine = np.diag([-1.0, 1.0, 2.0, 1.0])
        nib.Nifti1Image(image, affine).to_filename(
            root / "scans" / "imagesTr" / f"c{i}_0000.nii.gz"
        )
        nib.Nifti1Image(mask, affine).to_filename(root / "scans" / "labelsTr" / f"c{i}.nii.gz")
        if i == 0:
            nib.Nifti1Image(image, affine).to_filename(root / "new" / "scan.nii.gz")
    rows = ["image,diagnosis,age"]
    for i in range(12):
        pixels = rng.integers(0, 255, (10, 12), np.uint8)
        (root / "lesions" / ["benign", "malignant"][i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / "lesions" / ["benign", "malignant"][i % 2] / f"{i}.png")
        Image.fromarray(pixels).save(root / f"photo{i}.png")
        rows.append(f"photo{i}.png,{['naevus', 'melanoma'][i % 2]},{30 + i}")
    (root / "photos.csv").write_text("\n".join(rows))
    rows = ["image,density,patient", "photo0.png,F,p0"]  # a film with two findings
    rows += [f"photo{i}.png,{'FG'[i % 2]},p{i // 2}" for i in range(12)]
    (root / "labels.csv").write_text("\n".join(rows))
    return root


def test_every_training_of_the_page_is_planned(folder, monkeypatch):
    """Which reads all of its options and data."""
    monkeypatch.chdir(folder)
    trainings = [arguments[1:] for arguments in commands() if arguments[1] == "train"]
    assert len(trainings) == len(RUNS)
    for number, (_, *arguments) in enumerate(trainings):
        arguments[arguments.index("--out") + 1] = f"{number}.json"
        assert main(["plan", *arguments, *SMALL[arguments[0]], "--debug"]) == 0, arguments
        assert (folder / f"{number}.json").is_file()


@pytest.mark.slow
def test_every_command_of_the_page_runs_and_leaves_what_it_says(folder, monkeypatch):
    monkeypatch.chdir(folder)
    typed = commands()
    assert len(typed) == 9
    for program, *arguments in typed:
        assert program == "jaxmed"
        if arguments[0] == "train":
            arguments += SMALL[arguments[1]]
        assert main([*arguments, "--debug"]) == 0, arguments
    for run in RUNS:
        assert (folder / "runs" / run / "report.html").is_file()
        assert "NOT REPORTED" in (folder / "runs" / run / "model_card.md").read_text()
    assert (folder / "masks" / "scan_mask.nii.gz").is_file()
    assert "blob_ml" in (folder / "masks" / "volumes.csv").read_text()
    assert len((folder / "scores" / "predictions.csv").read_text().splitlines()) == 1 + 24
