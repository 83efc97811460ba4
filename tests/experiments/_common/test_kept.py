"""Predictions that other runs are compared with."""

from __future__ import annotations

import numpy as np
import pytest
from jaxmed.experiments._common.kept import store, stored
from jaxmed.experiments.few_labels import paradigms


def test_a_baseline_of_other_settings_is_refused(tmp_path):
    config = paradigms.Config()
    store(tmp_path, config, ("steps", "labels"), {"test": np.ones(3)})
    assert stored(tmp_path, config, ("steps", "labels"))["test"].tolist() == [1, 1, 1]
    other = paradigms.Config(steps=7)
    with pytest.raises(ValueError, match=r"other settings: \{'steps'"):
        stored(tmp_path, other, ("steps", "labels"))
    with pytest.raises(ValueError, match="no finished run"):
        stored(tmp_path / "none", config, ("steps",))
