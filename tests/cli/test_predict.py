"""`jaxmed predict`: a table of scores, masks of pictures and arrays, bad inputs among good ones."""

from __future__ import annotations

import csv
import dataclasses

import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import jaxmed as jm
from jaxmed import networks
from jaxmed.cli import main
from jaxmed.inference import ImageRecipe, Recipe, image_model, save_model, segmenter

SHAPE = (6, 5)
# Fixed weights, so that what is to be said follows by hand: the logit of `b` is the mean intensity.
MEAN = {"head": {"kernel": jnp.full((30, 2), jnp.array([0.0, 1 / 30])), "bias": jnp.zeros(2)}}
CLASSES = ImageRecipe(
    "binary", ("a", "b"), ("grey",), SHAPE, networks.mlp(2, hidden=()), "linear", (2.0, -1.0)
)


@pytest.fixture
def classifier(tmp_path):
    save_model(tmp_path / "run", image_model(CLASSES, MEAN, {}))
    return str(tmp_path / "run")


@pytest.fixture
def images(tmp_path):
    """Two pictures, a broken one and a colour one in a folder."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, level in (("dark", 0), ("light", 255)):
        Image.fromarray(np.full(SHAPE, level, np.uint8)).save(folder / f"{name}.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_classifier_writes_a_row_an_image(classifier, images, tmp_path, capsys):
    table = tmp_path / "out" / "scores.csv"
    np.savez(tmp_path / "more.npz", np.full((2, *SHAPE), 51, np.uint8))
    command = ["predict", classifier, str(images), str(tmp_path / "more.npz"), "-o", str(table)]
    assert main(command) == 0
    found = rows(table)
    assert [row["case"] for row in found] == ["dark", "light", "more_0", "more_1"]
    expected = [1 / (1 + np.exp(-x)) for x in (-1, 1, -0.6, -0.6)]
    assert [float(row["score_b"]) for row in found] == pytest.approx(expected, abs=1e-6)
    assert [row["predicted"] for row in found] == ["a", "b", "a", "a"]
    assert "4 image(s)" in capsys.readouterr().out


def test_a_bad_input_is_told_and_the_rest_goes_on(classifier, images, tmp_path, capsys):
    (images / "broken.png").write_bytes((images / "dark.png").read_bytes()[:40])
    Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(images / "colour.png")
    command = ["predict", classifier, str(images), str(tmp_path / "absent.png")]
    table = tmp_path / "scores.csv"
    assert main([*command, "-o", str(table)]) == 1
    assert [row["case"] for row in rows(table)] == ["dark", "light"]
    told = capsys.readouterr().err
    for name in ("broken.png", "colour.png", "absent.png"):
        assert sum(name in line for line in told.splitlines()) == 1
    assert "the image has 3" in told
    assert "3 of 5 images could not be predicted" in told
    table.unlink()
    assert main(["predict", classifier, str(images / "broken.png"), "-o", str(table)]) == 2
    assert not table.exists()


def test_other_tasks_have_their_own_columns(tmp_path):
    np.savez(tmp_path / "x.npz", image=np.full(SHAPE, 1.0))
    for task, columns in (
        ("ordinal", ["case", "score_a", "score_b", "predicted"]),
        ("multi-label", ["case", "score_a", "score_b"]),
        ("regression", ["case", "a", "b"]),
    ):
        recipe = dataclasses.replace(CLASSES, task=task, target=(10.0, 50.0))
        save_model(tmp_path / task, image_model(recipe, MEAN, {}))
        table = tmp_path / f"{task}.csv"
        assert (
            main(["predict", str(tmp_path / task), str(tmp_path / "x.npz"), "-o", str(table)]) == 0
        )
        (row,) = rows(table)
        assert list(row) == columns
    assert (float(row["a"]), float(row["b"])) == pytest.approx((50, 60))  # 50 + 10 x the logit


@pytest.fixture
def bright(tmp_path):
    """A segmenter whose logit of `bright` is the intensity, -1 to 1."""
    net = jm.from_linen(networks.Conv(2, 1))
    recipe = Recipe(
        ("background", "bright"), ("grey",), (1.0, 1.0), (8, 8), net=net, normalisation="linear",
        linear=(2.0, -1.0),
    )  # fmt: skip
    weights = {"kernel": jnp.array([[[[0.0, 1.0]]]]), "bias": jnp.zeros(2)}
    save_model(tmp_path / "run", segmenter(recipe, weights, {}))
    return str(tmp_path / "run")


def test_pictures_and_arrays_get_masks_of_their_kind(bright, tmp_path, capsys):
    rng = np.random.default_rng(0)
    arrays = rng.integers(0, 256, (3, 11, 9), np.uint8)
    Image.fromarray(arrays[0]).save(tmp_path / "photo.png")
    np.savez(tmp_path / "stack.npz", train=arrays, other=arrays)
    out = tmp_path / "masks"
    packed = f"{tmp_path / 'stack.npz'}:train"
    command = ["predict", bright, str(tmp_path / "photo.png"), packed, "-o", str(out)]
    assert main([*command, "--debug"]) == 0
    photo = np.asarray(Image.open(out / "photo_mask.png"))
    np.testing.assert_array_equal(photo, arrays[0] > 127)
    with np.load(out / "stack_mask.npz") as file:
        np.testing.assert_array_equal(file["mask"], arrays > 127)
    assert "pixels" in capsys.readouterr().out
    assert main(["predict", bright, str(tmp_path / "stack.npz"), "-o", str(out)]) == 2
    assert "has the arrays train, other: name one as" in capsys.readouterr().err
    assert main(["predict", bright, f"{tmp_path / 'stack.npz'}:test", "-o", str(out)]) == 2
    assert "no array 'test'; it has train, other" in capsys.readouterr().err


def test_masks_of_arrays_are_all_written_or_none(bright, tmp_path, capsys):
    arrays = np.zeros((2, 8, 8), np.float32)
    arrays[1, 0, 0] = np.nan
    np.savez(tmp_path / "x.npz", image=arrays)
    assert main(["predict", bright, str(tmp_path / "x.npz"), "-o", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "x_1 of" in told
    assert "NaN" in told
    assert not (tmp_path / "out" / "x_mask.npz").exists()


def test_some_scans_of_several_are_segmented(tmp_path, capsys):
    net = jm.from_linen(networks.Conv(2, 1))
    recipe = Recipe(
        ("background", "bright"), ("T1",), (1.0,) * 3, (4, 4, 4), net=net, normalisation="linear"
    )
    weights = {"kernel": jnp.array([0.0, 1.0]).reshape(1, 1, 1, 1, 2), "bias": jnp.zeros(2)}
    save_model(tmp_path / "run", segmenter(recipe, weights, {}))
    folder = tmp_path / "scans"
    folder.mkdir()
    image = np.where(np.arange(60).reshape(3, 4, 5) % 2, 2.0, -2.0)
    nib.Nifti1Image(image, np.diag([-1.0, 1, 1, 1])).to_filename(folder / "b.nii.gz")
    (folder / "a.nii.gz").write_text("no scan")
    masks = tmp_path / "masks"
    assert main(["predict", str(tmp_path / "run"), str(folder), "-o", str(masks)]) == 1
    assert sorted(p.name for p in masks.glob("[!.]*")) == ["b_mask.nii.gz", "volumes.csv"]
    np.testing.assert_array_equal(nib.load(masks / "b_mask.nii.gz").dataobj, image > 0)
    assert "a.nii.gz" in capsys.readouterr().err


def test_mistakes_in_what_is_asked(classifier, bright, images, tmp_path, capsys):
    (tmp_path / "none").mkdir()
    for run, arguments, told in (
        (bright, [str(tmp_path / "none")], "none has no image"),
        (bright, [str(images / "dark.png"), "-o", str(images / "dark.png")], "would overwrite it"),
        (bright, [str(images), "-o", str(tmp_path / "one.png")], "name a folder"),
    ):
        assert main(["predict", run, *arguments]) == 2
        assert told in capsys.readouterr().err
    save_model(tmp_path / "run", image_model(CLASSES, MEAN, {}))
    assert main(["predict", classifier, str(images), "-o", str(tmp_path / "a.txt")]) == 2
    assert "written as .csv" in capsys.readouterr().err
    twice = [str(images / "dark.png")] * 2
    assert main(["predict", classifier, *twice, "-o", str(tmp_path / "a.csv")]) == 2
    assert "is named twice" in capsys.readouterr().err


def test_probabilities_uncertainty_and_volumes_of_masks(bright, tmp_path, capsys):
    pixels = np.zeros((9, 8), np.uint8)
    pixels[:3], pixels[3] = 255, 128
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    out = tmp_path / "out"
    command = ["predict", bright, str(tmp_path / "photo.png"), "-o", str(out)]
    assert main([*command, "--probabilities", "--uncertainty", "--mirror"]) == 0
    with np.load(out / "photo_probabilities.npz") as file:
        assert file["probabilities"].shape == (9, 8, 2)
        assert [*file["classes"]] == ["background", "bright"]
        np.testing.assert_allclose(file["probabilities"].sum(-1), 1, atol=1e-3)
        p = float(file["probabilities"][0, 0, 1])
    assert p == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-3)
    unsure = np.asarray(Image.open(out / "photo_uncertainty.tif"))
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    assert unsure[0, 0] == pytest.approx(entropy, abs=1e-3)
    assert unsure[3, 0] == pytest.approx(1, abs=1e-3)  # as bright as dark
    (row,) = rows(out / "volumes.csv")
    assert row == {"case": "photo", "bright_pixels": "32", "all_pixels": "72"}
    # What is there is not predicted again.
    (out / "photo_uncertainty.tif").unlink()
    again = [*command, "--probabilities", "--uncertainty", "--mirror", "--resume"]
    assert main(again) == 0
    assert not (out / "photo_uncertainty.tif").exists()
    assert rows(out / "volumes.csv") == [row]
    assert main([*command, "--sets", "0.9"]) == 2
    assert "--sets is of a classifier" in capsys.readouterr().err


def test_tables_folders_of_channels_and_folders_for_scores(classifier, images, tmp_path, capsys):
    (tmp_path / "t.csv").write_text("file\nimages/dark.png\nimages/light.png\n")
    out = tmp_path / "out"
    assert main(["predict", classifier, str(tmp_path / "t.csv"), "-o", str(out)]) == 0
    assert [row["case"] for row in rows(out / "predictions.csv")] == ["dark", "light"]
    Image.fromarray(np.full(SHAPE, 102, np.uint8)).save(images / "mid_0000.png")
    assert main(["predict", classifier, str(images), "-o", str(out), "--resume"]) == 0
    assert [row["case"] for row in rows(out / "predictions.csv")] == ["dark", "light", "mid"]
    assert main(["predict", classifier, str(images), "-o", str(out), "--mirror", "0"]) == 2
    assert "--mirror is of a segmenter" in capsys.readouterr().err


def test_two_channels_in_files_of_their_own(tmp_path):
    net = jm.from_linen(networks.Conv(2, 1))
    recipe = Recipe(
        ("background", "x"), ("one", "two"), (1.0, 1.0), (8, 8), net=net, normalisation="linear"
    )
    kernel = jnp.array([[[[0.0, 1.0], [0.0, -1.0]]]])
    weights = {"kernel": kernel, "bias": jnp.zeros(2)}
    save_model(tmp_path / "run", segmenter(recipe, weights, {}))
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 255, (2, 8, 9), np.uint8)
    Image.fromarray(first).save(tmp_path / "in" / "c_0000.png")
    Image.fromarray(second).save(tmp_path / "in" / "c_0001.png")
    run, out = str(tmp_path / "run"), tmp_path / "out"
    assert main(["predict", run, str(tmp_path / "in"), "-o", str(out)]) == 0
    found = np.asarray(Image.open(out / "c_mask.png"))
    np.testing.assert_array_equal(found, first > second)
    files = [str(tmp_path / "in" / f"c_000{i}.png") for i in (1, 0)]
    assert main(["predict", run, *files, "-o", str(tmp_path / "named")]) == 0
    found = np.asarray(Image.open(tmp_path / "named" / "c_mask.png"))
    np.testing.assert_array_equal(found, first > second)


def test_calibrated_scores_and_conformal_sets(classifier, images, tmp_path, capsys):
    command = ["predict", classifier, str(images), "-o", str(tmp_path / "s.csv")]
    assert main([*command, "--calibrated"]) == 2
    assert "keeps no scores of held-out images" in capsys.readouterr().err
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    wrong = rng.random(200) < 0.2
    score = np.where(labels ^ wrong, 0.99, 0.01)  # surer than it may be
    np.savez(
        tmp_path / "run" / "held_out.npz", labels=labels, classes=np.array(["a", "b"]),
        scores=np.stack([1 - score, score], 1),
    )  # fmt: skip
    assert main([*command, "--calibrated", "--sets", "0.9"]) == 0
    plain = 1 / (1 + np.exp(-1))
    found = {row["case"]: row for row in rows(tmp_path / "s.csv")}
    assert 0.5 < float(found["light"]["score_b"]) < plain
    # Held-out images of this score are wrong too often for one class: both are in the set.
    assert found["light"]["set"] == "a|b"
    assert main([*command, "--sets", "1.5"]) == 2
    assert "--sets is a probability" in capsys.readouterr().err


def test_a_table_is_read_as_far_as_its_images_are_there(classifier, images, tmp_path, capsys):
    rows_of = ["picture,note", "images/dark.png,a", "images/gone.png,b", "images/dark.png,c", ",d"]
    (tmp_path / "t.csv").write_text("\n".join([*rows_of, "images/light.png,e"]))
    out = tmp_path / "s.csv"
    command = ["predict", classifier, str(tmp_path / "t.csv"), "-o", str(out)]
    assert main(command) == 2
    assert "--columns image=NAME" in capsys.readouterr().err
    assert main([*command, "--columns", "image=picture"]) == 1
    assert [row["case"] for row in rows(out)] == ["dark", "light"]
    told = capsys.readouterr()
    assert "gone.png" in told.err
    assert "1 of 3 images could not be predicted" in told.err
    assert "row 5 names no image" in told.out


def test_masks_that_lie_with_their_images_are_left_out(classifier, images, tmp_path, capsys):
    (tmp_path / "set" / "images").mkdir(parents=True)
    (tmp_path / "set" / "masks").mkdir()
    for name in ("dark", "light"):
        pixels = Image.open(images / f"{name}.png")
        pixels.save(tmp_path / "set" / "images" / f"{name}.png")
        pixels.save(tmp_path / "set" / "masks" / f"{name}.png")
        pixels.save(images / f"{name}_mask.png")
    for folder in (tmp_path / "set", images):
        out = tmp_path / f"{folder.name}.csv"
        assert main(["predict", classifier, str(folder), "-o", str(out)]) == 0
        assert [row["case"] for row in rows(out)] == ["dark", "light"]
        assert "2 masks of images" in capsys.readouterr().out
    # A folder of masks that is named itself is what is meant.
    out = tmp_path / "masks.csv"
    assert main(["predict", classifier, str(tmp_path / "set" / "masks"), "-o", str(out)]) == 0
    assert len(rows(out)) == 2


def test_a_table_that_was_cut_keeps_its_rows_and_goes_on(
    classifier, images, tmp_path, monkeypatch, capsys
):
    from jaxmed.cli.predict import _scores

    out = tmp_path / "s.csv"
    command = ["predict", classifier, str(images), "-o", str(out)]
    read = _scores.read

    def until(given, *options):
        if given.name == "light":
            raise KeyboardInterrupt
        return read(given, *options)

    monkeypatch.setattr(_scores, "read", until)
    assert main(command) == 130
    assert [row["case"] for row in rows(out)] == ["dark"]
    monkeypatch.undo()
    assert main([*command, "--resume"]) == 0
    assert [row["case"] for row in rows(out)] == ["dark", "light"]
