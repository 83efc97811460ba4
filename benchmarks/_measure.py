"""Interleaved timing: warm-up, then repeated rounds of one call per side.

Load on the machine and the processor's clock drift over seconds; interleaved sides drift together,
so the ratio within each round is the most reliable number, and its median over rounds is reported.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from benchmarks._case import Case, Run, UnavailableError, difference
from benchmarks._memory import accelerator_peak, torch_allocated


def measure(
    case: Case,
    wanted: Sequence[str],
    *,
    repeats: int = 7,
    least_seconds: float = 0.05,
    memory: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Time the sides of a case against each other.

    Args:
        case: the work.
        wanted: sides to compare ours with; those that are not installed are noted and left out.
        repeats: number of rounds.
        memory: also measure peak memory on the accelerator.
        least_seconds: a side faster than this is called several times per round.
        say: function that receives progress messages.

    Returns:
        The case's part of a record: for every side the seconds of each round and their quartiles,
        for every peer the ratio peer / ours of each round, and the difference of results.

    Raises:
        ValueError: if sides compute different things.
    """
    ours = next(iter(case.sides))
    clock = time.perf_counter
    if case.processor and jax.default_backend() == "cpu":
        clock = time.process_time
    runs: dict[str, Run] = {}
    missing, held = {}, {}
    for side, make in case.sides.items():
        if side != ours and side not in wanted:
            continue
        before = torch_allocated()
        try:
            runs[side] = make()
            _timed(runs[side], 1, clock)
            held[side] = torch_allocated() - before
        except UnavailableError as error:
            runs.pop(side, None)
            missing[side] = str(error)
        except Exception as error:
            if side == ours:
                raise
            runs.pop(side, None)  # a peer that fails here must not stop the others
            missing[side] = f"{type(error).__name__}: {str(error)[:200]}"
            say(f"{case.name}: {side} failed: {missing[side]}")
    inner = {
        side: max(1, int(least_seconds / max(_timed(run, 1, clock), 1e-7)))
        for side, run in runs.items()
    }
    differences = {}
    if runs[ours].result is not None:
        reference = runs[ours].result()
        for side, run in runs.items():
            if side != ours and run.result is not None:
                differences[side] = difference(reference, run.result())
                if not differences[side] <= case.tolerance:
                    raise ValueError(
                        f"{case.name}: {ours} and {side} differ by {differences[side]:.2g} of the "
                        f"largest value, more than {case.tolerance:g}; a timing would mean nothing"
                    )
    seconds: dict[str, list[float]] = {side: [] for side in runs}
    order = list(runs)
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeats):
            for side in order:
                seconds[side].append(_timed(runs[side], inner[side], clock))
            order.reverse()
    finally:
        gc.enable()
    entry: dict[str, Any] = {"name": case.name, "group": case.group, "ours": ours}
    for name in ("flops", "items", "unit"):
        if getattr(case, name):
            entry[name] = getattr(case, name)
    if clock is time.process_time:
        entry["clock"] = "processor"
    if case.flops:
        entry["precision"] = case.precision
    entry["sides"] = {side: summary(values) for side, values in seconds.items()}
    entry["ratios"] = {
        side: summary([t / o for t, o in zip(values, seconds[ours], strict=True)])
        for side, values in seconds.items()
        if side != ours
    }
    if memory:
        peaks = {side: accelerator_peak(run, held[side]) for side, run in runs.items()}
        entry["memory"] = {side: peak for side, peak in peaks.items() if peak}
    if differences:
        entry["differences"] = differences
    if missing:
        entry["missing"] = missing
    shown = ", ".join(
        f"{side} {r['median']:.2f}x ({r['low']:.2f} to {r['high']:.2f})"
        for side, r in entry["ratios"].items()
    )
    took = entry["sides"][ours]["median"]
    rate = f", {case.items / took:,.0f} {case.unit} a second" if case.items else ""
    say(f"{case.name}: {shown or 'no peer'}; ours {_time(took)}{rate}")
    return entry


def _timed(run: Run, calls: int, clock: Callable[[], float]) -> float:
    """Measure the seconds of a call."""
    start = clock()
    for _ in range(calls):
        run.call()
    run.finish()
    return (clock() - start) / calls


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Return median, quartiles and all values, to five digits."""
    low, middle, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    )
    return {
        "median": _digits(middle),
        "low": _digits(low),
        "high": _digits(high),
        "values": [_digits(v) for v in values],
    }


def geometric_means(cases: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Compute geometric means of each peer's median ratios, by group and over ``"all"`` cases."""
    groups: dict[str, dict[str, list[float]]] = {}
    for case in cases:
        for peer, ratio in case["ratios"].items():
            for group in {case["group"] or "all", "all"}:
                groups.setdefault(group, {}).setdefault(peer, []).append(ratio["median"])
    return {
        group: {peer: _digits(statistics.geometric_mean(r)) for peer, r in peers.items()}
        for group, peers in sorted(groups.items())
    }


def _digits(value: float) -> float:
    return float(f"{value:.5g}")


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
