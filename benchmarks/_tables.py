"""Tables in README and docs, generated from the committed records between markers.

A marker names a record and, if wanted, which table of it::

    <!-- benchmarks: conv-cpu -->
    ...generated...
    <!-- /benchmarks -->

``conv-cpu`` gives every case, ``conv-cpu summary`` the geometric means by group, and
``conv-cpu machine`` one line on what it ran on. Where work is counted in floating-point operations,
its share of the peak is that of one large matrix product on the same device. A record of any other
kind may hold tables of its own, ``{"tables": {NAME: {"head": [...], "rows": [[...]]}}}``, named the
same way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._record import load

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(
    r"(?P<open><!-- benchmarks: (?P<what>[^>]*?) -->\n)"
    r"(?P<body>.*?)(?P<close><!-- /benchmarks -->)",
    re.DOTALL,
)
_OPEN = re.compile(r"<!-- benchmarks: ")


def pages(root: Path = ROOT) -> list[Path]:
    """List all files that may hold a table."""
    return [p for p in [root / "README.md", *sorted((root / "docs").rglob("*.md"))] if p.exists()]


def render_page(text: str, read: Callable[[str], dict[str, Any]] = load) -> str:
    """Return the text with every table between markers regenerated.

    Raises:
        ValueError: if a marker is not closed or names no known table.
        FileNotFoundError: if it names no record.
    """
    if len(_OPEN.findall(text)) != len(_BLOCK.findall(text)):
        raise ValueError("a <!-- benchmarks: ... --> marker has no <!-- /benchmarks --> after it")

    def replace(match: re.Match[str]) -> str:
        name, _, table = match["what"].strip().partition(" ")
        return match["open"] + _render(read(name), table or "cases") + match["close"]

    return _BLOCK.sub(replace, text)


def stale(root: Path = ROOT) -> list[Path]:
    """Return the pages whose tables do not match the records."""
    return [p for p in pages(root) if render_page(p.read_text()) != p.read_text()]


def write(root: Path = ROOT) -> list[Path]:
    """Update every page; return those that changed."""
    changed = stale(root)
    for page in changed:
        page.write_text(render_page(page.read_text()))
    return changed


def _render(record: dict[str, Any], table: str) -> str:
    own = record.get("tables", {})
    if table in own:
        rows = [[str(cell) for cell in row] for row in own[table]["rows"]]
        return _table([str(cell) for cell in own[table]["head"]], rows)
    if table not in TABLES or "cases" not in record:
        known = [*own, *(TABLES if "cases" in record else ())]
        raise ValueError(f"unknown table {table!r}: {', '.join(known)}")
    return TABLES[table](record)


def _cases(record: dict[str, Any]) -> str:
    peers = _peers(record)
    memory = any("memory" in case for case in record["cases"])
    peak = record["environment"].get("peak_flops")
    head = ["case", *(f"against {p}" for p in peers), record["cases"][0]["ours"], *peers]
    if peak:
        head.append("share of peak")
    if memory:
        head += [f"memory against {p}" for p in peers]
    rows = []
    for case in record["cases"]:
        row = [case["name"]]
        row += [_ratio(case["ratios"].get(p)) for p in peers]
        row += [_seconds(case["sides"].get(s)) for s in [case["ours"], *peers]]
        if peak:
            rate = case.get("flops", 0) / case["sides"][case["ours"]]["median"]
            row.append(f"{rate / peak[case['precision']]:.0%}" if rate else "")
        if memory:
            peaks = case.get("memory", {})
            own = peaks.get(case["ours"])
            row += [f"{own / peaks[p]:.2f}" if own and p in peaks else "" for p in peers]
        rows.append(row)
    return _table(head, rows)


def _summary(record: dict[str, Any]) -> str:
    peers = _peers(record)
    rows = [
        [group, *(f"{means[p]:.2f}x" if p in means else "" for p in peers)]
        for group, means in record["geometric_means"].items()
    ]
    return _table(["geometric mean", *(f"against {p}" for p in peers)], rows)


def _machine(record: dict[str, Any]) -> str:
    env = record["environment"]
    versions = ", ".join(f"{k} {v}" for k, v in sorted(env["packages"].items()))
    return (
        f"{env['device']}, {env['cores']} cores, {env['threads']} threads a side; Python "
        f"{env['python']}, {versions}; {record['created']}, revision {env['revision']}. Medians of "
        f"{record['settings']['repeats']} interleaved rounds, in brackets the quartiles.\n"
    )


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "cases": _cases,
    "summary": _summary,
    "machine": _machine,
}


def _peers(record: dict[str, Any]) -> list[str]:
    """Return peers in order of first occurrence."""
    return list(dict.fromkeys(p for case in record["cases"] for p in case["ratios"]))


def _ratio(ratio: dict[str, float] | None) -> str:
    if ratio is None:
        return ""
    return f"**{ratio['median']:.2f}x** ({ratio['low']:.2f} to {ratio['high']:.2f})"


def _seconds(side: dict[str, float] | None) -> str:
    if side is None:
        return ""
    value = side["median"]
    for unit, scale in (("s", 1), ("ms", 1e3)):
        if value * scale >= 1:
            return f"{value * scale:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n" + "".join("| " + " | ".join(line) + " |\n" for line in lines) + "\n"
