"""The matrix of scores of tasks one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed.report import task_matrix_figure


def test_the_mean_over_seeds_stands_in_its_cell():
    scores = np.array([[[0.8, 0.2], [0.5, 1.0]], [[0.6, 0.4], [0.5, 0.9]]])
    axes = task_matrix_figure(scores, tasks=["first", "a name that is longer than is shown"]).axes[
        0
    ]
    cells = {
        tuple(np.floor(text.get_position()).astype(int)): text.get_text() for text in axes.texts
    }
    assert cells == {(0, 0): ".70", (1, 0): ".30", (0, 1): ".50", (1, 1): ".95"}
    assert axes.get_xticklabels()[1].get_text() == "a name that is longe…"


@pytest.mark.parametrize("shape", [(2, 3), (3, 3), (1, 2, 3)])
def test_a_matrix_of_other_tasks_is_refused(shape):
    with pytest.raises(ValueError, match="scores of 2 tasks"):
        task_matrix_figure(np.zeros(shape), tasks=["a", "b"])
