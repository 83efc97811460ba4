"""The native extension: built once, and its absence costs a log line, no more."""

from __future__ import annotations

import logging
import os
import platform
import stat

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import ops
from jaxmed.ops import _build, _cache
from jaxmed.ops.convolution import _native as native


@pytest.fixture
def no_library(monkeypatch):
    """As where nothing was built."""
    native.library.cache_clear()
    native.implementation.cache_clear()

    def refuse():
        raise _cache.BuildError("no C++ compiler (g++) on the path")

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


@pytest.fixture
def wheels():
    """A skip where oneDNN's wheels are not installed."""
    try:
        onednn = _build._file_of("onednn-cpu-gomp", "libdnnl.so.3")
        _build._file_of("onednn-devel-cpu-gomp", "dnnl.hpp")
    except _cache.BuildError as error:
        pytest.skip(str(error))
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        pytest.skip("no native kernels on this system")
    return onednn


def test_no_compiler_is_a_build_error(wheels, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(_cache.BuildError, match=r"no C\+\+ compiler"):
        _build.build()
    monkeypatch.setenv("CXX", "/nowhere/g++")
    with pytest.raises(_cache.BuildError, match="the compiler did not run"):
        _build.build()
    monkeypatch.setenv("CXX", "/bin/false")
    with pytest.raises(_cache.BuildError, match="failed"):
        _build.build()
    assert not list(tmp_path.rglob("*.so"))


@pytest.fixture
def fake(wheels, monkeypatch, tmp_path):
    """A compiler that writes its version where the library should be, and counts its calls."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))

    def make(name, version):
        path = tmp_path / name
        path.write_text(
            f"#!/bin/sh\nif [ $1 = --version ]; then echo {version}; exit; fi\n"
            f'while [ $1 != -o ]; do shift; done; echo {version} > $2; echo >> "{tmp_path}/calls"\n'
        )
        path.chmod(0o700)
        monkeypatch.setenv("CXX", str(path))

    def calls():
        counted = tmp_path / "calls"
        return len(counted.read_text().splitlines()) if counted.exists() else 0

    return make, calls, folder / "jaxmed" / "native"


def test_another_compiler_builds_anew_and_the_same_does_not(fake, monkeypatch):
    make, calls, _ = fake
    built = []
    for name, version in (("g", 1), ("g", 1), ("g", 2), ("other", 2)):
        make(name, version)
        built.append(_build.build().library)
    assert calls() == 3
    assert built[0] == built[1]
    assert len(set(built)) == 3
    assert built[2].read_text() == "2\n"
    # Without a compiler, what one of them has built from this source will do.
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "")
    assert _build.build().library in built


def test_the_cache_is_private(fake):
    make, _, folder = fake
    old = os.umask(0o002)
    try:
        make("g", 1)
        library = _build.build().library
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) & 0o022 == 0
    for path in (library, folder):
        mode = stat.S_IMODE(path.stat().st_mode)
        for writable in (0o020, 0o002):
            path.chmod(mode | writable)
            with pytest.raises(_cache.BuildError, match=r"others may write to .*chmod go-w"):
                _build.build()
        path.chmod(mode)
    assert _build.build().library == library


def test_a_cache_of_somebody_else_is_refused(fake, monkeypatch):
    make, _, folder = fake
    make("g", 1)
    _build.build()
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    owner = folder.stat().st_uid
    if owner == 0:  # root is trusted: let the folder belong to another
        try:
            os.chown(folder, 12345, -1)
        except OSError as error:
            pytest.skip(f"cannot give a folder away: {error}")
        monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(_cache.BuildError, match="belongs to user"):
        _build.build()


def test_a_link_in_place_of_the_cache_is_refused(fake, tmp_path):
    make, calls, folder = fake
    make("g", 1)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.parent.mkdir(parents=True)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(_cache.BuildError, match="symbolic link"):
        _build.build()
    assert calls() == 0


def test_the_lock_has_a_time_limit(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with (
            pytest.raises(_cache.BuildError, match=r"held .*lock for 0 s; end it"),
            _cache.lock(tmp_path / "lock", timeout=0.2),
        ):
            pass
    with _cache.lock(tmp_path / "lock", timeout=0.2):
        pass


def no_home(monkeypatch, tmp_path):
    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(_cache.Path, "home", none)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


def a_file_for_a_folder(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))


def relative(monkeypatch, tmp_path):
    no_home(monkeypatch, tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")


PLACES = {"no home folder": no_home, "cannot make": a_file_for_a_folder, "no home": relative}


@pytest.mark.parametrize("reason", PLACES)
def test_where_nothing_can_be_kept_the_pure_form_runs_with_one_line(
    wheels, monkeypatch, tmp_path, caplog, reason
):
    PLACES[reason](monkeypatch, tmp_path)
    native.library.cache_clear()
    native.implementation.cache_clear()
    try:
        with caplog.at_level(logging.INFO, "jaxmed"):
            # Shapes of its own: a program that is compiled already asks no more.
            y = ops.conv(jnp.ones((1, 4, 40 + len(reason), 1)), jnp.ones((3, 3, 1, 1)))
            ops.conv(jnp.ones((1, 5, 40 + len(reason), 1)), jnp.ones((3, 3, 1, 1)))
    finally:
        native.library.cache_clear()
        native.implementation.cache_clear()
    assert y[0, 1, 1, 0] == 9
    lines = [r for r in caplog.records if r.name == "jaxmed"]
    assert [line.levelname for line in lines] == ["WARNING"]
    assert reason in lines[0].getMessage()


def test_missing_wheel_is_a_build_error():
    with pytest.raises(_cache.BuildError, match=r"jaxmed-none is not installed .*jaxmed\[cpu\]"):
        _build._file_of("jaxmed-none", "dnnl.hpp")


def test_library_is_found_again():
    try:
        first = _build.build()
    except _cache.BuildError as error:
        pytest.skip(str(error))
    assert _build.build() == first
    assert first.library.exists()
