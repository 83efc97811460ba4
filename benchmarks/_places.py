"""Records name no folder of the machine on which they were made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_RUNS = ("out", "run", "from", "baseline", "pretrained")  # options that name the folder of a run


def placeless_command(command: str) -> str:
    """A command whose absolute paths are cut to their last part; the folders of runs to runs/NAME.

    >>> placeless_command("jaxmed train a --data /home/me/set --seed 0 --out /tmp/seed-0")
    'jaxmed train a --data set --seed 0 --out runs/seed-0'
    """
    command = re.sub(rf"(--(?:{'|'.join(_RUNS)})[= ])(?:\S*/)?(\S+)", r"\1runs/\2", command)
    return re.sub(r"(?<![^\s=])(?:/|~|[A-Za-z]:\\)\S*[/\\](\S+)", r"\1", command)


def placeless_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those that say where something lies.

    >>> placeless_settings({"seed": 0, "run": "/tmp/run", "data": None})
    {'seed': 0, 'data': None}
    """
    return {
        name: value
        for name, value in settings.items()
        if not (isinstance(value, str) and re.match(r"/|~|[A-Za-z]:\\", value))
    }
