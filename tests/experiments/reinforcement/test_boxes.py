"""Boxes around lesions: by each method; slices of one patient are on one side."""

from __future__ import annotations

import json

import numpy as np
import pytest

import jaxmed as jm
from jaxmed.cli import main

AGENT = (
    "--size 6 --hidden 8 --steps 2 --iterations 2 --agents 4 --transitions 4 --memory 64 "
    "--warm-up 8 --limit 5"
)


@pytest.fixture(scope="module")
def boxes():
    from jaxmed.cli.runs import _experiment

    return _experiment.load("boxes").module


@pytest.mark.parametrize("method", ["mean", "ridge", pytest.param("agent", marks=pytest.mark.slow)])
def test_each_method_has_an_overlap(boxes, method, tmp_path):
    out = tmp_path / "run"
    command = f"train boxes --method {method} --train 8 --test 4 {AGENT}"
    assert main([*command.split(), "--out", str(out), "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert metrics["overlap"]["n"] == 4
    assert 0 <= metrics["found"]["lower"] <= metrics["found"]["upper"] <= 1
    assert 0 <= metrics["overlap"]["value"] < 1
    assert ("failed episodes" in metrics) == (method == "agent")
    page = (out / "report.html").read_text()
    assert ('id="episodes"' in page) == (method == "agent")


def test_the_overlap_is_with_the_box_that_is_overlapped_most(boxes):
    several = np.array([[0, 0, 4, 4], [2, 2, 6, 8]], float)
    assert boxes._overlap(np.array([2, 2, 4, 4.0]), several) == pytest.approx(4 / 16)
    assert boxes._overlap(np.array([2, 2, 6, 6.0]), several) == pytest.approx(16 / 24)
    assert boxes._overlap(np.array([8, 8, 9, 9.0]), several) == 0
    # One turned inside out overlaps nothing.
    assert boxes._overlap(np.array([4, 4, 2, 2.0]), several) == 0


class Slices:
    """Two patients, whose slices have one lesion, two, one too small, and none."""

    name, groups = "slices", ("a",) * 9 + ("b",) * 9
    case_ids = tuple(f"{p}-{i}" for p in "ab" for i in range(9))

    def __getitem__(self, i):
        mask = np.zeros((256, 256), np.int32)
        kind = i % 9
        if kind in (3, 4, 5):
            mask[40:80, 20:100] = 1
        if kind == 4:
            mask[200:240, 200:216] = 1
        if kind == 6:
            mask[0:8, 0:8] = 1
        image = np.random.default_rng(i).random((256, 256, 3)).astype(np.float32)
        return {"image": image, "mask": mask}


def test_slices_have_boxes_in_their_own_pixels_and_patients_one_side(boxes, monkeypatch):
    monkeypatch.setattr(jm.data, "lgg_mri", lambda folder: Slices())
    config = boxes.Config(data="lgg", folds=2, each=4)
    train, test = boxes._gliomas(config)
    assert {*train.patients}.isdisjoint(test.patients)
    assert {*train.patients, *test.patients} == {"a", "b"}
    for part in (train, test):
        assert part.images.shape[1:] == (64, 64, 3)
        np.testing.assert_allclose(part.images.mean((1, 2)), 0, atol=1e-4)
        assert [name[2:] for name in part.names] == ["3", "4", "5"]
        np.testing.assert_array_equal(part.first, [[10, 5, 20, 25]] * 3)
        assert [len(each) for each in part.boxes] == [1, 2, 1]
    with pytest.raises(ValueError, match="fold is 0 to 1"):
        boxes._gliomas(boxes.Config(data="lgg", folds=2, fold=2))
