"""Gaussian images, `exact_diffusion`, is a module that these tests import by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

# Neither tests nor doctests.
collect_ignore = ["exact_diffusion.py"]


@pytest.fixture(scope="session")
def gaussian():
    from exact_diffusion import Gaussian

    return Gaussian()
