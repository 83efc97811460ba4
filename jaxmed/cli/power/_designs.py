"""The designs of `jaxmed power`: what each asks for, and the plan that comes of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import tyro


class Plan(NamedTuple):
    """A planned study.

    Attributes:
        lines: the answer, a line each.
        assumptions: a line each.
        sentence: fit for a protocol.
        at: size to what the curve shows (power, or half-width).
        size: the one chosen.
        label: of sizes.
        value: what the curve shows.
        target: wanted on the curve.
    """

    lines: list[str]
    assumptions: list[str]
    sentence: str
    at: Callable[[float], Any]
    size: float
    label: str
    value: str = "Power"
    target: float | None = None


@dataclasses.dataclass(frozen=True)
class Common:
    """What every design asks.

    Args:
        plot: a picture of the curve of sizes (.png or .svg).
        json: the plan as JSON.
    """

    plot: Path | None = None
    json: Path | None = None

    # Options whose values may stand alone at the beginning: `proportions 0.8 0.9`.
    leading: ClassVar[tuple[str, ...]] = ()

    def plan(self) -> Plan:
        """The plan, which each design makes."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Tested(Common):
    """A design with a test.

    Args:
        power: power wanted, for which the size is solved; 0.8 unless --n is given.
        n: size given, for which the power is computed.
        alpha: level of the test, two-sided unless the design says otherwise.
    """

    power: float | None = None
    n: int | None = None
    alpha: float = 0.05

    def asked(self, name: str = "n") -> dict[str, Any]:
        """The size or the power, whichever is given."""
        if self.n is not None and self.power is not None:
            raise ValueError("give --n, for the power, or --power, for the size, not both")
        if self.n is not None:
            return {name: self.n}
        return {"power": 0.8 if self.power is None else self.power}


@dataclasses.dataclass(frozen=True)
class Proportions(Tested):
    """Two proportions in two groups of cases.

    Args:
        first: proportion of one group.
        second: proportion of the other.
        margin: above 0, a one-sided test for non-inferiority of the first within it.
    """

    first: float = tyro.MISSING
    second: float = tyro.MISSING
    margin: float = 0.0

    leading = ("first", "second")

    def plan(self) -> Plan:
        """The plan."""
        from jaxmed import stats

        if self.margin:

            def made(**given: Any) -> Any:
                return stats.power_noninferiority(
                    self.first, self.second, self.margin, alpha=self.alpha, **given
                )
        else:

            def made(**given: Any) -> Any:
                return stats.power_proportions(self.first, self.second, alpha=self.alpha, **given)

        sided = "one" if self.margin else "two"
        assumptions = [
            f"proportions of {self.first:g} and {self.second:g}, in groups of equal size",
            f"independent cases; {sided}-sided score test at {100 * self.alpha:g}%",
        ]
        if self.margin:
            assumptions.append(f"non-inferiority of the first within a margin of {self.margin:g}")
        return _of_power(self, made, assumptions)


@dataclasses.dataclass(frozen=True)
class PairedProportions(Tested):
    """Two proportions on the same cases (McNemar).

    Args:
        first_only: share of cases that the first alone gets right.
        second_only: share that the second alone gets right.
    """

    first_only: float = tyro.MISSING
    second_only: float = tyro.MISSING

    leading = ("first_only", "second_only")

    def plan(self) -> Plan:
        """The plan."""
        from jaxmed import stats

        def made(**given: Any) -> Any:
            return stats.power_mcnemar(self.first_only, self.second_only, alpha=self.alpha, **given)

        assumptions = [
            f"{100 * self.first_only:g}% of cases right with the first alone, "
            f"{100 * self.second_only:g}% with the second alone",
            f"independent cases; McNemar's test at {100 * self.alpha:g}%, two-sided",
        ]
        return _of_power(self, made, assumptions)


@dataclasses.dataclass(frozen=True)
class Means(Tested):
    """Two means, such as of Dice, on the same cases or in two groups.

    Args:
        effect: difference to be found.
        sd: standard deviation of the differences; of each group if unpaired.
        unpaired: the means are of two groups of cases, not of the same ones.
    """

    effect: float = tyro.MISSING
    sd: float = tyro.MISSING
    unpaired: bool = False

    leading = ("effect",)

    def plan(self) -> Plan:
        """The plan."""
        from jaxmed import stats

        design = "two-sample" if self.unpaired else "paired"

        def made(**given: Any) -> Any:
            return stats.power_t(self.effect, sd=self.sd, alpha=self.alpha, design=design, **given)

        of = "in each group" if self.unpaired else "of the differences"
        assumptions = [
            f"a mean difference of {self.effect:g}, standard deviation {of} {self.sd:g}",
            f"independent cases; {design} t-test at {100 * self.alpha:g}%, two-sided",
        ]
        return _of_power(self, made, assumptions)


@dataclasses.dataclass(frozen=True)
class Auc(Tested):
    """An AUC against 0.5, or against a bound it is to exceed.

    Args:
        auc: area expected.
        above: the bound; the one-sided lower limit is to pass it. Without it the null value is
            0.5, two-sided.
        prevalence: share of positive cases.
    """

    auc: float = tyro.MISSING
    above: float | None = None
    prevalence: float = 0.5

    leading = ("auc",)

    def plan(self) -> Plan:
        """The plan; --n counts all cases."""
        from jaxmed import stats

        ratio = _ratio(self.prevalence)
        assumptions = [
            f"an AUC of {self.auc:g}, {100 * self.prevalence:g}% positive cases",
            "binormal scores; independent cases",
        ]
        if self.above is None:

            def made(**given: Any) -> Any:
                return stats.power_auc(self.auc, ratio=ratio, alpha=self.alpha, **given)

            assumptions.append(f"against an AUC of 0.5, two-sided at {100 * self.alpha:g}%")
            return _of_auc(self, made, assumptions, self.prevalence)
        if self.n is not None:
            raise ValueError("--above solves for the size: give --power, not --n")
        margin = self.auc - self.above
        power = 0.8 if self.power is None else self.power
        found = stats.size_auc_bound(
            self.auc, margin, power=power, alpha=self.alpha, prevalence=self.prevalence
        )
        assumptions.append(
            f"one-sided lower limit at {100 * (1 - self.alpha):g}% above {self.above:g}"
        )

        def at(n: float) -> float:
            from scipy import optimize

            def gap(power: float) -> float:
                try:
                    made = stats.size_auc_bound(
                        self.auc, margin, power=power, alpha=self.alpha, prevalence=self.prevalence
                    )
                except ValueError:  # so little power that hardly a case is needed
                    return -self.prevalence * n
                return made.positives - self.prevalence * n

            low, high = 1.05 * self.alpha, 0.9999
            if gap(low) > 0 or gap(high) < 0:
                return low if gap(low) > 0 else high
            return float(optimize.brentq(gap, low, high))

        n1, n0 = math.ceil(found.positives), math.ceil(found.negatives)
        lines = [
            f"sample size: {n1} positive and {n0} negative cases ({n1 + n0} in all)",
            f"power: {100 * power:.1f}%",
        ]
        return Plan(lines, assumptions, found.sentence, at, n1 + n0, "Cases in all", target=power)


@dataclasses.dataclass(frozen=True)
class TwoAucs(Tested):
    """Two AUCs, on the same cases or not; from expected values or from a pilot.

    Args:
        first: area of one model.
        second: area of the other.
        correlation: correlation of the two scores in each class; 0 for two groups of cases.
        prevalence: share of positive cases.
        pilot: a CSV of a pilot with label and two columns of scores, instead of all these.
        scores: names of the two columns of the pilot.
    """

    first: float | None = None
    second: float | None = None
    correlation: float = 0.5
    prevalence: float = 0.5
    pilot: Path | None = None
    scores: tuple[str, str] = ("first", "second")

    def plan(self) -> Plan:
        """The plan; --n counts all cases."""
        import numpy as np
        from scipy import special

        from jaxmed import stats

        if self.pilot is not None:
            columns = read_pilot(self.pilot, numbers=self.scores, labels=("label",))
            y = columns["label"]
            a, b = (columns[name] for name in self.scores)
            share = float(y.mean())
            assumptions = [
                f"areas, variances and correlation as in the pilot of {len(y)} cases: AUC "
                f"{stats.auc(y, a).value:.3f} and {stats.auc(y, b).value:.3f}",
                f"paired; DeLong's test at {100 * self.alpha:g}%, two-sided",
                f"{100 * share:.3g}% positive cases, as in the pilot",
                "a pilot's effect is uncertain: plan for the smallest one worth finding",
            ]

            def made(**given: Any) -> Any:
                return stats.power_two_aucs_pilot(y, a, b, alpha=self.alpha, **given)

            return _of_auc(self, made, assumptions, share)
        if self.first is None or self.second is None:
            raise ValueError("give --first and --second, or --pilot")
        shift = np.sqrt(2) * special.ndtri([self.first, self.second])
        curves = [stats.Binormal(float(value), 1.0) for value in shift]

        def made(**given: Any) -> Any:
            return stats.power_two_aucs(
                *curves, ratio=_ratio(self.prevalence), r_positive=self.correlation,
                r_negative=self.correlation, alpha=self.alpha, **given,
            )  # fmt: skip

        how = f"paired, scores correlated by {self.correlation:g} in each class"
        if self.correlation == 0:
            how = "two groups of cases, each of the size given"
        assumptions = [
            f"AUCs of {self.first:g} and {self.second:g}, binormal scores of equal spread",
            how,
            f"{100 * self.prevalence:g}% positive cases; test at {100 * self.alpha:g}%, two-sided",
        ]
        return _of_auc(self, made, assumptions, self.prevalence)


def read_pilot(
    path: Path, *, numbers: Sequence[str], labels: Sequence[str], names: Sequence[str] = ()
) -> dict[str, Any]:
    """Columns of a pilot's table, in any format that tables of images have.

    Args:
        path: the table.
        numbers: columns of numbers.
        labels: columns of 0 and 1.
        names: columns of names, such as of readers.

    Raises:
        DataError: a column that is missing, or a cell that is missing, infinite or of another kind.
    """
    import numpy as np

    from jaxmed.data.tables._table import read_table, table_fault

    wanted = (*labels, *numbers, *names)
    table = read_table(path, *wanted)
    if missing := [name for name in wanted if name not in table.columns]:
        raise table_fault(
            path, f"there is no column {missing[0]!r}; it has {', '.join(table.columns)}"
        )
    every = range(len(table.rows))
    found: dict[str, Any] = {
        name: np.array([table.number(i, name) for i in every]) for name in (*labels, *numbers)
    }
    for name in labels:
        if bad := [i for i in every if found[name][i] not in (0, 1)]:
            raise table.fault(f"{table.where(bad[0])}: {name} is {table.rows[bad[0]][name]!r}, not "
                              "0 or 1")  # fmt: skip
        found[name] = found[name].astype(int)
    return found | {name: np.array([str(row[name]) for row in table.rows]) for name in names}


def _ratio(prevalence: float) -> float:
    if not 0 < prevalence < 1:
        raise ValueError(f"--prevalence must lie in (0, 1), got {prevalence}")
    return (1 - prevalence) / prevalence


def _of_power(options: Tested, made: Callable[..., Any], assumptions: list[str]) -> Plan:
    found = made(**options.asked())
    lines = [f"sample size: {found.needed} {found.unit}", f"power: {100 * found.power:.1f}%"]
    if "each group" in found.unit:
        lines[0] += f" ({2 * found.needed} in all)"
    return Plan(
        lines, assumptions, found.sentence, lambda n: made(n=n).power, found.needed,
        found.unit.capitalize(), target=options.asked().get("power"),
    )  # fmt: skip


def _of_auc(
    options: Tested, made: Callable[..., Any], assumptions: list[str], prevalence: float
) -> Plan:
    given = options.asked()
    if "n" in given:
        given = {"positives": prevalence * given["n"]}
    found = made(**given)
    n1, n0 = (math.ceil(n - 1e-9) for n in (found.positives, found.negatives))
    lines = [
        f"sample size: {n1} positive and {n0} negative cases ({n1 + n0} in all)",
        f"power: {100 * found.power:.1f}%",
    ]
    return Plan(
        lines, assumptions, found.sentence, lambda n: made(positives=prevalence * n).power, n1 + n0,
        "Cases in all", target=given.get("power"),
    )  # fmt: skip
