"""What the command line prints is in its own words: `--unit`, never `groups=`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxmed.cli import main
from jaxmed.cli.power._command import DESIGNS

ROOT = Path(__file__).parents[2]
PYTHON = re.compile(r"(?<![\w-])[a-z_]{2,}=(?![a-z0-9.]*/)")
PRINTED = [
    *(ROOT / "jaxmed" / "cli" / f"{name}.py" for name in ("_evaluate", "_compare", "_given")),
    *sorted((ROOT / "jaxmed" / "cli").glob("_power*.py")),
    *sorted((ROOT / "experiments" / "own_data").glob("*.py")),
]


def rows(scores, label=lambda i: i % 2):
    body = [f"c{i},p{i // 2},{label(i)},{score}" for i, score in enumerate(scores)]
    return "\n".join(["case,patient,label,score", *body]) + "\n"


TABLES = {
    "repeats": rows([(7 * i) % 20 / 20 + 0.01 for i in range(20)]),
    "other": rows([(3 * i) % 20 / 20 + 0.01 for i in range(20)]),
    "one class": rows([0.2, 0.6, 0.7, 0.1], lambda i: 1),
    "words": rows([0.2, 0.6, 0.7, 0.1], lambda i: "ab"[i % 2]),
    "measured": rows([0.2, 0.6, 0.7, 0.1], lambda i: 3 * i),
    "percent": rows([20, 60, 70, 10]),
    "logits": rows([-2, 3, 1, 0]),
    "missing": rows(["", 0.3]),
}


@pytest.fixture
def tables(tmp_path):
    for name, text in TABLES.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return tmp_path


def test_notes_and_refusals_of_tables(tables, capsys):
    for name in TABLES:
        main(["evaluate", "--predictions", str(tables / f"{name}.csv"), "--out", str(tables / "o")])
    models = [str(tables / f"{name}.csv") for name in ("repeats", "other")]
    main(["compare", *models, "--out", str(tables / "o"), "--resamples", "20"])
    told = capsys.readouterr()
    assert "note: " in told.out
    assert "--unit patient" in told.out
    for line in (told.out + told.err).splitlines():
        assert not PYTHON.search(line), line


ODD = {
    "no image": "scan_of,label\na.png,0\n",
    "two images": "file,path,label\na.png,b.png,0\n",
    "numbers": "image,label\na.png,3\nb.png,7\n",
    "measured": "image,label\na.png,0.5\nb.png,0\n",
    "twice": "image,label\na.png,0\na.png,0\nb.png,1\n",
}


@pytest.mark.parametrize("name", ODD)
def test_refusals_of_data(name, tmp_path, capsys):
    for image in "ab":
        Image.fromarray(np.eye(8, dtype=np.uint8) * ord(image)).save(tmp_path / f"{image}.png")
    (tmp_path / "t.csv").write_text(ODD[name])
    assert main(["data", "check", str(tmp_path / "t.csv")]) == 1
    main(["train", "classification", "--data", str(tmp_path / "t.csv"), "--out",
          str(tmp_path / "out")])  # fmt: skip
    told = capsys.readouterr()
    assert "error" in told.err
    for line in (told.out + told.err).splitlines():
        # What an option takes, as in `--columns image=NAME`, is of the command line.
        assert not PYTHON.search(re.sub(r"--[a-z-]+( [\w]+=\w+)+", "", line)), line


@pytest.mark.parametrize("path", PRINTED, ids=lambda path: path.stem)
def test_no_sentence_of_a_command_is_in_python(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and node.body and isinstance(node.body[0], ast.Expr)
    }  # fmt: skip
    said = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]
    # ROLE=COLUMN is how such an option is written, and its example.
    own = [text for text in said if " " in text and not re.search(r"[A-Z]=[A-Z]", text)]
    assert not [text for text in own if PYTHON.search(text)]


@pytest.mark.parametrize("name", DESIGNS)
def test_each_option_of_a_design_is_named_and_explained(name, capsys):
    with pytest.raises(SystemExit):
        main(["power", name, "--help"])
    told = re.sub(r"[\u2500-\u257f]", "", capsys.readouterr().out)
    assert "positional" not in told
    assert "None" not in told
    entries = re.split(r"\n *(?=--)", told[told.index("-h, --help") :])[1:]
    name = re.compile(r"^--\S+(, --\S+)*( [\[{A-Z]\S*)*|\((default|required).*", re.DOTALL)
    assert not [e for e in entries if len(name.sub("", e).split()) < 2]
