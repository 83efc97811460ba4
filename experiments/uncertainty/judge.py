"""NUTS as the judge: how near do the approximations come to the posterior itself?

    jaxmed train judge --case gap1d
    jaxmed train judge --case wdbc --method laplace,sghmc
    jaxmed train judge --case breastmnist
    jaxmed train judge --case NAME --data FOLDER --hidden 10 --scale 1.5 --noise 0.1

The judge is four long chains over all weights of a small network, whose convergence is reported in
function space, where weights need not be identified: the worst R-hat and the least effective sample
size over the test inputs. Each method gets the same prior, likelihood and data, and is measured by
what it predicts there. `tv`: mean total-variation distance of the class probabilities; `agreement`:
share of inputs with the judge's class; `mean_error`: mean distance of the means in the judge's
standard deviations; `sd_ratio`: mean ratio of standard deviations, below 1 where too sure. The row
`nuts` is two of the four chains against the other two: the judge's own error, and more.

`gap1d` is a curve with a gap, `wdbc` 80 breast masses (scikit-learn's copy), `breastmnist` 120
ultrasound images at 14 x 14 under a CNN of 465 weights. NAME.npz holds `X`, `y`, `X_test` and
`y_test`; targets of 0 and 1 are classes. Some minutes a case on one CPU core. In a grid over
methods (`python -m benchmarks grid judge --over case --over method --within method`) the chains are
run once a case.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

import jaxmed as jm
from jaxmed import bayes
from jaxmed.cli import one_of
from jaxmed.report import (
    DataSummary,
    Results,
    RunRecord,
    Split,
    results_of,
    stage,
)
from jaxmed.stats import Estimate, chain_diagnostics

from .._common.compared import with_baseline
from .._common.kept import store, stored
from ._judge_cases import Case, breastmnist, gap1d, table, wdbc
from ._judge_methods import FINITE, METHOD, chains, predict

CASES = {"gap1d": gap1d, "wdbc": wdbc, "breastmnist": breastmnist}
CHAINS = ("rhat", "ess", "divergences")
KEPT = (
    "case", "hidden", "scale", "noise", "seed", "warmup", "draws", "chains", "target_accept",
    "max_tree_depth",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    """One case, and one method or several.

    Args:
        case: gap1d, wdbc, breastmnist, or the name of a table in `data`.
        data: folder of tables.
        hidden: units of the hidden layer, for a table.
        scale: of the prior: `N(0, scale^2 / inputs)` for weights, for a table.
        noise: standard deviation of the targets' noise, for a table of numbers.
        method: one of these, or several with commas.
        seed: of the chains and of all draws.
        warmup: adaptation of the judge's chains, in steps.
        draws: of each of the judge's chains.
        chains: of the judge, and of the stochastic gradients.
        target_accept: of the judge's step size.
        max_tree_depth: of the judge's steps.
        steps: of Adam, for modes; twice as many for variational fits.
        chain_steps: of each stochastic-gradient chain.
        members: of ensembles.
        samples: draws of each approximation.
        baseline: folder of a run of the judge to measure against; by default its chains are run.
    """

    case: str = one_of("gap1d", CASES, strict=False)
    data: Path | None = None
    hidden: int = 10
    scale: float = 1.5
    noise: float = 0.1
    method: str = one_of("all", ("all", "nuts", *METHOD), strict=False)
    seed: int = 0
    warmup: int = 500
    draws: int = 1000
    chains: int = 4
    target_accept: float = 0.9
    max_tree_depth: int = 10
    steps: int = 2000
    chain_steps: int = 20_000
    members: int = 20
    samples: int = 1000
    baseline: Path | None = None


GRID = {"case": tuple(CASES), "method": ("nuts", *METHOD)}


def run(config: Config, out: Path) -> Results:
    """Run or read the judge's chains, apply the methods, compare their predictions."""
    known = ("nuts", *METHOD)
    asked = known if config.method == "all" else tuple(config.method.split(","))
    if unknown := [name for name in asked if name not in known]:
        raise ValueError(f"method {unknown[0]!r} is not known; choose of {', '.join(known)}, all")
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        case = read(config)
    key = jax.random.key(config.seed)
    with stage(seconds, "judge"):
        if config.baseline is None:
            judge(case, jm.stream(key, "judge"), config, out)
        reference = stored(config.baseline or out, config, KEPT)
    metrics: dict[str, Estimate] = {}
    for name in asked:
        with stage(seconds, name):
            if name == "nuts":
                found, against = (_moments(reference, which) for which in ("_one", "_two"))
                loss = reference["nll"]
            else:
                own = jm.stream(key, name)
                posterior = METHOD[name](case, own, config)
                n = None if name in FINITE else config.samples
                draws = predict(case, posterior, jm.stream(own, "predict"), n)
                found, against = (draws.mean(0), draws.std(0)), _moments(reference)
                loss = nll(case, draws)
            numbers = {**compare(case, *found, *against), "nll": float(loss)}
        prefix = "" if len(asked) == 1 else f"{name}/"
        for metric, value in numbers.items():
            metrics[prefix + metric] = _number(prefix + metric, value, len(case.test))
    if config.baseline is None:  # else the judge's own run tells
        for metric in CHAINS:
            metrics[metric] = _number(metric, float(reference[metric]), len(case.test))
    first = next(iter(metrics))
    return results_of(
        "regression" if case.noise is not None else "binary",
        title=f"{case.name}: approximations judged by NUTS",
        classes=(),
        metrics=metrics,
        headline=tuple(name for name in (first, "rhat", "ess") if name in metrics),
        data=DataSummary(
            splits=(
                Split("train", len(case.train["label"]), None, {}),
                Split("test", len(case.test), None, {}),
            )
        ),
        description=__doc__.split("\n\n")[2].replace("\n", " "),
        run=RunRecord(seconds=seconds),
        notes=tuple(str(note) for note in reference["notes"]),
    )


def read(config: Config) -> Case:
    """One of our cases, or a table."""
    if config.case in CASES:
        return CASES[config.case]()
    path = None if config.data is None else config.data / f"{config.case}.npz"
    if path is None or not path.is_file():
        raise ValueError(
            f"case {config.case!r} is not one of {', '.join(CASES)}, and "
            + ("no folder `data` is given" if path is None else f"there is no {path}")
        )
    return table(path, config.hidden, config.scale, config.noise)


def judge(case: Case, key: jax.Array, config: Config, out: Path) -> None:
    """Run the long chains, and keep the moments of what they predict."""
    fit = chains(
        case, key, config, warmup=config.warmup, draws=config.draws, chains=config.chains,
        target_accept=config.target_accept, max_tree_depth=config.max_tree_depth,
    )  # fmt: skip
    draws = predict(case, fit, key, None)
    by_chain = draws.reshape(config.chains, -1, draws.shape[1])
    found = [chain_diagnostics(by_chain[..., i].T) for i in range(draws.shape[1])]
    arrays = {
        "rhat": max(d.rhat for d in found),
        "ess": min(min(d.ess_bulk, d.ess_tail) for d in found),
        "divergences": fit.divergences,
        "nll": nll(case, draws),
        "notes": np.array(fit.notes, dtype=str),
    }
    # Half of the chains against the others; of a single chain, its first half against the second.
    axis = 0 if config.chains > 1 else 1
    one, two = np.array_split(by_chain, 2, axis=axis)
    for which, part in (("", by_chain), ("_one", one), ("_two", two)):
        flat = part.reshape(-1, draws.shape[1])
        arrays |= {f"mean{which}": flat.mean(0), f"sd{which}": flat.std(0)}
    store(out, config, KEPT, arrays)


def compare(
    case: Case, mean: np.ndarray, sd: np.ndarray, judge_mean: np.ndarray, judge_sd: np.ndarray
) -> dict[str, float]:
    """Numbers of one method against the judge."""
    numbers = {
        "mean_error": float((np.abs(mean - judge_mean) / judge_sd).mean()),
        "sd_ratio": float((sd / judge_sd).mean()),
    }
    if case.noise is None:
        agreement = ((mean > 0.5) == (judge_mean > 0.5)).mean()
        numbers = {
            "tv": float(np.abs(mean - judge_mean).mean()),
            "agreement": float(agreement),
            **numbers,
        }
    return numbers


def nll(case: Case, draws: np.ndarray) -> float:
    """Mean negative log predictive density of the test targets."""
    if case.noise is not None:
        return float(bayes.mixture_log_score(case.target, draws, case.noise).mean())
    p = draws.mean(0)
    return float(-np.log(np.where(case.target == 1, p, 1 - p)).mean())


def _moments(arrays: dict[str, np.ndarray], which: str = "") -> tuple[np.ndarray, np.ndarray]:
    return arrays[f"mean{which}"], arrays[f"sd{which}"]


def _number(name: str, value: float, n: int) -> Estimate:
    """A number about these test inputs alone: no interval."""
    return Estimate(
        value, float("nan"), float("nan"), 0.95, n, "input", "against the judge", name=name
    )


def in_grid(config: Config, folder: Callable[[Config], Path]) -> Config:
    """A method in a grid takes the chains of the grid's own run of the judge."""
    return with_baseline(config, folder, method="nuts")


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
