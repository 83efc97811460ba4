"""`jaxmed generate`: files of drawn images, and what is refused."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import jaxmed as jm
from jaxmed import networks
from jaxmed.cli import main
from jaxmed.generative import GenerativeRecipe, edm, flow, load_generative_model
from jaxmed.generative import save_generative_model as save

KEY = jax.random.key(0)


def saved(folder, recipe):
    """A network whose weights are noise: what it draws is noise of its own."""
    params, state = jm.core.as_network(recipe.net).init(KEY, jnp.ones((1, *recipe.shape)))
    rng = np.random.default_rng(0)
    leaves, tree = jax.tree.flatten(params)
    moved = [leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
    save(folder, recipe, jax.tree.unflatten(tree, moved), state)


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run with classes, one without, of colours, and one of volumes."""
    root = tmp_path_factory.mktemp("generate")
    tiny = {"widths": (4,), "attention": (), "groups": 2, "embedding": 8}
    unet = networks.denoiser_unet
    process = {"process": edm(highest=5.0), "steps": 2}
    kinds = {
        "classes": GenerativeRecipe(
            "diffusion", unet(1, classes=2, **tiny), (5, 6, 1), process, ("benign", "malignant")
        ),
        "plain": GenerativeRecipe("diffusion", unet(3, **tiny), (5, 6, 3), process),
        "volumes": GenerativeRecipe(
            "diffusion", unet(1, **tiny), (4, 5, 3, 1), {"process": flow(), "steps": 2},
            spacing=(1.0, 1.0, 3.0),
        ),
    }  # fmt: skip
    for name, recipe in kinds.items():
        saved(root / name, recipe)
    return root


def test_pictures_a_sheet_and_a_note(runs, tmp_path, capsys):
    run, out = runs / "classes", tmp_path / "out"
    assert main(["generate", str(run), "-n", "5", "-o", str(out), "--seed", "3"]) == 0
    assert "5 image(s)" in capsys.readouterr().out
    note = json.loads((out / "generated.json").read_text())
    model = load_generative_model(run)
    assert note["model"] == model.digest()
    assert (note["seed"], note["kind"]) == (3, "diffusion")
    assert [i["label"] for i in note["images"]] == ["benign", "malignant"] * 2 + ["benign"]
    drawn = model.draw(jax.random.key(3), 5, condition={"label": np.arange(5) % 2})
    for image, told in zip(drawn, note["images"], strict=True):
        found = pixels(out / told["file"]) / 255
        np.testing.assert_allclose(found, np.clip(image[..., 0] / 2 + 0.5, 0, 1), atol=0.003)
    sheet = pixels(out / "sheet.png")
    assert sheet.shape == (5 * 4, (5 * 7 - 1) * 4)
    assert sorted(p.name for p in out.iterdir()) == [
        *(f"000{i}.png" for i in range(5)), "generated.json", "sheet.png",
    ]  # fmt: skip


def test_one_class_and_other_steps(runs, tmp_path):
    run = str(runs / "classes")
    for name, label in (("a", "malignant"), ("b", "1")):
        out = tmp_path / name
        options = ["--label", label, "--steps", "3", "--chunk", "2"]
        assert main(["generate", run, "-n", "3", "-o", str(out), *options]) == 0
    notes = [json.loads((tmp_path / name / "generated.json").read_text()) for name in "ab"]
    assert notes[0] == notes[1]
    assert {i["label"] for i in notes[0]["images"]} == {"malignant"}
    assert notes[0]["options"] == {"steps": 3}
    one, two = (pixels(tmp_path / name / "0002.png") for name in "ab")
    np.testing.assert_array_equal(one, two)


def test_volumes_keep_their_voxel_size(runs, tmp_path):
    out = tmp_path / "out"
    assert main(["generate", str(runs / "volumes"), "-n", "2", "-o", str(out)]) == 0
    scan = nib.load(out / "0001.nii.gz")
    assert scan.shape == (4, 5, 3)
    assert scan.header.get_zooms() == (1.0, 1.0, 3.0)
    drawn = load_generative_model(runs / "volumes").draw(jax.random.key(0), 2)
    np.testing.assert_allclose(scan.get_fdata(), drawn[1, ..., 0], rtol=1e-6)
    # The middle plane across the last axis: the first one runs to the right, the second upwards.
    assert pixels(out / "sheet.png").shape == (4 * 5, 4 * (2 * 4 + 1))


def test_colours(runs, tmp_path):
    assert main(["generate", str(runs / "plain"), "-n", "1", "-o", str(tmp_path / "out")]) == 0
    assert pixels(tmp_path / "out" / "0000.png").shape == (5, 6, 3)


@pytest.mark.parametrize(
    ("run", "options", "said"),
    [
        ("plain", ["--label", "benign"], "learned without classes"),
        ("classes", ["--label", "cyst"], "there are 0 (benign), 1 (malignant)"),
        ("classes", ["--label", "2"], "there is no such class"),
        ("classes", ["--guidance", "2"], "learned to draw without a class too"),
        ("classes", ["-n", "0"], "at least 1, got 0"),
        ("classes", ["--steps", "0"], "at least one step"),
        ("nowhere", [], "there is no folder"),
        (".", [], "holds no trained generator"),
    ],
)
def test_what_is_wrong_is_said(run, options, said, runs, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["generate", str(runs / run), "-o", str(out), *options]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_with_other_things_is_left_alone(runs, tmp_path, capsys):
    (tmp_path / "0000.png").write_text("mine")
    assert main(["generate", str(runs / "plain"), "-o", str(tmp_path)]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert (tmp_path / "0000.png").read_text() == "mine"
