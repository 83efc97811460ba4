"""`jaxmed convert`: a published file becomes a folder that predicts."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from jaxmed import cli, inference

STORED = Path(__file__).parents[1] / "networks" / "stored"
FILE = str(STORED / "segresnet.npz")
GIVEN = [FILE, "--as", "monai:SegResNet", "--option", "groups=2"]


def convert(*words):
    return cli.main(["convert", *map(str, words)])


def test_a_folder_that_loads_and_predicts(tmp_path, capsys):
    out = tmp_path / "model"
    assert convert(*GIVEN, "-o", out, "--shape", 8, 6, "--classes", "background", "a", "b") == 0
    said = capsys.readouterr().out
    assert "SegResNet of 2,171 parameters" in said
    assert "--normalisation" in said
    model = inference.load_segmenter(out)
    assert model.recipe.classes == ("background", "a", "b")
    answer = np.load(STORED / "segresnet_answer.npz")
    wanted = jax.nn.softmax(answer["logits"])
    np.testing.assert_allclose(model.predict(answer["image"]), wanted, atol=1e-5)
    # A folder that holds a model is not written over.
    assert convert(*GIVEN, "-o", out) == 2
    assert "holds a model already" in capsys.readouterr().err


@pytest.mark.slow
def test_what_was_converted_segments_a_picture(tmp_path):
    from PIL import Image

    out = tmp_path / "model"
    assert convert(*GIVEN, "-o", out, "--shape", 16, 16, "--sigmoid") == 0
    picture = tmp_path / "p.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30), np.uint8)).save(picture)
    assert cli.main(["predict", str(out), str(picture), "-o", str(tmp_path / "masks")]) == 0
    (mask,) = [p for p in (tmp_path / "masks").iterdir() if p.suffix == ".png"]
    assert np.asarray(Image.open(mask)).shape[:2] == (20, 30)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--as LIBRARY:NETWORK and -o FOLDER"),
        (["none.pth", "--as", "monai:VNet", "-o", "x"], "there is no file none.pth"),
        ([FILE, "--as", "monai:VNet", "-o", "x"], "not of monai:VNet"),
        ([*GIVEN, "-o", "x", "--option", "groups"], "--option is name=value"),
        ([*GIVEN, "-o", "x", "--shape", "0", "8"], "patch is a number of voxels, 1 or more"),
        ([*GIVEN, "-o", "x", "--task", "binary"], "--task is of a classifier"),
        (
            [FILE, "--as", "monai:SegResNet", "-o", "x", "--option", "groups=two"],
            "cannot be made with groups='two'",
        ),
        ([*GIVEN, "-o", "x", "--shape", "8"], "--shape: the network has 2 axes, got 1"),
        ([*GIVEN, "-o", "x", "--channels", "a", "b"], "--channels: the network takes 1, got a, b"),
        ([*GIVEN, "-o", "x", "--classes", "a", "b"], "--classes: the network has 3 with the back"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert convert(*words) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_networks_are_listed(capsys):
    assert convert("--list") == 0
    said = capsys.readouterr().out
    assert "monai:SwinUNETR" in said
    assert "--option merging=" in said


def test_weights_that_are_no_numbers_are_refused(tmp_path, capsys):
    with np.load(FILE) as arrays:
        tensors = dict(arrays)
    first = next(name for name, value in tensors.items() if value.dtype.kind == "f")
    tensors[first] = np.full_like(tensors[first], np.nan)
    np.savez(tmp_path / "diverged.npz", **tensors)
    file = str(tmp_path / "diverged.npz")
    assert convert(file, *GIVEN[1:], "-o", tmp_path / "model", "--shape", 8, 6) == 2
    assert f"{first} holds numbers that are not finite" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
