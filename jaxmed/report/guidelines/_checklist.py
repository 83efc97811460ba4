"""Checklist of reporting guidelines, answered from the run as far as possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxmed.report.results._parts import Scores
from jaxmed.report.results._results import ComparisonResults, Results, threshold_of

NOT_REPORTED = "NOT REPORTED"

FIELDS: dict[str, str] = {
    "intended_use": "the clinical role of the model, for whom and by whom",
    "design": "prospective or retrospective; development, evaluation or both",
    "hypotheses": "the aims, and the comparison planned as the main one",
    "data_source": "where the data come from, and why these",
    "setting": "centres, level of care, and dates of the examinations",
    "eligibility": "who was included and excluded, with numbers",
    "demographics": "age, sex and disease of the patients in each part of the data",
    "inequalities": "known health inequalities, and how the study deals with them",
    "acquisition": "scanners and protocols",
    "preprocessing": "what was done to the images before the model",
    "de_identification": "how",
    "missing_data": "how many values or images were missing, and what was done",
    "reference_standard": "what counts as the truth, and why",
    "annotators": "who annotated, with what training, blinded to what",
    "rater_variability": "agreement of the annotators",
    "sample_size": "how the size of the test set was chosen (`jaxmed power`)",
    "model": "the network, its inputs and outputs",
    "training": "augmentation, hyperparameters, when training stopped",
    "selection": "how the final model was chosen, on which data; how models were joined",
    "tuning_trials": "how many configurations were tried",
    "threshold_rule": "how the threshold was chosen, on which data",
    "imbalance": "what was done about unequal classes, and recalibration after it",
    "robustness": "sensitivity analyses",
    "explainability": "methods, and whether they were validated",
    "external_testing": "data of another site or time",
    "limitations": "bias, generalisation, uncertainty",
    "ethics": "committee and consent",
    "registration": "register and number, and where the protocol is",
    "availability": "of data, code and model",
    "funding": "sources and their role; conflicts of interest",
    "involvement": "of patients and the public",
    "flow": "how the data came to their parts, if the run does not know (`Results.flow`)",
    "splits": "cases and patients of each part (`Results.splits`)",
    "partition": "the unit that parts share none of, and how it was checked",
    "openings": "how often the test set was opened (`--ledger` counts)",
    "seed": "of the training",
    "environment": "hardware and versions of the training",
    "subgroups": "those looked at (`--groups COLUMN ...` adds them)",
    "calibration": "how it was judged, where there are no probabilities here",
    "comparison": "decision analysis or comparisons made elsewhere",
    "failures": "cases that could not be predicted",
    "metrics": "those chosen, and why",
}
"""What the authors of a study know, and the run may not: the field's name, what belongs in it."""


class Item(NamedTuple):
    """A row of the checklist.

    Attributes:
        topic: the subject of the item.
        answer: the report's answer, or `NOT_REPORTED` with the field to fill.
        known: whether it is answered.
        section: section of the page that shows it, if one does.
        claim: items of CLAIM 2024.
        tripod: items of TRIPOD+AI.
        reloaded: items of Metrics Reloaded.
    """

    topic: str
    answer: str
    known: bool
    section: str
    claim: str
    tripod: str
    reloaded: str


class _Ask(NamedTuple):
    topic: str
    field: str
    claim: str
    tripod: str
    reloaded: str = ""
    known: Callable[[Results], str] | None = None
    section: str = ""


def checklist(results: Results) -> list[Item]:
    """Answer CLAIM 2024, TRIPOD+AI and Metrics Reloaded as far as the results can.

    Args:
        results: any results; entries of `results.study` are used unchanged.

    Returns:
        One row per item. Unanswered items say `NOT REPORTED`, and the field of `study` to fill.

    References:
        Tejani et al. (2024), Radiol Artif Intell 6:e240300 (CLAIM 2024). Collins et al. (2024),
        BMJ 385:e078378 (TRIPOD+AI). Maier-Hein et al. (2024), Nat Methods 21:195 (Metrics
        Reloaded).

    Examples:
        >>> from jaxmed.report import classification
        >>> items = checklist(classification([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9]))
        >>> next(i for i in items if i.topic == "Reference standard").answer[:12]
        'NOT REPORTED'
    """
    items = []
    for ask in _ASKED:
        known = ask.known(results) if ask.known else ""
        own = str(results.study.get(ask.field, "")).strip()
        answer = ". ".join(text.rstrip(".") for text in (own, known) if text)
        section = ask.section if known else ""
        if not answer:
            answer = f"{NOT_REPORTED}: fill `{ask.field}` ({FIELDS[ask.field]})"
        items.append(
            Item(
                ask.topic, answer, not answer.startswith(NOT_REPORTED), section, ask.claim,
                ask.tripod, ask.reloaded,
            )
        )  # fmt: skip
    return items


def check_study(study: Mapping[str, Any]) -> dict[str, str]:
    """Check the authors' statements about their study.

    Raises:
        ValueError: if a field is not one of `FIELDS`.
    """
    unknown = sorted(set(study) - set(FIELDS))
    if unknown:
        raise ValueError(f"there is no field {unknown[0]!r}; there are {', '.join(FIELDS)}")
    return {name: str(value) for name, value in study.items()}


def _flow(r: Results) -> str:
    return "; ".join(r.data.flow)


def _sizes(r: Results) -> str:
    parts = []
    for split in r.data.splits:
        patients = f" of {split.groups} patients" if split.groups is not None else ""
        parts.append(f"{split.name}: {split.cases} cases{patients}")
    if not parts:
        n, k = _tested(r)
        parts = [f"test: {n} cases" + (f" of {k} patients" if k is not None else "")] * (n > 0)
    return "; ".join(parts)


def _tested(r: Results) -> tuple[int, int | None]:
    held = next(iter(r.predictions().values()), None)
    if held is None:
        return 0, None
    return len(held.cases), None if held.groups is None else len(set(held.groups))


_WITHOUT_CLASSES = (
    "regression", "segmentation", "density", "generation", "translation", "continual", "detection",
    "instances", "registration", "survival",
)  # fmt: skip


def _balance(r: Results) -> str:
    if any(split.counts for split in r.data.splits):
        return "; ".join(
            f"{split.name}: " + ", ".join(f"{name} {n}" for name, n in split.counts.items())
            for split in r.data.splits
            if split.counts
        )
    held = next(iter(r.predictions().values()), None)
    if r.task in _WITHOUT_CLASSES:
        return f"does not apply to {r.task}"
    if not isinstance(held, Scores):
        return ""
    y = np.asarray(held.labels)
    found = np.nansum(y, 0) if y.ndim == 2 else np.bincount(y.astype(int), minlength=len(r.classes))
    return "test: " + ", ".join(f"{name} {int(n)}" for name, n in zip(r.classes, found))


def _unit(r: Results) -> str:
    n, patients = _tested(r)
    if not n:
        return ""
    if patients is None:
        return f"the case: {n} rows are counted as independent, no patients are named"
    return f"the patient: {patients} patients with {n} rows"


def _metrics(r: Results) -> str:
    names = [*r.metrics]
    if not names and isinstance(r, ComparisonResults):
        names = list(dict.fromkeys(m for found in r.comparison.models.values() for m in found))
    if not names:
        return ""
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return f"{r.task}: {shown}, each with n, unit, interval ({100 * r.level:g}%) and method"


def _compared(r: Results) -> str:
    if not isinstance(r, ComparisonResults) or len(r.comparison.models) == 1:
        return "one model: nothing is compared"
    c = r.comparison
    methods = dict.fromkeys(x.test.method.split(" (")[0] for x in c.contrasts)
    return (
        f"{len(c.models)} models, {len(c.contrasts)} paired tests ({'; '.join(methods)}), p-values "
        f"corrected by {c.adjustment} over {'all tests' if c.family == 'all' else 'each metric'}"
    )


def _calibrated(r: Results) -> str:
    if r.task not in ("binary", "multi-class", "ordinal"):
        return f"does not apply to {r.task}" * (r.task != "multi-label")
    if not r.predictions():
        return ""
    if isinstance(r, ComparisonResults):
        if r.task == "binary":
            return "reliability curves and Brier score of each model, compared"
        return "log loss of each model, compared"
    named = [m for m in ("brier", "log_loss", "ece", "calibration_slope") if m in r.metrics]
    return "reliability diagram" + (f"; {', '.join(named)}" if named else "")


def _decided(r: Results) -> str:
    if r.task != "binary":
        return "does not apply: acting or not is a choice of two"
    known = "net benefit over all thresholds, against acting on all and on none"
    return known if r.predictions() else ""


def _grouped(r: Results) -> str:
    columns = dict.fromkeys(table.column for table in r.subgroups)
    tested = any(table.found.differences for table in r.subgroups)
    what = "intervals, gaps and corrected tests" if tested else "intervals and gaps"
    return f"by {', '.join(columns)}, with {what}" * bool(columns)


def _failed(r: Results) -> str:
    n, _ = _tested(r)
    worst = [p for p in r.pictures if p.rank == "worst"]
    what = "trainings" if "trainings" in r.run.config else "cases"
    n = r.run.config.get("trainings", n)
    known = f"{len(r.data.failures)} of {n} {what} failed" if n else ""
    return known + ("; the worst cases are shown" if worst else "")


def _where(r: Results) -> str:
    e = r.run.environment
    machine = ", ".join(e.get("devices") or ()) or e.get("cpu", "")
    packages = e.get("packages", {})
    software = ", ".join(f"{name} {v}" for name, v in packages.items() if name != "jaxlib")
    return "; ".join(str(text) for text in (machine, software, e.get("commit")) if text)


def _seeds(r: Results) -> str:
    many = r.run.config.get("seeds")
    known = f"seed {r.run.seed}" if r.run.seed is not None else ""
    if isinstance(many, int):
        known = f"{many} seeds" + (f" from {r.run.seed} on" if r.run.seed is not None else "")
    elif many:
        known = f"seeds {', '.join(map(str, many))}"
    return known and f"{known}; bootstraps are seeded too"


def _opened(r: Results) -> str:
    if r.data.openings is None:
        return ""
    return "once" if r.data.openings == 1 else f"{r.data.openings} times: see the notes"


def _threshold(r: Results) -> str:
    at = threshold_of(r)
    return "" if at is None else f"fixed at {at:g} before the evaluation"


_ASKED = (
    _Ask("Intended use", "intended_use", "3", "3a, 3b"),
    _Ask("Study design", "design", "5, 6", "4"),
    _Ask("Aims and hypotheses", "hypotheses", "4", "4"),
    _Ask("Data sources", "data_source", "7", "5a"),
    _Ask("Setting and dates", "setting", "7", "5b, 6a"),
    _Ask("Eligibility", "eligibility", "8", "6b"),
    _Ask("Flow of the data", "flow", "10, 35", "20a", "", _flow, "data"),
    _Ask("Numbers of cases and patients", "splits", "21, 35", "20a, 21", "sample", _sizes, "data"),
    _Ask("Class balance", "splits", "36", "13, 21", "class imbalance", _balance, "data"),
    _Ask("Demographics", "demographics", "36", "20b, 20c"),
    _Ask("Health inequalities", "inequalities", "", "3c, 14"),
    _Ask("Partitions and their unit; leak check", "partition", "19, 20", "12a",
         "dependence of cases", lambda r: r.data.partition, "data"),
    _Ask("Unit of analysis", "partition", "20, 29", "12e", "dependence of cases", _unit,
         "results"),
    _Ask("Times the test set was opened", "openings", "32", "12a", "", _opened, "results"),
    _Ask("Sample size", "sample_size", "21", "10"),
    _Ask("Image acquisition", "acquisition", "13", "9b"),
    _Ask("Preprocessing", "preprocessing", "9", "7"),
    _Ask("De-identification", "de_identification", "11", "7"),
    _Ask("Missing data", "missing_data", "12", "11"),
    _Ask("Reference standard", "reference_standard", "14, 15", "8a", "quality of the reference"),
    _Ask("Annotators", "annotators", "16, 17", "8b, 8c", "quality of the reference"),
    _Ask("Variability of raters", "rater_variability", "18", "8b", "quality of the reference"),
    _Ask("Model", "model", "22, 24", "12c, 22"),
    _Ask("Training", "training", "25", "12c",
         known=lambda r: "learning curves are shown" if r.training.history else "",
         section="training"),
    _Ask("Selection of the model, ensembling", "selection", "26, 27", "12c"),
    _Ask("Tuning trials", "tuning_trials", "26", "12c"),
    _Ask("Unequal classes", "imbalance", "25", "13", "class imbalance"),
    _Ask("Metrics, with n, unit, interval and method", "metrics", "28, 29, 37, 38", "12e, 23a",
         "metric by problem; uncertainty", _metrics, "results"),
    _Ask("Comparisons and multiplicity", "comparison", "29", "12e", "ranking under uncertainty",
         _compared, "comparison"),
    _Ask("Threshold", "threshold_rule", "28", "15", "decision rule", _threshold, "results"),
    _Ask("Calibration", "calibration", "28", "12e, 23a", "calibration", _calibrated,
         "predictions"),
    _Ask("Decision curve", "comparison", "38", "12e", "cost and benefit", _decided,
         "predictions"),
    _Ask("Subgroups and fairness", "subgroups", "30, 36", "14, 23a, 23b", "", _grouped,
         "subgroups"),
    _Ask("Failures", "failures", "39", "23a", "failed cases", _failed, "cases"),
    _Ask("Robustness", "robustness", "30", "12e"),
    _Ask("Explainability", "explainability", "31", ""),
    _Ask("External testing", "external_testing", "33", "16, 20c"),
    _Ask("Seeds", "seed", "24, 25", "12c", "", _seeds, "made"),
    _Ask("Software and hardware", "environment", "23", "12c, 18f", "", _where, "made"),
    _Ask("Limitations", "limitations", "40", "26"),
    _Ask("Ethics", "ethics", "", "17"),
    _Ask("Registration and protocol", "registration", "34, 42", "18c, 18d"),
    _Ask("Availability of data, code, model", "availability", "43", "18e, 18f"),
    _Ask("Funding and conflicts", "funding", "44", "18a, 18b"),
    _Ask("Patient and public involvement", "involvement", "", "19"),
)  # fmt: skip
