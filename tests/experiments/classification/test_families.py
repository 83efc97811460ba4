"""Several networks against one, tiny."""

from __future__ import annotations

import json

import pytest
from jaxmed.experiments.classification import families

from jaxmed.cli import main


def test_what_cannot_be_compared_is_refused(tmp_path, capsys):
    for option, told in (("--dataset chestmnist", "one label an image"), ("--members 1", "two or")):
        assert main(["train", "families", *option.split(), "--out", str(tmp_path / "run")]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
def test_all_are_measured_on_the_same_images(two_kinds, tmp_path, monkeypatch):
    two_kinds(train=30, val=20, test=24)
    # ImageNet's weights are a package of their own.
    monkeypatch.setattr(families, "frozen_features", lambda x, kind, size: x.reshape(len(x), -1))
    out = tmp_path / "run"
    command = "train families --dataset breastmnist --epochs 1 --members 2 --units 10 --batch 15"
    assert main([*command.split(), "--out", str(out), "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    models = (*families.FAMILIES, "2 ResNet-8", "mean", "stack")
    assert {f"{name}/auc" for name in models} <= set(metrics)
    assert metrics["closed form/auc"]["value"] > 0.9
    weights = [metrics[f"weight/{name}"]["value"] for name in families.FAMILIES]
    assert sum(weights) == pytest.approx(1)
