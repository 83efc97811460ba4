"""`jaxmed predict --resume` never mixes what two models say."""

from __future__ import annotations

import csv
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxmed as jm
from jaxmed import networks
from jaxmed.cli import main
from jaxmed.inference import ImageRecipe, Recipe, image_model, save_model, segmenter

SHAPE = (6, 8)


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """Two segmenters of pictures, of which one marks everything, and two classifiers."""
    root = tmp_path_factory.mktemp("runs")
    recipe = Recipe(
        ("background", "bright"), ("grey",), (1.0, 1.0), SHAPE,
        net=jm.from_linen(networks.Conv(2, 1)), normalisation="linear", linear=(1.0, 0.0),
    )  # fmt: skip
    for name, bias in (("a", 0.0), ("b", 9.0)):
        weights = {"kernel": jnp.array([[[[0.0, 1.0]]]]), "bias": jnp.array([0.1, bias])}
        save_model(root / name, segmenter(recipe, weights, {}))
    scored = ImageRecipe(
        "binary", ("dark", "light"), ("grey",), SHAPE, networks.mlp(2, hidden=()),
        normalisation="linear", linear=(1.0, 0.0),
    )  # fmt: skip
    params, state = scored.network().init(jax.random.key(0), jnp.ones((1, *SHAPE, 1)))
    for name, factor in (("c", 1.0), ("d", -1.0)):
        other = jax.tree.map(lambda leaf, f=factor: f * leaf, params)
        save_model(root / name, image_model(scored, other, state))
    (root / "in").mkdir()
    for k in (0, 1, 2):
        pixels = np.full(SHAPE, 20 * k, np.uint8)
        pixels[:, :4] = 200
        Image.fromarray(pixels).save(root / "in" / f"{k}.png")
    return root


def marked(out):
    return [int(np.asarray(Image.open(out / f"{k}_mask.png")).sum()) for k in range(3)]


def test_masks_of_another_model_are_made_anew_and_those_of_this_one_stay(there, tmp_path, capsys):
    one, other = ([there / name, there / "in", "-o", tmp_path, "--resume"] for name in "ab")
    say = lambda words: main(["predict", *map(str, words)])  # noqa: E731
    assert say(one) == 0
    first = marked(tmp_path)
    assert first[0] < 48
    before = (tmp_path / "0_mask.png").stat().st_mtime_ns
    (tmp_path / "1_mask.png").unlink()
    capsys.readouterr()
    assert say(one) == 0
    assert (tmp_path / "0_mask.png").stat().st_mtime_ns == before
    assert "anew" not in capsys.readouterr().out
    assert marked(tmp_path) == first
    assert say(other) == 0
    assert marked(tmp_path) == [48, 48, 48]
    assert capsys.readouterr().out.count("was not made by this model") == 1


def test_a_call_that_was_cut_leaves_no_masks_of_the_earlier_model(there, tmp_path, monkeypatch):
    from jaxmed.cli.predict import _masks

    command = ["predict", str(there / "a"), str(there / "in"), "-o", str(tmp_path)]
    assert main(command) == 0
    for path in tmp_path.iterdir():  # as if some time ago
        os.utime(path, (1e9, 1e9))
    command[1] = str(there / "b")
    write = _masks._write_mask

    def until(target, *rest):
        if target.name.startswith("1"):
            raise KeyboardInterrupt
        write(target, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(_masks, "_write_mask", until)
        assert main(command) == 130
    assert main([*command, "--resume"]) == 0
    assert marked(tmp_path) == [48, 48, 48]


def test_rows_of_another_model_are_not_kept_in_a_table(there, tmp_path):
    def scores(run):
        command = ["predict", str(there / run), str(there / "in"), "-o", str(tmp_path), "--resume"]
        assert main(command) == 0
        with (tmp_path / "predictions.csv").open() as file:
            return [float(row["score_light"]) for row in csv.DictReader(file)]

    first = scores("c")
    np.testing.assert_allclose(scores("d"), 1 - np.array(first), atol=1e-6)
    assert scores("c") == first


def test_two_predictions_never_share_a_folder(there, tmp_path, capsys):
    import fcntl

    (tmp_path / "out").mkdir()
    command = ["predict", str(there / "a"), str(there / "in")]
    with open(tmp_path / "out" / ".lock", "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as another process does
        assert main([*command, "-o", str(tmp_path / "out")]) == 2
        assert "out is in use by another process" in capsys.readouterr().err
    assert main([*command, "-o", str(tmp_path / "out")]) == 0
