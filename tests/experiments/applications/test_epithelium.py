"""Bags of nuclei judged as an application: attention beside kinds, and a run on made-up bags."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from jaxmed.experiments.applications import epithelium

from jaxmed.cli import main
from jaxmed.data import NUCLEI

EPITHELIAL = NUCLEI.index("epithelial")
OTHER = (EPITHELIAL + 1) % len(NUCLEI)


def test_attention_is_measured_in_images_that_have_both_kinds_of_nuclei():
    kind = np.array(
        [[EPITHELIAL, OTHER, OTHER], [EPITHELIAL, EPITHELIAL, 0], [OTHER, OTHER, OTHER]]
    )
    mask = np.array([[1, 1, 1], [1, 1, 0], [1, 1, 1]])
    bags = SimpleNamespace(arrays={"kind": kind, "bag_mask": mask})
    weights = np.array([[0.5, 0.3, 0.2], [0.9, 0.1, 0.0], [0.3, 0.3, 0.4]])
    assert epithelium._pointed(bags, weights).tolist() == [1.0]
    assert epithelium._pointed(bags, -weights).tolist() == [0.0]


@pytest.mark.slow
def test_bags_are_judged_end_to_end(tmp_path):
    rng = np.random.default_rng(0)
    sizes = np.full(16, 3)
    kind = np.full(48, OTHER)
    kind[:24:3] = EPITHELIAL  # one nucleus in each of the first eight images
    image = rng.integers(0, 120, (48, 27, 27, 3), np.uint8) + 120 * (kind == EPITHELIAL)[
        :, None, None, None
    ].astype(np.uint8)
    path = tmp_path / "nuclei.npz"
    np.savez(path, image=image, kind=kind, centre=np.zeros((48, 2), np.float32), sizes=sizes)
    out = tmp_path / "a"
    words = ["--folds", "2", "--repeats", "2", "--epochs", "2", "--corrupted", "6", "--hidden", "8"]
    command = ["train", "epithelium", "--data", str(path), *words, "--out", str(out), "--debug"]
    assert main(command) == 0
    found = json.loads((out / "metrics.json").read_text())
    metrics = found["metrics"]
    assert metrics["auc over seeds"]["n"] == 2
    assert 0 <= metrics["set coverage"]["value"] <= 1
    assert {"attention/auc", "attention/untrained"} <= {*metrics}
    noisy = found["robustness"]["corrupted"]["noise"][2]["value"]
    assert metrics["auc/noise 3"]["value"] == noisy
