"""Records as lines of a file: a finished case is one, and what was cut short counts as missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jaxmed._files import append_line


def finished(path: Path) -> dict[int, dict[str, Any]]:
    """Records by the number of their case; the latest of each."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        found[record["case"]] = record
    return found


def append(path: Path, record: dict[str, Any]) -> None:
    """Add a record as one line."""
    append_line(path, json.dumps(record))
