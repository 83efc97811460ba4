"""Every case of the reference folder that JAXMED_REFERENCE names, within its own tolerance.

A case says what goes in (`input`), how (`params`), and what comes out (`expected`); a handler of
its topic reads these, never the case's id, so that other data in the same schema runs unchanged.
What jaxmed has no counterpart for is skipped with the reason.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import pytest
from reference_cases.compare import Case, SchemaError, Unsupported, differences

# File stems without their number -> module of handlers.
TOPICS = {
    "roc": "roc",
    "bootstrap": "bootstrap",
    "proportions_and_2x2": "proportions",
    "paired_tests": "paired",
    "multiplicity": "multiplicity",
    "power": "power",
    "calibration": "calibration",
    "conformal": "bayes",
    "segmentation": "segmentation",
    "mrmc": "mrmc",
    "model_selection": "model_selection",
    "agreement": "agreement",
    "bayes_reference": "bayes",
    "uncertainty_decomposition": "bayes",
    "hmc_bnn": "bayes",
    "selective_ood": "bayes",
    "decision_curve": "decision",
    "classification_metrics": "classification",
    "mcmc_and_clustered_auc": "mcmc",
}


def _topic(path: Path) -> str:
    return path.stem.split("_", 1)[1]


def _cases() -> list:
    folder = os.environ.get("JAXMED_REFERENCE")
    if not folder or not Path(folder).is_dir():
        return []
    found = []
    for path in sorted(Path(folder).glob("*.json")):
        content = json.loads(path.read_text())
        for raw in content.get("cases", []):
            case = Case(path.stem, raw, Path(folder))
            # Long chains: a minute each.
            chains = path.stem.endswith("hmc_bnn") or "model" in raw["input"]
            marks = [pytest.mark.slow] if chains and "bayes" in TOPICS.get(_topic(path), "") else []
            found.append(pytest.param(case, id=f"{path.stem}-{raw['id']}", marks=marks))
    return found


CASES = _cases()


@pytest.mark.skipif(not CASES, reason="JAXMED_REFERENCE names no folder of reference cases")
@pytest.mark.parametrize("case", CASES or [None])
def test_reference(case, record_property) -> None:
    record_property("reference_file", case.file)
    topic = case.file.split("_", 1)[1]
    if topic not in TOPICS:
        pytest.skip(f"no handlers for the topic {topic}")
    try:
        module = importlib.import_module(f"reference_cases.{TOPICS[topic]}")
    except ModuleNotFoundError as error:
        if error.name != f"reference_cases.{TOPICS[topic]}":
            raise
        pytest.skip(f"no handlers yet for the topic {topic}")
    try:
        got = module.run(case)
    except Unsupported as reason:
        pytest.skip(str(reason))
    except SchemaError as reason:
        pytest.fail(str(reason), pytrace=False)
    wrong = differences(got, case.expected, case.rtol, case.atol)
    if wrong:
        unread = [*case.input.unread, *case.params.unread]
        if unread:
            wrong.append(f"the adapter reads nothing of: {', '.join(unread)}")
        pytest.fail("\n".join(wrong), pytrace=False)
