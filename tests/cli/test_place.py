"""Commands that write pages leave the folder of a training as it is."""

from __future__ import annotations

import pytest

from jaxmed._files import owning
from jaxmed.cli import main
from jaxmed.cli._place import writing

COMMANDS = {
    "explain": ["RUN", "image.png"],
    "register": ["fixed.nii.gz", "moving.nii.gz"],
    "predict": ["RUN", "image.png"],
    "evaluate": ["--predictions", "scores.csv"],
    "compare": ["a.csv", "b.csv"],
    "explore": ["images"],
    "generate": ["RUN"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_folder_of_a_training_is_refused(command, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    (run / "report.html").write_text("of the training")
    words = [str(run) if word == "RUN" else word for word in COMMANDS[command]]
    out = "--out" if command in ("evaluate", "compare") else "-o"
    assert main([command, *words, out, str(run)]) == 2
    said = capsys.readouterr().err
    assert "is the folder of a training" in said or "is not an empty folder" in said
    assert sorted(path.name for path in run.iterdir()) == ["config.json", "report.html"]
    assert (run / "report.html").read_text() == "of the training"


def test_a_folder_is_owned_while_it_is_written_to(tmp_path):
    with writing(tmp_path / "out"):
        assert (tmp_path / "out" / ".lock").exists()
        with owning(tmp_path / "out"):
            pass
    assert not (tmp_path / "out").exists()  # nothing was written
