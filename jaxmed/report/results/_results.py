"""Results for a report: a small common record, and one type per task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from jaxmed.protocols import LabelCurve
from jaxmed.report.results._episodes import Episodes
from jaxmed.report.results._explanations import Explanations
from jaxmed.report.results._older import FlatResults, moved
from jaxmed.report.results._parts import (
    Comparison,
    DataSummary,
    FeatureMaps,
    Overlap,
    Picture,
    RunRecord,
    Scores,
    SubgroupTable,
    TrainingLog,
    Uncertainty,
)
from jaxmed.report.results._robustness import Robustness

ClassificationTask = Literal["binary", "multi-class", "ordinal", "multi-label"]
Task = Literal[ClassificationTask, "regression", "segmentation"]
TASKS = ("binary", "multi-class", "ordinal", "multi-label", "regression", "segmentation")

# The records within results, and the fields that are also accepted by their own names.
PARTS: dict[str, type[DataSummary | TrainingLog | RunRecord]] = {
    "data": DataSummary,
    "training": TrainingLog,
    "run": RunRecord,
}
PART_OF = {field: part for part, kind in PARTS.items() for field in kind._fields}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Results(metaclass=FlatResults):
    """Results common to all tasks; each task has its own subclass.

    Args:
        title: title of the report.
        classes: class names; of a segmentation without the background.
        metrics: name to `jaxmed.stats.Estimate`.
        headline: the metrics shown first.
        description: a paragraph on the study.
        notes: warnings that belong beside the numbers (checksums, exclusions, ...).
        level: confidence level of the intervals.
        data: sizes and origin of the data.
        training: the training log.
        run: settings, machine, command, time.
        pictures: cases to look at.
        subgroups: metrics by site, sex, ...
        study: what only its authors know, by the field's name: see `report.FIELDS`. Each that is
            missing is printed as NOT REPORTED.
        label_curve: of active learning, made by `protocols.label_curve`: how good models are by the
            number of labels, strategy by strategy.
        episodes: of an agent: its ways through images.
        robustness: a metric on images that were corrupted after training.

    Raises:
        ValueError: a headline that names no metric, or a task that the type does not know.
    """

    title: str
    classes: tuple[str, ...]
    metrics: Mapping[str, Any]
    headline: tuple[str, ...] = ()
    description: str = ""
    notes: tuple[str, ...] = ()
    level: float = 0.95
    data: DataSummary = dataclasses.field(default_factory=DataSummary)
    training: TrainingLog = dataclasses.field(default_factory=TrainingLog)
    run: RunRecord = dataclasses.field(default_factory=RunRecord)
    pictures: tuple[Picture, ...] = ()
    subgroups: tuple[SubgroupTable, ...] = ()
    study: Mapping[str, str] = dataclasses.field(default_factory=dict)
    label_curve: LabelCurve | None = None
    episodes: Episodes | None = None
    robustness: Robustness | None = None

    task: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.task not in self.tasks:
            raise ValueError(f"task is one of {', '.join(self.tasks)}, got {self.task!r}")
        unknown = [name for name in self.headline if name not in self.metrics]
        if unknown:
            raise ValueError(f"headline names no metric: {unknown}; there are {[*self.metrics]}")

    def replace(self, **fields: Any) -> Self:
        """Return a copy with some fields changed, including those of `data`, `training` and `run`.

        Examples:
            >>> from jaxmed.report import classification
            >>> classification([0, 1], [0.2, 0.9]).replace(seed=3).run.seed
            3
        """
        return dataclasses.replace(self, **placed(fields, vars(self)))

    def predictions(self) -> Mapping[str, Scores | Overlap]:
        """Predictions by model; a single model has no name."""
        return {}

    def __repr__(self) -> str:
        shown = "; ".join(f"{name} {self.metrics[name].value:.3g}" for name in self.headline)
        cases = next((len(held.cases) for held in self.predictions().values()), None)
        parts = [self.task, *([f"{cases} cases"] if cases is not None else []), shown]
        return f"{type(self).__name__} {self.title!r} ({', '.join(text for text in parts if text)})"

    __str__ = __repr__
    __getattr__ = moved


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ClassificationResults(Results):
    """Results for classes, ordinal grades or multi-label; made by `classification`.

    Args:
        task: `binary`, `multi-class`, `ordinal` or `multi-label`.
        scores: predictions, one row per case.
        threshold: threshold of a positive call.
        uncertainty: samples of a posterior, prediction sets.
        hard: whether the scores are predicted classes, 0 and 1, without a probability.
        maps: of the network's features, by :func:`jaxmed.report.feature_maps`.
        explanations: why some cases were answered so.
    """

    task: ClassificationTask  # pyright: ignore[reportIncompatibleVariableOverride]
    scores: Scores | None = None
    threshold: float | None = None
    uncertainty: Uncertainty | None = None
    hard: bool = False
    maps: FeatureMaps | None = None
    explanations: Explanations | None = None

    tasks: ClassVar = ("binary", "multi-class", "ordinal", "multi-label")

    def predictions(self) -> Mapping[str, Scores | Overlap]:
        """See `Results.predictions`."""
        return {} if self.scores is None else {"": self.scores}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class RegressionResults(Results):
    """Results of a regression; made by `classification` with `task="regression"`.

    Args:
        scores: predictions, one row per case.
    """

    scores: Scores | None = None

    task: ClassVar = "regression"
    tasks: ClassVar = ("regression",)

    def predictions(self) -> Mapping[str, Scores | Overlap]:
        """See `Results.predictions`."""
        return {} if self.scores is None else {"": self.scores}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class SurvivalResults(Results):
    """Results of predicted times to an event; made by `survival`.

    Args:
        predicted: :class:`SurvivalPredictions`, follow-up and predictions, one row per case.
        calibration: :class:`jaxmed.stats.SurvivalCalibration`, of predicted probabilities.
        separation: the log-rank test of the risk groups.
        unit: of time.
    """

    predicted: Any
    calibration: Any = None
    separation: Any = None
    unit: str = ""

    task: ClassVar = "survival"
    tasks: ClassVar = ("survival",)

    def predictions(self) -> Mapping[str, Any]:
        """See `Results.predictions`."""
        return {"": self.predicted}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DensityResults(Results):
    """Results of a model of images: how likely test images are, and what it draws.

    Args:
        drawings: images side by side, by name: test images, drawn ones, weights. See
            `drawings_figure`.
    """

    drawings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    task: ClassVar = "density"
    tasks: ClassVar = ("density",)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class GenerationResults(Results):
    """Results of a generator: how its images compare with real ones.

    Metrics that others have too are named `NAME/synthetic` and `NAME/real`, and so on.

    Args:
        drawings: images side by side, by name: real, drawn, their neighbours. See
            `drawings_figure`.
        memorised: :class:`jaxmed.stats.Memorised`, how near they come to training images.
    """

    drawings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    memorised: Any = None

    task: ClassVar = "generation"
    tasks: ClassVar = ("generation",)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class TranslationResults(Results):
    """Results of images that were made of others.

    Metrics that others have too are named `NAME/METHOD`, `NAME/copy`, and so on.

    Args:
        cases: :class:`TranslatedCase`, images to look at.
    """

    cases: tuple[Any, ...] = ()

    task: ClassVar = "translation"
    tasks: ClassVar = ("translation",)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ContinualResults(Results):
    """Results of tasks that were learned one after the other.

    Args:
        matrix: (seeds, tasks, tasks) accuracies, row i after task i. See `task_matrix_figure`.
        sequence: names of the tasks, in order.
    """

    matrix: Any
    sequence: tuple[str, ...]

    task: ClassVar = "continual"
    tasks: ClassVar = ("continual",)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class SegmentationResults(Results):
    """Results of a segmentation; made by `segmentation`.

    Args:
        overlap: agreement case by case.
        masks: paths of the predicted masks, by case.
        uncertainty: cases with their uncertainty.
    """

    overlap: Overlap | None = None
    masks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    uncertainty: Uncertainty | None = None

    task: ClassVar = "segmentation"
    tasks: ClassVar = ("segmentation",)

    def predictions(self) -> Mapping[str, Scores | Overlap]:
        """See `Results.predictions`."""
        return {} if self.overlap is None else {"": self.overlap}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DetectionResults(Results):
    """Results of boxes found in images; made by `detection`.

    Args:
        boxes: :class:`FoundBoxes`, what was found in each image and what is true.
        froc: :class:`jaxmed.stats.Froc`.
        hit_iou: overlap of a hit on that curve.
        drawn: :class:`BoxPicture`, images with their boxes.
    """

    boxes: Any
    froc: Any
    hit_iou: float = 0.5
    drawn: tuple[Any, ...] = ()

    task: ClassVar = "detection"
    tasks: ClassVar = ("detection",)

    def predictions(self) -> Mapping[str, Any]:
        """See `Results.predictions`."""
        return {"": self.boxes}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class InstanceResults(Results):
    """Results of objects told apart in images; made by `instances`.

    Args:
        found: :class:`FoundInstances`, how many objects each image has and how many were found.
        drawn: :class:`InstancePicture`, images with outlines.
    """

    found: Any
    drawn: tuple[Any, ...] = ()

    task: ClassVar = "instances"
    tasks: ClassVar = ("instances",)

    def predictions(self) -> Mapping[str, Any]:
        """See `Results.predictions`."""
        return {"": self.found}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class RegistrationResults(Results):
    """Results of pairs of images that were registered; made by `registration`.

    Args:
        pairs: :class:`RegisteredPairs`, what was measured of each pair.
        drawn: :class:`PairPicture`, pairs before and after.
    """

    pairs: Any
    drawn: tuple[Any, ...] = ()

    task: ClassVar = "registration"
    tasks: ClassVar = ("registration",)

    def predictions(self) -> Mapping[str, Any]:
        """See `Results.predictions`."""
        return {"": self.pairs}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ComparisonResults(Results):
    """Results of several models, or arms of a study, on the same cases; made by `compare`.

    Args:
        task: task of the models.
        comparison: their metrics and the tests of their pairs; `metrics` may then be empty.
        threshold: threshold of a positive call.
    """

    task: Task  # pyright: ignore[reportIncompatibleVariableOverride]
    comparison: Comparison
    threshold: float | None = None

    tasks: ClassVar = TASKS

    def predictions(self) -> Mapping[str, Scores | Overlap]:
        """See `Results.predictions`."""
        return {**self.comparison.scores, **self.comparison.overlaps}

    def __repr__(self) -> str:
        tests = f"{len(self.comparison.contrasts)} tests"
        models = ", ".join(self.comparison.models)
        return f"{type(self).__name__} {self.title!r} ({self.task}: {models}; {tests})"

    __str__ = __repr__


def threshold_of(results: Results) -> float | None:
    """Return the threshold of a positive call, None if the task has none."""
    has_threshold = isinstance(results, ClassificationResults | ComparisonResults)
    return results.threshold if has_threshold else None


def placed(fields: Mapping[str, Any], now: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return fields with those of `data`, `training` and `run` put into these.

    Args:
        fields: fields of results, by name.
        now: the records that are there, whose other fields stay.
    """
    whole = {name: value for name, value in fields.items() if name not in PART_OF}
    for name, value in fields.items():
        if name in PART_OF:
            part = PART_OF[name]
            held = whole.get(part, (now or {}).get(part, PARTS[part]()))
            whole[part] = held._replace(**{name: value})
    return whole


def results_of(task: str, **fields: Any) -> Results:
    """Return results of the type of a task, from fields by name, including `comparison`.

    Raises:
        ValueError: a task that is none of `TASKS`.
    """
    if task not in TASKS:
        raise ValueError(f"task is one of {', '.join(TASKS)}, got {task!r}")
    fields = placed(fields)
    if fields.get("comparison") is not None:
        fields = {
            name: value for name, value in fields.items() if name not in ("scores", "overlap")
        }
        return ComparisonResults(task=task, **fields)  # pyright: ignore[reportArgumentType]
    if task == "segmentation":
        return SegmentationResults(**fields)
    if task == "regression":
        return RegressionResults(**fields)
    return ClassificationResults(task=task, **fields)  # pyright: ignore[reportArgumentType]
