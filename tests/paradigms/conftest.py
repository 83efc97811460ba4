"""The paradigms' registry, `rows`, is a package that these tests import by name."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# Neither tests nor doctests.
collect_ignore = ["rows"]
