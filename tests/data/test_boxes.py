"""Boxes as COCO, VOC and tables list them: read alike, and what is wrong told with file and box."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxmed import data
from jaxmed.data import DataError, box_dataset, fit_example

SIZE = (20, 30)
OBJECTS = {
    "a": [("cell", (2, 3, 10, 9)), ("plate", (0, 0, 30, 20))],
    "b": [],
    "c": [("cell", (5, 5, 7, 8))],
}
"""Of each image, class and edges xmin, ymin, xmax, ymax."""


def pictures(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(OBJECTS):
        pixels = np.random.default_rng(i).integers(0, 255, (*SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")


def as_voc(root, objects=OBJECTS, first=1):
    pictures(root / "JPEGImages")
    (root / "Annotations").mkdir(exist_ok=True)
    (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    for name, things in objects.items():
        held = "".join(
            f"<object><name>{k}</name><difficult>0</difficult><bndbox><xmin>{x0 + first}</xmin>"
            f"<ymin>{y0 + first}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for k, (x0, y0, x1, y1) in things
        )
        (root / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.png</filename>{held}</annotation>"
        )
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\nb\n")
    (root / "ImageSets" / "Main" / "test.txt").write_text("c\n")
    return root


def coco_table(objects=OBJECTS):
    names = ["cell", "plate"]
    annotations = []
    for i, things in enumerate(objects.values()):
        for k, (x0, y0, x1, y1) in things:
            annotations.append(
                {"id": len(annotations) + 1, "image_id": i, "category_id": names.index(k) + 1,
                 "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
            )  # fmt: skip
    return {
        "images": [{"id": i, "file_name": f"{n}.png"} for i, n in enumerate(objects)],
        "categories": [{"id": i + 1, "name": n} for i, n in enumerate(names)],
        "annotations": annotations,
    }


def as_coco(root, table=None):
    pictures(root / "images")
    file = root / "boxes.json"
    file.write_text(json.dumps(coco_table() if table is None else table))
    return file


def as_table(root, form="xmin,ymin,xmax,ymax", objects=OBJECTS):
    pictures(root)
    lines = [f"image,label,{form},patient"]
    for name, things in objects.items():
        for k, (x0, y0, x1, y1) in things:
            if form.startswith("x,"):
                row = (x0, y0, x1 - x0, y1 - y0)
            else:
                row = (y0, x0, y1, x1) if form.startswith("low") else (x0, y0, x1, y1)
            lines.append(f"{name}.png,{k},{','.join(map(str, row))},p{name}")
        if not things:
            lines.append(f"{name}.png,,,,,,p{name}")
    file = root / "boxes.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


LAYOUTS = {
    "voc": as_voc,
    "coco": as_coco,
    "edges": as_table,
    "sizes": lambda root: as_table(root, "x,y,w,h"),
    "axes": lambda root: as_table(root, "low_0,low_1,high_0,high_1"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_layouts_are_read_alike(tmp_path, layout):
    path = LAYOUTS[layout](tmp_path)
    source = box_dataset(path)
    assert source.classes == ("cell", "plate")
    assert source.case_ids == ("a", "b", "c")
    first = source[0]
    assert first["image"].shape == (*SIZE, 3)
    assert first["box"].tolist() == [[3, 2, 9, 10], [0, 0, 20, 30]]
    assert first["box_label"].tolist() == [0, 1]
    assert source[1]["box_label"].tolist() == [-1, -1]
    assert source[2]["box"].tolist() == [[5, 5, 8, 7], [0, 0, 0, 0]]
    np.testing.assert_array_equal(source.column("box")[2], source[2]["box"])
    assert data.check(path) == []
    assert "3 boxes (cell 2, plate 1); 1 images without a box" in source.told()


def test_splits_and_patients(tmp_path):
    voc = as_voc(tmp_path / "voc")
    assert box_dataset(voc, split="train").case_ids == ("a", "b")
    with pytest.raises(DataError, match="no image is in split 'val'; there is test, train"):
        box_dataset(voc, split="val")
    coco = tmp_path / "coco"
    as_coco(coco)
    (coco / "boxes.json").rename(coco / "train.json")
    (coco / "val.json").write_text(json.dumps({**coco_table(), "images": [], "annotations": []}))
    assert set(box_dataset(coco).splits) == {"train"}
    assert box_dataset(as_table(tmp_path / "csv")).groups == ("pa", "pb", "pc")


def test_edges_and_inclusive_corners_differ_by_a_pixel(tmp_path):
    voc = as_voc(tmp_path, first=0)
    assert box_dataset(voc, corners="edges")[0]["box"][0].tolist() == [3, 2, 9, 10]
    assert box_dataset(voc)[0]["box"][0].tolist() == [2, 1, 9, 10]


@pytest.mark.parametrize("layout", ["voc", "coco", "edges"])
def test_boxes_without_area_are_left_out_and_counted(tmp_path, layout):
    objects = {**OBJECTS, "c": [("cell", (5, 5, 5, 8)), ("cell", (5, 5, 33, 8))]}
    if layout == "voc":
        path = as_voc(tmp_path, objects, first=0)
    elif layout == "coco":
        path = as_coco(tmp_path, coco_table(objects))
    else:
        path = as_table(tmp_path, objects=objects)
    source = box_dataset(path, corners="edges")
    assert source[2]["box"][0].tolist() == [5, 5, 8, 30]
    notes = " ".join(source.notes)
    assert "1 box without an area, which was left out" in notes
    assert "box 1 (cell, [5.0, 5.0, 8.0, 5.0])" in notes
    assert "1 box beyond the border of its image, which was cut there" in notes


FAULTS = {
    "outside": ({"bbox": [50, 5, 4, 4]}, "box-inside", "lies outside a.png"),
    "exchanged": ({"bbox": [9, 9, -4, 4]}, "box-corners", "no corners in order"),
    "infinite": ({"bbox": [float("inf"), 0, 4, 4]}, "box-corners", "no corners in order"),
    "no box": ({"bbox": [1, 2]}, "box-corners", "annotation 1 has no bbox of four numbers"),
    "category": ({"category_id": 9}, "label-range", "annotation 1 has the category 9"),
    "image": ({"image_id": 7}, "table", "annotation 1 is of image 7"),
    "no number": ({"category_id": [1]}, "readable", "the boxes cannot be read"),
    "no number of an image": ({"image_id": {}}, "readable", "the boxes cannot be read"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_wrong_is_told_with_its_file_and_box(tmp_path, case):
    change, rule, match = FAULTS[case]
    table = coco_table()
    table["annotations"][0].update(change)
    path = as_coco(tmp_path, table)
    with pytest.raises(DataError, match=match) as told:
        box_dataset(path)
    assert [f.rule for f in told.value.faults] == [rule]
    assert told.value.faults[0].file == str(path)
    assert [f.rule for f in data.check(path)] == [rule]


def test_numbers_of_images_and_categories_are_theirs_alone(tmp_path):
    table = coco_table()
    table["images"][1]["id"] = table["images"][0]["id"]
    table["categories"][1]["id"] = table["categories"][0]["id"]
    for one in table["annotations"]:
        one["image_id"], one["category_id"] = 0, 1
    with pytest.raises(DataError) as told:
        box_dataset(as_coco(tmp_path, table))
    assert [f.rule for f in told.value.faults] == ["unique", "unique"]
    assert "2 image entries have the id 0" in str(told.value)
    table = coco_table()
    del table["images"][0]["file_name"]
    with pytest.raises(DataError, match="file_name"):
        box_dataset(as_coco(tmp_path, table))


def test_numbers_of_categories_have_gaps_are_text_and_name_one_class_twice(tmp_path):
    table = coco_table()
    table["categories"] = [
        {"id": "b", "name": "plate"}, {"id": 90, "name": "cell"}, {"id": 7, "name": "all"},
        {"id": 91, "name": "cell"},
    ]  # fmt: skip
    for one, number in zip(table["annotations"], ("b", 91, 90), strict=True):
        one["category_id"] = number
    source = box_dataset(as_coco(tmp_path, table))
    assert source.classes == ("cell", "plate")
    assert [labels.tolist() for labels in source.box_labels] == [[1, 0], [], [0]]


def test_a_split_may_lack_a_class(tmp_path):
    pictures(tmp_path / "images")
    for split, image in (("train", 0), ("val", 2)):
        table = coco_table()
        table["images"] = [table["images"][image]]
        table["annotations"] = [a for a in table["annotations"] if a["image_id"] == image]
        (tmp_path / f"{split}.json").write_text(json.dumps(table))
    source = box_dataset(tmp_path)
    assert source.classes == ("cell", "plate")
    assert source.splits == ("train", "val")


def test_a_box_that_is_listed_twice_counts_once(tmp_path):
    objects = {**OBJECTS, "c": [*OBJECTS["c"], *OBJECTS["c"], ("plate", (5, 5, 7, 8))]}
    source = box_dataset(as_table(tmp_path, objects=objects))
    assert source.box_labels[2].tolist() == [0, 1]
    assert "1 box listed twice, which was counted once" in " ".join(source.notes)


def test_columns_may_stand_in_any_order_and_a_box_has_a_label(tmp_path):
    pictures(tmp_path)
    head = "YMAX,label , patient,xmin,split,ymin,image,xmax\n"
    file = tmp_path / "boxes.csv"
    file.write_text(head + "9, cell ,p,2.5,train,3,a.png,10\n")
    source = box_dataset(file)
    assert source.classes == ("cell",)
    np.testing.assert_array_equal(source.boxes[0], [[3, 2.5, 9, 10]])
    file.write_text(head + "9,,p,2.5,train,3,a.png,10\n9,cell,p,10,train,3,b.png,2\n")
    with pytest.raises(DataError) as told:
        box_dataset(file)
    assert [f.rule for f in told.value.faults] == ["label-range", "box-corners"]


def test_grey_images_among_coloured_ones_are_told(tmp_path):
    file = as_table(tmp_path)
    Image.fromarray(np.zeros(SIZE, np.uint16)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match="1 channels, where most images have 3") as told:
        box_dataset(file)
    assert told.value.faults[0].file.endswith("b.png")
    assert told.value.faults[0].rule == "shape"


def test_missing_images_and_unknown_classes_are_told_together(tmp_path):
    voc = as_voc(tmp_path)
    (tmp_path / "JPEGImages" / "a.png").unlink()
    (tmp_path / "Annotations" / "c.xml").write_text("<annotation><object>")
    with pytest.raises(DataError) as told:
        box_dataset(voc, classes=("cell",))
    assert sorted(f.rule for f in told.value.faults) == ["exists", "label-range", "readable"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no boxes are listed"):
        box_dataset(empty)


def test_crowds_are_no_targets_and_are_kept(tmp_path):
    table = coco_table()
    table["annotations"][1]["iscrowd"] = 1
    source = box_dataset(as_coco(tmp_path, table))
    assert source[0]["box_label"].tolist() == [0, -1]
    assert source.crowd[0].tolist() == [False, True]


def test_an_image_is_fitted_and_its_boxes_with_it():
    image = np.zeros((20, 40, 1), np.float32)
    image[4:12, 10:30] = 1
    box = np.array([[4, 10, 12, 30], [0, 0, 0, 0]], np.float32)
    for shape in ((10, 32), (40, 40), (16, 20)):
        found = fit_example({"image": image, "box": box}, shape)
        assert found["image"].shape == (*shape, 1)
        inside = np.argwhere(found["image"][..., 0] > 0.5)
        edges = [*inside.min(0), *(inside.max(0) + 1)]
        np.testing.assert_allclose(found["box"][0], edges, atol=0.6)
        assert not found["box"][1].any()
        np.testing.assert_allclose(found["box"][0] / np.tile(found["scale"], 2), box[0], atol=1e-4)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no device without an end")
def test_endless_files_are_not_read(tmp_path):
    (tmp_path / "dataset.json").symlink_to("/dev/zero")
    (tmp_path / "boxes.json").symlink_to("/dev/zero")
    assert data.check(tmp_path)
    assert data.check(tmp_path / "boxes.json")
