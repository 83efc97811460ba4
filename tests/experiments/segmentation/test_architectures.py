"""The comparison of networks, on phantoms: a run, its numbers, its baseline."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import pytest

from jaxmed.cli import main
from jaxmed.cli.runs import _experiment

TINY = "--seeds 1 --steps 2 --patch 16 16 16 --folds 3 --fold 1 --no-checkpoints"


def rows():
    return _experiment.load("architectures").module.NETWORKS


@pytest.mark.parametrize("row", ["mednext", "swin_unetr", "mamba_unet"])
def test_a_row_makes_a_network_of_the_patch(row):
    net = rows()[row].make(3, (32, 48, 32), (1.0, 1.0, 1.0))
    x = jax.ShapeDtypeStruct((1, 32, 48, 32, 1), jnp.float32)
    outputs, _ = jax.eval_shape(net.init_with_output, jax.random.key(0), x)
    assert outputs["logits"].shape == (1, 32, 48, 32, 3)


@pytest.mark.slow
def test_a_run_is_compared_with_the_residual_unet(hippocampus, tmp_path):
    out = tmp_path / "segresnet"
    command = ["train", "architectures", "--data", str(hippocampus.data), *TINY.split(), "--debug"]
    assert main([*command, "--row", "segresnet", "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert {"dice", "dice/difference", "parameters", "seconds/step"} <= set(metrics)
    assert metrics["parameters"]["value"] == pytest.approx(0.3, abs=0.3)
    assert metrics["gflop"]["value"] > 0
    assert metrics["dice/difference"]["n"] == metrics["dice"]["n"]
    assert (out / "unet_residual" / "scores.npz").is_file()
