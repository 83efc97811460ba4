"""From DICOM series to DICOM segmentations: the commands of the page on formats, tiny."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from jaxmed import data
from jaxmed.cli import main

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"


def write_series():
    """The tests' writer of DICOM series."""
    path = Path(__file__).parents[1] / "data" / "dicom" / "conftest.py"
    spec = importlib.util.spec_from_file_location("dicom_phantoms", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.series


@pytest.mark.slow
def test_the_pages_commands_lead_from_series_to_segmentations(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng, series = np.random.default_rng(0), write_series()
    for i in range(5):
        name = f"p{i}"
        inside = np.zeros((6, 12, 10), bool)
        inside[1:5, 3 + i : 7 + i, 2:8] = True
        volume = (rng.normal(0, 20, inside.shape) + 300 * inside).astype(np.int16)
        place = tmp_path / ("series" if i < 4 else "new") / name / "ct"
        tags = {"PatientID": name, "SeriesInstanceUID": f"1.2.9{i}"}
        series(place, volume, tags=tags, order=rng.permutation(6))
        if i < 4:
            scan = data.read_image(place)
            mask = (scan.array[..., 0] > 150).astype(int)
            data.write_dicom_seg(place.parent / "seg.dcm", mask, scan, ["lesion"])
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    typed = [shlex.split(line[2:]) for block in blocks for line in block.splitlines()]
    typed = [words for words in typed if words[1] in ("data", "train", "predict")]
    assert [words[1] for words in typed] == ["data", "train", "predict"]
    for words in typed:
        small = ["--steps", "2", "--memory-gb", "0.001"] if words[1] == "train" else []
        assert main([*words[1:], *small, "--debug"]) == 0, words
    told = capsys.readouterr().out
    assert "4 images; masks (background, lesion)" in told
    (file,) = (tmp_path / "masks").glob("*.dcm")
    scan = data.read_image(tmp_path / "new" / "p4" / "ct")
    mask = data.read_mask(file, like=scan)  # refused on another grid
    np.testing.assert_allclose(mask.affine, scan.affine)
    assert mask.array.shape == scan.array.shape[:3]
    assert [segment.name for segment in data.read_segments(file)] == ["lesion"]
    assert pydicom.dcmread(file).PatientID == "p4"
    for path in (tmp_path / "runs").rglob("*"):
        if path.suffix in (".json", ".html", ".csv", ".md"):
            assert "Zebrafinch" not in path.read_text(), path
