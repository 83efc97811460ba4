"""`jaxmed explain`: maps of a trained model's answers, tests of them, and a page."""

from __future__ import annotations

import csv
import dataclasses
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from jaxmed import explain as ex
from jaxmed.cli import main
from jaxmed.data import read_image
from jaxmed.inference import (
    ImageRecipe,
    Recipe,
    average_models,
    image_model,
    load_model,
    prepare_image,
    save_model,
    segmenter,
)
from jaxmed.networks import cnn

RNG = np.random.default_rng(0)


def model_of(recipe, seed=0):
    shape = (1, *recipe.shape, recipe.inputs)
    params, state = recipe.network().init(jax.random.key(seed), jnp.ones(shape))
    return image_model(recipe, params, state)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier of pictures, one of two networks, pictures, and masks."""
    root = tmp_path_factory.mktemp("explain")
    recipe = ImageRecipe(
        "binary", ("no", "yes"), ("grey",), (12, 10), cnn(2, features=(3, 4), norm="none")
    )
    save_model(root / "run", model_of(recipe))
    save_model(root / "two", average_models([model_of(recipe, seed) for seed in (0, 1)]))
    for name in ("a", "b", "c"):
        pixels = RNG.integers(0, 255, (24, 20), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{name}.png")
        mask = np.zeros((24, 20), np.uint8)
        mask[4:12, 6:16] = 255
        Image.fromarray(mask).save(root / f"{name}_mask.png")
    return root


def test_maps_tests_and_a_page_are_written(folder, capsys):
    pictures = [str(folder / f"{name}.png") for name in ("a", "b", "c")]
    masks = [str(folder / f"{name}_mask.png") for name in ("a", "b", "c")]
    out = folder / "out"
    command = ["explain", str(folder / "run"), *pictures, "-o", str(out), "--masks", *masks]
    assert main([*command, "--methods", "gradient", "grad-cam", "--target", "yes", "--debug"]) == 0
    assert "3 image(s), 2 method(s)" in capsys.readouterr().out
    model = load_model(folder / "run")
    image = prepare_image(model.recipe, read_image(pictures[1]))
    with np.load(out / "b.npz") as file:
        np.testing.assert_array_equal(file["image"], image)
        want = ex.gradient(None, model.recipe.network(), model.params, model.state, image[None], 1)
        np.testing.assert_allclose(file["gradient"], want[0].sum(-1), rtol=1e-3, atol=1e-5)
        assert file["grad_cam"].shape == (12, 10)
    with (out / "explanations.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [(r["case"], r["method"]) for r in rows[:3]] == [
        ("a", "gradient"), ("a", "grad-cam"), ("b", "gradient"),
    ]  # fmt: skip
    share = (np.asarray(Image.open(masks[0]))[1::2, 1::2] > 0).mean()
    np.testing.assert_allclose([float(r["chance"]) for r in rows], share, rtol=1e-5)
    assert all(-1 <= float(r["random network"]) <= 1 for r in rows)
    page = (out / "report.html").read_text()
    for words in (
        "Tests of the maps", "What a map is, and is not", "as coarse as that layer",
        "moved by a voxel", "precision in mask", "jaxmed explain", "yes, probability",
    ):  # fmt: skip
        assert words in page, words
    assert "http" not in page.replace("http://www.w3.org", "")  # it loads nothing


def test_several_networks_have_the_mean_of_their_maps(folder):
    out = folder / "two_out"
    command = ["explain", str(folder / "two"), str(folder / "a.png"), "-o", str(out)]
    assert main([*command, "--methods", "gradient", "--no-tests", "--target", "no", "--debug"]) == 0
    model = load_model(folder / "two")
    image = prepare_image(model.recipe, read_image(folder / "a.png"))[None]
    maps = []
    for member in range(2):
        params, state = jax.tree.map(lambda x, m=member: x[m], (model.params, model.state))
        maps.append(ex.gradient(None, model.recipe.network(), params, state, image, 0))
    with np.load(out / "a.npz") as file:
        np.testing.assert_allclose(
            file["gradient"], np.mean(maps, 0)[0].sum(-1), rtol=1e-3, atol=1e-5
        )
    assert "Tests of the maps" not in (out / "report.html").read_text()


@pytest.mark.parametrize("members", [1, 2])
def test_a_structure_is_explained_about_its_middle(folder, members):
    recipe = Recipe(
        ("background", "spot"), ("mr",), (0.0, 0.0, 0.0), (6, 6, 4), net=nn.Dense(2),
        normalisation="linear", members=members,
    )  # fmt: skip
    params = {"kernel": jnp.array([[-1.0, 1.0]]), "bias": jnp.array([1.0, -1.0])}
    if members > 1:
        params = jax.tree.map(lambda x: jnp.stack([x] * members), params)
    run = folder / f"spots{members}"
    save_model(run, segmenter(recipe, params, {}))
    volume = np.zeros((16, 14, 9), np.float32)
    volume[9:12, 7:10, 3:6] = 5
    nib.save(nib.Nifti1Image(volume, np.eye(4)), folder / "scan.nii.gz")
    out = folder / f"spot_out{members}"
    command = ["explain", str(run), str(folder / "scan.nii.gz"), "-o", str(out)]
    assert main([*command, "--methods", "occlusion", "--no-tests", "--debug"]) == 0
    with np.load(out / "scan.npz") as file:
        assert file["image"].shape == (6, 6, 4, 1)
        assert (file["image"] > 1).sum() == 27  # the whole structure is in the patch
        assert (file["occlusion"][file["image"][..., 0] > 1] > 0).all()
    assert "spot, 27 voxels" in (out / "report.html").read_text()


def test_a_cascades_last_network_owes_some_of_its_map_to_the_mask_before(folder):
    """Of a linear network the shares of image and mask are those of its weights."""
    first = Recipe(("background", "spot"), ("mr",), (0.0, 0.0), (6, 6), net=nn.Dense(2),
                   normalisation="linear")  # fmt: skip
    before = {"kernel": jnp.array([[-1.0, 1.0]]), "bias": jnp.array([1.0, -1.0])}
    weights = {"kernel": jnp.array([[-1.0, 1.0], [-3.0, 3.0]]), "bias": jnp.array([1.0, -1.0])}
    recipe = dataclasses.replace(first, cascade=True)
    run = folder / "cascade"
    save_model(run, segmenter(recipe, weights, {}, before=segmenter(first, before, {})))
    picture = np.zeros((14, 16), np.float32)
    picture[7:10, 9:12] = 2
    np.save(folder / "flat.npy", picture)
    out = folder / "cascade_out"
    command = ["explain", str(run), str(folder / "flat.npy"), "-o", str(out), "--no-tests"]
    assert main([*command, "--methods", "gradient", "integrated-gradients", "--debug"]) == 0
    with np.load(out / "flat.npz") as file:
        image, mask = np.moveaxis(file["image"], -1, 0)
        np.testing.assert_array_equal(mask, image > 1)
        assert mask.sum() == 9
        for name in ("", "_of_the_mask_before"):
            np.testing.assert_array_equal(file[f"integrated_gradients{name}"] != 0, mask > 0)
    with (out / "explanations.csv").open(newline="") as file:
        rows = {row["method"]: float(row["mask before"]) for row in csv.DictReader(file)}
    assert rows == {"gradient": pytest.approx(0.75), "integrated-gradients": pytest.approx(0.6)}
    page = (out / "report.html").read_text()
    assert "The same map, on the masks that the network before found." in page


def test_an_interval_of_a_share_is_one_of_shares():
    from jaxmed.cli.explain._maps import in_words

    told = in_words(
        {"gradient": {"pointing": np.array([0.0, 1.0]), "chance": np.array([0.2, 0.9])}}
    )
    for text in told["gradient"].values():
        numbers = [float(n) for n in re.findall(r"-?\d\.\d+", text)]
        assert 0 <= numbers[1] < numbers[0] < numbers[2] <= 1


def test_mistakes_are_told_in_a_line(folder, capsys):
    command = ["explain", str(folder / "run"), str(folder / "a.png"), "-o", str(folder / "bad")]
    for words, told in (
        (["--methods", "magic"], "there is no 'magic'; there are gradient"),
        (["--target", "perhaps"], "no output 'perhaps'; there are no, yes"),
        (["--masks", str(folder / "a.png"), str(folder / "b.png")], "one mask for each of the 1"),
        (["--masks", str(folder / "run" / "model.json")], "model.json"),
    ):
        assert main([*command, *words]) == 2
        assert told in capsys.readouterr().err
    assert not (folder / "bad").exists()
    volume = str(folder / "scan.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4)), volume)
    assert main(["explain", str(folder / "run"), volume, "-o", str(folder / "bad")]) == 2
    assert not (folder / "bad").exists()
