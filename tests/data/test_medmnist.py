from __future__ import annotations

import re

import numpy as np
import pytest

from jaxmed import data


def arrays(entry, n=6, size=28):
    rng = np.random.default_rng(0)
    out = {}
    for split in ("train", "val", "test"):
        shape = (n,) + (size,) * entry.rank + ((3,) if entry.channels == 3 else ())
        out[f"{split}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
        if entry.task == "multilabel":
            labels = rng.integers(0, 2, (n, len(entry.classes)))
        else:
            labels = rng.integers(0, len(entry.classes), (n, 1))
        out[f"{split}_labels"] = labels.astype(np.uint8)
    return out


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXMED_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data" / "medmnist").mkdir(parents=True)
    return tmp_path / "data" / "medmnist"


def test_the_catalogue_has_all_18_sets_of_medmnist_v2():
    assert len(data.MEDMNIST) == 18
    assert sum(e.rank == 3 for e in data.MEDMNIST.values()) == 6
    # The paper of 2023 counts 708,069 images and 9,998 volumes; version 3 of the files, whose
    # checksums these are, has 107 images and 2 volumes fewer.
    totals = {2: 0, 3: 0}
    for entry in data.MEDMNIST.values():
        totals[entry.rank] += entry.train + entry.val + entry.test
        assert tuple(entry.md5) == ((28, 64, 128, 224) if entry.rank == 2 else (28, 64))
        assert all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in entry.md5.values())
    assert totals == {2: 708_069 - 107, 3: 9_998 - 2}
    everything = [md5 for e in data.MEDMNIST.values() for md5 in e.md5.values()]
    assert len(set(everything)) == len(everything) == 12 * 4 + 6 * 2


@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
@pytest.mark.parametrize(
    ("name", "image", "label"),
    [
        ("breastmnist", (28, 28, 1), ()),
        ("retinamnist", (28, 28, 3), ()),
        ("chestmnist", (28, 28, 1), (14,)),
        ("nodulemnist3d", (28, 28, 28, 1), ()),
    ],
)
def test_every_kind_of_set_is_read(root, name, image, label):
    written = arrays(data.MEDMNIST[name])
    np.savez(root / f"{name}.npz", **written)
    source = data.medmnist(name, "val")
    example = source[2]
    assert example["image"].shape == image
    assert example["label"].shape == label
    assert example["image"].dtype == np.float32
    assert example["label"].dtype == np.int32
    np.testing.assert_array_equal(
        (example["image"] * 255).round().reshape(-1), written["val_images"][2].reshape(-1)
    )
    np.testing.assert_array_equal(example["label"].reshape(-1), written["val_labels"][2])
    assert source.case_ids[2] == f"{name}/val/2"
    assert source.classes == data.MEDMNIST[name].classes
    assert data.batches(source, 4)[1]["image"].shape == (4, *image)


def test_another_checksum_is_used_with_a_warning_and_a_note(root):
    np.savez(root / "breastmnist.npz", **arrays(data.MEDMNIST["breastmnist"]))
    with pytest.warns(data.ChecksumWarning, match=r"breastmnist.npz has MD5 .* 750601b1"):
        source = data.medmnist("breastmnist")
    assert "750601b1" in source.notes[0]


def test_absent_and_offline_says_which_file_to_put_where(root, monkeypatch):
    monkeypatch.setattr("jaxmed.data.public._medmnist.fetch", refuse)
    with pytest.raises(data.DataError) as caught:
        data.medmnist("breastmnist", size=64)
    for part in (
        str(root / "breastmnist_64.npz"),
        "no network",
        "742edef2a1fd1524b2efff4bd7ba9364",
    ):
        assert part in str(caught.value)
    with pytest.raises(data.DataError, match="download=False"):
        data.medmnist("breastmnist", download=False)


def refuse(url, path, **options):
    raise OSError("no network")


def test_a_download_goes_to_the_cache_and_never_to_the_users_data(root, tmp_path, monkeypatch):
    def give(url, path, *, md5):
        assert url == data.MEDMNIST["breastmnist"].url()
        assert md5 == data.MEDMNIST["breastmnist"].md5[28]
        path.parent.mkdir(parents=True)
        np.savez(path, **arrays(data.MEDMNIST["breastmnist"]))
        return path

    monkeypatch.setattr("jaxmed.data.public._medmnist.fetch", give)
    source = data.medmnist("breastmnist")
    assert len(source) == 6
    assert source.notes == ()
    assert (tmp_path / "cache" / "jaxmed" / "medmnist" / "breastmnist.npz").exists()
    assert not list(root.iterdir())


def broken(root, change):
    made = arrays(data.MEDMNIST["breastmnist"])
    change(made)
    np.savez(root / "breastmnist.npz", **made)


def set_item(made, key, value):
    made[key] = value


CHANGES = {
    "table": lambda a: a.pop("val_labels"),
    "shape": lambda a: set_item(a, "train_images", a["train_images"][:, 1:]),
    "catalogue": lambda a: set_item(a, "train_images", a["train_images"] / 255),
    "length": lambda a: set_item(a, "test_labels", a["test_labels"][1:]),
    "label-range": lambda a: set_item(a, "test_labels", a["test_labels"] + 2),
    "finite": lambda a: set_item(a, "test_labels", a["test_labels"] * np.nan),
    "non-empty": lambda a: [set_item(a, k, a[k][:0]) for k in ("val_images", "val_labels")],
}


@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
@pytest.mark.parametrize("rule", CHANGES)
def test_a_malformed_file_is_refused_by_name_and_rule(root, rule):
    broken(root, CHANGES[rule])
    with pytest.raises(data.DataError, match="breastmnist") as caught:
        data.medmnist("breastmnist")
    assert {f.rule for f in caught.value.faults} == {rule}


@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
def test_a_truncated_file_is_refused(root):
    broken(root, lambda a: None)
    path = root / "breastmnist.npz"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not a zip file at all"):
        path.write_bytes(content)
        with pytest.raises(data.DataError, match="the npz file cannot be read"):
            data.medmnist("breastmnist")


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("nosuchmnist", {}, "there are pathmnist"),
        ("breastmnist", {"split": "all"}, "split is one of"),
        ("organmnist3d", {"size": 224}, r"comes in sizes \(28, 64\)"),
    ],
)
def test_unknown_names_are_refused(name, options, match):
    with pytest.raises(ValueError, match=match):
        data.medmnist(name, **options)


def test_the_real_sets_are_the_published_ones(data_dir, recwarn):
    for name in ("breastmnist", "retinamnist"):
        entry = data.MEDMNIST[name]
        for split in ("train", "val", "test"):
            source = data.medmnist(name, split, root=data_dir, download=False)
            assert len(source) == getattr(entry, split)
            assert set(data.take(source, range(len(source)))["label"]) == set(
                range(len(entry.classes))
            )
    assert not recwarn.list
