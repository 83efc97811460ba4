"""Folders as people keep them: a folder a class, images with masks, nnU-Net's raw layout."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from jaxmed import data

RNG = np.random.default_rng(0)


def picture(path, array=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 255, (6, 8), dtype=np.uint8) if array is None else array
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


MASK = np.eye(6, 8, dtype=np.uint8)


def test_a_folder_for_each_class_and_split(tmp_path):
    for split in ("train", "Testing"):
        for name in ("benign/a", "malignant/b"):
            picture(tmp_path / split / f"{name}.png")
    (tmp_path / ".hidden").mkdir()
    picture(tmp_path / ".hidden" / "x.png")
    source = data.dataset(tmp_path)
    assert source.classes == ("benign", "malignant")
    assert source.case_ids == (
        "Testing/benign/a", "Testing/malignant/b", "train/benign/a", "train/malignant/b",
    )  # fmt: skip
    assert list(source.column("split")) == ["test", "test", "train", "train"]
    assert len(data.dataset(tmp_path, split="train")) == 2
    assert data.dataset(tmp_path, classes=("benign",)).classes == ("benign",)
    assert data.check(tmp_path) == []


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}.png", "masks/{}.png"),
        ("imagesTr/{}.png", "labelsTr/{}.png"),
        ("images/{}.png", "masks/{}_mask.png"),
        ("{}.png", "{}_mask.png"),
        ("p1/{}.png", "p1/{}_gt.png"),
        ("train/images/{}.png", "train/masks/{}.png"),
        ("p1/images/{}.png", "p1/segmentations/{}.png"),
        ("{}_image.png", "{}_label.png"),
        ("{}.png", "{}-label.png"),
        ("p1/sa_{}.png", "p1/label_sa_{}.png"),
        ("images/{}_0000.png", "labels/{}.png"),
        ("images/{}_photo.png", "1st_manual/{}_manual1.png"),
    ],
)
def test_images_with_masks(tmp_path, image, mask):
    for name in ("a", "b"):
        picture(tmp_path / image.format(name))
        picture(tmp_path / mask.format(name), MASK)
    source = data.dataset(tmp_path, labels=())
    assert len(source) == 2
    assert source.labels is None
    assert source.masks == tuple(tmp_path / mask.format(name) for name in ("a", "b"))
    np.testing.assert_array_equal(source[1]["mask"], MASK)
    assert data.check(tmp_path) == []


def test_patients_by_folder_and_by_pattern(tmp_path):
    for name in ("p1/a", "p1/b", "p2/a"):
        picture(tmp_path / f"{name}.png")
        picture(tmp_path / f"{name}_mask.png", MASK)
    assert data.dataset(tmp_path, patient="folder").groups == ("p1", "p1", "p2")
    assert data.dataset(tmp_path, patient=r"p(\d)/").groups == ("1", "1", "2")
    with pytest.raises(data.DataError, match="pattern 'q' of the patient"):
        data.dataset(tmp_path, patient="q")


def test_images_without_a_mask_are_left_out_and_told(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / "images" / f"{name}.png")
    picture(tmp_path / "masks" / "a.png", MASK)
    source = data.dataset(tmp_path)
    assert source.case_ids == ("images/a",)
    assert source.notes == ("1 image without a mask is left out, such as b.png.",)


def test_masks_beside_a_table(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / "images" / f"{name}.png")
        picture(tmp_path / "masks" / f"{name}.png", MASK)
    (tmp_path / "t.csv").write_text("image,label\na,0\nb,1\n")
    source = data.dataset(tmp_path)
    assert source.masks[1] == tmp_path / "masks" / "b.png"
    assert "Masks are the files" in source.notes[0]
    (tmp_path / "u.csv").write_text("image\na\n")
    with pytest.raises(data.DataError, match=r"several tables.*t.csv, u.csv"):
        data.dataset(tmp_path)


def raw(folder, save_nifti, *, version, **changes):
    table = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "a": 1, "b": 2}}
    if version == 1:
        table = {
            "modality": {"0": "T1", "1": "T2"},
            "labels": {"0": "background", "1": "a", "2": "b"},
            "training": [{"image": f"./imagesTr/c{i}.nii.gz", "label": f"./labelsTr/c{i}.nii.gz"}
                         for i in range(2)],
        }  # fmt: skip
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    mask = np.zeros((4, 5, 6), np.uint8)
    mask[1, 2, 3], mask[1, 2, 4], mask[3, 3, 3] = 1, 2, 3 if "regions_class_order" in changes else 1
    for i in range(2):
        for channel in range(2):
            voxels = RNG.normal(size=(4, 5, 6)).astype(np.float32)
            save_nifti(folder / "imagesTr" / f"c{i}_{channel:04}.nii.gz", voxels)
        save_nifti(folder / "labelsTr" / f"c{i}.nii.gz", mask)
    (folder / "dataset.json").write_text(json.dumps(table | changes))
    return mask


@pytest.mark.parametrize("version", [1, 2])
def test_nnunets_raw_folders(tmp_path, save_nifti, version):
    mask = raw(tmp_path, save_nifti, version=version)
    source = data.dataset(tmp_path)
    assert source.case_ids == ("c0", "c1")
    assert source.channels == ("T1", "T2")
    assert source.mask_labels.classes == ("background", "a", "b")
    assert source[0]["image"].shape == (4, 5, 6, 2)
    np.testing.assert_array_equal(source[0]["mask"], mask)
    if version == 2:
        assert data.check(tmp_path) == []


def test_regions_and_an_ignored_label(tmp_path, save_nifti):
    mask = raw(
        tmp_path, save_nifti, version=2, regions_class_order=[1, 2],
        labels={"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
    )  # fmt: skip
    source = data.dataset(tmp_path)
    assert source.mask_labels.regions == {"whole": (1, 2), "core": (2,)}
    assert source.mask_labels.region_order == (1, 2)
    example = source[0]
    np.testing.assert_array_equal(example["mask_known"], mask != 3)
    np.testing.assert_array_equal(example["mask"], np.where(mask == 3, 0, mask))
    (tmp_path / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "T1", "1": "T2"},
                    "labels": {"background": 0, "whole": [1, 2]}})
    )  # fmt: skip
    with pytest.raises(data.DataError, match="regions_class_order"):
        data.dataset(tmp_path)


def test_masks_in_other_numbers_and_in_colour(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "m.png", np.where(MASK == 1, 200, 7))
    colours = np.zeros((6, 8, 3), np.uint8)
    colours[MASK == 1] = (255, 0, 0)
    picture(tmp_path / "c.png", colours)

    def read(name, labels):
        (tmp_path / "t.csv").write_text(f"image,mask\na.png,{name}\n")
        return data.dataset(tmp_path / "t.csv", mask_labels=labels)[0]["mask"]

    names = ("background", "lesion")
    by_number = data.MaskLabels(names, values={7: 0, 200: 1})
    np.testing.assert_array_equal(read("m.png", by_number), MASK)
    by_colour = data.MaskLabels(names, colours={(0, 0, 0): 0, (255, 0, 0): 1})
    np.testing.assert_array_equal(read("c.png", by_colour), MASK)
    with pytest.raises(data.DataError, match=r"the mask holds 7, 200.*--map|holds 7"):
        read("m.png", data.MaskLabels(names, values={0: 0, 255: 1}))
    with pytest.raises(data.DataError, match=r"pixels have colours without a class, such as 255,0"):
        read("c.png", data.MaskLabels(names, colours={(0, 0, 0): 0}))
    with pytest.raises(data.DataError, match=r"classes \[7, 200\] are outside 0..1"):
        read("m.png", data.MaskLabels(names))


def test_a_source_says_what_it_is_in_one_line(tmp_path):
    for name in ("benign/a", "malignant/b"):
        picture(tmp_path / f"{name}.png")
    text = repr(data.dataset(tmp_path))
    assert "\n" not in text
    assert "2 images, labels ('benign', 'malignant')" in text


def photographs(folder, part, numbers):
    """A part of a set as those of retinal vessels are: two observers, and the field of view."""
    for n in numbers:
        picture(folder / part / "images" / f"{n}_{part}.tif")
        picture(folder / part / "1st_manual" / f"{n}_manual1.gif", MASK * 255)
        picture(folder / part / "mask" / f"{n}_{part}_mask.gif", np.ones_like(MASK) * 255)
        if part == "test":
            picture(folder / part / "2nd_manual" / f"{n}_manual2.gif", MASK * 0 + 255)


def test_of_several_observers_the_first_counts_and_the_others_can_be_named(tmp_path):
    photographs(tmp_path, "training", ("21", "22"))
    photographs(tmp_path, "test", ("01", "02"))
    source = data.dataset(tmp_path)
    assert [path.parent.name for path in source.masks] == ["1st_manual"] * 4
    assert [path.name[:2] for path in source.masks] == ["01", "02", "21", "22"]
    assert list(source.column("split")) == ["test", "test", "train", "train"]
    np.testing.assert_array_equal(source[0]["mask"], MASK)
    assert "'1st_manual', not of 2nd_manual, mask" in source.notes[0]
    second = data.dataset(tmp_path, columns={"mask": "2nd_manual"})
    assert len(second) == 2
    assert second[0]["mask"].all()
    with pytest.raises(data.DataError, match=r"no mask 'third'.*1st_manual"):
        data.dataset(tmp_path, columns={"mask": "third"})


def test_masks_that_could_each_be_meant_are_asked_for(tmp_path):
    for folder in ("images", "liver_masks", "tumour_masks"):
        picture(tmp_path / "across" / folder / "a.png", MASK)
    with pytest.raises(data.DataError, match=r"folders \(liver_masks, tumour_masks\).*--col"):
        data.dataset(tmp_path / "across")
    source = data.dataset(tmp_path / "across", columns={"mask": "tumour_masks"})
    assert source.masks[0].parent.name == "tumour_masks"
    for name in ("a", "a_mask", "a_seg"):
        picture(tmp_path / "beside" / f"{name}.png", MASK)
    with pytest.raises(data.DataError, match=r"2 masks could belong to it: a_mask.png, a_seg.png"):
        data.dataset(tmp_path / "beside")


def test_a_folder_is_a_class_only_beside_others_and_by_its_name(tmp_path):
    for name in ("10000/a", "10000/b"):
        picture(tmp_path / "one" / f"{name}.png")
    assert data.dataset(tmp_path / "one").labels is None
    for name in ("0001/a", "0010/b", "NA/c"):
        picture(tmp_path / "three" / f"{name}.png")
    assert data.dataset(tmp_path / "three").classes == ("0001", "0010", "NA")
    assert data.check(tmp_path / "three") == []
    for name in ("lesion/a", "normal/b"):
        picture(tmp_path / "words" / f"{name}.png")
    assert data.dataset(tmp_path / "words").classes == ("lesion", "normal")
    source = data.dataset(tmp_path / "three", patient="folder")
    assert source.groups == ("0001", "0010", "NA")
    assert source.labels is None


def test_a_class_above_the_folders_of_patients(tmp_path):
    for name in ("benign/p1/a", "benign/p1/b", "malignant/p2/a"):
        picture(tmp_path / f"{name}.png")
    source = data.dataset(tmp_path, patient="folder")
    assert source.classes == ("benign", "malignant")
    assert source.groups == ("p1", "p1", "p2")


def test_an_image_beside_the_splits_does_not_undo_them(tmp_path):
    for name in ("train/a", "test/b", "logo"):
        picture(tmp_path / f"{name}.png")
    with pytest.raises(data.DataError, match=r"1 of 3 images lie in no folder of the splits.*logo"):
        data.dataset(tmp_path)


def test_tables_in_a_folder_count_if_they_list_images(tmp_path):
    for name in ("benign/a", "malignant/b"):
        picture(tmp_path / f"{name}.png")
    (tmp_path / "patients.csv").write_text("who,age\np1,30\n")
    assert data.dataset(tmp_path).classes == ("benign", "malignant")
    assert data.check(tmp_path) == []
    # One that cannot be read may be the one that is meant.
    (tmp_path / "broken.csv").write_text("image,label\na.png\n")
    assert {fault.rule for fault in data.check(tmp_path)} == {"table"}
    with pytest.raises(data.DataError, match=r"broken.csv: row 2 has 1 cells"):
        data.dataset(tmp_path)


def test_rows_of_one_image_are_one_where_that_is_said(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text("image,grade,kind\na.png,F,CIRC\na.png,F,MISC\nb.png,G,CIRC\n")
    with pytest.raises(data.DataError, match="twice, in row 2 and row 3; merge_rows=True"):
        data.dataset(tmp_path / "t.csv", labels="grade")
    source = data.dataset(tmp_path / "t.csv", labels="grade", merge_rows=True)
    assert source.case_ids == ("a.png", "b.png")
    assert source.labels.tolist() == [0, 1]
    assert "3 rows are of 2 images" in source.notes[0]
    with pytest.raises(data.DataError, match=r"differ in kind: 'CIRC' in row 2, 'MISC' in row 3"):
        data.dataset(tmp_path / "t.csv", labels="kind", merge_rows=True)


def test_every_number_of_a_range_is_mapped(tmp_path):
    from jaxmed.data.images._mask_labels import parse_map

    picture(tmp_path / "a.png")
    picture(tmp_path / "a_mask.png", np.arange(48).reshape(6, 8))
    values, _ = parse_map(["0=0", "1-47=1"])
    labels = data.MaskLabels(("background", "nucleus"), values=values)
    mask = data.dataset(tmp_path, mask_labels=labels)[0]["mask"]
    np.testing.assert_array_equal(mask, np.arange(48).reshape(6, 8) > 0)
    for wrong in ("5-3=1", "0-70000=1", "a-b=1"):
        with pytest.raises(ValueError, match=r"range|mapping"):
            parse_map([wrong])
