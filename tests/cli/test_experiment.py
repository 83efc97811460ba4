"""Finding and loading experiments: the library's own by name, a user's file by path."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import sys
import typing

import pytest

from jaxmed.cli import main
from jaxmed.cli.runs import _experiment, _settings

# Of images of one's own.
OWN = (
    "classification",
    "detection",
    "instances",
    "premises",
    "registration",
    "regression",
    "segmentation",
    "study",
    "survival",
)
RECORDED = (
    "active", "active_scans", "adaptation", "architectures", "blood_cells", "border", "boxes",
    "brain_tumours", "breast_ultrasound", "cardiac_pairs", "chest", "clusters", "concepts",
    "continual", "coverage", "demo", "drive", "duplicates", "energy", "epithelium", "evidence",
    "exactly_one", "extreme", "families", "few_scans", "fewshot", "hazards", "heart",
    "hippocampus", "hippocampus_guided", "hippocampus_learned", "hippocampus_pairs",
    "hippocampus_volumes", "judge", "landmarks", "lesion_outline", "lesions", "mammograms",
    "medmnist", "melanoma", "membranes", "mil", "multitask", "nuclei", "nuclei_types",
    "paradigms", "planes", "planted", "pretraining", "propagation", "records", "remedies",
    "retinopathy", "sequences", "series", "shortcut", "stacking", "synthesis",
    "table_regression", "translation", "tumour_outline", "tumours", "uncertainty",
    "uncertainty_masks", "ventricle_outline", "vessels", "wrong_labels",
)  # fmt: skip


def test_every_name_that_records_hold_finds_one_file():
    files = [path for found in _experiment.tasks().values() for path in found.values()]
    assert sorted(path.stem for path in files) == _experiment.names() == sorted(RECORDED + OWN)


@pytest.mark.parametrize("name", RECORDED + OWN)
def test_an_experiment_is_a_module_of_the_package(name):
    experiment = _experiment.load(name)
    task = experiment.path.parent.name
    assert experiment.module is importlib.import_module(f"jaxmed.experiments.{task}.{name}")
    assert _experiment.load(experiment.path).module is experiment.module
    assert experiment.config().__class__.__module__ == experiment.module.__name__


# Fields of text of which no list in the code has the values.
FREE = {
    "border": {"patient"}, "chest": {"patient"},
    "duplicates": {"patient"}, "remedies": {"patient"}, "shortcut": {"patient"},
    "series": {"dataset"}, "table_regression": {"name", "target"},
    "survival": {"event", "image", "patient", "time", "unit"},
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED + OWN)
def test_what_is_taken_out_of_a_list_is_listed_in_help(name):
    """A field of text has its names, and none of which nothing is given speaks of Python's None."""
    config = _experiment.load(name).config
    types, words = typing.get_type_hints(config), _settings._args(config)
    for field in dataclasses.fields(config):
        told = words.get(field.name, "")
        if types[field.name] is str and field.name not in FREE.get(name, ()):
            assert field.default in field.metadata["names"], field.name
        assert field.default is not None or "None" not in told, field.name


def test_help_and_refusals_name_what_there_is(capsys):
    with pytest.raises(SystemExit):
        _settings.ask(_experiment.load("few_scans").config, ["--help"], prog="few_scans")
    told = re.sub(r"[\s│]+", "", capsys.readouterr().out)
    rows = _experiment.load("few_scans").module.ROWS
    assert f"--row{{{','.join(rows)}}}" in told
    with pytest.raises(SystemExit):
        _settings.ask(_experiment.load("few_scans").config, ["--row", "mean"], prog="few_scans")
    assert "mean_teacher" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"few_scans: row is one of 'supervised', .*got 'mean'"):
        _settings.read_settings(
            _experiment.load("few_scans").config, {"row": "mean"}, of="few_scans"
        )
    several = _settings.read_settings(_experiment.load("judge").config, {"method": "nuts,map"})
    assert several.method == "nuts,map"


def test_tasks_share_through_common_alone():
    for path in _experiment.folder().rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                assert (node.module or "").startswith("_common"), path
            if isinstance(node, ast.ImportFrom | ast.Import):
                names = [node.module] if isinstance(node, ast.ImportFrom) else node.names
                assert not any("experiments" in str(getattr(n, "name", n)) for n in names), path


def test_the_list_is_by_task_each_with_its_headline(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("segmentation: A label for every pixel or voxel.")
    assert [line.split()[0] for line in lines[at + 1 : at + 4]] == [
        "architectures",
        "demo",
        "drive",
    ]
    assert not any("_common" in line for line in lines)


def test_a_file_may_import_its_neighbours_and_leaves_no_path_behind(tmp_path):
    (tmp_path / "beside_it.py").write_text("NUMBER = 7\n")
    (tmp_path / "study.py").write_text(
        "import dataclasses\nfrom beside_it import NUMBER\n"
        "@dataclasses.dataclass(frozen=True)\nclass Config:\n    n: int = NUMBER\n"
        "def run(config, out):\n    return None\n"
    )
    assert _experiment.load(str(tmp_path / "study.py")).config().n == 7
    assert str(tmp_path) not in sys.path
