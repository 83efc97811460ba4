"""Components of results: sizes, predictions, comparisons, pictures, the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxmed.stats import Estimate, Subgroups, TestResult


class Split(NamedTuple):
    """The size of one part of the data.

    Attributes:
        name: `train`, `validation`, `test`, ...
        cases: number of examples.
        groups: number of patients, or None where the data names none.
        counts: examples of each class (or with each label), by class name.
    """

    name: str
    cases: int
    groups: int | None = None
    counts: Mapping[str, int] = {}


class DataSummary(NamedTuple):
    """Description of the data: sizes, selection, partition.

    Attributes:
        splits: sizes of the parts.
        flow: how the data came to these parts, one sentence a step.
        partition: how the parts were made disjoint, and whether it was checked.
        failures: cases that could not be predicted, and why; they are counted in the report.
        openings: how often the test set has been opened, if that was recorded.
    """

    splits: tuple[Split, ...] = ()
    flow: tuple[str, ...] = ()
    partition: str = ""
    failures: tuple[str, ...] = ()
    openings: int | None = None


class TrainingLog(NamedTuple):
    """Log of the training.

    Attributes:
        history: rows of the training log.
        best_step: the step whose model was kept, marked in the learning curves.
    """

    history: Sequence[Mapping[str, Any]] = ()
    best_step: int | None = None


class FeatureMaps(NamedTuple):
    """Maps of what a network makes of the cases, as :func:`jaxmed.report.feature_maps` makes them.

    Attributes:
        maps: :class:`jaxmed.report.Projection` of each kind.
        rows: (m,) positions of the cases that are in them.
        images: their images, for thumbnails, or None.
        what: what was mapped, in words.
    """

    maps: tuple[Any, ...]
    rows: NDArray[np.intp]
    images: Sequence[Any] | None = None
    what: str = "features"


class RunRecord(NamedTuple):
    """Provenance of the results, for reproduction.

    Attributes:
        config: the run's settings.
        environment: result of `environment()`.
        command: the command that made the run.
        seed: random seed.
        seconds: wall-clock time, by stage; `total` is the sum unless given.
    """

    config: Mapping[str, Any] = {}
    environment: Mapping[str, Any] = {}
    command: str = ""
    seed: int | None = None
    seconds: Mapping[str, float] = {}


class Scores(NamedTuple):
    """Predictions of a classifier or a regression, one row per case.

    Attributes:
        labels: (cases,) class, or (cases, tasks) 0/1 for multi-label, or (cases,) numbers.
        scores: (cases, classes) probabilities, (cases, tasks), or (cases,) numbers.
        cases: names of the cases.
        groups: patient of each case, or None.
    """

    labels: NDArray[Any]
    scores: NDArray[Any]
    cases: Sequence[str]
    groups: Sequence[Any] | None = None


class Overlap(NamedTuple):
    """Agreement of predicted and true masks, case by case.

    Attributes:
        cases: names of the cases.
        values: metric name to (cases, classes) array; NaN where a metric is undefined (the
            structure is in neither mask).
        groups: patient of each case, or None.
        tolerance: of the NSD, in `unit`.
        unit: of distances: `mm`, or `px` of pictures.
    """

    cases: Sequence[str]
    values: Mapping[str, NDArray[np.floating]]
    groups: Sequence[Any] | None = None
    tolerance: float = 1.0
    unit: str = "mm"


class Contrast(NamedTuple):
    """Two models compared by one metric.

    Attributes:
        metric: name of the metric.
        first: one model.
        second: the other.
        test: test of first - second, with the unadjusted p-value.
        adjusted: the p-value corrected for the number of tests.
    """

    metric: str
    first: str
    second: str
    test: TestResult
    adjusted: float


class Comparison(NamedTuple):
    """Several models on the same cases; made by `compare` and `compare_segmentations`.

    Attributes:
        models: model to its metrics by name.
        contrasts: every pair by every metric tested.
        adjustment: how p-values were corrected.
        family: tests corrected together: `all`, or those of one `metric`.
        level: confidence level of all intervals.
        scores: model to its predictions, for classification and regression.
        overlaps: model to its agreement case by case, for segmentation.
    """

    models: Mapping[str, Mapping[str, Estimate]]
    contrasts: Sequence[Contrast]
    adjustment: str
    family: str
    level: float
    scores: Mapping[str, Scores] = {}
    overlaps: Mapping[str, Overlap] = {}


class SubgroupTable(NamedTuple):
    """A metric by subgroup.

    Attributes:
        column: the grouping variable: `site`, `sex`, ...
        metric: name of the metric.
        found: estimates, adjusted tests and the gap.
        model: whose, in a comparison.
    """

    column: str
    metric: str
    found: Subgroups
    model: str = ""


class Picture(NamedTuple):
    """One case to look at.

    Attributes:
        case: name of the case.
        rank: why it is shown: `best`, `median`, `worst`, ...
        image: (height, width) or (height, width, 3).
        truth: mask (height, width) of classes, or the name of the true class.
        prediction: likewise; of several models each one's mask.
        caption: caption, e.g. the case's Dice.
        aspect: height of a pixel over its width, from the voxel spacing.
    """

    case: str
    rank: str
    image: NDArray[Any]
    truth: NDArray[np.integer] | str | None = None
    prediction: NDArray[np.integer] | str | Mapping[str, NDArray[np.integer]] | None = None
    caption: str = ""
    aspect: float = 1.0


class UncertainCase(NamedTuple):
    """One segmented case whose uncertainty is drawn.

    Attributes:
        case: name of the case.
        image: (height, width) or (height, width, channels).
        samples: (samples, height, width, classes) probabilities of a posterior.
        truth: (height, width) classes, or None.
        caption: caption of the picture.
        aspect: height of a pixel over its width.
    """

    case: str
    image: NDArray[Any]
    samples: NDArray[Any]
    truth: NDArray[np.integer] | None = None
    caption: str = ""
    aspect: float = 1.0


class Uncertainty(NamedTuple):
    """Uncertainty of predictions by a posterior and a conformal rule.

    Attributes:
        samples: (samples, cases, classes) probabilities, the cases those of the scores.
        sets: (cases, classes) booleans, prediction sets of these cases.
        level: the coverage the sets were made for.
        maps: segmented cases to draw.
        method: the posterior's name.
    """

    samples: NDArray[Any] | None = None
    sets: NDArray[np.bool_] | None = None
    level: float | None = None
    maps: Sequence[UncertainCase] = ()
    method: str = ""
