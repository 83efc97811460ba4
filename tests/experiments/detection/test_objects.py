"""Gliomas as objects and centres of nuclei: what is an object, what is a hit, tiny runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.io
from PIL import Image

from jaxmed.cli import main
from jaxmed.cli.runs._experiment import load
from jaxmed.data import ListSource

tumours, nuclei = (load(name).module for name in ("tumours", "nuclei"))


def test_each_piece_that_is_large_enough_is_an_object():
    mask = np.zeros((16, 16), np.int32)
    mask[2:6, 4:8] = mask[10:14, 0:4] = 1
    mask[0, 15] = 1
    one = {"image": np.ones((16, 16, 3), np.float32), "mask": mask}
    none = {**one, "mask": 0 * mask}
    source = ListSource((one, none), ("a", "b"), ("p", "q"), (), ())
    found, small = tumours.objects(source, 8, 4)
    assert small == 1
    assert found.groups == ("p", "q")
    np.testing.assert_array_equal(found.arrays["box"][0], [[1, 2, 3, 4], [5, 0, 7, 2]])
    np.testing.assert_array_equal(found.arrays["box_label"], [[0, 0], [-1, -1]])
    with pytest.raises(ValueError, match="--size 6"):
        tumours.objects(source, 6, 4)


def test_points_are_paired_one_to_one_as_many_as_can_be():
    true = np.array([[0.0, 0], [0, 4], [20, 20]])
    # The nearest of the first is the second's only one.
    found = np.array([[0.0, 3], [0, -5]])
    at = nuclei.pairs(true, found, 5.0)
    assert {tuple(row) for row in at.tolist()} == {(0, 1), (1, 0)}
    assert len(nuclei.pairs(true, found[:0], 5.0)) == 0
    assert len(nuclei.pairs(true, true + 6, 6.0)) == 0


def test_the_middles_of_discs_are_their_centres():
    points = np.array([[5.0, 6], [5, 14], [20, 9]])
    labels = nuclei.discs(points, (24, 24), 5.0)
    assert labels[0, 0] == 0
    np.testing.assert_allclose(nuclei.middles(labels), points, atol=0.6)
    assert not nuclei.discs(points[:0], (4, 4), 5.0).any()
    assert nuclei.middles(np.zeros((4, 4), int)).shape == (0, 2)


def test_counts_of_all_images_are_measured():
    image = np.zeros((12, 12, 3), np.uint8)
    true = [np.array([[2.0, 2], [8, 8]]), np.zeros((0, 2)), np.array([[5.0, 5]])]
    found = [np.array([[2.0, 3]]), np.array([[1.0, 1]]), np.array([[5.0, 5]])]
    results = nuclei.measured(true, found, 2.0, cases=("a", "b", "c"), images=[image] * 3)
    values = {name: results.metrics[name].value for name in ("precision", "recall", "f1")}
    np.testing.assert_allclose([*values.values()], 2 / 3)
    assert {picture.case for picture in results.drawn} == {"a", "b", "c"}
    assert results.drawn[0].outlines.max() == 3


@pytest.mark.slow
def test_nuclei_are_looked_for_and_measured(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(1, 5):
        folder = tmp_path / "crc" / "Detection" / f"img{i}"
        folder.mkdir(parents=True)
        marks = rng.uniform(6, 58, (9, 2))
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(folder / f"img{i}.png")
        scipy.io.savemat(folder / f"img{i}_detection.mat", {"detection": marks})
    words = "--folds 2 --patch 32 --features 4 --steps 2 --batch 2"
    run = ["train", "nuclei", "--data", str(tmp_path / "crc"), *words.split()]
    assert main([*run, "--out", str(tmp_path / "run")]) == 0
    record = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert record["task"] == "instances"
    assert record["metrics"]["f1"]["n"] == 2
