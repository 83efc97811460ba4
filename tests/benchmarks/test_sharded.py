"""Memory of a state that is shared out: the command runs, and says what a share is."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_device_holds_less_of_what_is_shared_and_learns_the_same():
    made = subprocess.run(
        [sys.executable, "-m", "benchmarks", "sharded"], capture_output=True, text=True, check=True
    )
    rows = [line.split(" | ") for line in made.stdout.splitlines() if line[:1].isdigit()]
    held = [float(row[1]) for row in rows]
    assert [row[0] for row in rows] == ["1", "2", "4", "8"]
    assert held == sorted(held, reverse=True)
    assert held[-1] < held[0] / 2
    assert all(float(row[3]) < 1e-5 for row in rows)
