"""The same numbers as other libraries on the same inputs, where these are installed."""

from __future__ import annotations

import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmed as jm
from jaxmed import bayes, stats

# What the peers warn of is theirs.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
RNG = np.random.default_rng(0)


def peer(name: str):
    """A library that is not among the tests' own; some want others that are missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, exc_type=ImportError)


def some_classes(n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    p = RNG.dirichlet(np.full(k, 0.7), n)
    y = np.array([RNG.choice(k, p=row) for row in p])
    y[:k] = np.arange(k)
    return y, p


class Said:
    """A fitted classifier or regressor that answers with its inputs."""

    def __init__(self, k: int = 0):
        self.classes_ = np.arange(k)

    def fit(self, x, y=None):
        return self

    def predict(self, x):
        return x.argmax(1) if len(self.classes_) else x[:, 0]

    def predict_proba(self, x):
        return x

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.parametrize("bins", [10, 15])
def test_calibration_error_is_netcals(bins):
    netcal = peer("netcal.metrics")
    y, p = some_classes(500, 4)
    want = netcal.ECE(bins).measure(p, y)
    found = stats.ece(y, p, of="top", n_bins=bins, closed="left", n_resamples=0).value
    assert np.isclose(found, want, atol=1e-12)


@pytest.mark.parametrize("level", [0.8, 0.9])
@pytest.mark.parametrize("n", [57, 200])
def test_sets_are_mapies(n, level):
    mapie = peer("mapie.classification")
    from sklearn.base import BaseEstimator, ClassifierMixin

    known = type("Known", (Said, ClassifierMixin, BaseEstimator), {})(5)
    known.classes_ = np.arange(5)
    y, p = some_classes(n, 5)
    new = some_classes(100, 5)[1]
    other = mapie.SplitConformalClassifier(known, confidence_level=level, conformity_score="lac")
    want = other.conformalize(p, y).predict_set(new)[1][..., 0]
    rule = bayes.fit_sets(y, p, level=level, score="lac")
    assert (bayes.predict_sets(rule, new) == want).all()


def test_intervals_are_mapies_and_crepes():
    y, x = RNG.normal(size=80), RNG.normal(size=80)
    new = RNG.normal(size=30)
    rule = bayes.fit_intervals(y, x, level=0.9)
    found = bayes.predict_intervals(rule, new)
    crepes = peer("crepes")
    other = crepes.ConformalRegressor().fit(y - x)
    assert np.allclose(found, other.predict_int(new, confidence=0.9))
    scale, scale_new = RNG.uniform(0.5, 2, 80), RNG.uniform(0.5, 2, 30)
    rule = bayes.fit_intervals(y, x, level=0.8, scale=scale)
    other = crepes.ConformalRegressor().fit(y - x, sigmas=scale)
    want = other.predict_int(new, sigmas=scale_new, confidence=0.8)
    assert np.allclose(bayes.predict_intervals(rule, new, scale=scale_new), want)
    group, group_new = np.arange(80) % 3, np.arange(30) % 3
    rule = bayes.fit_intervals(y, x, level=0.8, groups=group)
    other = crepes.ConformalRegressor().fit(y - x, bins=group)
    want = other.predict_int(new, bins=group_new, confidence=0.8)
    assert np.allclose(bayes.predict_intervals(rule, new, groups=group_new), want)
    mapie = peer("mapie.regression")
    from sklearn.base import BaseEstimator, RegressorMixin

    known = type("Known", (Said, RegressorMixin, BaseEstimator), {})()
    other = mapie.SplitConformalRegressor(known, confidence_level=0.9).conformalize(x[:, None], y)
    assert np.allclose(found, other.predict_interval(new[:, None])[1][..., 0])


def test_the_jackknife_is_mapies():
    mapie = peer("mapie.regression")
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import LeaveOneOut

    x, new = RNG.normal(size=(40, 3)), RNG.normal(size=(15, 3))
    y = x @ [1.0, -2.0, 0.5] + RNG.standard_t(3, 40)
    other = mapie.CrossConformalRegressor(
        LinearRegression(), confidence_level=0.8, method="plus", cv=LeaveOneOut()
    )
    want = other.fit_conformalize(x, y).predict_interval(new)[1][..., 0]
    residuals, predictions = np.zeros(40), np.zeros((40, 15))
    for i in range(40):
        rest = np.arange(40) != i
        fitted = LinearRegression().fit(x[rest], y[rest])
        residuals[i] = abs(y[i] - fitted.predict(x[i : i + 1])[0])
        predictions[i] = fitted.predict(new)
    assert np.allclose(bayes.jackknife_plus(residuals, predictions, level=0.8), want)


class Tanh(nn.Module):
    """Two layers; the head is the last."""

    @nn.compact
    def __call__(self, x):
        h = nn.tanh(nn.Dense(6, name="body", dtype=x.dtype, param_dtype=x.dtype)(x))
        logits = nn.Dense(3, name="head", dtype=x.dtype, param_dtype=x.dtype)(h)
        return {"logits": logits, "features": h}


@pytest.mark.parametrize(
    ("subset", "structure"),
    [("all", "full"), ("all", "kron"), ("all", "diag"), ("last_layer", "full")],
)
@pytest.mark.parametrize("n", [12, 60])  # fewer rows than the 45 parameters, and more
def test_laplace_is_laplace_torchs(subset, structure, n):
    torch = peer("torch")
    laplace = peer("laplace")
    x, new = RNG.normal(size=(n, 2)), RNG.normal(size=(7, 2))
    y = RNG.integers(0, 3, n)
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(2, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)
    ).double()  # fmt: skip
    data = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
    other = laplace.Laplace(
        net, "classification", subset_of_weights=subset, hessian_structure=structure,
        prior_precision=0.7,
    )  # fmt: skip
    other.fit(torch.utils.data.DataLoader(data, batch_size=n))
    mean, covariance = other._glm_predictive_distribution(torch.tensor(new))
    with jax.enable_x64(True):
        arrays = [jnp.asarray(v.detach().numpy()) for v in net.parameters()]
        params = {
            "body": {"kernel": arrays[0].T, "bias": arrays[1]},
            "head": {"kernel": arrays[2].T, "bias": arrays[3]},
        }
        found = bayes.laplace(
            jm.from_linen(Tanh()), params, {}, {"image": x, "label": y}, bayes.categorical(),
            structure=structure, subset=None if subset == "all" else subset, prior_precision=0.7,
        )  # fmt: skip
        own_mean, own_covariance = map(np.asarray, found.function(new))
        assert np.allclose(own_mean, mean.detach().numpy(), atol=1e-8)
        assert np.allclose(own_covariance, covariance.detach().numpy(), rtol=1e-5, atol=1e-7)
        assert np.isclose(found.log_evidence, float(other.log_marginal_likelihood()), atol=1e-6)
