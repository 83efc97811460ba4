"""Reports: what was found, with intervals, as one page for readers and files for machines.

`classification` and `segmentation` measure anyone's predictions and return `Results`; `write` puts
`metrics.json`, `predictions.csv` and a self-contained `report.html` into a folder. Every figure of
the page is also a function here that returns a Matplotlib figure, free of windows and global state.
"""

from jaxmed.report._classification import classification
from jaxmed.report._confusion import confusion_figure, confusion_matrix
from jaxmed.report._curves import (
    precision_recall_figure,
    reliability_figure,
    roc_figure,
)
from jaxmed.report._environment import command_line, environment
from jaxmed.report._gallery import best_median_worst, case_figure, class_pictures, mask_picture
from jaxmed.report._history import learning_curves
from jaxmed.report._page import html
from jaxmed.report._read import ScoreTable, read_mask_pairs, read_scores
from jaxmed.report._record import metrics_record, to_json
from jaxmed.report._regression import agreement_figure, observed_figure
from jaxmed.report._results import (
    TASKS,
    Overlap,
    Picture,
    Results,
    Scores,
    Split,
    UncertainCase,
    Uncertainty,
)
from jaxmed.report._segmentation import MaskPair, agreement, from_overlap, segmentation
from jaxmed.report._segments import distribution_figure
from jaxmed.report._stages import split_sizes, stage
from jaxmed.report._uncertainty import (
    entropy_figure,
    risk_coverage_figure,
    set_size_figure,
    uncertainty_map_figure,
)
from jaxmed.report._write import Written, predictions_csv, summary, write

__all__ = [
    "TASKS",
    "MaskPair",
    "Overlap",
    "Picture",
    "Results",
    "ScoreTable",
    "Scores",
    "Split",
    "UncertainCase",
    "Uncertainty",
    "Written",
    "agreement",
    "agreement_figure",
    "best_median_worst",
    "case_figure",
    "class_pictures",
    "classification",
    "command_line",
    "confusion_figure",
    "confusion_matrix",
    "distribution_figure",
    "entropy_figure",
    "environment",
    "from_overlap",
    "html",
    "learning_curves",
    "mask_picture",
    "metrics_record",
    "observed_figure",
    "precision_recall_figure",
    "predictions_csv",
    "read_mask_pairs",
    "read_scores",
    "reliability_figure",
    "risk_coverage_figure",
    "roc_figure",
    "segmentation",
    "set_size_figure",
    "split_sizes",
    "stage",
    "summary",
    "to_json",
    "uncertainty_map_figure",
    "write",
]
