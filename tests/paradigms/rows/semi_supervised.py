"""Learning from few labels and many images."""

from __future__ import annotations

import jaxmed as jm
from jaxmed import paradigms
from rows._row import CLASSES, Row, noisy

CLASSES_ONLY = ("classification", "segmentation")
SHARES = (0.5, 0.3, 0.2)

ROWS = {
    "mean_teacher": Row(
        lambda task: jm.mean_teacher(
            task.objective, ramp_steps=10, student_view=noisy, activation=task.activation
        ),
        stacks=True,
    ),
    "uncertainty_aware_teacher": Row(
        lambda task: paradigms.uncertainty_aware_teacher(
            task.objective, passes=2, teacher_view=noisy
        ),
        tasks=CLASSES_ONLY,
        stacks=True,
    ),
    "pi_model": Row(
        lambda task: paradigms.pi_model(task.objective, view=noisy, activation=task.activation),
        stacks=True,
    ),
    "pseudo_label": Row(
        lambda task: jm.pseudo_label(task.objective, strong=noisy, threshold=0.3),
        tasks=CLASSES_ONLY,
        stacks=True,
    ),
    "flexible pseudo_label": Row(
        lambda task: jm.pseudo_label(
            task.objective, strong=noisy, threshold=0.3, flexible=True, align=SHARES[:CLASSES]
        ),
        tasks=CLASSES_ONLY,
        stacks=True,
        across=True,
    ),
    "entropy_minimisation": Row(
        lambda task: paradigms.entropy_minimisation(task.objective),
        tasks=CLASSES_ONLY,
        stacks=True,
    ),
    "cross_pseudo": Row(
        lambda task: paradigms.cross_pseudo(task.objective, view=noisy),
        tasks=CLASSES_ONLY,
        stacks=True,
    ),
    "mixmatch": Row(
        lambda task: paradigms.mixmatch(
            noisy, ramp_steps=10, target="mask" if task.dense else "label"
        ),
        tasks=CLASSES_ONLY,
    ),
}
