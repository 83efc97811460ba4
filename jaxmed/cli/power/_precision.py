"""Designs of `jaxmed power` without a test between two: precision, agreement, readers, models."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

from jaxmed.cli.power._designs import Common, Plan, Tested, read_pilot


@dataclasses.dataclass(frozen=True)
class Precise(Common):
    """A design with an interval of a wanted half-width.

    Args:
        half_width: half of the interval: 0.05 for an interval of about 10 points.
        level: level of the interval.
    """

    half_width: float = 0.05
    level: float = 0.95

    def precise(
        self, made: Callable[[float], Any], assumed: list[str], unit: str, what: str
    ) -> Plan:
        """The plan of `made(half_width)`."""
        found = made(self.half_width)
        total = math.ceil(found.total - 1e-9)
        lines = [f"sample size: {total} {unit}"]
        inside = math.ceil(found.of_class - 1e-9)
        if inside != total:
            lines[0] += f", of which {inside} of the class"
        lines.append(f"half-width: {self.half_width:g} ({100 * self.level:g}% interval)")
        sentence = (
            f"With {total} {unit}" + (f" ({inside} of the class)" if inside != total else "")
            + f", the {100 * self.level:g}% interval of {what} is expected to reach "
            f"{self.half_width:g} to either side."
        )  # fmt: skip

        def at(n: float) -> float:
            """The half-width that n gives: the size falls as it grows."""
            low, high = self.half_width / 16, min(16 * self.half_width, 0.999)
            for _ in range(40):
                middle = math.sqrt(low * high)
                low, high = (middle, high) if made(middle).total > n else (low, middle)
            return high

        return Plan(
            lines,
            assumed,
            sentence,
            at,
            total,
            unit.capitalize(),
            "Half-width",
            self.half_width,
        )


@dataclasses.dataclass(frozen=True)
class Precision(Precise):
    """The interval of a proportion: sensitivity, specificity, accuracy.

    Args:
        proportion: proportion expected.
        prevalence: share of the class that it is about, such as of positives for sensitivity.
        method: wilson, or wald (Buderer's formula).
    """

    leading = ("proportion",)

    proportion: float = tyro.MISSING
    prevalence: float | None = None
    method: str = "wilson"

    def plan(self) -> Plan:
        """The plan."""
        from jaxmed import stats

        assumed = [
            f"a proportion of {self.proportion:g}; independent cases",
            f"{self.method} interval at {100 * self.level:g}%",
        ]
        if self.prevalence is not None:
            assumed.append(f"the class is {100 * self.prevalence:g}% of all cases")
        return self.precise(
            lambda w: stats.size_for_width(
                self.proportion, w, method=self.method, level=self.level,
                prevalence=self.prevalence,
            ),
            assumed, "cases", f"a proportion of {self.proportion:g}",
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Kappa(Precise):
    """The interval of Cohen's kappa of two raters.

    Args:
        kappa: kappa expected.
        marginals: share of each class.
    """

    leading = ("kappa",)

    kappa: float = tyro.MISSING
    marginals: tuple[float, ...] = (0.5, 0.5)
    half_width: float = 0.1

    def plan(self) -> Plan:
        """The plan."""
        from jaxmed import stats

        shares = ", ".join(f"{share:g}" for share in self.marginals)
        assumed = [
            f"kappa of {self.kappa:g}; both raters use the classes with shares {shares}",
            "independent cases; delta-method interval",
        ]
        return self.precise(
            lambda w: stats.size_for_kappa(
                self.kappa, w, marginals=self.marginals, level=self.level
            ),
            assumed, "cases", f"a kappa of {self.kappa:g}",
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Icc(Precise):
    """The interval of an intraclass correlation.

    Args:
        icc: intraclass correlation expected.
        raters: ratings of each subject.
    """

    leading = ("icc",)

    icc: float = tyro.MISSING
    raters: int = 2
    half_width: float = 0.1

    def plan(self) -> Plan:
        """The plan."""
        from jaxmed import stats

        assumed = [
            f"an intraclass correlation of {self.icc:g}, {self.raters} raters of each subject",
            "Bonett's approximation",
        ]
        return self.precise(
            lambda w: stats.size_for_icc(self.icc, w, raters=self.raters, level=self.level),
            assumed, "subjects", f"an intraclass correlation of {self.icc:g}",
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Agreement(Precise):
    """The intervals of Bland and Altman's limits of agreement, in standard deviations."""

    half_width: float = 0.3

    def plan(self) -> Plan:
        """The plan."""
        from jaxmed import stats

        assumed = ["normal differences; half-width in standard deviations of the differences"]
        return self.precise(
            lambda w: stats.size_for_limits(w, level=self.level),
            assumed, "cases", "each limit of agreement, in standard deviations of the differences,",
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Model(Common):
    """Cases to develop a prediction model on (Riley's criteria).

    Args:
        parameters: candidate parameters.
        prevalence: share of cases with the outcome.
        auc: area expected.
        shrinkage: shrinkage wanted.
    """

    leading = ("parameters",)

    parameters: int = tyro.MISSING
    prevalence: float = tyro.MISSING
    auc: float = tyro.MISSING
    shrinkage: float = 0.9

    def plan(self) -> Plan:
        """The plan."""
        from jaxmed import stats

        def made(parameters: float) -> Any:
            return stats.model_sample_size(
                int(parameters), self.prevalence, auc=self.auc, shrinkage=self.shrinkage
            )

        found = made(self.parameters)
        lines = [
            f"sample size: {found.n} cases, {math.ceil(found.n * self.prevalence)} of them "
            "with the outcome",
            f"for shrinkage {found.shrinkage:.0f}, for optimism {found.optimism:.0f}, for the "
            f"intercept {found.intercept:.0f}; {found.events_per_parameter:.1f} events a "
            "parameter",
        ]
        assumed = [
            f"{self.parameters} candidate parameters, prevalence {self.prevalence:g}, AUC "
            f"{self.auc:g} (Cox and Snell's R squared {found.r_squared:.3f})",
            f"shrinkage of at least {self.shrinkage:g}, optimism of R squared up to 0.05, "
            "overall risk to within 0.05",
            "a regression model; networks need more",
        ]
        sentence = (
            f"With {found.n} cases at a prevalence of {self.prevalence:g}, a model of "
            f"{self.parameters} candidate parameters and an AUC of {self.auc:g} is expected to "
            f"need a shrinkage of no less than {self.shrinkage:g} (Riley et al., BMJ 2020)."
        )
        return Plan(
            lines, assumed, sentence, lambda k: made(max(k, 1)).n, self.parameters,
            "Candidate parameters", "Cases needed",
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Readers(Tested):
    """A multi-reader multi-case study of two treatments, from a pilot.

    Args:
        pilot: a CSV with reader, treatment, case, truth and rating, a row a rating.
        readers: readers of the planned study.
        effect: difference of the mean AUC to be found.
    """

    leading = ("pilot",)

    pilot: Path = tyro.MISSING
    readers: int = tyro.MISSING
    effect: float = 0.05

    def plan(self) -> Plan:
        """The plan; --n counts cases."""
        from jaxmed import stats

        columns = read_pilot(
            self.pilot, numbers=("rating",), labels=("truth",),
            names=("reader", "treatment", "case"),
        )  # fmt: skip
        study = stats.reader_study(
            columns["truth"], columns["rating"], columns["reader"],
            columns["treatment"], columns["case"],
        )  # fmt: skip
        shared = {"readers": self.readers, "effect": self.effect, "alpha": self.alpha}

        def at(cases: float) -> float:
            return stats.reader_power(study, cases=int(cases), **shared).power

        given = self.asked()
        if "n" in given:
            found = stats.reader_power(study, cases=given["n"], **shared)
        else:
            found = stats.reader_sample_size(study, power=given["power"], **shared)
        lines = [
            f"sample size: {found.cases} cases read by {found.readers} readers under both "
            "treatments",
            f"power: {100 * found.power:.1f}%",
        ]
        assumed = [
            f"variance components of the pilot: {study.theta.shape[1]} readers, {study.cases} "
            "cases; the pilot's share of positive cases",
            f"a difference of mean AUC of {self.effect:g}; Obuchowski-Rockette's test, random "
            f"readers and cases, at {100 * self.alpha:g}%, two-sided",
        ]
        sentence = (
            f"With {found.cases} cases read by {found.readers} readers under both treatments, a "
            f"two-sided test at the {100 * self.alpha:g}% level that takes readers and cases as "
            f"random has {100 * found.power:.0f}% power to detect a difference of mean AUC of "
            f"{self.effect:g}."
        )
        return Plan(lines, assumed, sentence, at, found.cases, "Cases", target=given.get("power"))
