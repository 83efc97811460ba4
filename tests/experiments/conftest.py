"""One tiny run of the hippocampus experiment, shared by the tests that look at what it left."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

import pytest

from jaxmed.cli import _experiment, main

# The tests import its modules by name.
_experiment.package()

TINY = "--epochs 1 --batch 2 --patch 8 8 8 --features 2 --folds 3 --fold 1 --evaluate-every 1"


def _load(name: str):
    """A module beside this file, whatever folder the tests run from."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Run(NamedTuple):
    """A finished run, and the data it was made on."""

    data: Path
    out: Path
    command: list[str]


@pytest.fixture(scope="session")
def hippocampus(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("hippocampus")
    data = _load("decathlon").write_folder(folder / "Task99_Phantom", 6, (11, 13, 10))
    out = folder / "run"
    command = ["train", "hippocampus", "--data", str(data), "--out", str(out), *TINY.split()]
    assert main([*command, "--debug"]) == 0
    return Run(data, out, command)
