"""The table of paradigms: what objectives see of the labels, the rows, measuring."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxmed.experiments.few_labels import _labels, _rows, _train, paradigms

import jaxmed as jm
from jaxmed.cli import main


def test_no_label_of_an_unlabelled_row_reaches_an_objective():
    seen = {}

    def loss(network, params, state, batch, key):
        seen.update(batch)
        return jnp.zeros(()), (state, {})

    objective = _labels.parted(jm.core.stateless(loss), 2)
    batch = {
        "image": jnp.arange(5.0)[:, None],
        "label": jnp.array([0, 1, 9, 9, 9]),
        "weight": jnp.ones(5),
        "index": jnp.arange(5),
    }
    objective.loss(None, {}, {}, batch, jax.random.key(0))
    assert sorted(seen) == ["image", "label", "unlabelled", "weight"]
    assert seen["label"].tolist() == [0, 1]
    assert seen["unlabelled"].ravel().tolist() == [2, 3, 4]


@pytest.mark.slow
def test_every_row_is_an_objective_for_these_images():
    """Traced, not run: a view that a row may not have is told when tracing."""
    trunk = jm.from_linen(jm.networks.cnn(features=(4, 8)))  # a view does not depend on it
    head = jm.from_linen(jm.networks.ClassificationHead(2))
    image = jax.ShapeDtypeStruct((6, 28, 28, 1), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    batch = {"image": image, "label": jax.ShapeDtypeStruct((6,), jnp.int32)}
    batch |= {"weight": jax.ShapeDtypeStruct((6,), jnp.float32)}

    def loss(network, objective):
        def both(key, batch):
            params, state = network.init(key, batch["image"])
            own = objective.init(key, network, params, state, batch)
            params, state = {"net": params, "obj": own[0]}, {"net": state, "obj": own[1]}
            return objective.loss(network, params, state, batch, key)[0]

        return jax.eval_shape(both, key, batch)

    for name, row in _rows.ROWS.items():
        if row.trunk is not None:
            continue
        found = []
        if row.pretrain is not None:
            setting = _train._setting(10)
            found.append(loss(trunk, _labels.unlabelled_only(row.pretrain(setting))))
        whole = jm.with_heads(trunk, {"logits": head})
        setting = _train._setting(10, (0.5, 0.5))
        found.append(loss(whole, _labels.parted(row.objective(setting), 2)))
        assert all(one.shape == () for one in found), name


def test_a_grids_rows_are_compared_with_its_own_baseline(tmp_path):
    folder = lambda config: tmp_path / f"{config.row}-{config.labels}"  # noqa: E731
    linked = paradigms.in_grid(paradigms.Config(row="fixmatch", labels=0.2), folder)
    assert linked.baseline == tmp_path / "supervised-0.2"
    assert paradigms.in_grid(paradigms.Config(), folder).baseline is None


def test_mistakes_are_told(tmp_path):
    with pytest.raises(ValueError, match="there are supervised, "):
        paradigms.run(paradigms.Config(row="simclir"), tmp_path)
    with pytest.raises(ValueError, match="--network lite0"):
        paradigms.run(paradigms.Config(row="imagenet"), tmp_path)
    with pytest.raises(ValueError, match="dataset is one of"):
        _labels.read(paradigms.Config(dataset="chestmnist"))
    with pytest.raises(ValueError, match="share in"):
        _labels.read(paradigms.Config(labels=0.0))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
@pytest.mark.parametrize("row", ["mean_teacher", "rotation"])
def test_a_row_runs_from_the_command_line(row, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 60), ("val", 20), ("test", 30)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (n, 28, 28), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(n) % 2)[:, None].astype(np.uint8)
    (tmp_path / "medmnist").mkdir()
    np.savez(tmp_path / "medmnist" / "breastmnist.npz", **arrays)
    monkeypatch.setenv("JAXMED_DATA", str(tmp_path))
    out = tmp_path / "run"
    tiny = "--labels 0.3 --seeds 2 --steps 2 --evaluate-every 1 --pretrain-steps 1 --batch 4"
    command = ["train", "paradigms", "--row", row, *tiny.split(), "--unlabelled", "4"]
    assert main([*command, "--pretrain-batch", "4", "--out", str(out), "--debug"]) == 0
    record = json.loads((out / "metrics.json").read_text())
    assert {"auc", "auc/difference", "accuracy"} <= set(record["metrics"])
    assert ("linear/auc" in record["metrics"]) == (row == "rotation")
    assert record["splits"][0]["cases"] == 18
