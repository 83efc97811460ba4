"""The hippocampus experiment from the command line, on phantoms in a Decathlon folder."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from jaxmed.cli import main


def test_a_run_leaves_metrics_masks_report_and_model(hippocampus):
    record = json.loads((hippocampus.out / "metrics.json").read_text())
    assert {"dice", "dice/ellipsoid", "dice/box"} <= set(record["metrics"])
    dice = record["metrics"]["dice"]
    assert dice["n"] == 2
    assert dice["lower"] <= dice["value"] <= dice["upper"]
    assert record["config"]["fold"] == 1
    assert [s["cases"] for s in record["splits"]] == [4, 2]
    assert "<svg" in (hippocampus.out / "report.html").read_text()
    with (hippocampus.out / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    masks = sorted(p.name for p in (hippocampus.out / "masks").iterdir())
    assert sorted(f"{row['case']}.nii.gz" for row in rows) == masks


def test_masks_are_in_each_scans_own_space_and_the_dice_is_theirs(hippocampus):
    with (hippocampus.out / "predictions.csv").open() as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    for case, row in rows.items():
        image = nib.load(hippocampus.data / "imagesTr" / f"{case}.nii.gz")
        truth = np.asarray(nib.load(hippocampus.data / "labelsTr" / f"{case}.nii.gz").dataobj)
        mask = nib.load(hippocampus.out / row["mask"])
        np.testing.assert_array_equal(mask.affine, image.affine)
        found = np.asarray(mask.dataobj)
        for k, name in ((1, "ellipsoid"), (2, "box")):
            both = 2 * np.sum((found == k) & (truth == k))
            expected = both / (np.sum(found == k) + np.sum(truth == k))
            assert float(row[f"dice_{name}"]) == pytest.approx(expected, abs=1e-6)


def test_predict_gives_the_runs_own_masks_in_any_orientation(hippocampus, tmp_path):
    mask = next((hippocampus.out / "masks").iterdir())
    image = hippocampus.data / "imagesTr" / mask.name
    turned = nib.load(image).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    turned.to_filename(tmp_path / "turned.nii.gz")
    command = ["predict", str(hippocampus.out), str(image), str(tmp_path / "turned.nii.gz")]
    assert main([*command, "-o", str(tmp_path / "masks"), "--debug"]) == 0
    same = nib.load(tmp_path / "masks" / mask.name.replace(".nii.gz", "_mask.nii.gz"))
    other = nib.load(tmp_path / "masks" / "turned_mask.nii.gz")
    np.testing.assert_array_equal(same.dataobj, nib.load(mask).dataobj)
    np.testing.assert_array_equal(other.affine, turned.affine)
    np.testing.assert_array_equal(
        nib.as_closest_canonical(other).dataobj, nib.as_closest_canonical(same).dataobj
    )


def test_predict_says_what_is_wrong(hippocampus, tmp_path, capsys):
    image = next((hippocampus.data / "imagesTr").iterdir())
    two = nib.load(image)
    two = nib.Nifti1Image(np.stack([two.get_fdata()] * 2, -1), two.affine)
    two.to_filename(tmp_path / "two.nii.gz")
    (tmp_path / "text.nii.gz").write_text("no image")
    run, mask = str(hippocampus.out), str(tmp_path / "mask.nii.gz")
    for arguments, said in (
        ([str(tmp_path), str(image), "-o", mask], "is not the folder of a run"),
        ([run, str(tmp_path / "absent.nii.gz"), "-o", mask], "absent.nii.gz"),
        ([run, str(tmp_path / "text.nii.gz"), "-o", mask], "cannot be read"),
        ([run, str(tmp_path / "two.nii.gz"), "-o", mask], "the image has 2"),
        ([run, str(image), "-o", str(image)], "would overwrite it"),
        ([run, str(image), "-o", str(tmp_path / "mask.csv")], "written as .nii.gz"),
        ([run, str(image), str(image)], "two masks would go to"),
        ([run, str(image), str(image), "-o", mask], "name a folder"),
    ):
        assert main(["predict", *arguments]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "mask.nii.gz").exists()


def test_wrong_settings_are_refused_before_training(hippocampus, tmp_path, capsys):
    base = ["train", "hippocampus", "--data", str(hippocampus.data)]
    assert main([*base, "--fold", "5", "--out", str(tmp_path / "run")]) == 2
    assert "fold is 0 to 4, got 5" in capsys.readouterr().err
    assert main([*hippocampus.command, "--seed", "7"]) == 2
    assert "seed was 0 and is 7" in capsys.readouterr().err


@pytest.mark.slow
def test_sweeps_stand_in_the_u_nets_place(hippocampus, tmp_path):
    command = [word for word in hippocampus.command if word != str(hippocampus.out)]
    at = command.index("--out") + 1
    command.insert(at, str(tmp_path / "run"))
    assert main([*command, "--network", "mdgru", "--sweeps", "2", "--debug"]) == 0
    image = next((hippocampus.data / "imagesTr").iterdir())
    assert main(["predict", str(tmp_path / "run"), str(image), "-o", str(tmp_path / "masks")]) == 0
    record = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert record["metrics"]["dice"]["n"] == 2


@pytest.mark.slow
def test_the_same_command_goes_on_and_ends_the_same(hippocampus):
    before = json.loads((hippocampus.out / "metrics.json").read_text())["metrics"]
    assert main(hippocampus.command) == 0
    assert json.loads((hippocampus.out / "metrics.json").read_text())["metrics"] == before


@pytest.mark.slow
def test_a_finished_run_goes_on_by_more_epochs(hippocampus, tmp_path, capsys):
    import shutil

    out = tmp_path / "run"
    shutil.copytree(hippocampus.out, out)
    command = [str(out) if word == str(hippocampus.out) else word for word in hippocampus.command]
    command[command.index("--epochs") + 1] = "2"
    assert main([*command, "--debug"]) == 0
    record = json.loads((out / "metrics.json").read_text())
    assert record["config"]["epochs"] == 2
    assert any("had ended at 1 epochs and went on to 2" in note for note in record["notes"])
    assert (out / "round_1" / "checkpoints" / "2").is_dir()
    command[command.index("--epochs") + 1] = "1"
    assert main(command) == 2
    assert "cannot become one of 1" in capsys.readouterr().err


@pytest.mark.slow
def test_real_scans_are_learned(data_dir, tmp_path):
    out = tmp_path / "run"
    command = ["train", "hippocampus", "--data", str(data_dir / "Task04_Hippocampus")]
    command += ["--epochs", "4", "--features", "8", "--evaluate-every", "4", "--out", str(out)]
    assert main([*command, "--debug"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert metrics["dice"]["value"] > 0.7
