"""The JAX functions: equal to NumPy's, under jit and vmap, in both precisions; ties exact."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import stats


def _data(seed: int = 0):
    rng = np.random.default_rng(seed)
    y = np.arange(60) % 3 == 0
    x = np.round(rng.normal(size=(4, 2, 60)) * 2 + 2 * y).astype(np.float32)  # many ties
    return y, x


def test_jit_vmap_and_numpy_agree_with_ties() -> None:
    y, x = _data()
    run = jax.jit(jax.vmap(stats.delong_on_device, in_axes=(None, 0, 0)))
    got = run(jnp.asarray(y), jnp.asarray(x[:, 0]), jnp.asarray(x[:, 1]))
    area = jax.jit(stats.auc_on_device)
    for i, (a, b) in enumerate(x):
        want = stats.delong_test(y, a, b)
        assert got.first[i] == pytest.approx(want.details["auc1"], abs=1e-6)
        assert got.z[i] == pytest.approx(want.statistic, rel=1e-4)
        assert got.p_value[i] == pytest.approx(want.p_value, rel=1e-3)
        assert area(jnp.asarray(y), jnp.asarray(a)) == pytest.approx(
            stats.auc(y, a).value, abs=1e-6
        )
    # Whole counts of float32 inputs: the mirrored labels give the mirrored area to the last bit.
    flip = area(jnp.asarray(~y), jnp.asarray(x[0, 0]))
    assert float(flip) == pytest.approx(1 - float(got.first[0]), abs=2e-7)


def test_float64_is_numpys_to_rounding() -> None:
    y, x = _data(1)
    with jax.enable_x64(True):
        got = jax.jit(stats.delong_on_device)(
            jnp.asarray(y), jnp.asarray(x[0, 0], jnp.float64), jnp.asarray(x[0, 1], jnp.float64)
        )
        want = stats.delong_test(y, x[0, 0], x[0, 1])
        assert float(got.z) == pytest.approx(want.statistic, rel=1e-12)
        assert float(got.p_value) == pytest.approx(want.p_value, rel=1e-10)


def test_wrong_shapes_are_told_when_traced() -> None:
    with pytest.raises(ValueError, match=r"\(cases,\)"):
        jax.jit(stats.auc_on_device)(jnp.zeros(3), jnp.zeros((3, 1)))


def test_importing_stats_pulls_in_no_jax_trainer_or_plotting() -> None:
    code = (
        "import sys; import jaxmed.stats;"
        "bad = [m for m in sys.modules if m.split('.')[0] in"
        " ('jax', 'flax', 'optax', 'matplotlib', 'nibabel', 'sklearn')"
        " or m in ('jaxmed.train', 'jaxmed.data', 'jaxmed.report')];"
        "print(bad)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_nan_among_the_scores_gives_nan():
    y, x = [0, 1, 0, 1], np.array([0.1, 0.4, 0.3, 0.8], np.float32)
    broken = np.array([0.1, np.nan, 0.3, 0.8], np.float32)
    assert np.isnan(stats.auc_on_device(y, broken))
    test = stats.delong_on_device(y, x, broken)
    assert test.first == 1
    assert np.isnan(test.second)
    assert np.isnan(test.p_value)
