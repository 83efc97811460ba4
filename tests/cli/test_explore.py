"""`jaxmed explore`: a first look at images in folders, and its page."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from jaxmed.cli import main


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two kinds of pictures in two splits; one of train is in test too, a little darker."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, n in (("train", 20), ("test", 12)):
        for i in range(n):
            kind = ("dark", "light")[i % 2]
            path = folder / split / kind / f"{split}{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = rng.integers(0, 90, (12, 14)) + 120 * (i % 2)
            Image.fromarray(picture.astype(np.uint8)).save(path)
    copied = np.asarray(Image.open(folder / "train" / "light" / "train1.png"))
    Image.fromarray(copied - 1).save(folder / "test" / "light" / "test1.png")
    odd = np.tile(np.array([0, 255], np.uint8), (12, 7))
    Image.fromarray(odd).save(folder / "train" / "dark" / "train0.png")
    return folder


def test_clusters_duplicates_and_outliers_are_on_the_page(images, tmp_path, capsys):
    out = tmp_path / "look"
    command = ["explore", str(images), "--size", "12", "--clusters", "2", "3", "-o", str(out)]
    assert main([*command, "--debug"]) == 0
    told = capsys.readouterr().out
    assert "1 near duplicates, 1 across splits" in told
    page = (out / "report.html").read_text()
    for words in ("means nothing", "trustworthiness", "component 1", "1 of them across splits"):
        assert words in page
    assert "http" not in page.replace("http://www.w3.org", "")  # it loads nothing
    with (out / "exploration.csv").open() as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert len(rows) == 32
    twin = next(row for name, row in rows.items() if name.endswith("test1"))
    assert twin["duplicate_of"].endswith("train1")
    isolation = {name: float(row["isolation"]) for name, row in rows.items()}
    assert max(isolation, key=isolation.get).endswith("train0")


def pictures(folder, *, hue):
    """Dark and light pictures, of which one of each is in the wrong folder."""
    rng = np.random.default_rng(0)
    for i in range(40):
        kind = i % 2
        label = ("dark", "light")[1 - kind if i in (4, 5) else kind]
        path = folder / label / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = rng.integers(0, 90, (8, 8)) + hue * kind
        Image.fromarray(picture.astype(np.uint8)).save(path)
    return folder


@pytest.mark.slow
def test_labels_that_contradict_what_is_seen_are_listed(tmp_path, capsys):
    folder = pictures(tmp_path / "images", hue=150)
    command = ["explore", str(folder), "--size", "8", "--clusters", "2", "-o", str(tmp_path / "a")]
    assert main(command) == 0
    assert "2 suspect labels; share of wrong labels" in capsys.readouterr().out
    page = (tmp_path / "a" / "report.html").read_text()
    section = page[page.index('id="labels"') : page.index('id="duplicates"')]
    assert section.count("<img") == 2
    for name in ("light/4", "dark/5"):
        assert name in section


def test_features_that_do_not_tell_classes_apart_suspect_no_label(tmp_path, capsys):
    folder = pictures(tmp_path / "images", hue=0)
    command = ["explore", str(folder), "--size", "8", "--clusters", "2", "-o", str(tmp_path / "a")]
    assert main(command) == 0
    assert "suspect" not in capsys.readouterr().out
    page = (tmp_path / "a" / "report.html").read_text()
    assert "No label is called suspect" in page
    assert 'id="labels"' not in page


def test_what_exploring_refuses(images, tmp_path, capsys):
    assert main(["explore", str(images / "test" / "dark")]) == 2
    assert "a first look needs 24 or more" in capsys.readouterr().err
    assert main(["explore", str(images), "--features", "colours"]) == 2
    assert "pixels, imagenet or the folder of a run" in capsys.readouterr().err
    assert main(["explore", str(images), "--most", "3"]) == 2
    assert main(["explore", str(tmp_path / "nothing")]) == 2
    assert "no such file or folder" in capsys.readouterr().err


def test_features_of_a_run(images):
    import jax
    import jax.numpy as jnp

    from jaxmed import data, inference
    from jaxmed.cli._features import features_of
    from jaxmed.networks import cnn

    recipe = inference.ImageRecipe(
        "binary", ("dark", "light"), ("grey",), (8, 8), cnn(classes=2, features=(3,)),
    )  # fmt: skip
    params, state = recipe.network().init(jax.random.key(0), jnp.ones((1, 8, 8, 1)))
    model = inference.image_model(recipe, params, state)
    folder = images.parent / "run"
    inference.save_model(folder, model)
    source = data.dataset(images, canonical=True)
    found, what = features_of(str(folder), source, size=8)
    assert found.shape == (32, 3)
    assert "run" in what
    prepared = inference.prepare_image(recipe, source.image(5))[None]
    expected = recipe.network().apply(params, state, jnp.asarray(prepared))[0]["features"][0]
    np.testing.assert_allclose(found[5], expected, rtol=1e-4, atol=1e-5)
