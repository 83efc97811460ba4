"""Learning from few labels and many images."""

from __future__ import annotations

import jaxmed as jm
from rows._row import Row, noisy

CLASSES_ONLY = ("classification", "segmentation")

ROWS = {
    "mean_teacher": Row(
        lambda task: jm.mean_teacher(task.objective, ramp_steps=10, student_view=noisy),
        stacks=True,
    ),
    "pseudo_label": Row(
        lambda task: jm.pseudo_label(task.objective, strong=noisy, threshold=0.3),
        tasks=CLASSES_ONLY,
        stacks=True,
    ),
}
