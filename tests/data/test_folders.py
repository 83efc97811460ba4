"""Decathlon folders, manifests, and the check of whole data sets."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from jaxmed import data


@pytest.fixture
def decathlon(tmp_path, save_nifti):
    folder = tmp_path / "Task99_Test"
    rng = np.random.default_rng(0)
    entries = []
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / part).mkdir(parents=True)
    for i in range(3):
        name = f"case_{i}.nii.gz"
        shape = (4 + i, 5, 6)
        save_nifti(folder / "imagesTr" / name, rng.normal(size=shape).astype(np.float32))
        save_nifti(folder / "labelsTr" / name, rng.integers(0, 3, shape).astype(np.uint8))
        (folder / "imagesTr" / f"._{name}").write_bytes(b"left by macOS")
        entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    save_nifti(folder / "imagesTs" / "t.nii.gz", rng.normal(size=(4, 5, 6)).astype(np.float32))
    write_json(
        folder,
        {
            "modality": {"0": "MRI"},
            "labels": {"0": "background", "1": "head", "2": "tail"},
            "training": [*entries, {"image": "imagesTr/._case_0.nii.gz", "label": "x.nii.gz"}],
            "test": ["./imagesTs/t.nii.gz"],
        },
    )
    return folder


def write_json(folder, table):
    (folder / "dataset.json").write_text(json.dumps(table))


def change_json(folder, **changes):
    table = json.loads((folder / "dataset.json").read_text())
    write_json(folder, table | changes)


def rules(path):
    return sorted((f.file.rsplit("/", 2)[-1], f.rule) for f in data.check(path))


def test_a_decathlon_folder_is_read(decathlon):
    source = data.decathlon(decathlon)
    assert source.case_ids == ("case_0", "case_1", "case_2")
    assert source.classes == ("background", "head", "tail")
    example = source[1]
    assert example["image"].shape == (5, 5, 6, 1)
    assert example["mask"].shape == (5, 5, 6)
    assert example["mask"].dtype == np.int32
    np.testing.assert_allclose(example["spacing"], (1.5, 2, 3))
    assert data.decathlon(decathlon, canonical=False)[1]["image"].shape == (5, 5, 6, 1)
    assert len(data.decathlon(decathlon, split="test")) == 1
    assert data.check(decathlon) == []
    with pytest.raises(data.DataError, match=r"case_\d: image has shape"):
        data.batches(source, 2)[0]
    patches = data.batches(source, 2, transform=data.random_patch((4, 4, 4)))
    assert patches[0]["image"].shape == (2, 4, 4, 4, 1)


def test_all_faults_of_a_folder_are_listed_at_once(decathlon, save_nifti, turned):
    nan = np.full((4, 5, 6), np.nan, np.float32)
    save_nifti(decathlon / "imagesTr" / "case_0.nii.gz", nan)
    save_nifti(decathlon / "labelsTr" / "case_0.nii.gz", np.full((4, 5, 6), 7, np.uint8))
    save_nifti(decathlon / "labelsTr" / "case_1.nii.gz", np.zeros((5, 5, 5), np.uint8))
    shifted = turned + np.eye(4)[:, [3, 0, 1, 2]]
    save_nifti(decathlon / "labelsTr" / "case_2.nii.gz", np.zeros((6, 5, 6), np.uint8), shifted)
    (decathlon / "imagesTs" / "t.nii.gz").write_bytes(b"broken")
    assert rules(decathlon) == [
        ("case_0.nii.gz", "finite"),
        ("case_0.nii.gz", "label-range"),
        ("case_1.nii.gz", "mask-shape"),
        ("case_2.nii.gz", "mask-affine"),
        ("t.nii.gz", "readable"),
    ]
    # The headers alone tell some, before any voxel is read.
    with pytest.raises(data.DataError, match="2 faults"):
        data.decathlon(decathlon)


def test_a_dataset_json_that_does_not_fit(decathlon):
    change_json(decathlon, modality={"0": "T1", "1": "T2"})
    assert {rule for _, rule in rules(decathlon)} == {"shape"}
    change_json(decathlon, modality={"0": "T1"}, labels={"0": "background", "2": "tail"})
    assert ("dataset.json", "table") in rules(decathlon)
    change_json(decathlon, labels={"background": 0, "head": 1, "tail": 2})
    assert data.decathlon(decathlon).classes == ("background", "head", "tail")
    change_json(decathlon, training=[{"image": "imagesTr/none.nii.gz", "label": "x.nii.gz"}])
    assert rules(decathlon) == [("none.nii.gz", "exists"), ("x.nii.gz", "exists")]
    change_json(decathlon, training=[])
    assert rules(decathlon) == [("dataset.json", "non-empty")]
    change_json(decathlon, training=[{"image": "imagesTr/case_0.nii.gz"}])
    assert rules(decathlon) == [("dataset.json", "table")]
    (decathlon / "dataset.json").write_text("{")
    assert rules(decathlon) == [("dataset.json", "readable")]
    with pytest.raises(data.DataError, match=r"has a dataset\.json"):
        data.decathlon(decathlon / "imagesTr")


def test_the_real_hippocampus_folder(data_dir):
    source = data.decathlon(data_dir / "Task04_Hippocampus")
    assert len(source) == 208
    assert source.classes == ("background", "Anterior", "Posterior")
    assert set(np.unique(source[0]["mask"])) == {0, 1, 2}


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (8, 9), dtype=np.uint8)).save(tmp_path / f"{i}.png")
        Image.fromarray(rng.integers(0, 2, (8, 9), dtype=np.uint8)).save(tmp_path / f"m{i}.png")
    rows = [
        {
            "image": f"{i}.png",
            "mask": f"m{i}.png",
            "label": "benign" if i % 2 else "malignant",
            "patient": f"p{i // 2}",
            "site": "east",
            "split": "train" if i < 2 else "test",
        }
        for i in range(4)
    ]
    return tmp_path, rows


def write(folder, rows, kind="csv"):
    path = folder / f"table.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
        return path
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_manifest_is_read(table, kind):
    path = write(*table, kind)
    source = data.manifest(path)
    assert source.classes == ("benign", "malignant")
    np.testing.assert_array_equal(data.column(source, "label"), [1, 0, 1, 0])
    assert data.column(source, "site").tolist() == ["east"] * 4
    assert source.groups == ("p0", "p0", "p1", "p1")
    assert source.case_ids == ("0.png", "1.png", "2.png", "3.png")
    batch = data.batches(source, 3, shuffle=False)[0]
    assert batch["image"].shape == (3, 8, 9, 1)
    assert batch["mask"].shape == (3, 8, 9)
    assert batch["label"].dtype == np.int32
    assert data.manifest(path, split="test").case_ids == ("2.png", "3.png")
    parts = data.split(source, {"a": 0.5, "b": 0.5})
    assert sorted(p.tolist() for p in parts.values()) == [[0, 1], [2, 3]]
    assert data.check(path) == []


def test_several_modalities_and_several_labels(table):
    folder, rows = table
    rows = [
        {"image": ["0.png", "1.png"], "label": [0, 1, 1]},
        {"image": "2.png;3.png", "label": "1;0;0"},
    ]
    source = data.manifest(write(folder, rows, "jsonl"))
    assert source[0]["image"].shape == (8, 9, 2)
    np.testing.assert_array_equal(source.labels, [[0, 1, 1], [1, 0, 0]])


def test_measurements_are_kept_as_they_are(table):
    folder, rows = table
    path = write(folder, [row | {"label": i + 0.5} for i, row in enumerate(rows)])
    np.testing.assert_allclose(data.manifest(path, regression=True).labels, [0.5, 1.5, 2.5, 3.5])
    assert data.check(path, regression=True) == []
    with pytest.raises(data.DataError, match=r"4 faults[\s\S]*regression=True.*label-range"):
        data.manifest(path)
    assert [f.rule for f in data.check(path)] == ["label-range"] * 4


BREAK = {
    "exists": lambda rows: rows[1].update(image="none.png"),
    "label-range": lambda rows: [row.update(label=-1) for row in rows],
    "finite": lambda rows: [row.update(label="inf") for row in rows],
    "split-disjoint": lambda rows: rows[3].update(patient="p0"),
    "table": lambda rows: rows[2].update(image=""),
    "unique": lambda rows: rows[2].update(image="0.png"),
}


@pytest.mark.parametrize("rule", BREAK)
def test_a_broken_table_is_refused(table, rule):
    folder, rows = table
    BREAK[rule](rows)
    path = write(folder, rows)
    with pytest.raises(data.DataError) as caught:
        data.manifest(path)
    assert {f.rule for f in caught.value.faults} == {rule}
    assert rule in {f.rule for f in data.check(path)}


def test_other_ways_to_be_no_manifest(table):
    folder, rows = table
    with pytest.raises(data.DataError, match=r"no row has split 'val'.*\['test', 'train'\]"):
        data.manifest(write(folder, rows), split="val")
    with pytest.raises(data.DataError, match=r"'malignant' of 0\.png is not in"):
        data.manifest(write(folder, rows), classes=["benign", "cancer"])
    for name, text, rule in (
        ("a.csv", "image,label\n0.png\n", "table"),
        ("b.csv", "image,label\n", "non-empty"),
        ("c.csv", "picture\n0.png\n", "table"),
        ("d.jsonl", "{not json}\n", "readable"),
        ("e.jsonl", "[1]\n", "table"),
        ("f.jsonl", '{"image": "0.png"}\n{"image": "1.png", "label": 1}\n', "table"),
    ):
        (folder / name).write_text(text)
        assert [f.rule for f in data.check(folder / name)] == [rule]


def test_check_lists_the_faults_of_the_files_a_table_names(table):
    folder, rows = table
    (folder / "0.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(folder / "m1.png")
    Image.fromarray(np.arange(216, dtype=np.uint8).reshape(8, 9, 3)).save(folder / "3.png")
    (folder / "m2.png").unlink()
    write(folder, rows)
    assert rules(folder) == [
        ("0.png", "readable"),
        ("3.png", "shape"),
        ("m1.png", "mask-shape"),
        ("m2.png", "exists"),
    ]


def test_check_names_what_it_does_not_know(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "sub").mkdir()
    assert rules(tmp_path / "a.txt") == [("a.txt", "readable")]
    assert [rule for _, rule in rules(tmp_path / "sub")] == ["non-empty"]
    np.savez(tmp_path / "breastmnist.npz", x=np.zeros(3))
    assert {rule for _, rule in rules(tmp_path)} == {"table", "checksum"}
    np.savez(tmp_path / "mine.npz", x=np.zeros(3))
    assert ("mine.npz", "catalogue") in rules(tmp_path)


def test_a_folder_that_is_linked_to_is_read(tmp_path):
    (tmp_path / "disk").mkdir()
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "disk" / "1.png")
    for kind in ("benign", "malignant"):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / kind).symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "again").symlink_to(tmp_path / "set")  # a circle
    assert data.dataset(tmp_path / "set").case_ids == ("benign/1", "malignant/1")
