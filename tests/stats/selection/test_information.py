"""Likelihood ratio tests and information criteria."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import stats


def test_likelihood_ratio_and_criteria() -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(size=(200, 3))
    y = (rng.random(200) < 1 / (1 + np.exp(-x[:, 0]))).astype(int)
    small, large = stats.logistic_model(x[:, :1], y), stats.logistic_model(x, y)
    from sklearn.linear_model import LogisticRegression

    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(large.coefficients[1:], theirs.coef_[0], atol=1e-4)
    r = stats.likelihood_ratio_test(small.log_likelihood, large.log_likelihood, 2)
    assert r.statistic == pytest.approx(2 * (large.log_likelihood - small.log_likelihood))
    assert large.criteria.aic == pytest.approx(8 - 2 * large.log_likelihood)
    with pytest.raises(ValueError, match="nested"):
        stats.likelihood_ratio_test(-10, -12, 1)
    pick = stats.one_standard_error([[0.8, 0.9, 0.85], [0.82, 0.91, 0.86], [0.2, 0.1, 0.3]])
    assert (pick["best"], pick["chosen"]) == (1, 0)
