"""A model card: what a trained model is for, what it learned from, and how well it does."""

from __future__ import annotations

from jaxmed.report.guidelines._checklist import FIELDS, NOT_REPORTED
from jaxmed.report.results._results import Results

# What only the authors know, in the order in which a card asks for it.
_ASKED = (
    ("Intended use", ("intended_use", "limitations")),
    ("Data", ("data_source", "setting", "eligibility", "demographics", "reference_standard")),
    ("Ethics", ("inequalities", "ethics", "de_identification")),
)


def model_card(results: Results) -> str:
    """Write a model card in Markdown.

    What the run knows is filled in: the data's parts, how they were dealt, the training, metrics
    with intervals, subgroups, settings and machine. What only the authors know is printed as NOT
    REPORTED until ``results.study`` says it.

    Args:
        results: what a run measured.

    Returns:
        The card.

    References:
        Mitchell et al. Model cards for model reporting. FAT* 2019. Collins et al. TRIPOD+AI. BMJ
        2024;385:e078378.
    """
    lines = [f"# {results.title}", "", results.description or NOT_REPORTED, ""]
    for title, fields in _ASKED:
        lines += [f"## {title}", ""]
        if title == "Data":
            lines += _parts(results)
        lines += [f"- {_name(f)}: {results.study.get(f) or _missing(f)}" for f in fields] + [""]
    lines += ["## Training", "", *_training(results), ""]
    lines += ["## Measured", "", *_measured(results), ""]
    if results.notes:
        lines += ["## Notes", "", *(f"- {note}" for note in results.notes), ""]
    return "\n".join(lines)


def _name(field: str) -> str:
    return field.replace("_", " ").capitalize()


def _missing(field: str) -> str:
    return f"{NOT_REPORTED} ({FIELDS[field]})"


def _parts(results: Results) -> list[str]:
    lines = ["| part | cases | patients | classes |", "|---|---|---|---|"]
    for split in results.data.splits:
        counts = ", ".join(f"{name} {n}" for name, n in split.counts.items())
        patients = "not named" if split.groups is None else str(split.groups)
        lines.append(f"| {split.name} | {split.cases} | {patients} | {counts} |")
    flow = [f"- {step}" for step in results.data.flow]
    return [*lines, "", *flow]


def _training(results: Results) -> list[str]:
    run = results.run
    seconds = sum(value for name, value in run.seconds.items() if name != "total")
    lines = [f"- command: `{run.command}`" if run.command else "- command: not recorded"]
    if run.seed is not None:
        lines.append(f"- seed: {run.seed}")
    if seconds:
        lines.append(f"- time: {seconds / 60:.1f} minutes")
    lines += [f"- {name}: {value}" for name, value in run.environment.items() if value]
    return lines


def _measured(results: Results) -> list[str]:
    lines = ["| metric | value | interval | cases |", "|---|---|---|---|"]
    for name, found in results.metrics.items():
        interval = f"{found.lower:.3f} to {found.upper:.3f}"
        lines.append(f"| {name} | {found.value:.3f} | {interval} | {found.n} {found.unit}s |")
    level = f"Intervals are at {100 * results.level:g} %."
    return [*lines, "", level]
