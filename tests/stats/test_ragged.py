"""No statistic answers rows of several lengths in NumPy's words: the error names the argument."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from jaxmed import stats

RAGGED = [[0, 1], [0]]
LABELS = [0, 1, 0, 1, 0, 1]
SCORES = [0.1, 0.4, 0.35, 0.8, 0.3, 0.6]
TABLE = [[4, 2, 1], [1, 5, 1], [1, 2, 3]]
BINARY = (
    "clustered_mcnemar_test",
    "kappa",
    "mcnemar_test",
    "paired_table",
    "predictive_value_test",
    "relative_test",
)
# What the other arguments are while one is ragged: by function and name, else by name.
GIVEN = {
    **dict.fromkeys(("labels", "labels1", "labels2", "truth", "outcome", "event"), LABELS),
    **dict.fromkeys(("groups", "patients", "case", "cases"), tuple("aabbcd")),
    "strata": LABELS,
    "by": LABELS,
    "table": TABLE,
    "features": [[0.1], [0.3], [0.2], [0.5], [0.9], [0.4]],
    **dict.fromkeys(("real", "synthetic", "train", "held_out"), np.eye(6).tolist()),
    "extractor": "pixels",
    "lesions": [1, 0, 1, 0, 2, 0],
    "reader": list("xyxyxy"),
    "treatment": list("mmnnmn"),
    "complexity": [1, 2, 3, 4, 5, 6],
    **{name: [[[0, 0, 2, 2]]] * 6 for name in ("true_boxes", "boxes")},
    "true_labels": [[0]] * 6,
    "box_labels": [[0]] * 6,
    **{(name, "scores"): [[1]] * 6 for name in ("box_average_precision", "froc")},
    **{("instance_scores", name): [np.eye(3, dtype=int)] * 6 for name in ("true", "found")},
    "metric": lambda y, x: float(np.mean(x)),
    "statistic": np.mean,
    "ratio": 0.2,
    "rope": 0.01,
    "n": 6,
    "fixed": 0.8,
    "at_specificity": True,
    "limits": (0.5, 1.0),
    "focus": "specificity",
    "corrected": False,
    "slope": 1.0,
    "intercept": 0.0,
    "predictions": LABELS,
    ("bbc_cv", "predictions"): [SCORES, SCORES],
    **{(name, which): LABELS for name in BINARY for which in ("first", "second")},
    ("multiclass_auc", "scores"): np.transpose([SCORES, SCORES, SCORES]) / 3,
    ("one_shot_test", "first"): [SCORES, SCORES],
    ("rate_at", "specificity"): 0.8,
    ("cox_model", "covariates"): [[0.1], [0.3], [0.2], [0.5], [0.9], [0.4]],
    ("integrated_brier", "survival"): [[0.9, 0.5]] * 6,
    ("integrated_brier", "times"): [0.3, 0.5],
    ("restricted_mean_survival", "until"): 0.5,
    **{(name, "at"): 0.5 for name in ("survival_auc", "survival_brier", "survival_calibration")},
    ("one_standard_error", "scores"): [SCORES, SCORES],
    ("froc_study", "cases"): list("abcdef"),
    ("froc_study", "mark_case"): list("abc"),
    ("froc_study", "mark_reader"): list("xyx"),
    ("froc_study", "mark_treatment"): list("mmn"),
    ("froc_study", "mark_lesion"): [1, 0, 0],
    ("froc_study", "mark_rating"): [1.0, 2.0, 3.0],
    ("over_runs", "scores"): [SCORES, SCORES],
    ("seed_components", "outputs"): [SCORES, SCORES],
}


def arrays(function) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if "ArrayLike" in str(p.annotation)]


TAKERS = [
    (name, argument)
    for name in stats.__all__
    if inspect.isfunction(getattr(stats, name))
    for argument in arrays(getattr(stats, name))
]


@pytest.mark.parametrize(("name", "argument"), TAKERS, ids=map(".".join, TAKERS))
def test_the_argument_is_named(name, argument):
    function = getattr(stats, name)
    given, free = {}, []
    for p in inspect.signature(function).parameters.values():
        value = GIVEN.get((name, p.name), GIVEN.get(p.name, SCORES))
        if p.name == argument:
            value = RAGGED
        elif p.default is not p.empty and (name, p.name) not in GIVEN:
            continue
        if p.kind is p.VAR_POSITIONAL:
            free.append(value)
        elif p.kind is not p.VAR_KEYWORD:
            given[p.name] = value
    called = inspect.signature(function).bind_partial(**given)
    with pytest.raises((TypeError, ValueError), match=argument.rstrip("s")) as caught:
        function(*called.args, *free, **called.kwargs)
    assert "inhomogeneous" not in str(caught.value)


def test_there_are_many_of_them():
    assert len(TAKERS) > 150
