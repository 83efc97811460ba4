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


def tensors_of_torchvision():
    """Weights of a DenseNet in torchvision's names, of one block, for 3 channels and 2 classes."""
    rng = np.random.default_rng(0)
    shapes = {}

    def norm(name, width):
        shapes.update({f"{name}.{part}": (width,) for part in
                       ("weight", "bias", "running_mean", "running_var")})  # fmt: skip

    shapes["features.conv0.weight"] = (8, 3, 7, 7)
    norm("features.norm0", 8)
    for block, width in ((1, 8), (2, 6), (3, 5), (4, 4)):
        layer = f"features.denseblock{block}.denselayer1"
        norm(f"{layer}.norm1", width)
        shapes[f"{layer}.conv1.weight"] = (16, width, 1, 1)
        norm(f"{layer}.norm2", 16)
        shapes[f"{layer}.conv2.weight"] = (4, 16, 3, 3)
        if block < 4:
            norm(f"features.transition{block}.norm", width + 4)
            shapes[f"features.transition{block}.conv.weight"] = ((width + 4) // 2, width + 4, 1, 1)
    norm("features.norm5", 8)
    shapes |= {"classifier.weight": (2, 8), "classifier.bias": (2,)}
    return {
        name: np.abs(rng.normal(1, 0.1, shape)).astype(np.float32)
        if "norm" in name
        else (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)
        for name, shape in shapes.items()
    }


@pytest.fixture(scope="module")
def densenet(tmp_path_factory):
    path = tmp_path_factory.mktemp("densenet") / "weights.npz"
    np.savez(path, **tensors_of_torchvision())
    return str(path)


def test_channels_are_normalised_as_the_library_does(densenet, tmp_path, capsys):
    from PIL import Image

    from jaxmed.data import read_image

    out = tmp_path / "model"
    given = [densenet, "--as", "torchvision:densenet", "--shape", 32, 32]
    assert convert(*given, "-o", out, "--channels", "red", "green", "blue") == 0
    assert "mean 0.485, 0.456, 0.406 and deviation 0.229, 0.224, 0.225 (torchvision's own)" in (
        capsys.readouterr().out
    )
    model = inference.load_model(out)
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    ready = inference.prepare_image(model.recipe, read_image(tmp_path / "a.png"))
    wanted = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(ready, wanted, atol=1e-5)
    # A grey image is repeated first, then each channel has its own mean; others are as given.
    words = ["--channels", "grey", "--mean", 0.5, "--sd", 0.25, 0.5, 1]
    assert convert(*given, "-o", tmp_path / "grey", *words) == 0
    recipe = inference.load_model(tmp_path / "grey").recipe
    Image.fromarray(pixels[..., 0]).save(tmp_path / "g.png")
    ready = inference.prepare_image(recipe, read_image(tmp_path / "g.png"))
    grey = pixels[..., :1] / 255 - 0.5
    np.testing.assert_allclose(ready, grey / [0.25, 0.5, 1], atol=1e-5)
    assert convert(*given, "-o", tmp_path / "z", "--normalisation", "zscore") == 0
    assert inference.load_model(tmp_path / "z").recipe.normalisation == "zscore"


def test_normalisations_that_contradict_each_other_are_refused(densenet, tmp_path, capsys):
    given = [densenet, "--as", "torchvision:densenet", "-o", tmp_path / "no"]
    for words, told in (
        (["--mean", 1], "--mean and --sd belong together"),
        (["--mean", 0, 1, "--sd", 1], "--mean is a number, or one for each of the 3 channels"),
        (["--mean", 0, "--sd", 0], "--sd is a number, or one for each of the 3 channels, above 0"),
        (["--mean", 0, "--sd", 1, "--linear", 1, 0], "--linear and --mean say the same"),
        (["--mean", 0, "--sd", 1, "--normalisation", "unit"], "--mean is of the linear"),
    ):
        assert convert(*given, *words) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


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
