"""Masks as `evaluate` and `compare` show them: distances, and cases as pictures."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import cdist

from jaxmed import report
from jaxmed.cli import main

SPACING = (1.0, 2.0, 0.5)


def blob(shift=0, size=3):
    mask = np.zeros((7, 8, 9), np.uint8)
    mask[2 : 2 + size, 2 + shift : 5 + shift, 3:7] = 1
    return mask


CASES = {"a": (blob(), blob()), "b": (blob(), blob(1)), "c": (blob(), blob(3))}


def surface(mask):
    """The voxels with a face towards the outside, one by one."""
    inside = {tuple(v) for v in np.argwhere(mask)}
    steps = [
        s for axis in range(3) for s in (np.eye(3, dtype=int)[axis], -np.eye(3, dtype=int)[axis])
    ]
    return np.array([v for v in sorted(inside) if any(tuple(v + s) not in inside for s in steps)])


@pytest.mark.parametrize("tolerance", [0.4, 1.0, 2.0])
def test_distances_are_those_of_all_pairs_of_surface_voxels(tolerance):
    rng = np.random.default_rng(1)
    for _ in range(3):
        truth, found = (rng.random((5, 4, 6)) < 0.4).astype(int), blob()[:5, :4, :6]
        away = cdist(surface(found) * SPACING, surface(truth) * SPACING)
        there, back = away.min(1), away.min(0)
        measured = report.agreement(truth, found, 1, spacing=SPACING, tolerance=tolerance)
        wanted = max(np.percentile(there, 95), np.percentile(back, 95))
        np.testing.assert_allclose(measured["hd95"], [wanted])
        near = (there <= tolerance + 1e-9).sum() + (back <= tolerance + 1e-9).sum()
        np.testing.assert_allclose(measured["nsd"], [near / (len(there) + len(back))])


def test_an_infinite_distance_is_left_out_and_told_while_its_nsd_counts_as_0():
    pairs = [(n, t, p, SPACING) for n, (t, p) in CASES.items()] + [
        ("d", blob(), 0 * blob(), SPACING)
    ]
    found = report.segmentation(pairs, classes=["x"], tolerance=2)
    assert found.metrics["hd95"].n == 3
    assert found.metrics["nsd"].n == 4
    assert found.overlap.values["nsd"][3, 0] == 0
    assert any("hd95: infinite in 1 of 4 cases" in note for note in found.notes)
    assert found.metrics["hd95"].notes[0] == "in mm"
    assert found.metrics["nsd"].notes[0] == "within 2 mm"
    assert np.isfinite([found.metrics[m].lower for m in ("hd95", "nsd")]).all()
    with pytest.raises(ValueError, match="tolerance of the NSD must be 0 or more, got -1"):
        report.segmentation(pairs, classes=["x"], tolerance=-1)
    with pytest.raises(ValueError, match="in mm and in px, which have no mean"):
        report.overlap(
            [pairs[0], report.MaskPair("e", blob(), blob(), SPACING, "px")], classes=["x"]
        )


@pytest.fixture
def folders(tmp_path):
    """Three cases: true masks, those of two models, and images."""
    rng = np.random.default_rng(0)
    arrays = {
        "truth": {n: t for n, (t, _) in CASES.items()},
        "one": {n: p for n, (_, p) in CASES.items()},
        "two": {n: t for n, (t, _) in CASES.items()},
        "images": {
            f"{n}_000{c}": rng.normal(size=t.shape).astype(np.float32)
            for n, (t, _) in CASES.items() for c in range(2)
        },
    }  # fmt: skip
    for folder, found in arrays.items():
        (tmp_path / folder).mkdir()
        for name, array in found.items():
            nib.Nifti1Image(array, np.diag([*SPACING, 1])).to_filename(
                tmp_path / folder / f"{name}.nii"
            )
    return tmp_path


def call(folders, command, *models, **options):
    words = [str(folders / m) for m in models]
    words = ["--predictions", *words] if command == "evaluate" else words
    words += ["--reference", str(folders / "truth"), "--out", str(folders / "out")]
    return main([command, *words, *(w for k, v in options.items() for w in (f"--{k}", str(v)))])


def shown(page):
    """The sentences that describe the pictures of cases."""
    return [p.partition('"')[0] for p in page.split('aria-label="')[1:] if " case " in p[:40]]


def test_evaluate_shows_the_best_median_and_worst_case(folders):
    images = folders / "images"
    assert call(folders, "evaluate", "one", images=images, tolerance=2) == 0
    page = (folders / "out" / "report.html").read_text()
    assert [s.split(":")[0] for s in shown(page)] == [
        "best case a",
        "median case b",
        "worst case c",
    ]
    assert "Dice 1.000, HD95 0 mm, NSD 1.000" in page
    metrics = json.loads((folders / "out" / "metrics.json").read_text())["metrics"]
    assert metrics["nsd"]["notes"][0] == "within 2 mm"


def test_the_image_of_a_case_is_its_first_channel_on_the_mask_s_grid(folders):
    read = report.read_case_images(folders / "images", folders / "truth")
    first = nib.load(folders / "images" / "b_0000.nii").get_fdata()
    np.testing.assert_array_equal(read("b")[..., 0], first.astype(np.float32))
    masks = {n: report.MaskPair(n, *CASES[n], SPACING) for n in CASES}
    overlap = report.overlap(masks.values(), classes=["x"])
    with_image, without = (
        report.mask_pictures(overlap, lambda names: [masks[n] for n in names], image)
        for image in (read, None)
    )
    assert [np.ptp(p.image) > 0 for p in (*with_image, *without)] == [True] * 3 + [False] * 3
    axes = [len(report.case_figure(p[0], classes=["x"]).axes) for p in (with_image, without)]
    assert axes == [3, 2]  # Without an image there is no panel of it alone.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "b_0000.nii").rename(f.parent / "away.nii"), None),
        (lambda f: [p.unlink() for p in f.glob("b_*")], "1 cases (b) of"),
        (
            lambda f: nib.Nifti1Image(np.zeros((7, 8, 8), np.float32), np.eye(4)).to_filename(
                f / "a_0000.nii"
            ),
            "the image is (7, 8, 8), its mask (7, 8, 9)",
        ),
    ],
)
def test_images_that_do_not_fit_are_refused(folders, capsys, change, message):
    change(folders / "images")
    status = call(folders, "evaluate", "one", images=folders / "images")
    assert status == (0 if message is None else 2)
    assert (message or "") in capsys.readouterr().err


def test_compare_shows_the_cases_on_which_models_differ_most(folders):
    assert call(folders, "compare", "one", "two", tolerance=3, images=folders / "images") == 0
    page = (folders / "out" / "report.html").read_text()
    told = shown(page)
    # Case a is the same in both, and not shown.
    assert [s.split(":")[0] for s in told] == ["largest difference case c", "second largest case b"]
    assert "by one, two" in told[0]
    assert "two: Dice 1.000" in told[0]


def test_lengths_of_pictures_are_in_pixels(tmp_path):
    for name, mask in (("truth", blob()[:, :, 4]), ("found", blob(1)[:, :, 4])):
        (tmp_path / name).mkdir()
        Image.fromarray(255 * mask).save(tmp_path / name / "a.png")
    _, pairs = report.read_mask_pairs(tmp_path / "found", tmp_path / "truth")
    made = report.segmentation(pairs, classes=["x"], tolerance=0)
    assert made.metrics["hd95"].value == 1
    assert made.metrics["hd95"].notes[0] == "in px"
    assert made.metrics["nsd"].notes[0] == "within 0 px"


def test_a_tolerance_is_a_distance(folders, capsys):
    assert call(folders, "evaluate", "one", tolerance=-1) == 2
    assert "--tolerance must be 0 or more, got -1" in capsys.readouterr().err
