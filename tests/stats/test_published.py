"""Values that are published, retyped with where they stand; to the digits printed there."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import stats


def near(value, printed):
    """Equal to the printed digits, the last of which may be rounded either way."""
    digits = len(str(printed).partition(".")[2])
    assert value == pytest.approx(printed, abs=0.51 * 10.0**-digits)


def test_hanley_and_mcneil_1982():
    """Radiology 143:29, table I: CT images of 58 normal and 51 abnormal cases, five ratings."""
    ratings = np.arange(1, 6)
    y = np.repeat([0, 1], [58, 51])
    x = np.concatenate([np.repeat(ratings, n) for n in ([33, 6, 6, 11, 2], [3, 2, 2, 11, 33])])
    e = stats.auc(y, x, method="hanley-mcneil")
    near(e.value, 0.893)
    near(e.se, 0.032)


def test_student_1908():
    """Biometrika 6:1: hours of sleep gained by ten patients under two drugs."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    r = stats.paired_t_test(first, second)
    near(r.statistic, -4.0621)
    near(r.p_value, 0.002833)
    near(r.interval[0], -2.4599)
    near(r.interval[1], -0.7001)


def test_hollander_and_wolfe_1973():
    """Nonparametric Statistical Methods: pages 29 (depression), 115 (mucus), 140 (first base)."""
    first = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    second = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    r = stats.wilcoxon_test(first, second)
    assert r.statistic == 40
    assert r.p_value == pytest.approx(2 * 0.01953125)
    near(r.effect, 0.46)
    clearance = stats.kruskal_test(
        [2.9, 3.0, 2.5, 2.6, 3.2], [3.8, 2.7, 4.0, 2.4], [2.8, 3.4, 3.7, 2.2, 2.0]
    )
    near(clearance.statistic, 0.7714)
    times = [
        [5.40, 5.50, 5.55], [5.85, 5.70, 5.75], [5.20, 5.60, 5.50], [5.55, 5.50, 5.40],
        [5.90, 5.85, 5.70], [5.45, 5.55, 5.60], [5.40, 5.40, 5.35], [5.45, 5.50, 5.35],
        [5.25, 5.15, 5.00], [5.85, 5.80, 5.70], [5.25, 5.20, 5.10], [5.65, 5.55, 5.45],
        [5.60, 5.35, 5.45], [5.05, 5.00, 4.95], [5.50, 5.50, 5.40], [5.45, 5.55, 5.50],
        [5.55, 5.55, 5.35], [5.45, 5.50, 5.55], [5.50, 5.45, 5.25], [5.65, 5.60, 5.40],
        [5.70, 5.65, 5.55], [6.30, 6.30, 6.25],
    ]  # fmt: skip
    bases = stats.friedman_test(times)
    near(bases.statistic, 11.143)
    near(bases.p_value, 0.003805)


def test_fagerland_lydersen_and_laake():
    """BMC Med Res Methodol 2013, 13:91, and Stat Med 2014, 33:2850: airways of 21 children."""
    table = (1, 1, 7, 12)
    for method, p in (("asymptotic", 0.034), ("exact", 0.070), ("mid-p", 0.039)):
        near(stats.mcnemar_test(table=table, method=method).p_value, p)
    e = stats.paired_difference(table=table, method="tango")
    near(e.value, -0.286)
    near(e.lower, -0.517)
    near(e.upper, -0.026)


def test_agresti_1990():
    """Categorical Data Analysis, page 350: approval of a prime minister, twice, of 1600."""
    r = stats.mcnemar_test(table=(794, 150, 86, 570), method="asymptotic")
    near(np.sqrt(r.statistic), 4.17)
    near(r.effect, 0.04)


def test_stuart_1955():
    """Biometrika 42:412: unaided vision of the eyes of 7477 women, four grades."""
    table = np.array(
        [[1520, 266, 124, 66], [234, 1512, 432, 78], [117, 362, 1772, 205], [36, 82, 179, 492]]
    )
    near(stats.stuart_maxwell_test(table).statistic, 11.96)
    near(stats.bowker_test(table).statistic, 19.11)


def test_newcombe_1998():
    """Stat Med 17:857 (one proportion) and 17:873 (the difference 56/70 - 48/80)."""
    for x, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605),
                            (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)):  # fmt: skip
        e = stats.proportion(x, n)
        near(e.lower, low)
        near(e.upper, high)
    for method, low, high in (("newcombe", 0.0524, 0.3339), ("miettinen-nurminen", 0.0528, 0.3382)):
        e = stats.proportion_difference(56, 70, 48, 80, method=method)
        near(e.lower, low)
        near(e.upper, high)


def test_shrout_and_fleiss_1979():
    """Psychol Bull 86:420, table 4: six targets, four judges."""
    x = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    printed = {
        "ICC1": 0.17,
        "ICC2": 0.29,
        "ICC3": 0.71,
        "ICC1k": 0.44,
        "ICC2k": 0.62,
        "ICC3k": 0.91,
    }
    for form, value in printed.items():
        near(stats.icc(x, form=form).value, value)


def test_bland_and_altman_1986():
    """Lancet 1:307: peak flow of 17 subjects by a Wright and a mini meter, first measurements."""
    wright = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
    mini = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
    found = stats.bland_altman(wright, mini)
    near(found.bias.value, -2.1)
    near(found.sd, 38.8)
    near(found.bias.lower, -22.0)
    near(found.bias.upper, 17.8)


def test_fleiss_kappa_of_fourteen_raters():
    """The worked example of ten subjects and five classes that texts on Fleiss (1971) share."""
    counts = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    ratings = [np.repeat(np.arange(5), row) for row in counts]
    near(stats.fleiss_kappa(ratings).value, 0.210)


def test_dalgaard_2008():
    """Introductory Statistics with R, chapter 9: sizes for t (delta 1 sd) and for proportions."""
    near(stats.power_t(1.0, power=0.9, design="two-sample").n, 22.0211)
    near(stats.power_proportions(0.5, 0.75, power=0.9).n, 76.7)
