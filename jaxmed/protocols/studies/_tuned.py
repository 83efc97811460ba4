"""An arm that selects among candidates inside each training part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxmed.core import Learner
from jaxmed.stats import one_standard_error

Rule = Literal["best", "one-standard-error"]


class Tuned(NamedTuple):
    """Candidates, one of which is selected in each training part; made by `tuned`."""

    candidates: Mapping[str, Learner]
    metric: Callable[..., Any]
    folds: int
    rule: Rule
    complexity: Mapping[str, float] | None


def tuned(
    candidates: Mapping[str, Learner],
    metric: Callable[..., Any],
    *,
    folds: int = 4,
    rule: Rule = "best",
    complexity: Mapping[str, float] | None = None,
) -> Tuned:
    """Create a study arm that selects its model by inner folds of each training part.

    In each training part every candidate is trained on the inner folds; the selected one is
    retrained on the whole part and tested on the outer test part, which selection has not used.

    Args:
        candidates: name to learner: learning rates, networks, losses.
        metric: `(labels, outputs) -> number` or estimate, higher is better; averaged over inner
            folds.
        folds: number of inner folds, if the splits have none (`nested`).
        rule: `best`, or `one-standard-error`: the simplest within one standard error of the best.
        complexity: candidate to a number, lower is simpler; for `one-standard-error`.

    Returns:
        The arm, for `study`.

    Raises:
        ValueError: for fewer than two candidates, an unknown rule, or a candidate without a
            complexity.
    """
    if len(candidates) < 2:
        raise ValueError(f"a choice needs at least 2 candidates, got {len(candidates)}")
    if rule not in ("best", "one-standard-error"):
        raise ValueError(f"rule is best or one-standard-error, got {rule!r}")
    if rule == "one-standard-error":
        missing = [name for name in candidates if name not in (complexity or {})]
        if missing:
            raise ValueError(f"one-standard-error needs the complexity of {missing[0]!r}")
    return Tuned(dict(candidates), metric, folds, rule, complexity)


def choose(arm: Tuned, scores: Mapping[str, list[float]]) -> str:
    """Select the candidate by inner scores; one with a failed fold is never selected.

    Args:
        arm: result of `tuned`.
        scores: candidate to its metric on each inner fold, NaN where it failed.

    Raises:
        ValueError: if every candidate failed.
    """
    able = {name: found for name, found in scores.items() if np.isfinite(found).all()}
    if not able:
        raise ValueError(f"all of {', '.join(scores)} failed on an inner fold: nothing to choose")
    names = list(able)
    if arm.rule == "one-standard-error" and len(names) > 1:
        assert arm.complexity is not None
        order = np.array([arm.complexity[name] for name in names])
        found = one_standard_error(np.array([able[n] for n in names]), complexity=order)
        return names[int(found["chosen"])]
    return max(names, key=lambda name: np.mean(able[name]))
