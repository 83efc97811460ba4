"""Choice of a report's figures, by the type of its results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxmed.report.figures._history import learning_curves, measures
from jaxmed.report.page._boxes import box_exhibits, froc_exhibits
from jaxmed.report.page._classification import class_exhibits
from jaxmed.report.page._continual import task_exhibits
from jaxmed.report.page._density import drawing_exhibits
from jaxmed.report.page._episodes import episode_exhibits
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.page._explained_cases import explanation_exhibits
from jaxmed.report.page._features import feature_exhibits
from jaxmed.report.page._generation import (
    compared_exhibits,
    copy_exhibits,
    floor_exhibits,
    gallery_exhibits,
    translation_exhibits,
)
from jaxmed.report.page._instances import instance_exhibits
from jaxmed.report.page._label_curve import label_exhibits
from jaxmed.report.page._models import model_exhibits
from jaxmed.report.page._registered import pair_exhibits
from jaxmed.report.page._regression import number_exhibits
from jaxmed.report.page._robustness import robustness_exhibits
from jaxmed.report.page._segmentation import mask_exhibits
from jaxmed.report.page._survival import survival_exhibits
from jaxmed.report.page._uncertainty import uncertainty_exhibits
from jaxmed.report.results._results import (
    ClassificationResults,
    ComparisonResults,
    ContinualResults,
    DensityResults,
    DetectionResults,
    GenerationResults,
    InstanceResults,
    RegistrationResults,
    RegressionResults,
    Results,
    SegmentationResults,
    SurvivalResults,
    TranslationResults,
)

Section = tuple[str, str, Callable[[Any], Exhibits]]
_UNCERTAINTY: Section = ("uncertainty", "Uncertainty", uncertainty_exhibits)

# Each section is (id, name, figures of the results).
SECTIONS: dict[type[Results], tuple[Section, ...]] = {
    ClassificationResults: (
        ("predictions", "Predictions", class_exhibits),
        ("features", "Features", feature_exhibits),
        ("explanations", "Explanations", explanation_exhibits),
        _UNCERTAINTY,
    ),
    ContinualResults: (("tasks", "Task by task", task_exhibits),),
    DensityResults: (("drawings", "Drawings", drawing_exhibits),),
    DetectionResults: (
        ("froc", "Free-response ROC", froc_exhibits),
        ("boxes", "Images with boxes", box_exhibits),
    ),
    GenerationResults: (
        ("floors", "Beside real images", floor_exhibits),
        ("drawings", "Drawings", gallery_exhibits),
        ("copies", "Copies", copy_exhibits),
    ),
    InstanceResults: (("instances", "Images with objects", instance_exhibits),),
    RegistrationResults: (("pairs", "Pairs before and after", pair_exhibits),),
    RegressionResults: (("predictions", "Predictions", number_exhibits),),
    SegmentationResults: (("agreement", "Agreement", mask_exhibits), _UNCERTAINTY),
    SurvivalResults: (("survival", "Survival", survival_exhibits),),
    TranslationResults: (
        ("floors", "Beside others", compared_exhibits),
        ("images", "Images", translation_exhibits),
    ),
    ComparisonResults: (("models", "Models side by side", model_exhibits),),
}


def figure_groups(results: Results) -> list[dict[str, Any]]:
    """Return sections of figures: `{id, name, figures: [{svg, caption, wide}]}`."""
    sections: tuple[Section, ...] = (
        ("training", "Training", _training),
        *SECTIONS[type(results)],
        ("label-curve", "Curve of labels", label_exhibits),
        ("episodes", "Episodes", episode_exhibits),
        ("robustness", "Corrupted images", robustness_exhibits),
    )
    groups = [(id_, name, figures(results)) for id_, name, figures in sections]
    return [
        {"id": id_, "name": name, "figures": figures} for id_, name, figures in groups if figures
    ]


def _training(results: Results) -> Exhibits:
    panels = measures(results.training.history)
    if not panels:
        return []
    figure = learning_curves(results.training.history, best=results.training.best_step)
    ends = []
    for part, (_, values) in panels.get("loss", {}).items():
        ends.append(f"{part} loss from {values[0]:.3f} to {values[-1]:.3f}")
    alt = "Learning curves. " + "; ".join(ends)
    caption = "Learning curves. Long ones are a running median over the faint values."
    return [exhibit(figure, "history", caption, alt)]
