"""The experiments of active learning, tiny: they run, resume, and compare with the same start."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jaxmed.cli import main
from jaxmed.cli.runs import _experiment


@pytest.fixture
def breast(tmp_path, monkeypatch):
    """A made-up set of two kinds of images."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 40), ("val", 4), ("test", 24)):
        labels = np.arange(n) % 2
        noise = rng.integers(0, 160, (n, 28, 28))
        arrays[f"{part}_images"] = (noise + 25 * labels[:, None, None]).astype(np.uint8)
        arrays[f"{part}_labels"] = labels[:, None].astype(np.uint8)
    (tmp_path / "medmnist").mkdir()
    np.savez(tmp_path / "medmnist" / "breastmnist.npz", **arrays)
    monkeypatch.setenv("JAXMED_DATA", str(tmp_path))
    return ["train", "active", "--dataset", "breastmnist", "--share", "0.2", "--rounds", "2",
            "--seeds", "2", "--features", "pixels", "--components", "3", "--debug"]  # fmt: skip


def metrics(out):
    return json.loads((out / "metrics.json").read_text())


@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
def test_a_strategy_is_compared_with_chance_from_the_same_start(breast, tmp_path):
    out = tmp_path / "run"
    assert main([*breast, "--strategy", "bald", "--members", "2", "--out", str(out)]) == 0
    record = metrics(out)
    assert {"area", "area/difference", "auc/8", "auc/16", "auc/24"} == set(record["metrics"])
    curve = record["label_curve"]
    assert curve["counts"] == [8, 16, 24]
    assert curve["points"]["bald"][0] == {**curve["points"]["random"][0],
                                          "name": curve["points"]["bald"][0]["name"]}  # fmt: skip
    assert "Curve of labels" in (out / "report.html").read_text()
    asked = [json.loads((f / "seed1" / "active.json").read_text())["rounds"]
             for f in (out, out / "random")]  # fmt: skip
    assert asked[0][0]["asked"] == asked[1][0]["asked"]
    assert asked[0][1]["asked"] != asked[1][1]["asked"]
    # Cut in the second seed, it goes on to the same end.
    (out / "metrics.json").unlink()
    (out / "scores.npz").unlink()
    path = out / "seed1" / "active.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "rounds": kept["rounds"][:1]}))
    assert main([*breast, "--strategy", "bald", "--members", "2", "--out", str(out)]) == 0
    assert metrics(out)["metrics"] == record["metrics"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
@pytest.mark.parametrize("strategy", ["learned_loss", "badge"])
def test_networks_learn_from_what_they_ask_for(breast, tmp_path, strategy):
    out = tmp_path / "run"
    more = ["--model", "cnn", "--steps", "3", "--members", "2", "--seeds", "1"]
    assert main([*breast, *more, "--strategy", strategy, "--out", str(out)]) == 0
    assert metrics(out)["label_curve"]["counts"] == [8, 16, 24]


@pytest.mark.filterwarnings("ignore::jaxmed.data.ChecksumWarning")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--strategy", "learned_loss"], "--model cnn"),
        (["--strategy", "bald", "--members", "1"], "--members 2"),
        (["--rounds", "9"], "more than all images"),
    ],
)
def test_mistakes_are_told(breast, tmp_path, capsys, options, told):
    command = [word for word in [*breast, *options] if word != "--debug"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 2
    assert told in capsys.readouterr().err


SCANS = (
    "--folds 3 --pool 4 --start 1 --end 3 --rounds 2 --seeds 1 --steps 2 --patch 8 8 8 --features 2"
)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["slice", "scan", "region"])
def test_parts_of_scans_are_asked_for(hippocampus, tmp_path, by):
    out = tmp_path / "run"
    command = ["train", "active_scans", "--data", str(hippocampus.data), *SCANS.split(), "--by", by,
               "--strategy", "entropy", "--block", "6", "6", "6", "--debug"]  # fmt: skip
    assert main([*command, "--out", str(out)]) == 0
    record = metrics(out)
    assert {"area", "area/difference", "dice/1", "dice/2", "dice/3"} == set(record["metrics"])
    rounds = [json.loads((f / "seed0" / "active.json").read_text())["rounds"]
              for f in (out, out / "random")]  # fmt: skip
    assert rounds[0][0]["asked"] == rounds[1][0]["asked"]
    if by == "slice":
        assert "slice" in rounds[0][1]["cases"][0]


def test_only_what_was_asked_for_is_seen():
    module = _experiment.load("active_scans").module
    rng = np.random.default_rng(0)
    case = {"image": rng.normal(size=(4, 4, 4, 1)), "mask": np.ones((4, 4, 4), int)}
    known = np.zeros((4, 4, 4), bool)
    known[:, :, 1] = True
    seen = module._known(case, known)
    np.testing.assert_array_equal(seen["mask"], known)
    other = module._known({**case, "mask": np.where(known, 1, 2)}, known)
    np.testing.assert_array_equal(seen["mask"], other["mask"])
