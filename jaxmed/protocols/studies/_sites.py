"""Scores of a study site by site, and what they say of a site that was not there."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import special

from jaxmed import stats
from jaxmed.protocols.studies._result import Study
from jaxmed.protocols.studies._tidy import Metric
from jaxmed.stats import Estimate, checks


class SiteScores(NamedTuple):
    """How one arm does at sites that it was not trained on; made by :func:`site_scores`.

    Attributes:
        sites: the score at each site, with an interval over its cases and trainings; without one
            where its cases are too few.
        mean: the mean over sites, each counted once, with a t interval over sites. Its details
            have the standard deviation between sites, ``sd``.
        another: limits between which the score at one more such site is expected, at the same
            level; infinite for a single site.
    """

    sites: Mapping[str, Estimate]
    mean: Estimate
    another: tuple[float, float]

    @property
    def lowest(self) -> str:
        """The site of the lowest score."""
        return min(self.sites, key=lambda site: self.sites[site].value)

    @property
    def highest(self) -> str:
        """The site of the highest score."""
        return max(self.sites, key=lambda site: self.sites[site].value)


def site_scores(
    study: Study,
    metric: Metric,
    *,
    level: float = 0.95,
    n_resamples: int = 500,
    seed: int = 0,
    bounds: tuple[float, float] | None = None,
    name: str = "",
) -> dict[str, SiteScores]:
    """Score each arm at each site that was left out, and over sites.

    An interval over cases speaks for more cases of the same sites. What a hospital that takes a
    model over asks is what it does at *another* site, and for that the sites are the sample: few,
    and each counts once, however many its cases are. Sites are taken for independent, though any
    two are scored by models whose training parts overlap.

    Args:
        study: one on the splits of `leave_one_site_out`.
        metric: ``(labels, outputs) -> number`` or estimate. A site where it is not defined, such
            as an AUC where all cases are of one class, is left out, with a note.
        level: confidence level of all intervals.
        n_resamples: bootstrap resamples of the cases of a site (patients where these are known).
        seed: seed of the bootstrap.
        bounds: least and greatest value of the metric: intervals of sites then stay between them,
            those over sites are cut there.
        name: name of the metric.

    Returns:
        Arm to scores.

    Raises:
        ValueError: for splits without the names of sites, or of which a name comes twice; an arm
            that is defined at no site; no resample, bounds that are none, or a metric outside of
            them.
    """
    study.check_whole()
    checks.check_whole(n_resamples, "n_resamples", 2)
    if bounds is not None and not bounds[0] < bounds[1]:
        raise ValueError(f"bounds are (least, greatest), got {bounds}")
    names = [one.name for one in study.splits]
    if not all(names) or len(set(names)) < len(names):
        raise ValueError(
            f"site_scores is of a study on leave_one_site_out, whose splits are named, each once; "
            f"these are named {names[:5]}"
        )
    found = {}
    for arm in study.arms:
        sites, notes = {}, []
        for at, one in enumerate(study.splits):
            keys = [(arm, at, training) for training in study.seeds]
            runs = [study.outputs[key] for key in keys if key in study.outputs]
            if not runs:
                notes.append(f"{one.name}: every training failed")
                continue
            try:
                at_one = _at_one(
                    study, one.test, np.stack(runs), metric, level=level, n_resamples=n_resamples,
                    seed=seed, bounds=bounds, name=f"{name} at {one.name}".strip(),
                )  # fmt: skip
            except ValueError as error:
                notes.append(f"{one.name}: left out: {error}")
                continue
            if bounds is not None and not bounds[0] <= at_one.value <= bounds[1]:
                raise ValueError(
                    f"the metric is {at_one.value:.6g} at {one.name}, outside of its bounds "
                    f"{bounds}"
                )
            sites[one.name] = at_one
        if not sites:
            raise ValueError(f"{arm} has no score at any site: {'; '.join(notes)}")
        found[arm] = _over(sites, notes, level, bounds, name)
    return found


def _at_one(study: Study, test, runs, metric: Metric, *, level, bounds, name, **drawn) -> Estimate:
    """The score at one site; without an interval where a bootstrap of its cases gives none."""
    labels = study.labels[test]
    groups = None if study.groups is None else [study.groups[i] for i in test]
    values = [metric(labels, outputs) for outputs in runs]
    value = float(np.mean([float(getattr(v, "value", v)) for v in values]))
    if not math.isfinite(value):
        raise ValueError("the metric is not defined there")
    try:
        return stats.seed_components(
            metric, labels, runs, groups=groups, level=level, bounds=bounds, name=name, **drawn
        )
    except ValueError as error:
        n = len(test) if groups is None else len(set(groups))
        unit = "case" if groups is None else "patient"
        return Estimate(
            value, math.nan, math.nan, level, n, unit, "", (f"no interval: {error}",), name=name
        )


def _over(
    sites: Mapping[str, Estimate], notes: list[str], level: float, bounds, name: str
) -> SiteScores:
    values = np.array([one.value for one in sites.values()])
    mean = stats.mean(values, level=level, unit="site", name=f"{name} over sites".strip())
    low, high = bounds or (-math.inf, math.inf)
    k = len(values)
    reach = math.inf
    if k > 1:
        spread = float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / k)
        reach = float(special.stdtrit(k - 1, 0.5 + level / 2)) * spread
    another = (max(mean.value - reach, low), min(mean.value + reach, high))
    ends = f"{another[0]:.3f} to {another[1]:.3f}"
    mean = dataclasses.replace(
        mean,
        lower=max(mean.lower, low),
        upper=min(mean.upper, high),
        notes=(*mean.notes, *notes, f"one more site is expected at {ends}"),
    )
    return SiteScores(sites, mean, another)
