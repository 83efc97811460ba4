"""`jaxmed train instances` and `predict`, tiny; models of instances by themselves."""

from __future__ import annotations

import csv
import json

import jax
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import jaxmed as jm
from jaxmed import stats
from jaxmed.cli import main
from jaxmed.data import phantoms, read_mask
from jaxmed.detection import InstanceForm
from jaxmed.inference import (
    InstanceRecipe,
    export_model,
    find_instances,
    instance_model,
    load_exported,
    load_model,
    save_model,
)
from jaxmed.networks import plan_unet

FORM = InstanceForm("depths", most=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten pictures of cells with label maps of 16 bits."""
    root = tmp_path_factory.mktemp("cells")
    made = phantoms.cells(10, (40, 36), objects=6, radius=(4, 6), seed=1)
    for name in ("images", "masks"):
        (root / name).mkdir()
    for i, (image, mask) in enumerate(zip(made.arrays["image"], made.arrays["mask"], strict=True)):
        pixels = np.clip(40 + 180 * image[..., 0], 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{i}.png")
        # Numbers with gaps, as other programs leave them.
        Image.fromarray((mask * 300).astype(np.uint16)).save(root / "masks" / f"{i}.png")
    return root


def command(folder, *words):
    return ["train", "instances", "--data", str(folder), *words]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["stars", "flows", "depths"])
def test_a_folder_of_label_maps_is_learned_measured_and_told(folder, tmp_path, form, capsys):
    words = ["--form", form, "--patch", "32", "--features", "8", "--steps", "240", "--debug"]
    assert main([*command(folder, *words), "--out", str(tmp_path / "run")]) == 0
    record = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert record["task"] == "instances"
    assert record["metrics"]["f1"]["value"] > 0.5
    with (tmp_path / "run" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    for row in rows:
        found = read_mask(tmp_path / "run" / row["mask"]).array
        assert int(found.max()) == int(row["found"])
    assert "Images with objects" in (tmp_path / "run" / "report.html").read_text()
    capsys.readouterr()
    one = str(folder / "images" / "0.png")
    assert main(["predict", str(tmp_path / "run"), one, "-o", str(tmp_path / "p")]) == 0
    told = capsys.readouterr().out
    mask = read_mask(tmp_path / "p" / "0_mask.png").array
    assert f"0_mask.png: {mask.max()} object" in told
    true = read_mask(folder / "masks" / "0.png").array
    assert stats.instance_scores([true], [mask], n_resamples=0).f1.value > 0.5


@pytest.mark.slow
def test_volumes_with_thick_slices_are_learned_too(tmp_path):
    made = phantoms.cells(5, (20, 24, 24), objects=5, radius=(3, 5), seed=3).arrays
    grid = np.diag([2.0, 1, 1, 1])
    for name, arrays in (("images", made["image"][..., 0]), ("masks", made["mask"])):
        (tmp_path / "vol" / name).mkdir(parents=True)
        for i, array in enumerate(arrays):
            kept = array.astype(np.float32 if name == "images" else np.int16)
            nib.save(nib.Nifti1Image(kept, grid), tmp_path / "vol" / name / f"v{i}.nii.gz")
    words = ["--patch", "16", "--features", "4", "--rays", "24", "--steps", "6", "--batch", "2"]
    assert main([*command(tmp_path / "vol", *words), "--out", str(tmp_path / "run")]) == 0
    form = load_model(tmp_path / "run").recipe.form
    assert (form.rank, form.rays, form.spacing) == (3, 24, (2.0, 1.0, 1.0))
    image = tmp_path / "vol" / "images" / "v0.nii.gz"
    assert main(["predict", str(tmp_path / "run"), str(image), "-o", str(tmp_path / "p")]) == 0
    mask = read_mask(tmp_path / "p" / "v0_mask.nii.gz")
    assert mask.array.shape == (20, 24, 24)
    np.testing.assert_allclose(mask.affine, grid)


def test_what_cannot_be_trained_is_told(folder, tmp_path, capsys):
    bare = tmp_path / "bare"
    bare.mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(bare / "a.png")
    for words, message in (
        (command(bare), "no masks: put label maps"),
        (command(folder, "--form", "star"), "stars"),
        (command(folder, "--folds", "five"), "--folds"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            try:
                code = main([*words, "--out", str(tmp_path / "no")])
            except SystemExit as stopped:
                code = stopped.code
        assert code == 2
        told = capsys.readouterr()
        assert message in told.out + told.err
        assert not (tmp_path / "no").exists()


def test_masks_that_tell_no_objects_apart_are_refused_or_taken_in_pieces(tmp_path, capsys):
    mask = np.zeros((16, 16), np.uint8)
    mask[2:5, 2:5] = mask[9:12, 9:12] = 255
    image = {f"{i}": 200 * (mask > 0) for i in range(5)}
    write_maps(tmp_path / "cells" / "images", image, np.uint8)
    write_maps(tmp_path / "cells" / "masks", dict.fromkeys(image, mask), np.uint8)
    words = [*command(tmp_path / "cells"), "--out", str(tmp_path / "run")]
    assert main(words) == 2
    assert "--pieces where none touch" in capsys.readouterr().err
    write_maps(tmp_path / "cells" / "masks", dict.fromkeys(image, 0 * mask), np.uint8)
    assert main([*words, "--pieces"]) == 2
    assert "no object in any label map" in capsys.readouterr().err


def known(seen):
    """A network that says of each voxel that its brightness is its depth."""

    def init(key, inputs):
        del key, inputs
        return {}, {}

    def apply(params, state, inputs, *, key=None, train=False):
        del params, key, train
        seen.append(inputs.shape)
        deep = 8 * inputs
        return {"logits": jax.numpy.concatenate([deep, deep - 2], -1)}, state

    return jm.Network(init, apply)


def test_windows_leave_no_seam():
    image = np.zeros((40, 44, 1), np.float32)
    image[4:18, 6:40] = image[22:36, 20:30] = 1.0
    recipe = InstanceRecipe(("grey",), (16, 16), FORM, net=known(seen := []), smallest=1)
    found = find_instances(instance_model(recipe, {}, {}), image)
    assert found.max() == 2
    np.testing.assert_array_equal(found > 0, image[..., 0] > 0)
    assert {shape[1:] for shape in seen} == {(16, 16, 1)}
    with pytest.raises(ValueError, match=r"2 spatial axes and 1 channel\(s\) \(grey\)"):
        find_instances(instance_model(recipe, {}, {}), np.zeros((4, 4, 3)))


def test_a_model_comes_back_from_disk_to_the_bit(tmp_path):
    plan = plan_unet((8, 8), base_features=2)
    recipe = InstanceRecipe(("grey",), (8, 8), FORM, plan, threshold=0.4, smallest=2)
    params, state = jax.jit(recipe.network().init)(jax.random.key(0), np.ones((1, 8, 8, 1)))
    model = instance_model(recipe, params, state)
    save_model(tmp_path, model)
    back = load_model(tmp_path)
    assert back.recipe == recipe
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(back.predict(image), model.predict(image))


def test_a_model_is_exported(tmp_path):
    pytest.importorskip("flatbuffers")
    plan = plan_unet((8, 8), base_features=2)
    recipe = InstanceRecipe(("grey",), (8, 8), FORM, plan)
    params, state = jax.jit(recipe.network().init)(jax.random.key(0), np.ones((1, 8, 8, 1)))
    model = instance_model(recipe, params, state)
    export_model(tmp_path, model, platforms=("cpu",))
    image = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
    served = load_exported(tmp_path).call(image)
    np.testing.assert_allclose(served, model.predict(image), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either plan, of a U-Net, or net"),
        ({"plan": plan_unet((8, 8)), "threshold": 1.0}, "threshold is a probability"),
    ],
)
def test_a_recipe_without_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        InstanceRecipe(("grey",), (8, 8), FORM, **options)


def write_maps(folder, maps, dtype, kind="png"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, labels in maps.items():
        if kind == "nii.gz":
            nib.save(nib.Nifti1Image(labels.astype(dtype), np.eye(4)), folder / f"{name}.nii.gz")
        else:
            Image.fromarray(labels.astype(dtype)).save(folder / f"{name}.{kind}")


@pytest.mark.parametrize("kind", ["png", "tif", "nii.gz"])
def test_anyones_label_maps_are_measured(tmp_path, capsys, kind):
    made = phantoms.cells(4, (40, 36), objects=6, radius=(4, 6), seed=2).arrays["mask"][..., :]
    true = {f"c{i}": np.asarray(labels) for i, labels in enumerate(made)}
    if kind == "nii.gz":
        true = {name: np.stack([labels, labels, 0 * labels], -1) for name, labels in true.items()}
    # One object is missed, one is false, and numbers mean nothing, beyond 8 bits neither.
    found = {name: np.where(labels == labels.max(), 0, labels) for name, labels in true.items()}
    found = {name: np.where(labels > 0, 1000 - labels, 0) for name, labels in found.items()}
    found["c0"][:3, :3] = 1
    write_maps(tmp_path / "true", true, np.uint16, kind)
    write_maps(tmp_path / "found", found, np.uint16, kind)
    if kind != "nii.gz":
        write_maps(tmp_path / "images", true, np.uint8, "png")
    words = ["evaluate", "--task", "instances", "--predictions", str(tmp_path / "found")]
    words += ["--reference", str(tmp_path / "true"), "--out", str(tmp_path / "ev")]
    (tmp_path / "cases.csv").write_text(
        "case,patient,site\nc0,p,a\nc1,p,a\nc2,q,b\nc3,r,b\n", encoding="utf-8"
    )
    words += ["--cases", str(tmp_path / "cases.csv"), "--unit", "patient", "--groups", "site"]
    words += ["--images", str(tmp_path / "images")] if kind != "nii.gz" else []
    assert main(words) == 0
    record = json.loads((tmp_path / "ev" / "metrics.json").read_text())
    names = sorted(true)
    scores = stats.instance_scores(
        [true[n] for n in names], [found[n] for n in names], groups=["p", "p", "q", "r"]
    )
    for name in ("f1", "panoptic_quality", "aggregated_jaccard", "recall"):
        told = record["metrics"][name]
        expected = getattr(scores, name)
        np.testing.assert_allclose(told["value"], expected.value, atol=1e-6)
        np.testing.assert_allclose(told["lower"], expected.lower, atol=1e-6)
    assert scores.recall.value < 1
    page = (tmp_path / "ev" / "report.html").read_text()
    assert "Images with objects" in page
    assert "recall by site" in page  # too few patients for it
    assert "false box an image" not in page


def test_maps_that_are_none_are_told(tmp_path, capsys):
    maps = {"a": np.eye(12, dtype=int) * np.arange(1, 13)}
    write_maps(tmp_path / "true", {**maps, "b": maps["a"]}, np.uint16)
    write_maps(tmp_path / "found", maps, np.uint16)
    words = ["evaluate", "--task", "instances", "--predictions", str(tmp_path / "found")]
    assert main([*words, "--out", str(tmp_path / "ev")]) == 2
    assert "--reference must name" in capsys.readouterr().err
    words += ["--reference", str(tmp_path / "true"), "--out", str(tmp_path / "ev")]
    assert main(words) == 2
    assert "b" in capsys.readouterr().err
    assert main([*words, "--missing", "fail"]) == 0
    assert "f1 at iou 0.5 0.667" in capsys.readouterr().out.casefold()
    write_maps(tmp_path / "found", {"b": np.zeros((8, 8))}, np.uint16)
    assert main(words) == 2
    assert "(8, 8)" in capsys.readouterr().err
    (tmp_path / "found" / "b.png").unlink()
    np.savez(tmp_path / "p.npz", probabilities=np.zeros((2, 12, 12)))
    one = ["--predictions", str(tmp_path / "p.npz"), "--reference", str(tmp_path / "true/a.png")]
    assert main(["evaluate", "--task", "instances", *one, "--out", str(tmp_path / "e")]) == 2
    assert "write a label map" in capsys.readouterr().err


def test_label_maps_taken_for_masks_of_classes_are_noted(tmp_path, capsys):
    maps = {"a": np.eye(30, dtype=int) * np.arange(1, 31)}
    for name in ("true", "found"):
        write_maps(tmp_path / name, maps, np.uint16)
    words = ["--predictions", str(tmp_path / "found"), "--reference", str(tmp_path / "true")]
    assert main(["evaluate", *words, "--out", str(tmp_path / "ev")]) == 0
    assert "give --task instances" in capsys.readouterr().out


def test_models_of_folds_are_averaged():
    recipe = InstanceRecipe(("grey",), (16, 16), FORM, plan_unet((16, 16), base_features=4))
    image = np.random.default_rng(0).normal(size=(1, 16, 16, 1)).astype(np.float32)
    models = [
        instance_model(recipe, *recipe.network().init(jax.random.key(i), image)) for i in range(2)
    ]
    both = jm.inference.average_models(models)
    assert both.recipe.members == 2
    mean = (models[0].predict(image) + models[1].predict(image)) / 2
    np.testing.assert_allclose(both.predict(image), mean, atol=1e-5)


def test_a_plan_of_instances_is_made_told_and_refused(folder, tmp_path, capsys):
    plan = tmp_path / "plan.json"
    words = ["--data", str(folder), "--patch", "32"]
    assert main(["plan", "instances", *words, "--out", str(plan)]) == 0
    made = json.loads(plan.read_text())
    assert made["patch"] == [32, 32]
    assert made["size"] == pytest.approx(5, abs=1)
    assert made["why"]["patch"] == "given"
    train = ["train", "instances", "--data", str(folder), "--out", str(tmp_path / "run")]
    assert main([*train, "--plan", str(plan), "--features", "8"]) == 2
    assert "--plan decides features" in capsys.readouterr().err
    plan.write_text(json.dumps({**made, "channels": ["red", "green", "blue"]}))
    assert main([*train, "--plan", str(plan)]) == 2
    assert "plan anew" in capsys.readouterr().err


@pytest.mark.slow
def test_folds_are_trained_averaged_and_predict(folder, tmp_path):
    out = tmp_path / "run"
    words = ["--form", "depths", "--patch", "32", "--features", "4", "--steps", "6", "--folds", "2"]
    assert main([*command(folder, *words), "--out", str(out)]) == 0
    record = json.loads((out / "metrics.json").read_text())
    assert record["metrics"]["f1"]["n"] == 10  # every image was held out once
    assert load_model(out).recipe.members == 2
    assert load_model(out / "fold_1").recipe.members == 1
    one = str(folder / "images" / "0.png")
    assert main(["predict", str(out), one, "-o", str(tmp_path / "p")]) == 0
