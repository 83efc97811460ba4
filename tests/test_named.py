"""Names of functions for records: the same for what does the same, others for what does not."""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import NamedTuple

import jax
import numpy as np
import pytest

from jaxmed._named import named


def above(least, table=()):
    def check(x):
        return x >= least and x not in table

    return check


class Rule(NamedTuple):
    least: float

    def check(self, x):
        return x >= self.least


class Called:
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, x):
        return x * self.rate


@pytest.mark.parametrize(
    ("make", "first", "second"),
    [
        (above, 1, 2),
        (lambda n: above(1, (n,)), 1, 2),
        (lambda n: above(np.arange(n)), 3, 4),
        (lambda n: above(above(n)), 1, 2),
        (lambda n: above({"b", "a", n}), "c", "d"),
        (lambda n: above(jax.random.key(n)), 1, 2),
        (lambda n: functools.partial(above, n), 1, 2),
        (lambda n: functools.partial(above, table=(n,)), 1, 2),
        (lambda n: Rule(n).check, 1.0, 2.0),
        (Called, 1, 2),
        (lambda n: lambda x: x + n, 1, 2),
        (lambda n: (lambda x: x + 1) if n else (lambda x: x + 2), 0, 1),
        (lambda n: (lambda x: abs(x)) if n else (lambda x: max(x)), 0, 1),
    ],
)
def test_what_a_function_was_made_of_tells_it_apart(make, first, second):
    assert named(make(first)) == named(make(first))
    assert named(make(first)) != named(make(second))


def test_names_are_the_same_in_every_process():
    code = (
        "import numpy as np, functools; from jaxmed._named import named\n"
        "def above(n):\n"
        "    return lambda x: x > n\n"
        "print(named([above(1.5), functools.partial(above, n={'a', }.pop()), np.ones(2), abs]))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1]
    assert "above <lambda" in runs[0]


def test_a_function_that_holds_itself_has_a_name():
    def down(n):
        return 0 if n == 0 else down(n - 1)

    assert named(down).startswith("test_a_function_that_holds_itself")
