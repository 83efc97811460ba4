"""Reports: results with intervals as an HTML page and machine-readable files.

`classification` and `segmentation` evaluate any model's predictions and return `Results`; `write`
saves `metrics.json`, `predictions.csv` and a self-contained `report.html` to a folder. Every figure
of the page is also available as a function that returns a Matplotlib figure without global state.
"""

from jaxmed._json import to_json
from jaxmed.report.figures._boxes import boxes_figure, froc_figure
from jaxmed.report.figures._confusion import confusion_figure, confusion_matrix
from jaxmed.report.figures._curves import precision_recall_figure, reliability_figure, roc_figure
from jaxmed.report.figures._drawings import drawings_figure
from jaxmed.report.figures._episode import episode_figure, episodes_figure
from jaxmed.report.figures._feature_maps import feature_maps
from jaxmed.report.figures._gallery import (
    best_median_worst,
    case_figure,
    class_pictures,
    mask_picture,
)
from jaxmed.report.figures._generation import beside_figure, copies_figure
from jaxmed.report.figures._heat_map import heat_map_figure
from jaxmed.report.figures._history import learning_curves
from jaxmed.report.figures._label_curve import label_curve_figure
from jaxmed.report.figures._models import (
    decision_figure,
    forest_figure,
    models_reliability_figure,
    models_roc_figure,
)
from jaxmed.report.figures._power import power_figure
from jaxmed.report.figures._projection import (
    NOT_MEANT,
    Projection,
    projection_figure,
    projections,
)
from jaxmed.report.figures._regression import agreement_figure, observed_figure
from jaxmed.report.figures._robustness import robustness_figure
from jaxmed.report.figures._segments import distribution_figure
from jaxmed.report.figures._shown_cases import contrast_pictures, mask_pictures
from jaxmed.report.figures._subgroups import subgroup_figure
from jaxmed.report.figures._survival import survival_calibration_figure, survival_figure
from jaxmed.report.figures._task_matrix import task_matrix_figure
from jaxmed.report.figures._translation import translation_figure
from jaxmed.report.figures._uncertainty import (
    entropy_figure,
    risk_coverage_figure,
    set_size_figure,
    uncertainty_map_figure,
)
from jaxmed.report.guidelines._checklist import FIELDS, NOT_REPORTED, Item, check_study, checklist
from jaxmed.report.page._csv import box_csv, comparison_csv, metrics_csv, predictions_csv
from jaxmed.report.page._explanation import ExplainedModel, write_explanations
from jaxmed.report.page._exploration import ExploredImages, write_exploration
from jaxmed.report.page._model_card import model_card
from jaxmed.report.page._page import html
from jaxmed.report.page._record import metrics_record
from jaxmed.report.page._registration import RegisteredImages, write_registration
from jaxmed.report.page._write import Written, summary, write
from jaxmed.report.read._boxes import BoxTable, holds_found_boxes, read_found_boxes
from jaxmed.report.read._case_images import read_case_images
from jaxmed.report.read._joined import read_columns
from jaxmed.report.read._mask_folders import cases_without_mask, read_mask_pairs
from jaxmed.report.read._models import ModelTables, read_models
from jaxmed.report.read._scores import ScoreTable, read_scores
from jaxmed.report.results._boxes import BoxPicture, FoundBoxes, box_pictures, detection
from jaxmed.report.results._by_group import bands, with_subgroups
from jaxmed.report.results._classification import classification
from jaxmed.report.results._comparison import compare, compare_segmentations, warn_of_repeats
from jaxmed.report.results._environment import command_line, environment
from jaxmed.report.results._episodes import Episode, Episodes
from jaxmed.report.results._explanations import ExplainedCase, Explanations
from jaxmed.report.results._instances import FoundInstances, InstancePicture, instances
from jaxmed.report.results._parts import (
    Comparison,
    Contrast,
    DataSummary,
    FeatureMaps,
    Overlap,
    Picture,
    RunRecord,
    Scores,
    Split,
    SubgroupTable,
    TrainingLog,
    UncertainCase,
    Uncertainty,
)
from jaxmed.report.results._registered import PairPicture, RegisteredPairs, registration
from jaxmed.report.results._results import (
    TASKS,
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
    results_of,
)
from jaxmed.report.results._robustness import Robustness
from jaxmed.report.results._segmentation import (
    MEASURES,
    MaskPair,
    agreement,
    from_overlap,
    overlap,
    segmentation,
)
from jaxmed.report.results._stages import split_sizes, stage
from jaxmed.report.results._study import from_study
from jaxmed.report.results._survival import SurvivalPredictions, survival
from jaxmed.report.results._translation import TranslatedCase

__all__ = [
    "FIELDS",
    "MEASURES",
    "NOT_MEANT",
    "NOT_REPORTED",
    "TASKS",
    "BoxPicture",
    "BoxTable",
    "ClassificationResults",
    "Comparison",
    "ComparisonResults",
    "ContinualResults",
    "Contrast",
    "DataSummary",
    "DensityResults",
    "DetectionResults",
    "Episode",
    "Episodes",
    "ExplainedCase",
    "ExplainedModel",
    "Explanations",
    "ExploredImages",
    "FeatureMaps",
    "FoundBoxes",
    "FoundInstances",
    "GenerationResults",
    "InstancePicture",
    "InstanceResults",
    "Item",
    "MaskPair",
    "ModelTables",
    "Overlap",
    "PairPicture",
    "Picture",
    "Projection",
    "RegisteredImages",
    "RegisteredPairs",
    "RegistrationResults",
    "RegressionResults",
    "Results",
    "Robustness",
    "RunRecord",
    "ScoreTable",
    "Scores",
    "SegmentationResults",
    "Split",
    "SubgroupTable",
    "SurvivalPredictions",
    "SurvivalResults",
    "TrainingLog",
    "TranslatedCase",
    "TranslationResults",
    "UncertainCase",
    "Uncertainty",
    "Written",
    "agreement",
    "agreement_figure",
    "bands",
    "beside_figure",
    "best_median_worst",
    "box_csv",
    "box_pictures",
    "boxes_figure",
    "case_figure",
    "cases_without_mask",
    "check_study",
    "checklist",
    "class_pictures",
    "classification",
    "command_line",
    "compare",
    "compare_segmentations",
    "comparison_csv",
    "confusion_figure",
    "confusion_matrix",
    "contrast_pictures",
    "copies_figure",
    "decision_figure",
    "detection",
    "distribution_figure",
    "drawings_figure",
    "entropy_figure",
    "environment",
    "episode_figure",
    "episodes_figure",
    "feature_maps",
    "forest_figure",
    "froc_figure",
    "from_overlap",
    "from_study",
    "heat_map_figure",
    "holds_found_boxes",
    "html",
    "instances",
    "label_curve_figure",
    "learning_curves",
    "mask_picture",
    "mask_pictures",
    "metrics_csv",
    "metrics_record",
    "model_card",
    "models_reliability_figure",
    "models_roc_figure",
    "observed_figure",
    "overlap",
    "power_figure",
    "precision_recall_figure",
    "predictions_csv",
    "projection_figure",
    "projections",
    "read_case_images",
    "read_columns",
    "read_found_boxes",
    "read_mask_pairs",
    "read_models",
    "read_scores",
    "registration",
    "reliability_figure",
    "results_of",
    "risk_coverage_figure",
    "robustness_figure",
    "roc_figure",
    "segmentation",
    "set_size_figure",
    "split_sizes",
    "stage",
    "subgroup_figure",
    "summary",
    "survival",
    "survival_calibration_figure",
    "survival_figure",
    "task_matrix_figure",
    "to_json",
    "translation_figure",
    "uncertainty_map_figure",
    "warn_of_repeats",
    "with_subgroups",
    "write",
    "write_explanations",
    "write_exploration",
    "write_registration",
]
