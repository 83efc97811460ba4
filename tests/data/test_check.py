"""What `data.check` must not let pass: one fault in a set that is else right, and its name."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from jaxmed import data
from jaxmed.cli import main

MASK = np.zeros((8, 9), np.uint8)
MASK[2:5, 3:6] = 1
RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    """Three images and masks without a fault."""
    for i in range(3):
        picture(tmp_path / f"{i}.png")
        Image.fromarray(np.roll(MASK, i, 0)).save(tmp_path / f"m{i}.png")
    return tmp_path


def picture(path, shape=(8, 9)):
    Image.fromarray(RNG.integers(0, 255, shape, dtype=np.uint8)).save(path)


def found(folder, head, *rows, **options):
    """The faults of a table, as (file, rule)."""
    path = folder / "table.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return [(f.file.rpartition("/")[2], f.rule) for f in data.check(path, **options)]


def test_a_table_without_a_fault_has_none(folder):
    rows = [f"{i}.png,m{i}.png,{'ab'[i % 2]},p{i},{('train', 'val', 'test')[i]}" for i in range(3)]
    assert found(folder, "image,mask,label,patient,split", *rows) == []


def test_images_of_another_rank_channels_or_size(folder):
    pages = [Image.fromarray(RNG.integers(0, 9, (8, 9), dtype=np.uint8)) for _ in range(4)]
    pages[0].save(folder / "stack.tif", save_all=True, append_images=pages[1:])
    picture(folder / "colour.png", (8, 9, 3))
    picture(folder / "square.png", (8, 8))
    rows = ["0.png,a", "stack.tif,b", "1.png,a", "colour.png,a"]
    assert found(folder, "image,label", *rows) == [("stack.tif", "shape"), ("colour.png", "shape")]
    rows = ["0.png,a", "square.png,b"]
    assert found(folder, "image,label", *rows) == [("table.csv", "example-shape")]
    # Images with masks are cut into patches, where sizes may differ.
    Image.fromarray(MASK[:, :8]).save(folder / "square_mask.png")
    rows = ["0.png,m0.png", "square.png,square_mask.png"]
    assert found(folder, "image,mask", *rows) == []


def test_one_content_under_two_names(folder):
    Image.open(folder / "0.png").save(folder / "copy.tif")
    rows = ["0.png,a,train", "1.png,a,train", "copy.tif,b,test"]
    assert found(folder, "image,label,split", *rows) == [("copy.tif", "split-disjoint")]
    assert found(folder, "image,label", "0.png,a", "copy.tif,b") == [("copy.tif", "unique")]


def test_images_of_one_value(folder):
    Image.fromarray(np.full((8, 9), 7, np.uint8)).save(folder / "flat.png")
    assert found(folder, "image,label", "0.png,a", "flat.png,b") == [("flat.png", "constant")]
    rows = ["0.png;1.png,a", "2.png;flat.png,b"]  # a modality that was not exported
    assert found(folder, "image,label", *rows) == [("2.png", "constant")]


def test_modalities_on_different_grids(folder):
    array = RNG.normal(size=(4, 3, 2)).astype(np.float32)
    moves = {
        "flipped": (np.diag([-1.0, 1, 1, 1]), "LAS instead of RAS"),
        "coarser": (np.diag([1.0, 1, 5, 1]), r"\(1, 1, 5\) instead of \(1, 1, 1\) mm"),
        "moved": (np.eye(4) + np.eye(4, k=3) * 90, "a corner 90 mm away"),
    }
    nib.save(nib.Nifti1Image(array, np.eye(4)), folder / "first.nii")
    for name, (affine, message) in moves.items():
        nib.save(nib.Nifti1Image(array[::-1], affine), folder / f"{name}.nii")
        rows = [f"first.nii;{name}.nii"]
        assert found(folder, "image", *rows) == [(f"{name}.nii", "same-grid")]
        with pytest.raises(data.DataError, match=message):
            data.manifest(folder / "table.csv")[0]


def test_masks_that_are_all_empty_or_written_in_two_ways(folder):
    for i in range(2):
        Image.fromarray(MASK * 0).save(folder / f"e{i}.png")
    rows = ["0.png,e0.png", "1.png,e1.png"]
    assert found(folder, "image,mask", *rows) == [("table.csv", "empty-masks")]
    assert found(folder, "image,mask", "0.png,e0.png", "1.png,m1.png") == []
    Image.fromarray(MASK * 255).save(folder / "white.png")
    rows = ["0.png,m0.png", "1.png,white.png"]
    assert found(folder, "image,mask", *rows) == [("table.csv", "mask-values")]
    for i, colour in enumerate(([255, 0, 0], [0, 255, 0])):
        mask = Image.fromarray(MASK)
        mask.putpalette([0, 0, 0, *colour])
        mask.save(folder / f"p{i}.png")
    rows = ["0.png,p0.png", "1.png,p1.png"]
    assert found(folder, "image,mask", *rows) == [("p1.png", "mask-values")]


def test_masks_that_no_number_of_a_class_can_be_read_from(folder):
    Image.fromarray(MASK * 255).save(folder / "lossy.jpg")
    Image.fromarray(np.stack([MASK * 255, MASK, MASK], -1)).save(folder / "colour.png")
    nib.save(nib.Nifti1Image(RNG.normal(size=(3, 4, 5)), np.eye(4)), folder / "v.nii")
    mask = np.zeros((3, 4, 5), np.int16)
    mask[1], mask[2] = 1, -1
    nib.save(nib.Nifti1Image(mask, np.eye(4)), folder / "negative.nii")
    rows = ["0.png,lossy.jpg", "1.png,colour.png", "2.png,m2.png"]
    assert found(folder, "image,mask", *rows) == [
        ("lossy.jpg", "lossless-mask"),
        ("colour.png", "mask-shape"),
    ]
    assert found(folder, "image,mask", "v.nii,negative.nii") == [("negative.nii", "label-range")]


@pytest.mark.parametrize(
    ("head", "rows", "rule"),
    [
        ("image,label", ["0.png,Benign", "1.png,benign", "2.png,ben ign"], "spelling"),
        ("image,label,split", ["0.png,a,train", "1.png,b,Train"], "spelling"),
        ("image,label,split", ["0.png,a,train", "1.png,b,tset"], "spelling"),
        ("image,label", ["0.png,a", "1.png,"], "table"),
        ("image,label", ["0.png,a", "1.png,NA"], "table"),
        ("image,label", ["0.png,1.5", "1.png,1"], "label-range"),
        ("file,filename", ["0.png,0.png"], "table"),
        ("name,label", ["0.png,a"], "table"),
        ("image,label", ["0.png,1", "1.png,2"], "label-range"),
    ],
)
def test_slips_in_a_table(folder, head, rows, rule):
    assert found(folder, head, *rows) == [("table.csv", rule)]


@pytest.mark.parametrize("split", ["train", "val", "fold1", "fold2", "siteA", "external"])
def test_names_of_splits_that_are_no_slips(folder, split):
    assert found(folder, "image,split", f"0.png,{split}", "1.png,test") == []


def test_a_broken_table_does_not_hide_the_faults_of_its_files(folder):
    (folder / "1.png").write_bytes(b"no picture")
    rows = ["0.png,a,m0.png", "1.png,,m1.png", "2.png,a,none.png"]
    assert sorted(found(folder, "image,label,mask", *rows)) == [
        ("1.png", "readable"),
        ("none.png", "exists"),
        ("table.csv", "table"),
    ]


def test_the_command_is_told_of_measurements(folder, capsys):
    found(folder, "image,label", "0.png,1.5", "1.png,2.5")
    table = str(folder / "table.csv")
    assert main(["data", "check", table]) == 1
    told = capsys.readouterr().out
    assert "--regression" in told
    assert "regression=True" not in told  # a word of Python's
    assert main(["data", "check", "--regression", table]) == 0


def test_the_command_tells_what_there_is(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for i in range(4):
        for part in ("images", "masks"):
            (tmp_path / part).mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(
            tmp_path / "images" / f"{i}.png"
        )
        if i < 3:
            objects = np.arange(256, dtype=np.uint8).reshape(16, 16) % (22 + i)
            Image.fromarray(objects).save(tmp_path / "masks" / f"{i}.png")
    assert main(["data", "check", str(tmp_path)]) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path}: 3 images; masks; no patients named"
    assert "note: 1 image without a mask is left out, such as 3.png." in others
    assert any(line.startswith("masks mark 1 in 3, 2 in 3") for line in others)
    assert any("--map 0=0 1-65535=1" in line for line in others)
    (tmp_path / "t.csv").write_text(
        "image,label,split,patient\nimages/0.png,a,train,p\nimages/1.png,b,test,q\n"
    )
    assert main(["data", "check", str(tmp_path / "t.csv")]) == 0
    said = capsys.readouterr().out
    assert "2 images; 2 classes (a 1, b 1); masks; 1 train, 1 test; 2 patients" in said
