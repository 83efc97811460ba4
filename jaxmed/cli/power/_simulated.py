"""`jaxmed power simulate`: power of the very study planned, by simulation."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import tyro

from jaxmed.cli.power._designs import Plan, Tested


@dataclasses.dataclass(frozen=True)
class Simulate(Tested):
    """The very study planned, simulated thousands of times in one compiled program.

    Args:
        metric: auc (DeLong), rate (McNemar: sensitivity, accuracy) or mean (paired t: Dice).
        first: value expected of the first model.
        second: value expected of the second.
        sd: for means: standard deviation of each model's values over cases.
        correlation: correlation of the two models on a case.
        prevalence: for auc: share of positive patients.
        rows: images or lesions of each patient.
        icc: correlation of two rows of a patient.
        unpaired: for auc: each model reads other patients.
        margin: above 0, a one-sided test for non-inferiority of the first.
        studies: number of studies simulated.
        seed: seed of the simulation: the same seed, the same answer.
    """

    leading = ("metric", "first", "second")

    metric: Literal["auc", "rate", "mean"] = tyro.MISSING
    first: float = tyro.MISSING
    second: float = tyro.MISSING
    sd: float | None = None
    correlation: float = 0.5
    prevalence: float = 0.5
    rows: int = 1
    icc: float = 0.0
    unpaired: bool = False
    margin: float = 0.0
    studies: int = 10_000
    seed: int = 0

    def plan(self) -> Plan:
        """The plan; --n counts patients."""
        from jaxmed import stats

        study = self._study()
        shared = {"studies": self.studies, "alpha": self.alpha, "seed": self.seed}
        given = self.asked()
        if "n" in given:
            n, found = given["n"], stats.simulate_power(study, given["n"], **shared)
        else:
            n, found = stats.simulate_size(study, power=given["power"], **shared)
        lines = [
            f"sample size: {n} {study.unit}",
            f"power: {100 * found.value:.1f}% ({100 * found.lower:.1f} to "
            f"{100 * found.upper:.1f}: error of {self.studies} simulated studies)",
        ]
        sided = "one-sided" if self.margin else "two-sided"
        sentence = (
            f"With {n} {study.unit}, {self._test()} ({sided}, {100 * self.alpha:g}%) has "
            f"{100 * found.value:.0f}% power to detect {study.finding}, by simulation of "
            f"{self.studies} such studies."
        )
        return Plan(
            lines, self._assumptions(), sentence,
            lambda size: stats.simulate_power(
                study, max(int(size), study.smallest), **shared | {"studies": self.studies // 5}
            ),
            n, study.unit.capitalize(), target=given.get("power"),
        )  # fmt: skip

    def _study(self) -> Any:
        from jaxmed import stats

        shared = {
            "correlation": self.correlation,
            "rows": self.rows,
            "icc": self.icc,
            "margin": self.margin,
        }
        if self.metric == "auc":
            return stats.planned_aucs(
                self.first, self.second, prevalence=self.prevalence, paired=not self.unpaired,
                **shared,
            )  # fmt: skip
        if self.unpaired:
            raise ValueError("--unpaired is for auc")
        if self.metric == "rate":
            return stats.planned_rates(self.first, self.second, **shared)
        if self.sd is None:
            raise ValueError("--sd: a mean needs the standard deviation of each model's values")
        return stats.planned_means(self.first - self.second, sd=self.sd, mean=self.second, **shared)

    def _test(self) -> str:
        many = self.rows > 1
        return {
            "auc": "Obuchowski's clustered test of AUCs" if many else "DeLong's test",
            "rate": "Obuchowski's clustered McNemar test" if many else "McNemar's mid-p test",
            "mean": "the paired t-test on patients' means" if many else "the paired t-test",
        }[self.metric]

    def _assumptions(self) -> list[str]:
        assumed = {
            "auc": f"AUCs of {self.first:g} and {self.second:g}; binormal scores of equal spread; "
            f"{100 * self.prevalence:g}% positive patients",
            "rate": f"rates of {self.first:g} and {self.second:g}",
            "mean": f"means of {self.first:g} and {self.second:g}, standard deviation {self.sd}, "
            "logit-normal",
        }[self.metric]
        lines = [assumed]
        if self.unpaired:
            lines.append("each model reads other patients")
        else:
            lines.append(f"both models on the same cases, correlated by {self.correlation:g}")
        if self.rows > 1:
            lines.append(f"{self.rows} rows of each patient, correlated by {self.icc:g}")
        sided = f"one-sided, margin {self.margin:g}" if self.margin else "two-sided"
        lines.append(f"{self._test()} at {100 * self.alpha:g}%, {sided}")
        lines.append(f"{self.studies} simulated studies, seed {self.seed}")
        return lines
