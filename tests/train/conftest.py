"""The toy problem, and comparisons of trees."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

# What the processes that tests start run: no tests, and no doctests.
collect_ignore = ["process.py", "toy.py", "worker.py"]


@pytest.fixture(scope="session")
def toy():
    """The module ``toy.py``, which the processes that tests start import too."""
    spec = importlib.util.spec_from_file_location("toy", Path(__file__).with_name("toy.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _numpy(leaf):
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


@pytest.fixture(scope="session")
def same():
    """Assert that two trees are equal, to the bit or within a tolerance."""

    def check(one, other, *, atol=None):
        ones, others = jax.tree.leaves(one), jax.tree.leaves(other)
        assert jax.tree.structure(one) == jax.tree.structure(other)
        assert len(ones) > 0
        for a, b in zip(ones, others, strict=True):
            assert a.dtype == b.dtype
            if atol is None:
                assert _numpy(a).tobytes() == _numpy(b).tobytes()
            else:
                np.testing.assert_allclose(_numpy(a), _numpy(b), atol=atol, rtol=atol)

    return check
