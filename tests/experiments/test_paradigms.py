"""What the experiments on paradigms share: labels kept, batches of replicates, measuring."""

from __future__ import annotations

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmed as jm
from jaxmed.cli import _experiment, main
from jaxmed.data import ArraySource
from jaxmed.stats import multiclass_auc


@pytest.fixture(scope="module")
def paradigms():
    """The experiment's module; those beside it are then importable by name."""
    experiment = _experiment.load("paradigms")
    return sys.modules[experiment.run.__module__]


@pytest.fixture(scope="module")
def beside(paradigms):
    names = ("_draws", "_few_labels", "_few_measure", "_kept", "_paradigm_rows")
    return {name: sys.modules[name] for name in names}


def test_a_file_may_import_its_neighbours_and_leaves_no_path_behind(tmp_path):
    (tmp_path / "beside_it.py").write_text("NUMBER = 7\n")
    (tmp_path / "study.py").write_text(
        "import dataclasses\nfrom beside_it import NUMBER\n"
        "@dataclasses.dataclass(frozen=True)\nclass Config:\n    n: int = NUMBER\n"
        "def run(config, out):\n    return None\n"
    )
    assert _experiment.load(str(tmp_path / "study.py")).config().n == 7
    assert str(tmp_path) not in sys.path


def test_every_replicate_draws_its_own_labelled_rows_each_as_often(beside):
    source = ArraySource({"image": np.arange(20.0)[:, None], "label": np.arange(20)})
    kept = (np.array([3, 5, 8]), np.array([1, 2, 4]))
    draws = beside["_draws"].Draws(source, kept, (2, 5), 4, 0)
    rows = np.stack([draws.rows(step)[0] for step in range(12)])  # (steps, seeds, rows)
    assert rows.shape == (12, 2, 7)
    for seed in range(2):
        labelled, others = rows[:, seed, :2].ravel(), rows[:, seed, 2:].ravel()
        assert np.bincount(labelled, minlength=20)[kept[seed]].tolist() == [8, 8, 8]
        assert set(np.bincount(others, minlength=20)) == {3}
    np.testing.assert_array_equal(draws.rows(7)[0], rows[7])
    assert draws[7]["image"].shape == (2, 7, 1)
    assert not (rows[:, 0, 2:] == rows[:, 1, 2:]).all()


def test_no_label_of_an_unlabelled_row_reaches_an_objective(beside):
    seen = {}

    def loss(network, params, state, batch, key):
        seen.update(batch)
        return jnp.zeros(()), (state, {})

    objective = beside["_few_labels"].parted(jm.core.stateless(loss), 2)
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


def test_mapped_replicates_are_the_ensembles_members(beside):
    network = jm.from_linen(jm.networks.mlp(2, hidden=(3,)))
    learner = jm.learner(
        network, jm.supervised(jm.losses.cross_entropy), jm.train.optimizer("sgd", 0.1, steps=2)
    )
    batch = {"image": jnp.ones((3, 4, 5)), "label": jnp.zeros((3, 4), jnp.int32)}
    mapped = beside["_draws"].replicates(learner, 3, "vmap").init(jax.random.key(1), batch)
    plain = jm.ensemble(learner, 3, own_batches=True).init(jax.random.key(1), batch)
    assert jax.tree.structure(mapped) == jax.tree.structure(plain)
    for a, b in zip(jax.tree.leaves(mapped.params), jax.tree.leaves(plain.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert mapped.step.shape == ()
    assert (jax.random.key_data(mapped.key) == jax.random.key_data(plain.key)).all()


def test_every_row_is_an_objective_for_these_images(paradigms, beside):
    """Traced, not run: a view that a row may not have is told when tracing."""
    train, labels = sys.modules["_few_train"], beside["_few_labels"]
    trunk = jm.from_linen(jm.networks.resnet8())
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

    for name, row in beside["_paradigm_rows"].ROWS.items():
        if row.trunk is not None:
            continue
        found = []
        if row.pretrain is not None:
            setting = train._setting(10)
            found.append(loss(trunk, labels.unlabelled_only(row.pretrain(setting))))
        whole = jm.with_heads(trunk, {"logits": head})
        setting = train._setting(10, (0.5, 0.5))
        found.append(loss(whole, labels.parted(row.objective(setting), 2)))
        assert all(one.shape == () for one in found), name


def test_the_quick_auc_is_the_librarys(beside):
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 4, 60), rng.random((60, 4)).round(1)
    found = beside["_few_measure"].auc(labels, scores)
    assert found == pytest.approx(multiclass_auc(labels, scores).value)
    assert beside["_few_measure"].auc(labels % 3, scores) == pytest.approx(
        multiclass_auc(labels % 3, scores).value
    )  # a class without a case is left out


def test_a_baseline_of_other_settings_is_refused(paradigms, beside, tmp_path):
    store, stored = beside["_kept"].store, beside["_kept"].stored
    config = paradigms.Config()
    store(tmp_path, config, ("steps", "labels"), {"test": np.ones(3)})
    assert stored(tmp_path, config, ("steps", "labels"))["test"].tolist() == [1, 1, 1]
    other = paradigms.Config(steps=7)
    with pytest.raises(ValueError, match=r"other settings: \{'steps'"):
        stored(tmp_path, other, ("steps", "labels"))
    with pytest.raises(ValueError, match="no finished run"):
        stored(tmp_path / "none", config, ("steps",))


def test_a_grids_rows_are_compared_with_its_own_baseline(paradigms, tmp_path):
    folder = lambda config: tmp_path / f"{config.row}-{config.labels}"  # noqa: E731
    linked = paradigms.in_grid(paradigms.Config(row="fixmatch", labels=0.2), folder)
    assert linked.baseline == tmp_path / "supervised-0.2"
    assert paradigms.in_grid(paradigms.Config(), folder).baseline is None


def test_mistakes_are_told(paradigms, beside, tmp_path):
    with pytest.raises(ValueError, match="there are supervised, "):
        paradigms.run(paradigms.Config(row="simclir"), tmp_path)
    with pytest.raises(ValueError, match="--network lite0"):
        paradigms.run(paradigms.Config(row="imagenet"), tmp_path)
    with pytest.raises(ValueError, match="dataset is one of"):
        beside["_few_labels"].read(paradigms.Config(dataset="chestmnist"))
    with pytest.raises(ValueError, match="share in"):
        beside["_few_labels"].read(paradigms.Config(labels=0.0))


def test_packed_nuclei_are_the_bags_they_were(tmp_path):
    mil = sys.modules[_experiment.load("mil").run.__module__]
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (5, 3, 3, 3), np.uint8)
    path = tmp_path / "nuclei.npz"
    kind, sizes = np.array([1, 2, 0, 1, 3]), np.array([2, 3])
    np.savez(path, image=image, kind=kind, centre=np.zeros((5, 2)), sizes=sizes)
    source = mil.packed(path)
    assert [int(bag["label"]) for bag in source.examples] == [0, 1]
    np.testing.assert_array_equal(source[1]["image"], image[2:])


def test_some_instances_of_a_bag_are_real_ones_if_there_are_enough():
    mil = sys.modules[_experiment.load("mil").run.__module__]
    mask = jnp.arange(8) < jnp.array([[5], [2]])
    batch = {"image": jnp.arange(16.0).reshape(2, 8, 1), "bag_mask": mask}
    few = mil.some(jax.random.key(0), batch, 3)
    assert few["bag_mask"].sum(1).tolist() == [3, 2]
    chosen = np.asarray(few["image"])[..., 0]
    assert (chosen[0] < 5).all()
    assert set(chosen[1][np.asarray(few["bag_mask"][1])]) == {8, 9}
    other = mil.some(jax.random.key(1), batch, 3)
    assert not np.array_equal(other["image"][0], few["image"][0])


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
