"""The reference cases' count by file, printed at the end of the run."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from pathlib import Path

# The handlers of the reference cases are a folder beside the tests.
sys.path.insert(0, str(Path(__file__).parent))


def pytest_terminal_summary(terminalreporter) -> None:
    counts: dict[str, Counter] = defaultdict(Counter)
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            case = dict(getattr(report, "user_properties", ())).get("reference_file")
            if case and (report.when == "call" or outcome != "passed"):
                counts[case][outcome] += 1
    if not counts:
        return
    terminalreporter.section("reference cases by file")
    total = Counter()
    for name in sorted(counts):
        c = counts[name]
        total.update(c)
        terminalreporter.write_line(
            f"{name:32s} passed {c['passed']:4d}  failed {c['failed']:4d}"
            f"  skipped {c['skipped']:4d}"
        )
    terminalreporter.write_line(
        f"{'all':32s} passed {total['passed']:4d}  failed {total['failed']:4d}"
        f"  skipped {total['skipped']:4d}"
    )
