"""What estimates and tests print and serialise."""

from __future__ import annotations

import math

from jaxmed import stats
from jaxmed.stats import Estimate
from jaxmed.stats._result import POINT


def test_results_print_and_serialise() -> None:
    import json

    e = stats.sensitivity([1] * 10 + [0], [1] * 10 + [1])
    assert str(e) == "sensitivity 1.000 (95% CI 0.722 to 1.000; n = 10 cases, wilson)"
    assert json.loads(json.dumps(e.to_dict()))["upper"] == 1.0
    assert e.to_row()["n"] == "10 cases"
    r = stats.mcnemar_test(table=(10, 9, 1, 10))
    assert "p = 0.012" in str(r)
    assert r.to_row()["p"] == "0.012"
    assert json.loads(json.dumps(r.to_dict()))["interval"][0] > 0
    nan = stats.ppv([1, 0], [0, 0]).to_dict()
    assert nan["value"] is None


def test_an_interval_without_an_end_is_not_a_point():
    for lower, upper in ((-math.inf, math.inf), (0.2, math.inf), (-math.inf, 0.9)):
        assert Estimate(0.5, lower, upper, 0.95, 1, "seed", "t").notes == ()
    assert Estimate(0.5, 0.5, 0.5, 0.95, 1, "seed", "t").notes == (POINT,)
