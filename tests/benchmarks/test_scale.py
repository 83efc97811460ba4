"""What is said on paper of large cohorts follows from the records that are committed."""

from __future__ import annotations

from benchmarks._record import load
from benchmarks._scale import ASSUMED, scaled


def test_the_record_is_what_the_records_give():
    record = load("scale")
    found = scaled()
    assert record["tables"] == found["tables"]
    assert record["rates"] == found["rates"]
    assert record["assumed"] == ASSUMED


def test_hours_are_voxels_by_rate():
    """Predictions, by hand: 100,000 CTs of 78.6 million voxels at 256^3 in the record's seconds."""
    seconds = next(
        case["sides"]["jaxmed"]["median"]
        for case in load("sliding_window-gpu")["cases"]
        if case["name"] == "256^3 in windows of 96^3"
    )
    hours = 100_000 * 512 * 512 * 300 / 256**3 * seconds / 3600
    row = next(r for r in scaled()["tables"]["cts"]["rows"] if r[0] == "every scan predicted")
    assert row == ["every scan predicted", f"{hours:,.0f} GPU hours", "sliding_window-gpu",
                   f"{3 * hours:,.0f}"]  # fmt: skip
