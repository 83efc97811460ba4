"""Simulated power against closed forms, and simulated p-values against the library's own tests."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import special

from jaxmed import stats


def rows(data):
    """Labels, both models' scores and patients, as the host's tests take them."""
    on, off = (np.asarray(part) for part in data)
    y = np.repeat([1, 0], [on[0].size, off[0].size])
    scores = [np.concatenate([on[k].ravel(), off[k].ravel()]) for k in (0, 1)]
    patients = np.repeat(np.arange(on.shape[1] + off.shape[1]), on.shape[2])
    return y, scores, patients


def drawn(study, key, n):
    """One study's data; one program."""
    return jax.jit(study.draw, static_argnums=1)(key, n)


@pytest.mark.parametrize(("n", "m"), [(60, 1), (40, 3), (700, 1)])
def test_the_simulated_test_of_aucs_is_delongs(n, m):
    study = stats.planned_aucs(0.85, 0.75, rows=m, icc=0.4, prevalence=0.4)
    data = drawn(study, jax.random.key(1), n)
    y, (a, b), patients = rows(data)
    by_hand = stats.delong_test(y, a, b, groups=patients if m > 1 else None)
    assert float(study.p_value(data)) == pytest.approx(by_hand.p_value, rel=2e-3)
    margin = stats.planned_aucs(0.85, 0.75, rows=m, margin=0.05)
    by_hand = stats.delong_test(
        y, a, b, groups=patients if m > 1 else None, alternative="non-inferiority", margin=0.05
    )
    assert float(margin.p_value(data)) == pytest.approx(by_hand.p_value, rel=2e-3, abs=1e-7)


def test_the_simulated_unpaired_test_is_delongs():
    study = stats.planned_aucs(0.8, 0.75, paired=False)
    data = drawn(study, jax.random.key(0), 80)
    y, (a, b), _ = rows(data)
    # The host's test takes the same statistic to a t distribution of 155 degrees of freedom.
    by_hand = stats.delong_test_unpaired(y, a, y, b)
    normal = 2 * special.ndtr(-abs(by_hand.statistic))
    assert float(study.p_value(data)) == pytest.approx(normal, rel=2e-3)


@pytest.mark.parametrize("m", [1, 2])
def test_the_simulated_test_of_rates_is_mcnemars(m):
    study = stats.planned_rates(0.8, 0.7, rows=m, icc=0.3)
    for seed in range(4):
        data = np.asarray(drawn(study, jax.random.key(seed), 50))
        first, second = data.reshape(2, -1).astype(int)
        if m == 1:
            by_hand = stats.mcnemar_test(first, second, method="mid-p")
        else:
            groups = np.repeat(np.arange(50), m)
            by_hand = stats.clustered_mcnemar_test(first, second, groups)
        assert float(study.p_value(data)) == pytest.approx(by_hand.p_value, rel=1e-3)


def test_the_simulated_test_of_means_is_the_paired_t():
    study = stats.planned_means(0.03, sd=0.1, mean=0.85)
    data = drawn(study, jax.random.key(3), 40)
    by_hand = stats.paired_t_test(np.asarray(data)[:, 0])
    assert float(study.p_value(data)) == pytest.approx(by_hand.p_value, rel=1e-3)
    many = np.asarray(drawn(study, jax.random.key(0), 100_000))
    assert many.mean() == pytest.approx(0.03, abs=0.001)


def test_power_is_that_of_the_closed_forms():
    cases = [
        (stats.planned_means(0.4, sd=1.0), 50, stats.power_t(0.4, n=50).power),
        (stats.planned_means(0.0, sd=1.0), 50, 0.05),
        (stats.planned_aucs(0.8, 0.8, correlation=0.3), 80, 0.05),
    ]
    for study, n, power in cases:
        found = stats.simulate_power(study, n, studies=4000, level=0.9999)
        assert found.lower <= power <= found.upper
        assert found.n == 4000


def test_the_size_found_reaches_the_power():
    n, found = stats.simulate_size(stats.planned_means(0.5, sd=1.0), power=0.9, studies=4000)
    assert abs(n - stats.power_t(0.5, power=0.9).needed) <= 3
    assert found.value == pytest.approx(0.9, abs=0.02)


def test_a_study_of_ones_own():
    def draw(key, n):
        return jax.random.normal(key, (n,)) + 1.0

    def p_value(x):
        z = x.mean() * np.sqrt(x.size)
        return 2 * jax.scipy.special.ndtr(-abs(z))

    found = stats.simulate_power(stats.PlannedStudy(draw, p_value), 9, studies=2000)
    assert found.value == pytest.approx(0.851, abs=0.03)  # Phi(3 - 1.96)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: stats.planned_aucs(1.0, 0.8), "first must lie in"),
        (lambda: stats.planned_aucs(0.9, 0.8, icc=2), "icc"),
        (lambda: stats.planned_rates(0.9, 0.8, margin=-1), "margin"),
        (lambda: stats.planned_means(0.1, sd=0), "sd must be positive"),
        (lambda: stats.planned_means(0.0, sd=0.6, mean=0.9), "no variable on"),
        (lambda: stats.simulate_power(stats.planned_means(0.1, sd=1), 2), "at least 4 cases"),
        (lambda: stats.simulate_power(stats.planned_means(0.1, sd=1), 9, alpha=0), "alpha"),
        (lambda: stats.simulate_size(stats.planned_means(0.1, sd=1), power=1.0), "power"),
        (
            lambda: stats.simulate_size(
                stats.planned_means(0.0, sd=1), studies=200, largest=300, rounds=3
            ),
            "is there an effect",
        ),
    ],
)
def test_plans_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "study",
    [
        stats.planned_aucs(0.85, 0.75, rows=2, icc=0.4),
        stats.planned_aucs(0.85, 0.8, paired=False, margin=0.05, prevalence=0.3),
        stats.planned_rates(0.85, 0.75, rows=2, icc=0.3),
        stats.planned_rates(0.8, 0.8, rows=2, margin=0.1),
        stats.planned_means(0.03, sd=0.1, mean=0.85, rows=2, icc=0.3),
        stats.planned_means(0.0, sd=0.1, rows=2, margin=0.02),
    ],
)
def test_the_host_simulates_the_same_law(study):
    assert study.on_host is not None
    on_host = study.on_host(np.random.default_rng(0), 40, 3000) <= 0.05
    assert on_host.shape == (3000,)
    compiled = stats.simulate_power(study._replace(on_host=None), 40, studies=3000)
    p = compiled.value
    assert on_host.mean() == pytest.approx(p, abs=4 * np.sqrt(2 * p * (1 - p) / 3000))


def test_placements_of_a_continuous_law_are_the_pairwise_shares():
    from jaxmed.stats.comparison._batch import untied_placements

    x = np.random.default_rng(0).normal(size=(3, 11)).astype(np.float32)
    found = untied_placements(4, x)
    for row, places in zip(x, found, strict=True):
        wins = row[:4, None] > row[None, 4:]
        np.testing.assert_allclose(places, [*wins.mean(1), *wins.mean(0)], rtol=1e-6)


def test_the_old_name_of_a_finding_still_works():
    with pytest.warns(DeprecationWarning, match="told is now PlannedStudy.finding"):
        study = stats.PlannedStudy(lambda key, n: n, lambda data: data, told="a gap")
    assert study.finding == study[3] == "a gap"
    with pytest.warns(DeprecationWarning, match="told is now"):
        assert study.told == "a gap"
    assert study._replace(unit="eyes").unit == "eyes"
