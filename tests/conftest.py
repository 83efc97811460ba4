"""Shared fixtures: eight virtual CPU devices, and the folder of real data where there is one."""

from __future__ import annotations

import os
from pathlib import Path

# Before JAX starts: tests spend their time in compiling small programs that run once. The slow
# ones run for longer than they compile: `make test-slow` sets a level first.
os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 " + os.environ.get("XLA_FLAGS", "")
).strip()

import jax
import pytest
from hypothesis import settings

# The first example of a property compiles; how long that takes says nothing.
settings.register_profile("jaxmed", deadline=None)
settings.load_profile("jaxmed")

# Before any computation: sharding laws are tested on eight virtual devices.
jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that ``JAXMED_DATA`` names, or a skip that says so."""
    folder = os.environ.get("JAXMED_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("JAXMED_DATA names no folder of real data")
    return Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked ``devices(n)`` where JAX has fewer, as on a machine with one GPU."""
    for item in items:
        needed = max((mark.args[0] for mark in item.iter_markers("devices")), default=1)
        if needed > 1 and jax.device_count() < needed:
            reason = f"needs {needed} devices, {jax.default_backend()} has {jax.device_count()}"
            item.add_marker(pytest.mark.skip(reason))
