"""Cases and their maps, as figures of a page."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxmed.report.figures._explanation import explanation_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.results._explanations import ExplainedCase, Explanations, check_cases
from jaxmed.report.results._results import ClassificationResults

_SIGNS = "Red speaks for the target, blue against it; each map has a scale of its own."


def explanation_exhibits(results: ClassificationResults) -> Exhibits:
    """Draw the maps of some cases, and say under them what they are, and are not."""
    shown = results.explanations
    if shown is None:
        return []
    check_cases(shown.cases)
    said = [f"{name}: {meaning}{_of(shown, name)}" for name, meaning in shown.meanings.items()]
    last = len(shown.cases) - 1
    return [
        case_exhibit(case, f"why{number}", " ".join(["", _SIGNS, *said]) if number == last else "")
        for number, case in enumerate(shown.cases)
    ]


def _of(shown: Explanations, method: str) -> str:
    """What tests say of a method, over the cases shown."""
    told = [f"{test} {text}" for test, text in shown.tests.get(method, {}).items()]
    return f" Tests, over these images: {'; '.join(told)}." if told else ""


def case_exhibit(case: ExplainedCase, anchor: str, after: str = "") -> Any:
    """Draw one case and its maps."""
    return exhibit(
        explanation_figure(np.asarray(case.image), case.maps, case.mask),
        anchor,
        f"{case.name}: {case.caption}{after}",
        f"Case {case.name}: the image, and maps by {', '.join(case.maps)}.",
        wide=True,
    )
