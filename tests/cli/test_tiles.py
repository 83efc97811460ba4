"""Whole slides by commands: cut into tiles, trained on, mapped. The page's own lines, tiny."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxmed import data
from jaxmed.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "large-images.md"


def stained(path, shade, size=(80, 120)):
    """A slide of glass with a block of stained tissue, and the block."""
    rng = np.random.default_rng(shade)
    pixels = np.full((*size, 3), 243, np.uint8)
    block = np.zeros(size, bool)
    block[16:64, 24:96] = True
    colour = np.array([shade, 80, 150]) + rng.integers(-20, 20, (int(block.sum()), 3))
    pixels[block] = colour
    data.write_pyramid(path, pixels, mpp=0.5, tile=16)
    return pixels, block


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """Four slides of two kinds with a mask each, their table, and what new ones lie in `new`."""
    root = tmp_path_factory.mktemp("slides")
    (root / "new").mkdir()
    rows = ["image,mask,label"]
    for i in range(4):
        _, block = stained(root / f"s.{i}.ome.tif", 180 + 20 * (i % 2))
        Image.fromarray(block[::2, ::2].astype(np.uint8)).save(root / f"s.{i}.png")
        rows.append(f"s.{i}.ome.tif,s.{i}.png,{'ab'[i % 2]}")
    stained(root / "new" / "p.ome.tif", 190)
    (root / "slides.csv").write_text("\n".join(rows))
    return root


@pytest.mark.slow
def test_the_pages_commands_lead_from_slides_to_a_map(slides, monkeypatch, capsys):
    monkeypatch.chdir(slides)
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    typed = [shlex.split(line[2:]) for block in blocks for line in block.splitlines()]
    assert [words[1] for words in typed] == ["tiles", "train", "predict"]
    for words in typed:
        tiny = [{"256": "16"}.get(word, word) for word in words[1:]]
        more = ["--network", "resnet8", "--epochs", "1"] if tiny[0] == "train" else []
        assert main([*tiny, *more, "--debug"]) == 0, words
    with (slides / "tiles" / "tiles.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["patient"] for row in rows} == {"s.0", "s.1", "s.2", "s.3"}
    assert {row["label"] for row in rows} == {"a", "b"}
    for row in rows[::5]:  # what lies at the place that the table states
        place = np.array([float(row["top_um"]), float(row["left_um"])])
        slide = data.slide(slides / f"{row['slide']}.ome.tif")
        pixels = np.asarray(Image.open(slides / "tiles" / row["image"]))
        np.testing.assert_array_equal(pixels, slide.read((*place, *(place + 8)), 0.5))
        mask = np.asarray(Image.open(slides / "tiles" / row["mask"]))
        np.testing.assert_array_equal(mask, np.asarray(pixels[..., 1] < 150))
    shown = np.asarray(Image.open(slides / "tiles" / "tissue" / "s.0.png"))
    assert 0.3 < (shown > 0).mean() < 0.4

    with (slides / "maps" / "p_tiles.csv").open() as file:
        told = list(csv.DictReader(file))
    drawn = data.slide(slides / "maps" / "p_map.ome.tif")
    assert drawn.channels == 2
    np.testing.assert_allclose(drawn.extent, (40, 60), atol=drawn.mpp)
    for row in told[::4]:
        place = np.array([float(row["top_um"]), float(row["left_um"])])
        inside = drawn.read((*(place + 3), *(place + 5)), 2)
        np.testing.assert_allclose(inside[0, 0], [float(row["score_a"]), float(row["score_b"])],
                                   atol=1e-5)  # fmt: skip
    assert (slides / "maps" / "p_b.png").stat().st_size > 0
    means = (slides / "maps" / "predictions.csv").read_text().splitlines()
    assert means[0] == "case,tiles,score_a,score_b"
    score = np.mean([float(row["score_b"]) for row in told])
    assert float(means[1].rpartition(",")[2]) == pytest.approx(score, abs=1e-6)

    out = slides / "again"
    (slides / "new" / "broken.svs").write_bytes(b"no slide")
    command = ["predict", "runs/tiles", "new", "-o", str(out)]
    assert main(command) == 2
    assert main([*command, "--tile", "16"]) == 1  # the other is mapped
    assert "broken.svs: the slide cannot be read" in capsys.readouterr().err
    assert (out / "p_map.ome.tif").exists()
    assert main(["predict", "runs/tiles", "new/broken.svs"]) == 2
    assert "--tile 256" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("made", "words", "message"),
    [
        ("twice", [], "is named twice"),
        ("empty", [], "has no slide"),
        ("sizeless", [], "--pixel-size 0.25"),
        ("mask", [], "its sides are to each other as 40 to 60"),
        ("glass", [], "holds 50% of tissue"),
        ("there", [], "holds tiles already"),
        ("float", [], "pictures of 8 bits"),
    ],
)
def test_what_cannot_be_cut_is_refused_by_name(tmp_path, capsys, made, words, message):
    stained(tmp_path / "a.ome.tif", 180, size=(40, 60))
    given, out = [tmp_path / "a.ome.tif"], tmp_path / "out"
    if made == "twice":
        given *= 2
    elif made == "empty":
        (tmp_path / "none").mkdir()
        given = [tmp_path / "none"]
    elif made == "sizeless":
        Image.new("RGB", (60, 40)).save(tmp_path / "b.tif")
        given = [tmp_path / "b.tif"]
    elif made == "mask":
        Image.new("L", (40, 40)).save(tmp_path / "m.png")
        (tmp_path / "t.csv").write_text("image,mask\na.ome.tif,m.png")
        given = [tmp_path / "t.csv"]
    elif made == "glass":
        data.write_pyramid(tmp_path / "a.ome.tif", np.full((40, 60, 3), 243, np.uint8), mpp=0.5)
    elif made == "there":
        out.mkdir()
        (out / "tiles.csv").touch()
    else:
        data.write_pyramid(tmp_path / "a.ome.tif", np.ones((40, 60, 3), np.float32), mpp=0.5)
    assert main(["tiles", *map(str, given), "-o", str(out), "--size", "16", *words]) == 2
    assert message in capsys.readouterr().err


def test_slides_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for who in ("p1", "p2"):
        (tmp_path / who).mkdir()
        stained(tmp_path / who / "s.1.ome.tif", 180)
    slides = [data.slide(tmp_path / who / "s.1.ome.tif") for who in ("p1", "p2")]
    source = data.tiles(slides, 16, 1.0)
    assert set(source.groups) == {"p1_s.1", "p2_s.1"}
    assert len(set(source.case_ids)) == len(source)


def test_an_executor_cuts_the_same_tiles(slides, tmp_path, engine):
    options = ["tiles", str(slides / "slides.csv"), "--size", "16", "-o"]
    for name, more in (("here", []), ("there", ["--executor", "local", "--workers", "3"])):
        assert main([*options, str(tmp_path / name), *more]) == 0
    assert engine.last.most == 3
    here, there = tmp_path / "here", tmp_path / "there"
    files = [path.relative_to(here) for path in sorted(here.rglob("*.*"))]
    assert len(files) > 40
    assert files == [path.relative_to(there) for path in sorted(there.rglob("*.*"))]
    for file in files:
        assert (here / file).read_bytes() == (there / file).read_bytes()
