"""Tables as people write them, and what their columns and labels are read as."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jaxmed import data
from jaxmed.data.tables._table import read_table

NAMES = ["a", "b", "c", "d"]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in NAMES:
        pixels = rng.integers(0, 255, (6, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def table(folder, header, cells, *, name="table.csv", encoding="utf-8"):
    path = folder / name
    lines = [header, *(row for row in cells)]
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_of_any_delimiter_and_encoding(folder, delimiter, encoding):
    rows = [delimiter.join((f"{n}.png", "grün", "x")) for n in NAMES]
    path = table(folder, delimiter.join(("image", "label", "site")), rows, encoding=encoding)
    source = data.manifest(path)
    assert source.classes == ("grün",)
    assert list(source.column("site")) == ["x"] * 4
    assert data.check(path) == []


def test_what_spreadsheets_leave_behind(folder):
    rows = [f"{i}, {n}.png , 2.5,," for i, n in enumerate(NAMES)] + [",,,,"]
    source = data.manifest(table(folder, ",image, label ,,", rows), regression=True)
    assert len(source) == 4
    assert source.labels.tolist() == [2.5] * 4


def test_decimal_commas_where_cells_are_not_separated_by_commas(folder):
    path = table(folder, "image;label", [f"{n}.png;{i},5" for i, n in enumerate(NAMES)])
    assert data.manifest(path, regression=True).labels.tolist() == [0.5, 1.5, 2.5, 3.5]


def test_a_workbook_is_its_one_sheet(folder):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["image", "label"])
    for i, name in enumerate(NAMES):
        book.active.append([f"{name}.png", float(i % 2)])
    book.create_sheet("empty")
    book.save(folder / "t.xlsx")
    assert data.manifest(folder / "t.xlsx").labels.tolist() == [0, 1, 0, 1]
    book["empty"].append(["image"])
    book.save(folder / "t.xlsx")
    with pytest.raises(data.DataError, match="2 sheets hold cells"):
        data.manifest(folder / "t.xlsx")
    (folder / "t.xlsx").write_bytes(b"PK no workbook")
    with pytest.raises(data.DataError, match="cannot be read"):
        data.manifest(folder / "t.xlsx")


@pytest.mark.parametrize("header", ["Image,Diagnosis", "image_path,dx", "File Name,class"])
def test_columns_by_usual_names_and_as_one_is_told(folder, header):
    path = table(folder, header, [f"{n}.png,{n < 'c'}" for n in NAMES])
    source = data.manifest(path, labels=header.split(",")[1].casefold())
    assert source.classes == ("False", "True")
    assert source.labels.tolist() == [1, 1, 0, 0]


def test_a_column_that_is_not_there_is_named_with_those_that_are(folder):
    path = table(folder, "image,grade", ["a.png,1"])
    with pytest.raises(data.DataError, match=r"no column 'stage' of labels.*\['image', 'grade'\]"):
        data.manifest(path, labels="stage")
    with pytest.raises(data.DataError, match="no column 'who' for patient"):
        data.manifest(path, columns={"patient": "who"})
    with pytest.raises(ValueError, match="roles image, label"):
        data.manifest(path, columns={"picture": "image"})
    with pytest.raises(data.DataError, match="'file', 'path' could each be the image"):
        data.manifest(table(folder, "file,path", ["a.png,a.png"]))


def test_columns_that_could_be_labels_do_not_matter_where_the_label_is_asked_for(folder):
    path = table(folder, "image,class,target,tissue", [f"{n}.png,x,y,{n < 'c'}" for n in NAMES])
    source = data.manifest(path, labels="tissue")
    assert source.labels.tolist() == [1, 1, 0, 0]
    assert not any("label" in note for note in source.notes)
    with pytest.raises(data.DataError, match="'class', 'target' could each be the label"):
        data.manifest(path)


def test_names_without_an_ending_are_found_in_the_folders_of_images(folder):
    for part in ("images", "masks"):
        (folder / part).mkdir()
        Image.fromarray(np.eye(6, 8, dtype=np.uint8)).save(folder / part / "e.png")
    source = data.manifest(table(folder, "image,mask", ["e,e"]))
    assert source.images[0][0] == folder / "images" / "e.png"
    assert source.masks[0] == folder / "masks" / "e.png"
    (folder / "more").mkdir()
    Image.fromarray(np.eye(6, 8, dtype=np.uint8)).save(folder / "more" / "e.png")
    with pytest.raises(data.DataError, match=r"2 files have that name"):
        data.manifest(table(folder, "image,mask", ["e,e"]))


@pytest.mark.parametrize(
    ("cells", "options", "classes", "labels"),
    [
        (["0", "1", "1", "0"], {}, ("0", "1"), [0, 1, 1, 0]),
        (["0.0", "1.0", "2.0", "0"], {}, ("0", "1", "2"), [0, 1, 2, 0]),
        (["-1", "1", "1", "-1"], {"positive": "1"}, ("-1", "1"), [0, 1, 1, 0]),
        (["1", "2", "10", "2"], {"classes": ("1", "2", "10")}, ("1", "2", "10"), [0, 1, 2, 1]),
        (["yes", "no", "no", "yes"], {}, ("no", "yes"), [1, 0, 0, 1]),
        (["yes", "no", "no", "yes"], {"positive": "no"}, ("yes", "no"), [0, 1, 1, 0]),
        (["u", "v", "w", "u"], {"positive": "v"}, ("not v", "v"), [0, 1, 0, 0]),
    ],
)
def test_labels_as_people_write_them(folder, cells, options, classes, labels):
    path = table(folder, "image,label", [f"{n}.png,{c}" for n, c in zip(NAMES, cells)])
    source = data.manifest(path, **options)
    assert (source.classes, source.labels.tolist()) == (classes, labels)
    assert data.check(path, **options) == []


@pytest.mark.parametrize(
    ("cells", "options", "says"),
    [
        (["-1", "1", "1", "-1"], {}, r"classes count from 0.*--classes -1 1"),
        (["a", "b", "", "a"], {}, "row 4 .* has no label"),
        (["a", "b", "b", "a"], {"positive": "c"}, r"'c' is none of \('a', 'b'\)"),
        (["a", "b", "b", "c"], {"classes": ("a", "b")}, r"'c' of d.png is not in"),
    ],
)
def test_labels_that_could_be_misread_are_refused(folder, cells, options, says):
    path = table(folder, "image,label", [f"{n}.png,{c}" for n, c in zip(NAMES, cells)])
    with pytest.raises(data.DataError, match=says):
        data.manifest(path, **options)
    assert data.check(path, **options)


def test_names_that_differ_by_case_alone_are_told(folder):
    path = table(folder, "image,label", [f"{n}.png,{c}" for n, c in zip(NAMES, "abAa")])
    with pytest.warns(UserWarning, match="'a', 'A': write one of them"):
        assert data.manifest(path).classes == ("A", "a", "b")
    with pytest.raises(data.DataError, match="'a', 'A': write one of them"):
        data.dataset(path)
    assert [f.rule for f in data.check(path)] == ["spelling"]


def test_several_labels_by_column_by_name_and_some_unknown(folder):
    rows = ["a.png,1,0", "b.png,,1", "c.png,0,0", "d.png,1,NA"]
    source = data.manifest(table(folder, "image,label_oedema,label_mass", rows))
    assert source.classes == ("oedema", "mass")
    assert source.labels.tolist() == [[1, 0], [0, 1], [0, 0], [1, 0]]
    assert source.known.tolist() == [[True, True], [False, True], [True, True], [True, False]]
    assert source[1]["label_known"].tolist() == [False, True]
    batch = data.take(source, [0, 1])
    assert batch["label_known"].shape == (2, 2)
    named = [f"{n}.png,{c}" for n, c in zip(NAMES, ["u|v", "none", "v", "w|u"])]
    by_name = data.manifest(table(folder, "image,label", named))
    assert by_name.classes == ("none", "u", "v", "w")
    assert by_name.labels.tolist() == [[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 1]]
    with pytest.raises(data.DataError, match=r"label_mass of a.png is '-1'.*not known empty"):
        data.manifest(table(folder, "image,label_oedema,label_mass", ["a.png,1,-1"]))
    with pytest.raises(data.DataError, match="has no label in any column"):
        data.manifest(table(folder, "image,label_oedema,label_mass", ["a.png,,"]))


CELL = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="'"), max_size=8
)


@given(
    st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6),
    st.sampled_from([",", ";", "\t"]),
)
def test_what_is_written_is_read(tmp_path_factory, rows, delimiter):
    import csv

    path = tmp_path_factory.getbasetemp() / "written.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["one", "two"])
        writer.writerows(rows)
    kept = [(a.strip(), b.strip()) for a, b in rows if a.strip() or b.strip()]
    if not kept:
        with pytest.raises(data.DataError, match="no rows"):
            read_table(path)
        return
    assert [(row["one"], row["two"]) for row in read_table(path).rows] == kept
