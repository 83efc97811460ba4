"""Tiny runs on digits that are none: files in MNIST's format."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from jaxmed.cli import main


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Two patterns with noise, 6 x 5 pixels, in idx files."""
    folder = tmp_path_factory.mktemp("digits")
    rng = np.random.default_rng(0)
    for name, n in (("train", 60), ("t10k", 20)):
        labels = np.arange(n) % 2
        images = np.zeros((n, 6, 5))
        images[labels == 0, :3], images[labels == 1, 3:] = 1, 1
        noisy = np.uint8(255 * np.clip(images + 0.2 * rng.normal(size=images.shape), 0, 1))
        for kind, array in (("images-idx3", noisy), ("labels-idx1", np.uint8(labels))):
            head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / f"{name}-{kind}-ubyte").write_bytes(head + array.tobytes())
    return folder


def run(command, out, digits, monkeypatch, capsys):
    monkeypatch.setenv("JAXMED_DATA", str(digits))
    code = main(["train", *command.split(), "--out", str(out), "--debug"])
    assert code == 0, capsys.readouterr().err
    return json.loads((out / "metrics.json").read_text()), (out / "report.html").read_text()


def test_a_machine_is_measured_in_nats(tmp_path, digits, monkeypatch, capsys):
    command = "energy --hidden 3 --epochs 30 --batch 20 --chains 20 --drawn 6 --draw-steps 5"
    found, page = run(command, tmp_path / "a", digits, monkeypatch, capsys)
    nats = found["metrics"]["test_log_likelihood"]
    # Two patterns: one bit and the noise's, far from 30 pixels that know nothing of each other.
    independent = float(page.split("training set&#39;s means have ")[1].split()[0])
    assert independent + 2 < nats["value"] < 0
    assert nats["n"] == 20
    assert any("drawn once" in note for note in nats["notes"])
    assert found["metrics"]["log_z"]["method"] == "enumeration"
    assert "weights of hidden units" in page


@pytest.mark.slow
def test_a_belief_network_is_bounded_in_nats(tmp_path, digits, monkeypatch, capsys):
    command = (
        "energy --model belief --hidden 4 3 --epochs 30 --batch 20 --chains 20 --drawn 6 "
        "--draw-steps 5 --bound-draws 20"
    )
    found, page = run(command, tmp_path / "a", digits, monkeypatch, capsys)
    nats = found["metrics"]["test_log_likelihood_bound"]
    independent = float(page.split("training set&#39;s means have ")[1].split()[0])
    assert independent + 2 < nats["value"] < 0
    assert "20 draws of the hidden layers" in nats["method"]
    assert found["metrics"]["log_z"]["method"] == "enumeration"
    assert "belief network of 4 and 3 hidden units" in page


@pytest.mark.slow
def test_a_deep_machine_begins_with_its_layers(tmp_path, digits, monkeypatch, capsys):
    command = (
        "energy --model boltzmann --hidden 4 3 --layer-epochs 20 --epochs 10 --batch 20 "
        "--chains 20 --drawn 6 --draw-steps 5"
    )
    found, page = run(command, tmp_path / "a", digits, monkeypatch, capsys)
    nats = found["metrics"]["test_log_likelihood_bound"]
    independent = float(page.split("training set&#39;s means have ")[1].split()[0])
    assert independent + 2 < nats["value"] < 0
    assert (tmp_path / "a" / "layers" / "layer1").is_dir()


@pytest.mark.slow
def test_a_deep_machine_has_a_bound_that_is_bracketed(tmp_path, digits, monkeypatch, capsys):
    command = (
        "energy --model boltzmann --hidden 30 25 --epochs 1 --batch 20 --chains 10 --drawn 4 "
        "--draw-steps 3 --temperatures 10 --annealed 8"
    )
    found, _ = run(command, tmp_path / "b", digits, monkeypatch, capsys)
    log_z, nats = found["metrics"]["log_z"], found["metrics"]["test_log_likelihood_bound"]
    assert log_z["lower"] < log_z["value"] < log_z["upper"]
    assert nats["lower"] < nats["value"] < 0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["belief", "contractive"])
def test_layers_begin_without_labels(tmp_path, digits, monkeypatch, capsys, method):
    command = (
        f"pretraining --method {method} --hidden 6 4 --labels 10 --layer-epochs 2 --epochs 150 "
        "--batch 20 --learning-rate 0.05"
    )
    found, _ = run(command, tmp_path / method, digits, monkeypatch, capsys)
    assert found["metrics"]["accuracy"]["value"] > 0.9
    assert (tmp_path / method / "layers" / "layer1").is_dir()
