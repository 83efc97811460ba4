"""Numbers with their uncertainty out of a table, over many splits: log-likelihood and error.

    jaxmed train table_regression --data uci_yacht.npz --method ensemble
    jaxmed train table_regression --data mine.csv --target outcome --splits 20
    jaxmed train table_regression --data uci_wine-quality-red.npz --rounding 1 --method nuts

A network of one hidden layer says a mean and a standard deviation of the noise; prior over all its
weights, in units of 1 / sqrt(inputs), and the training rows are all that a method sees. Columns and
target are scaled by the training rows; the numbers are of the test rows, in the target's own unit:
`log_likelihood` (mean log density of the predictive mixture), `rmse` of its mean, `crps`, and
`coverage` of its central 90 % interval. A target that is a rounded number (a score, a grade) has
its step named by `--rounding`: the likelihood of a value is then the probability of the interval
that is rounded to it, over the step, in training and in `log_likelihood`, where it is a density
like the others'; `crps` and `coverage` are of rounded draws.

The table: a CSV with a header, all columns numbers, the target named by `--target` (by default the
last), or an `.npz` with `x` (rows, inputs) and `y` (rows,). Splits: columns `split*` of a CSV (1 in
the test part), or `test` of an `.npz`: (splits, rows) of 0/1, or the same packed by
`numpy.packbits`; if there are none, `--splits` random tenths are held out. Each split is a line of
`splits.jsonl` in the run's folder once it is measured; the same command goes on with the others.

`--within` holds out a tenth of each split's training rows and measures there, the test rows unseen:
to choose settings by.

Methods: `ensemble`, members from different draws of the prior, each at a maximum of the posterior;
`nuts`, chains from it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmed as jm
from jaxmed import bayes
from jaxmed.report import (
    DataSummary,
    RegressionResults,
    Results,
    RunRecord,
    Split,
    stage,
    to_json,
)
from jaxmed.stats import Estimate

from ._unit_layers import Noisy

GRID = {"method": ("ensemble", "nuts")}
NUMBERS = ("log_likelihood", "rmse", "crps", "coverage")


@dataclasses.dataclass(frozen=True)
class Config:
    """One table and one method.

    Args:
        data: the table.
        name: of the table, in titles and records; by default the file's.
        target: column of a CSV.
        method: see above.
        splits: how many, of those in the table or drawn.
        within: whether to measure on training rows that are held out, and not on the test rows.
        seed: of everything random.
        hidden: units of the hidden layer.
        scale: of the prior: `N(0, scale^2 / inputs)` for weights.
        noise: whether its size depends on the input, or is one number.
        rounding: the step that the target was rounded to, in its unit; 0 for none.
        members: of the ensemble.
        steps: of Adam on all rows.
        learning_rate: of Adam at the start; it falls to 0 along a cosine.
        warmup: adaptation of each chain.
        draws: of each chain.
        chains: how many.
        max_tree_depth: of a step of NUTS.
    """

    data: Path | None = None
    name: str = ""
    target: str = ""
    method: Literal["ensemble", "nuts"] = "ensemble"
    splits: int = 20
    within: bool = False
    seed: int = 0
    hidden: int = 50
    scale: float = 1.5
    noise: Literal["input", "constant"] = "input"
    rounding: float = 0.0
    members: int = 5
    steps: int = 2000
    learning_rate: float = 0.02
    warmup: int = 200
    draws: int = 200
    chains: int = 2
    max_tree_depth: int = 7


class Table(NamedTuple):
    """Rows, and which of them each split holds out."""

    x: np.ndarray
    y: np.ndarray
    test: np.ndarray


def run(config: Config, out: Path) -> Results:
    """Fit and measure each split that is not yet in the run's file."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        table = read(config)
    path = out / "splits.jsonl"
    rows = {row["split"]: row for row in _lines(path)}
    name = config.name or Path(config.data).stem
    fit = fit_ensemble(config) if config.method == "ensemble" else fit_nuts(config)
    with stage(seconds, "splits"):
        for split, test in enumerate(table.test):
            if split in rows:
                continue
            start = time.perf_counter()
            key = jm.stream(jax.random.key(config.seed), "split", split)
            part = without(table, test, (config.seed, split)) if config.within else (table, test)
            rows[split] = {
                "split": split, "rows": int((~part[1]).sum()), "test": int(part[1].sum()),
                **one_split(*part, fit, key, config.rounding),
                "seconds": round(time.perf_counter() - start, 2),
            }  # fmt: skip
            out.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                # A line that was cut short ends here.
                file.write(("\n" if _unfinished(path) else "") + to_json(rows[split], indent=None))
                file.write("\n")
    found = [rows[split] for split in range(len(table.test))]
    metrics = {metric: over_splits(metric, [row[metric] for row in found]) for metric in NUMBERS}
    notes = tuple(f"split {row['split']}: {note}" for row in found for note in row["notes"])
    return RegressionResults(
        title=f"{name}: {config.method}, {len(found)} splits",
        classes=(),
        metrics=metrics,
        headline=("log_likelihood", "rmse"),
        data=DataSummary(
            splits=(
                Split("train", found[0]["rows"], None, {}),
                Split("test", found[0]["test"], None, {}),
            )
        ),
        description=(
            f"{config.method} over a network of {config.hidden} hidden units that says mean and "
            f"noise, on {len(found)} splits of {len(table.y)} rows"
            f"{', measured on training rows held out' if config.within else ''}. The intervals are "
            "of the mean over the splits, whose training rows overlap: they are too narrow for new "
            "data."
        ),
        run=RunRecord(seconds=seconds),
        notes=notes,
    )


def read(config: Config) -> Table:
    """Read the table, and find or draw its splits."""
    if config.data is None or not config.data.is_file():
        raise ValueError(f"data must name a table, .csv or .npz, not {config.data}")
    test = None
    if config.data.suffix == ".npz":
        with np.load(config.data) as file:
            if missing := [name for name in ("x", "y") if name not in file]:
                raise ValueError(f"{config.data} has no array {missing[0]!r}; it has {[*file]}")
            x, y = (np.asarray(file[name], np.float64) for name in ("x", "y"))
            if "test" in file:
                test = file["test"]
                if test.shape[1] != len(y):
                    test = np.unpackbits(test, axis=1)[:, : len(y)]
                test = test.astype(bool)
    else:
        with config.data.open() as file:
            head = file.readline().strip().split(",")
        values = np.loadtxt(config.data, delimiter=",", skiprows=1, ndmin=2)
        split = [i for i, column in enumerate(head) if column.startswith("split")]
        if config.target and config.target not in head:
            raise ValueError(f"{config.data} has no column {config.target!r}; it has {head}")
        plain = [i for i in range(len(head)) if i not in split]
        target = head.index(config.target) if config.target else plain[-1]
        inputs = [i for i in plain if i != target]
        x, y = values[:, inputs], values[:, target]
        test = values[:, split].T > 0 if split else None
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(f"{config.data} holds numbers that are NaN or infinite")
    if config.rounding and not np.allclose(y, rounded(y, config.rounding), atol=1e-6):
        raise ValueError(f"the target is not a multiple of rounding={config.rounding:g} throughout")
    if test is None:
        draws = (np.random.default_rng([config.seed, i]) for i in range(config.splits))
        held = max(len(y) // 10, 1)
        test = np.stack([rng.permutation(len(y)) < held for rng in draws])
    if test.shape[1] != len(y) or not test.any(axis=1).all() or test.all(axis=1).any():
        raise ValueError(f"splits {test.shape} need rows to train on and rows to test, of {len(y)}")
    return Table(x, y, test[: config.splits])


def without(table: Table, test: np.ndarray, seed: Sequence[int]) -> tuple[Table, np.ndarray]:
    """The training rows of a split as a table of their own, a tenth of them held out."""
    rows = np.flatnonzero(~test)
    held = np.random.default_rng(seed).permutation(len(rows)) < max(len(rows) // 10, 1)
    return Table(table.x[rows], table.y[rows], held[None]), held


def rounded(values: np.ndarray, step: float) -> np.ndarray:
    """Values to the nearest multiple of a step; as they are for a step of 0."""
    return np.round(values / step) * step if step else values


def one_split(
    table: Table, test: np.ndarray, fit: Any, key: jax.Array, rounding: float = 0.0
) -> dict[str, Any]:
    """Scale by the training rows, fit, measure on the test rows in the target's unit."""
    x, y = table.x[~test], table.y[~test]
    centre, spread = x.mean(0), x.std(0)
    spread = np.where(spread > 0, spread, 1)
    offset, unit = y.mean(), y.std()
    batch = {
        "image": jnp.asarray((x - centre) / spread, jnp.float32),
        "label": jnp.asarray((y - offset) / unit, jnp.float32),
    }
    posterior, notes = fit(key, batch, float(rounding / unit))
    new = ((table.x[test] - centre) / spread).astype(np.float32)
    outputs = bayes.predict_samples(posterior, key, new, size=len(new), chunk=50).astype(float)
    means, sds = offset + unit * outputs[..., 0], unit * np.exp(outputs[..., 1])
    return {**measure(table.y[test], means, sds, key, rounding), "notes": list(notes)}


def measure(
    y: np.ndarray, means: np.ndarray, sds: np.ndarray, key: jax.Array, rounding: float = 0.0
) -> dict[str, float]:
    """Scores of a mixture of normals, or of what these are rounded to."""
    repeats = math.ceil(1000 / len(means))
    noise = np.asarray(jax.random.normal(jm.stream(key, "noise"), (repeats, *means.shape)))
    draws = rounded((means + sds * noise).reshape(-1, len(y)), rounding)
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return {
        "log_likelihood": float(-bayes.mixture_log_score(y, means, sds, rounding=rounding).mean()),
        "rmse": float(jm.quantities.rmse(y, means.mean(0))),
        "crps": float(bayes.crps_samples(y, draws).mean()),
        "coverage": float(((low <= y) & (y <= high)).mean()),
    }


def problem(config: Config, rounding: float) -> tuple[jm.Network, bayes.Likelihood]:
    """The network, and the likelihood that reads its two outputs; `rounding` of a scaled target."""
    net = Noisy(config.hidden, config.scale, config.noise == "constant")
    return jm.from_linen(net), bayes.normal(rounding=rounding)


def fit_ensemble(config: Config) -> Any:
    """Members at maxima of the posterior, all as one program."""
    optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps))

    def one(key, batch, network, likelihood):
        params, state = network.init(key, batch["image"][:1])

        def energy(params):
            square = sum((p**2).sum() for p in jax.tree.leaves(params))
            return 0.5 * square - likelihood.total(network, params, state, batch)

        def step(carry, _):
            params, memory = carry
            change, memory = optimizer.update(jax.grad(energy)(params), memory, params)
            return (optax.apply_updates(params, change), memory), None

        start = (params, optimizer.init(params))
        return jax.lax.scan(step, start, length=config.steps)[0][0]

    @functools.cache  # one program for all splits, but for a rounded target, whose step is scaled
    def program(rounding):
        network, likelihood = problem(config, rounding)
        found = functools.partial(one, network=network, likelihood=likelihood)
        return network, jax.jit(jax.vmap(found, in_axes=(0, None)))

    def fit(key, batch, rounding):
        network, members = program(rounding)
        keys = jnp.stack([jm.stream(key, "member", i) for i in range(config.members)])
        return bayes.members(network, members(keys, batch), {}), ()

    return fit


def fit_nuts(config: Config) -> Any:
    """Chains over all weights, from draws of the prior."""

    def fit(key, batch, rounding):
        network, likelihood = problem(config, rounding)
        params, state = network.init(key, batch["image"][:1])
        chains = bayes.nuts(
            key, network, params, state, batch, likelihood, prior=1.0, warmup=config.warmup,
            draws=config.draws, chains=config.chains, max_tree_depth=config.max_tree_depth,
        )  # fmt: skip
        return chains, chains.notes

    return fit


def over_splits(name: str, values: list[float]) -> Estimate:
    """Mean over splits, its standard error, and an interval by t."""
    from scipy import stats as law

    v = np.array(values)
    mean, n = float(v.mean()), len(v)
    error = float(v.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    half = float(law.t.ppf(0.975, n - 1)) * error if n > 1 else float("nan")
    return Estimate(
        mean, mean - half, mean + half, 0.95, n, "split",
        "t over splits, which share training rows", se=error, details={"runs": values}, name=name,
    )  # fmt: skip


def _unfinished(path: Path) -> bool:
    """Whether a file's last line has no end."""
    content = path.read_bytes() if path.exists() else b""
    return bool(content) and not content.endswith(b"\n")


def _lines(path: Path) -> list[dict[str, Any]]:
    """Finished splits; a line that was cut short counts as missing."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
