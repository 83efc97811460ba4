"""The experiment on few labelled scans: what its rows see, and how they are compared."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxmed.experiments._common.scans import Scans

import jaxmed as jm
from jaxmed.augment import chain
from jaxmed.cli import main
from jaxmed.cli.runs import _experiment
from jaxmed.core import stateless
from jaxmed.data import in_memory, phantoms, to_space

TINY = "--scans 2 --seeds 2 --steps 2 --patch 8 8 8 --features 2 --folds 3"


@pytest.fixture(scope="module")
def few():
    return _experiment.load("few_scans").module


@pytest.fixture
def scans():
    source = in_memory(phantoms.segmentation(9, (10, 9, 11), classes=3))
    return Scans(source, None, source, [])


def test_each_seed_keeps_other_masks_and_no_row_sees_more(few, scans):
    config = few.Config(scans=3)
    kept = [few.labelled_scans(config, scans, "fixmatch", seed).tolist() for seed in range(4)]
    assert all(len(set(one)) == 3 for one in kept)
    assert len({tuple(one) for one in kept}) > 1
    assert kept[1] == few.labelled_scans(config, scans, "supervised", 1).tolist()
    assert len(few.labelled_scans(config, scans, "all_scans", 0)) == 9


def test_a_batch_has_masks_of_labelled_patches_alone(few, scans):
    config = few.Config(scans=2, batch=2, unlabelled=3, patch=(8, 8, 8))
    batches = few.patches(config, scans, "mean_teacher", 0)
    batch = batches[5]
    assert {"image", "mask", "weight", "unlabelled"} <= set(batch)
    assert batch["image"].shape == (2, 8, 8, 8, 1)
    assert batch["unlabelled"].shape == (3, 8, 8, 8, 1)
    # Where an unlabelled patch lies does not depend on masks.
    blank = [{**scans.train[i], "mask": np.zeros((10, 9, 11), int)} for i in range(9)]
    other = few.patches(config, scans._replace(train=blank), "mean_teacher", 0)
    np.testing.assert_array_equal(other[5]["unlabelled"], batch["unlabelled"])


def test_views_of_a_patch_agree_voxel_by_voxel(few):
    setting = few.setting(10)
    for view in (setting.weak, setting.strong):
        assert not any(hasattr(step, "coordinates") for step in view.steps)
    moving = chain(jm.augment.flip(0))
    nothing = stateless(lambda network, params, state, batch, key: (jnp.zeros(()), (state, {})))
    row = few.ROWS["fixmatch"].objective(few.Setting(10, nothing, None, moving))
    network = jm.from_functions(lambda key, x: {}, lambda params, x: {"logits": x})
    batch = {"image": jnp.ones((1, 4, 4, 4, 2)), "mask": jnp.zeros((1, 4, 4, 4), int)}
    batch["unlabelled"] = batch["image"]
    with pytest.raises(ValueError, match="move voxels"):
        row.loss(network, *[{"net": {}, "obj": {"objective": {}}}] * 2, batch, jax.random.key(0))


def test_an_image_is_turned_with_its_mask_and_apart_from_the_unlabelled_one(few):
    ball = np.zeros((1, 12, 12, 12, 1), np.float32)
    ball[:, 2:6, 3:9, 4:8] = 1
    batch = {"image": ball, "mask": ball[..., 0].astype(int), "unlabelled": ball}
    found = few.turned(jax.random.key(1), batch)
    inside = np.asarray(found["image"])[..., 0] > 0.5
    agree = (inside == (np.asarray(found["mask"]) == 1)).mean()
    assert agree > 0.98
    assert np.abs(found["image"] - ball).max() > 0.5
    assert np.abs(found["image"] - found["unlabelled"]).max() > 0.1


def test_a_difference_is_paired_by_seed_and_scan(few):
    rng = np.random.default_rng(0)
    base = rng.uniform(0.4, 0.8, (3, 20, 2))
    found = few.measure(base + 0.1, base, ("head", "tail"))
    assert found["dice/difference"].value == pytest.approx(0.1)
    assert found["dice/head/difference"].upper == pytest.approx(0.1, abs=1e-6)
    assert found["dice/tail"].value == pytest.approx(base[..., 1].mean() + 0.1)
    assert "dice/difference" not in few.measure(base, None, ("head", "tail"))


def test_a_grids_rows_are_compared_with_its_own_baseline(few, tmp_path):
    folder = lambda config: tmp_path / config.row  # noqa: E731
    assert few.in_grid(few.Config(row="fixmatch"), folder).baseline == tmp_path / "supervised"
    assert few.in_grid(few.Config(), folder).baseline is None


@pytest.mark.slow
def test_mistakes_are_told(few, hippocampus, tmp_path):
    with pytest.raises(ValueError, match="there are supervised, "):
        few.run(few.Config(row="fixmach"), tmp_path)
    with pytest.raises(ValueError, match="scans is 1 to 4, got 5"):
        few.run(few.Config(data=hippocampus.data, scans=5, folds=3), tmp_path)


def test_what_is_known_holds_in_the_patients_axes_however_a_file_is_turned(few, hippocampus):
    config = few.Config(data=hippocampus.data, folds=3, patch=(8, 8, 8), features=2)
    cases = few.read(config, depth=1).held_out
    assert len({case.on_file.affine[0, 0] != 0 for case in cases}) == 2  # one is stored turned
    for case in cases:
        mask = np.zeros(case.scan.space.shape, np.int32)
        mask[3:6, 2:5, 3:6], mask[3:6, 6:9, 3:6] = 2, 1  # the posterior part behind the other
        swapped = (3 - mask) * (mask > 0)
        on_file = [to_space(one, case.scan.affine, case.scan.file) for one in (mask, swapped)]
        assert [few.breaks(case, one) for one in on_file] == [False, True]


@pytest.mark.slow
def test_masks_that_are_mended_break_nothing(few, hippocampus, tmp_path):
    out = tmp_path / "run"
    command = ["train", "few_scans", "--row", "anatomy", "--deduce", "--data"]
    assert main([*command, str(hippocampus.data), *TINY.split(), "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert metrics["broken"]["value"] == 0
    assert {"dice/difference", "broken/difference"} <= set(metrics)


@pytest.mark.slow
@pytest.mark.parametrize("row", ["mean_teacher", "fixmatch", "cross_pseudo"])
def test_a_row_runs_from_the_command_line(row, hippocampus, tmp_path):
    out = tmp_path / "run"
    command = ["train", "few_scans", "--row", row, "--data", str(hippocampus.data)]
    assert main([*command, *TINY.split(), "--out", str(out), "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert {"dice", "dice/difference", "dice/box", "dice/box/difference"} <= set(metrics)
    assert metrics["dice"]["n"] == 2
    assert "<svg" in (out / "report.html").read_text()
