"""CSV that a spreadsheet shows and does not run."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from jaxmed._csv import csv_text, neutral, restored


@given(st.text(max_size=8))
def test_no_cell_is_a_formula_and_none_is_lost(text):
    cell = neutral(text)
    if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        float(cell)  # a number, which no spreadsheet runs
    if text[:1] in ("=", "+", "-", "@"):
        assert restored(cell) == text


def test_every_cell_of_a_table_is_neutralised():
    rows = list(csv.reader(io.StringIO(csv_text(["=a", "b"], [["@x", -1.5], ["-1.5e-3", "ok"]]))))
    assert rows == [["'=a", "b"], ["'@x", "-1.5"], ["-1.5e-3", "ok"]]
