"""One reader of settings: every type from text and from Python, and refusals that name it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import pytest
import tyro

from jaxmed.cli.runs import _experiment
from jaxmed.cli.runs._settings import options, read_settings, several


@dataclasses.dataclass(frozen=True)
class Inner:
    """Settings of a part."""

    rate: float = 0.1


@dataclasses.dataclass(frozen=True)
class Config:
    """Every kind of field."""

    row: str = "plain"
    share: float = 0.1
    steps: int = 10
    most: int | None = 3
    fast: bool = False
    slow: bool = True
    data: Path | None = None
    patch: tuple[int, int, int] = (8, 8, 8)
    shifts: tuple[float, ...] = ()
    widths: tuple[int, ...] | None = None
    network: Literal["resnet18", "resnet50"] = "resnet18"
    size: Literal[28, 64] = 28
    part: Inner = Inner()


TEXTS = {
    "row": [("a,b", "a,b"), ("", ""), ("-x", "-x"), ("3", "3")],
    "share": [("0.5", 0.5), ("-1e-3", -1e-3), ("2", 2.0)],
    "steps": [("3", 3), ("-3", -3)],
    "most": [("48", 48), ("None", None)],
    "fast": [("true", True), ("1", True), ("no", False), ("False", False)],
    "data": [("/x/y", Path("/x/y")), ("None", None)],
    "patch": [("40,56,40", (40, 56, 40)), ("40 56 40", (40, 56, 40))],
    "shifts": [("-1.5,2", (-1.5, 2.0)), ("7", (7.0,)), ("", ())],
    "widths": [("4,8", (4, 8)), ("None", None)],
    "network": [("resnet50", "resnet50")],
    "size": [("64", 64)],
}


@pytest.mark.parametrize(
    ("name", "text", "value"), [(name, *pair) for name, pairs in TEXTS.items() for pair in pairs]
)
def test_text_and_value_are_read_as_the_field_is_typed(name, text, value):
    assert read_settings(Config, {name: text}) == Config(**{name: value})
    read = read_settings(Config, {name: value})
    assert read == Config(**{name: value})
    assert type(getattr(read, name)) is type(value)


@pytest.mark.parametrize("name", TEXTS)
def test_settings_come_back_from_their_command_line(name):
    for _, value in TEXTS[name]:
        config = Config(**{name: value})
        assert tyro.cli(Config, args=options(config, (name,))) == config
        assert tyro.cli(Config, args=options(config)) == config


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("share", "much", "share is float"), ("share", None, "share is float"),
        ("steps", "4.5", "steps is int"), ("steps", 4.0, "steps is int"),
        ("steps", True, "steps is int"), ("steps", [1], "steps is int"),
        ("most", "few", r"most is int \| None"),
        ("fast", "perhaps", "fast is bool"), ("fast", 2, "fast is bool"),
        ("patch", "40", r"patch is tuple\[int, int, int\]"),
        ("patch", "40,56", r"patch is tuple\[int, int, int\]"),
        ("patch", (40, 56, 40.5), r"patch is tuple\[int, int, int\]"),
        ("shifts", "a,b", r"shifts is tuple\[float, \.\.\.\]"),
        ("network", "vgg", "network is one of 'resnet18', 'resnet50'"),
        ("size", "29", "size is one of 28, 64"),
        ("row", 3, "row is str"), ("row", Path("x"), "row is str"),
        ("part", {"rate": "quick"}, "part: rate is float"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_by_field_and_type(name, value, told):
    with pytest.raises(ValueError, match=f"{told}, got") as error:
        read_settings(Config, {name: value}, of="study")
    assert str(error.value).startswith("study")


def test_unknown_fields_and_settings_of_settings():
    with pytest.raises(ValueError, match="study has no setting 'rows'; it has row, share"):
        read_settings(Config, {"rows": "1"}, of="study")
    assert read_settings(Config, {"part": {"rate": "0.2"}}).part == Inner(0.2)
    assert read_settings(Config, {"part": Inner(3.0)}).part == Inner(3.0)


def test_commas_part_the_values_of_a_field_that_holds_one():
    assert several(Config, "share", "0.1,0.2") == ["0.1", "0.2"]
    assert several(Config, "most", "1,None") == ["1", "None"]
    assert several(Config, "network", "resnet18,resnet50") == ["resnet18", "resnet50"]
    assert several(Config, "patch", "40,56,40") == ["40,56,40"]
    assert several(Config, "widths", "4,8") == ["4,8"]


@pytest.mark.parametrize("name", _experiment.names())
def test_the_defaults_of_every_experiment_are_settings(name):
    config = _experiment.load(name).config
    default = config()
    whole = {f.name: getattr(default, f.name) for f in dataclasses.fields(config)}
    assert read_settings(config, whole) == default
