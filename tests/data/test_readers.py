"""Readers of published folders: bags, nuclei, gliomas, vessels; tiny copies, and the real ones."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.io
from PIL import Image

from jaxmed import data


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)
    return path


def rule(call):
    with pytest.raises(data.DataError) as caught:
        call()
    assert str(caught.value.faults[0].file) in str(caught.value)
    return caught.value.faults[0].rule


def write_mat(path, features, labels, bags):
    ident = np.zeros((1, 1), [("milbag", "O")])
    ident[0, 0]["milbag"] = np.array([f"{bag}   " for bag in bags])
    table = np.zeros((1, 1), [("data", "O"), ("nlab", "O"), ("ident", "O")])
    table[0, 0]["data"] = np.asarray(features)
    table[0, 0]["nlab"] = np.asarray(labels, np.uint8)[:, None]
    table[0, 0]["ident"] = ident
    scipy.io.savemat(path, {"x": table})
    return path


def test_a_table_of_bags_is_the_same_from_either_form(tmp_path):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6, 3)).round(3)
    bags, labels = np.array([3, 3, 1, 2, 2, 2]), np.array([1, 1, 0, 1, 1, 1])
    table = tmp_path / "bags.csv"
    np.savetxt(table, np.column_stack([labels, bags, features]), delimiter=",", fmt="%g")
    matlab = write_mat(tmp_path / "bags.mat", features, labels + 1, bags)
    for source in (data.bag_table(table), data.bag_table(matlab)):
        assert source.case_ids == ("3", "1", "2")
        assert [int(bag["label"]) for bag in source.examples] == [1, 0, 1]
        np.testing.assert_allclose(source[2]["image"], features[3:], rtol=1e-6)
        assert source[0]["image"].dtype == np.float32
        assert data.bag_batches(source, 3, shuffle=False)[0]["image"].shape == (3, 3, 3)


def test_a_bag_with_one_positive_instance_is_positive(tmp_path):
    path = write_mat(tmp_path / "b.mat", np.zeros((3, 2)), [1, 2, 1], ["a", "a", "b"])
    assert [int(bag["label"]) for bag in data.bag_table(path).examples] == [1, 0]


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("1,a,3\n", "readable"),
        ("1,2\n0,3\n", "table"),
        ("2,1,0.5\n0,2,0.5\n", "label-range"),
        ("1,1,0.5\n0,1,0.5\n", "label-range"),
        ("1,1,0.5\n1,2,0.5\n", "label-range"),
        ("1,1,nan\n0,2,0.5\n", "finite"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path, text, broken):
    path = tmp_path / "bags.csv"
    path.write_text(text)
    assert rule(lambda: data.bag_table(path)) == broken


def test_a_table_that_is_none_is_refused(tmp_path):
    assert rule(lambda: data.bag_table(tmp_path / "none.mat")) == "exists"
    (tmp_path / "bags.txt").write_text("1")
    assert rule(lambda: data.bag_table(tmp_path / "bags.txt")) == "readable"
    (tmp_path / "bags.mat").write_bytes(b"no Matlab")
    assert rule(lambda: data.bag_table(tmp_path / "bags.mat")) == "readable"
    scipy.io.savemat(tmp_path / "other.mat", {"y": np.ones(3)})
    assert rule(lambda: data.bag_table(tmp_path / "other.mat")) == "table"


@pytest.fixture
def nuclei(tmp_path):
    root = tmp_path / "CRC"
    rng = np.random.default_rng(0)
    for number in (1, 2, 10):
        name = f"img{number}"
        save(root / "Detection" / name / f"{name}.bmp", rng.integers(0, 256, (40, 50, 3)))
        (root / "Classification" / name).mkdir(parents=True)
        for kind in data.NUCLEI:
            # (x, y) from 1: the pixel in row 7, column 20 and the last one of all.
            marks = [[21.3, 8.9], [50.0, 40.0]] if kind == "fibroblast" else np.zeros((0, 2))
            if kind == "epithelial" and number == 2:
                marks = [[5.0, 6.0]]
            path = root / "Classification" / name / f"{name}_{kind}.mat"
            scipy.io.savemat(path, {"detection": np.asarray(marks)})
    return root


def test_nuclei_become_bags_of_patches_round_their_centres(nuclei):
    source = data.colon_nuclei(nuclei, patch=5)
    assert source.case_ids == ("img1", "img2", "img10")
    assert [int(bag["label"]) for bag in source.examples] == [0, 1, 0]
    assert source[1]["kind"].tolist() == [0, 1, 1]
    pixels = np.asarray(Image.open(nuclei / "Detection" / "img1" / "img1.bmp"))
    np.testing.assert_array_equal(source[0]["image"][0], pixels[5:10, 18:23])
    # At the corner the image goes on mirrored.
    np.testing.assert_array_equal(source[0]["image"][1][:3, :3], pixels[37:40, 47:50])
    np.testing.assert_array_equal(source[0]["image"][1][3, :3], pixels[38, 47:50])
    np.testing.assert_allclose(source[0]["centre"][0], [7.9, 20.3], rtol=1e-5)
    batch = data.bag_batches(source, 3, bag=("image", "kind", "centre"))[0]
    assert batch["image"].shape == (3, 3, 5, 5, 3)


def test_centres_of_all_nuclei_stand_beside_their_image(nuclei):
    for number in (1, 2, 10):
        path = nuclei / "Detection" / f"img{number}" / f"img{number}_detection.mat"
        marks = np.array([[5.0, 6.0], [1, 1]]) if number == 1 else np.zeros((0, 2))
        scipy.io.savemat(path, {"detection": marks})
    source = data.colon_centres(nuclei)
    assert source.case_ids == ("img1", "img2", "img10")
    # Matlab's (x, y) from 1 become (row, column) from 0.
    np.testing.assert_array_equal(source[0]["point"], [[5, 4], [0, 0]])
    assert source[1]["point"].shape == (0, 2)
    pixels = np.asarray(Image.open(nuclei / "Detection" / "img1" / "img1.bmp"))
    np.testing.assert_array_equal(source[0]["image"], pixels)
    scipy.io.savemat(path, {"detection": np.array([[5.0, 600.0]])})
    assert rule(lambda: data.colon_centres(nuclei)) == "shape"
    path.unlink()
    assert rule(lambda: data.colon_centres(nuclei)) == "exists"
    assert rule(lambda: data.colon_centres(nuclei / "Detection")) == "exists"


def test_broken_folders_of_nuclei_are_refused(nuclei):
    with pytest.raises(ValueError, match="odd"):
        data.colon_nuclei(nuclei, patch=4)
    assert rule(lambda: data.colon_nuclei(nuclei / "none")) == "exists"
    file = nuclei / "Classification" / "img2" / "img2_others.mat"
    scipy.io.savemat(file, {"detection": np.array([[51.0, 3.0]])})
    assert rule(lambda: data.colon_nuclei(nuclei)) == "shape"
    scipy.io.savemat(file, {"detections": np.ones((1, 2))})
    assert rule(lambda: data.colon_nuclei(nuclei)) == "table"
    file.unlink()
    assert rule(lambda: data.colon_nuclei(nuclei)) == "exists"


TABLE = """Patient,neoplasm_histologic_grade,gender,death01
TCGA_AA_1,1,2,0
TCGA_AA_2,2,1,1
TCGA_AA_3,,,
"""


@pytest.fixture
def gliomas(tmp_path):
    root = tmp_path / "kaggle_3m"
    rng = np.random.default_rng(0)
    for patient, slices in (("TCGA_AA_1", (10, 9)), ("TCGA_AA_2", (3,)), ("TCGA_AA_3", (1,))):
        for number in slices:
            stem = root / f"{patient}_19990101" / f"{patient}_19990101_{number}"
            save(stem.with_name(stem.name + ".tif"), rng.integers(0, 256, (8, 9, 3)))
            save(stem.with_name(stem.name + "_mask.tif"), 255 * rng.integers(0, 2, (8, 9)))
    (root / "data.csv").write_text(TABLE)
    return root


def test_slices_of_gliomas_carry_their_patients_grade_and_outcome(gliomas):
    source = data.lgg_mri(gliomas)
    assert [name.rsplit("_", 1)[1] for name in source.case_ids] == ["9", "10", "3", "1"]
    assert source.groups == ("TCGA_AA_1", "TCGA_AA_1", "TCGA_AA_2", "TCGA_AA_3")
    assert data.column(source, "grade").tolist() == [0, 0, 1, -1]
    assert data.column(source, "death").tolist() == [0, 0, 1, -1]
    example = source[2]
    assert example["image"].shape == (8, 9, 3)
    assert example["image"].max() <= 1
    assert set(np.unique(example["mask"])) <= {0, 1}
    parts = data.split(source, {"train": 0.5, "test": 0.5})
    assert {0, 1} <= set(parts["train"]) or {0, 1} <= set(parts["test"])


def test_broken_folders_of_gliomas_are_refused(gliomas):
    table = gliomas / "data.csv"
    table.write_text(TABLE.replace("TCGA_AA_1,1", "TCGA_AA_1,5"))
    assert rule(lambda: data.lgg_mri(gliomas)) == "label-range"
    table.write_text(TABLE.replace("death01", "died"))
    assert rule(lambda: data.lgg_mri(gliomas)) == "table"
    table.write_text(TABLE.replace("TCGA_AA_2,", "TCGA_AA_9,"))
    assert rule(lambda: data.lgg_mri(gliomas)) == "table"
    table.write_text(TABLE)
    next(gliomas.glob("*/*_3_mask.tif")).unlink()
    assert rule(lambda: data.lgg_mri(gliomas)) == "exists"
    table.unlink()
    assert rule(lambda: data.lgg_mri(gliomas)) == "exists"


@pytest.fixture
def vessels(tmp_path):
    rng = np.random.default_rng(0)
    for part, numbers in (("training", (21, 22)), ("test", (1,))):
        root = tmp_path / part
        for number in numbers:
            save(root / "images" / f"{number:02}_{part}.tif", rng.integers(0, 256, (6, 7, 3)))
            mask = 255 * rng.integers(0, 2, (6, 7))
            save(root / "1st_manual" / f"{number:02}_manual1.gif", mask)
            save(root / "mask" / f"{number:02}_{part}_mask.gif", np.full((6, 7), 255))
            if part == "test":
                save(root / "2nd_manual" / f"{number:02}_manual2.gif", 255 - mask)
    return tmp_path


def test_vessels_come_with_field_and_second_observer(vessels):
    train, test = data.drive(vessels), data.drive(vessels, "test")
    assert (train.case_ids, test.case_ids) == (("21", "22"), ("01",))
    assert set(train[0]) == {"image", "mask", "field"}
    example = test[0]
    np.testing.assert_array_equal(example["second"], 1 - example["mask"])
    assert example["field"].all()
    assert example["image"].shape == (6, 7, 3)


def test_broken_folders_of_vessels_are_refused(vessels):
    with pytest.raises(ValueError, match="split"):
        data.drive(vessels, "validation")
    assert rule(lambda: data.drive(vessels / "none")) == "non-empty"
    save(vessels / "training" / "1st_manual" / "22_manual1.gif", np.zeros((6, 8)))
    assert rule(lambda: data.drive(vessels)) == "mask-shape"
    (vessels / "training" / "1st_manual" / "22_manual1.gif").unlink()
    assert rule(lambda: data.drive(vessels)) == "exists"


def test_the_published_tables_are_what_their_papers_say(data_dir):
    for name, bags, instances, features in (
        ("musk1.mat", 92, 476, 166),
        ("elephant.csv", 200, 1391, 230),
    ):
        path = data_dir / "mil" / name
        if not path.exists():
            pytest.skip(f"no {path}")
        source = data.bag_table(path)
        shapes = [bag["image"].shape for bag in source.examples]
        assert (len(source), sum(n for n, _ in shapes)) == (bags, instances)
        assert {f for _, f in shapes} == {features}
    # Musk 1 is 47 musks and 45 others.
    labels = [int(bag["label"]) for bag in data.bag_table(data_dir / "mil" / "musk1.mat").examples]
    assert sum(labels) == 47


@pytest.mark.slow
def test_the_published_nuclei_are_22444_in_51_positive_bags(data_dir):
    root = data_dir / "CRCHistoPhenotypes_2016_04_28"
    if not root.exists():
        pytest.skip(f"no {root}")
    source = data.colon_nuclei(root)
    kinds = np.concatenate([bag["kind"] for bag in source.examples])
    assert np.bincount(kinds).tolist() == [7722, 5712, 6971, 2039]
    assert sum(int(bag["label"]) for bag in source.examples) == 51


def test_the_second_observer_of_drive_agrees_as_published(data_dir):
    if not (data_dir / "DRIVE").exists():
        pytest.skip("no DRIVE")
    truth, second = [], []
    for case in data.drive(data_dir / "DRIVE", "test").examples:
        inside = case["field"] == 1
        truth.append(case["mask"][inside])
        second.append(case["second"][inside])
    truth, second = np.concatenate(truth), np.concatenate(second)
    assert 2 * (truth * second).sum() / (truth.sum() + second.sum()) == pytest.approx(
        0.789, abs=1e-3
    )
    assert (truth == second).mean() == pytest.approx(0.9473, abs=1e-3)


def test_the_published_gliomas_are_of_90_patients(data_dir):
    root = data_dir / "lgg_mri" / "kaggle_3m"
    if not root.exists():
        pytest.skip(f"no {root}")
    source = data.lgg_mri(root)
    assert (len(source), len(set(source.groups))) == (270, 90)
    example = source[100]
    assert (example["image"].shape, example["mask"].shape) == ((256, 256, 3), (256, 256))
