"""Records as lines of a file: what is finished is one, and what was cut short counts as missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def finished(path: Path, by: str) -> dict[Any, dict[str, Any]]:
    """Records by one of their fields, the latest of each; none where there is no file."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:  # truncated by the end of its process
            continue
        found[record[by]] = record
    return found
