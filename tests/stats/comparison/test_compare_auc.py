"""Comparisons of two AUCs: alternatives, margins, simulated power."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import stats


def _data(seed: int, n: int = 60, ties: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.4).astype(int)
    y[:2] = [0, 1]
    a = rng.normal(size=n) + y
    b = a + rng.normal(size=n)
    return (y, np.round(2 * a), np.round(2 * b)) if ties else (y, a, b)


def test_alternatives_and_margins() -> None:
    y, a, b = _data(6, ties=False)
    two = stats.delong_test(y, a, b)
    up = stats.delong_test(y, a, b, alternative="greater")
    down = stats.delong_test(y, a, b, alternative="less")
    assert up.p_value + down.p_value == pytest.approx(1)
    assert two.p_value == pytest.approx(2 * min(up.p_value, down.p_value))
    near = stats.delong_test(y, a, b, alternative="non-inferiority", margin=0.2)
    far = stats.delong_test(y, a, b, alternative="superiority", margin=0.2)
    assert near.p_value < up.p_value < far.p_value
    both = stats.delong_test(y, a, a, alternative="equivalence", margin=0.05)
    assert both.p_value == 0
    assert stats.delong_test(y, a, a).p_value == 1
    with pytest.raises(ValueError, match="needs margin"):
        stats.delong_test(y, a, b, alternative="equivalence")
    with pytest.raises(ValueError, match="margin is for"):
        stats.delong_test(y, a, b, margin=0.1)


def test_simulated_power_agrees_with_the_binormal_formula() -> None:
    first, second = (stats.Binormal(np.sqrt(2) * 1.2, 1.0), stats.Binormal(np.sqrt(2) * 0.8, 1.0))
    plan = stats.power_two_aucs(
        first, second, positives=80, ratio=1.0, r_positive=0.5, r_negative=0.5
    )
    power, error = stats.simulated_auc_power(first.auc, second.auc, 80, 80, studies=3000)
    assert power == pytest.approx(plan.power, abs=4 * error + 0.02)
    size, error = stats.simulated_auc_power(0.8, 0.8, 60, 60, studies=3000)
    assert size == pytest.approx(0.05, abs=4 * error + 0.01)
