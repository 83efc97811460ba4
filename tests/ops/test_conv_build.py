"""The native extension: built once, and its absence costs a log line, no more."""

from __future__ import annotations

import logging

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import ops
from jaxmed.ops import _build
from jaxmed.ops.convolution import _native as native


@pytest.fixture
def no_library(monkeypatch):
    """As where nothing was built."""
    native.library.cache_clear()
    native.implementation.cache_clear()

    def refuse():
        raise _build.BuildError("no C++ compiler (g++) on the path")

    monkeypatch.setattr(native, "build", refuse)
    yield
    native.library.cache_clear()
    native.implementation.cache_clear()


def test_falls_back_to_the_pure_form_with_one_log_line(no_library, caplog):
    x, kernel = jnp.ones((1, 5, 5, 1)), jnp.ones((3, 3, 1, 1))
    with caplog.at_level(logging.INFO, "jaxmed"):
        y = ops.conv(x, kernel, stride=2)
        ops.conv(x, kernel, stride=(2, 1))
    np.testing.assert_array_equal(y[0, :, :, 0], [[4, 6, 4], [6, 9, 6], [4, 6, 4]])
    lines = [r.getMessage() for r in caplog.records if "native convolution" in r.getMessage()]
    assert lines == [
        "native convolution not available, the pure form runs: no C++ compiler (g++) on the path"
    ]
    with ops.config(conv="onednn"), pytest.raises(NotImplementedError, match="no C\\+\\+ compiler"):
        ops.conv(x, kernel)


def test_no_compiler_is_a_build_error(monkeypatch, tmp_path):
    try:
        _build.build()
    except _build.BuildError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(_build.BuildError, match=r"no C\+\+ compiler"):
        _build.build()
    monkeypatch.setenv("CXX", "/nowhere/g++")
    with pytest.raises(_build.BuildError, match="the compiler did not run"):
        _build.build()
    monkeypatch.setenv("CXX", "/bin/false")
    with pytest.raises(_build.BuildError, match="failed"):
        _build.build()
    assert not list(tmp_path.rglob("*.so"))


def test_missing_wheel_is_a_build_error():
    with pytest.raises(_build.BuildError, match=r"jaxmed-none is not installed .*jaxmed\[cpu\]"):
        _build._file_of("jaxmed-none", "dnnl.hpp")


def test_library_is_found_again():
    try:
        first = _build.build()
    except _build.BuildError as error:
        pytest.skip(str(error))
    assert _build.build() == first
    assert first.library.exists()
