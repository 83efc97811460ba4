"""Posteriors over a small residual network, measured on a MedMNIST set: is it honest?

    jaxmed train uncertainty --dataset breastmnist --method laplace --seed 0
    jaxmed train uncertainty --dataset breastmnist --method all --rows rows.jsonl

A ResNet-8 with dropout is trained once a seed (SGD with momentum and weight decay, cosine, flips);
every method begins there, but for the ensemble, which trains five. Measured on the test images as
they are, under noise, blur and low contrast at five strengths each, and against images of another
kind (RetinaMNIST in grey for a set in grey, BreastMNIST else): negative log-likelihood, Brier
score, ECE, AURC, AUROC of errors and of the strangers by entropy and by mutual information; seconds
of training and prediction as multiples of the trained network's own (with
compilation: compare on one machine).

`--rows` appends one JSON line a method; `python experiments/uncertainty.py rows.jsonl` prints the
table over seeds with t intervals. `--method all` shares the trained network among methods: a whole
row of the grid in one process, a minute or two on a GPU, some twenty on two CPU cores.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import ndimage

import jaxmed as jm
from jaxmed import bayes
from jaxmed.data import in_memory, map_source, medmnist
from jaxmed.report import Results, Uncertainty, classification, stage

METHODS = (
    "map", "temperature", "dropout", "ensemble", "snapshot", "batch_ensemble", "swag", "laplace",
    "laplace_last", "svi", "svi_flipout", "sgld",
)  # fmt: skip
NOISE, BLUR = (0.04, 0.08, 0.12, 0.18, 0.26), (0.5, 0.75, 1.0, 1.5, 2.0)
CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell, or one seed's row of cells.

    Args:
        dataset: a MedMNIST set of one label an image.
        method: one of METHODS, several with commas, or `all`.
        seed: of parameters, order, dropout and all draws.
        epochs: of the trained network, and of each that is trained on from it.
        batch: images of a step.
        width: channels of the first stage.
        dropout: rate before the last layer.
        learning_rate: of SGD at the start.
        weight_decay: the prior's precision over the number of images.
        members: of ensembles.
        samples: draws of each posterior.
        corrupted: whether to measure under corruptions too.
        rows: file that one JSON line a method is appended to.
    """

    dataset: str = "breastmnist"
    method: str = "laplace"
    seed: int = 0
    epochs: int = 60
    batch: int = 64
    width: int = 16
    dropout: float = 0.2
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    members: int = 5
    samples: int = 30
    corrupted: bool = True
    rows: Path | None = None


@dataclasses.dataclass
class Trained:
    """What all methods begin with."""

    config: Config
    network: Any
    batches: Any
    steps: int
    total: int
    params: Any
    state: Any
    learner_state: Any
    seconds: float
    key: jax.Array

    @property
    def likelihood(self) -> bayes.Likelihood:
        """Classes by softmax."""
        return bayes.categorical()

    def learner(self, optimizer: Any = None, network: Any = None) -> Any:
        """A learner of this network, or another, by the recipe."""
        c = self.config
        return make_learner(c, network or self.network, self.steps, optimizer)


def make_learner(config: Config, network: Any, steps: int, optimizer: Any = None) -> Any:
    """Cross-entropy with flips, SGD with momentum and weight decay."""
    if optimizer is None:
        rate = optax.cosine_decay_schedule(config.learning_rate, steps)
        optimizer = optax.sgd(rate, momentum=0.9)
    decay = optax.add_decayed_weights(config.weight_decay)
    objective = jm.augmented(jm.supervised(jm.losses.cross_entropy), flips)
    return jm.learner(network, objective, optax.chain(decay, optimizer))


def flips(key: jax.Array, batch: dict) -> dict:
    """Each image mirrored left to right, or not."""
    x = batch["image"]
    chosen = jax.random.bernoulli(key, 0.5, (x.shape[0], 1, 1, 1))
    return {**batch, "image": jnp.where(chosen, x[:, :, ::-1], x)}


def run(config: Config, out: Path) -> Results:
    """Train, apply the methods, measure; the report is of the last method named."""
    asked = METHODS if config.method == "all" else tuple(config.method.split(","))
    unknown = [name for name in asked if name not in METHODS]
    if unknown:
        raise ValueError(f"method {unknown[0]!r} is not known; choose of {', '.join(METHODS)}, all")
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        train, val, test = (read(config.dataset, part) for part in ("train", "val", "test"))
        x, y = whole(test)
        views = inputs(config, x)
    with stage(seconds, "training"):
        base = train_base(config, train, len(test.classes))
    results = None
    reference: dict[str, float] = {}
    for name in asked:
        start = time.perf_counter()
        posterior, after = METHOD[name](base, whole(train), whole(val))
        cost = time.perf_counter() - start
        start = time.perf_counter()
        n = config.samples if name in SAMPLED else None
        every = np.concatenate(list(views.values()))
        logits = bayes.predict_samples(
            posterior, jm.stream(base.key, "predict"), every, n, size=256
        )
        predicted = time.perf_counter() - start
        if not reference:
            reference = {"train": base.seconds, "predict": predicted}
            if name != "map":
                start = time.perf_counter()
                point = bayes.point(base.network, base.params, base.state)
                bayes.predict_samples(point, base.key, every, size=256)
                reference["predict"] = time.perf_counter() - start
        samples = dict(
            zip(views, np.split(after(logits), np.cumsum([len(v) for v in views.values()])[:-1], 1))
        )
        spent = (0.0 if name in ("ensemble", "batch_ensemble") else base.seconds) + cost
        row = {
            "dataset": config.dataset,
            "method": name,
            "seed": config.seed,
            "train_cost": round(spent / reference["train"], 2),
            "predict_cost": round(predicted / reference["predict"], 2),
            **measure(samples, y),
        }
        print(json.dumps({k: v for k, v in row.items() if not isinstance(v, dict)}), flush=True)
        if config.rows is not None:
            config.rows.parent.mkdir(parents=True, exist_ok=True)
            with config.rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
        seconds[name] = cost + predicted
        results = classification(
            y,
            samples["test"].mean(axis=0),
            task="binary" if len(test.classes) == 2 else "multi-class",
            classes=test.classes,
            cases=test.case_ids,
            title=f"{config.dataset}: {name}",
            description=(
                f"The predictive distribution of {name} over a ResNet-8 of width {config.width}, "
                f"seed {config.seed}, on {len(y)} test images."
            ),
            seconds=seconds,
            uncertainty=Uncertainty(
                samples["test"], *sets(base, posterior, after, n, val, samples["test"]), method=name
            ),
        )
    return results


def sets(
    base: Trained, posterior: Any, after: Any, n: int | None, val: Any, p: np.ndarray
) -> tuple[np.ndarray, float]:
    """Prediction sets of the test images, calibrated on the validation set, and their level."""
    x, y = whole(val)
    key = jm.stream(base.key, "predict")
    held_out = after(bayes.predict_samples(posterior, key, x, n, size=256)).mean(axis=0)
    rule = bayes.fit_sets(y, held_out, level=0.9)
    return bayes.predict_sets(rule, p.mean(axis=0)), rule.level


def train_base(config: Config, train: Any, classes: int) -> Trained:
    """The network all methods begin with."""
    network = jm.from_linen(
        jm.networks.ResNet(classes, (1, 1, 1), width=config.width, dropout=config.dropout)
    )
    batches = jm.data.batches(train, config.batch, seed=config.seed, remainder="drop")
    steps = config.epochs * len(batches)
    key = jax.random.key(config.seed)
    start = time.perf_counter()
    learner = make_learner(config, network, steps)
    result = jm.fit(learner, batches, key=key, epochs=config.epochs, progress=False)
    jax.block_until_ready(result.state.params)
    spent = time.perf_counter() - start
    state = result.state
    return Trained(
        config, network, batches, steps, len(train), state.params["net"], state.state["net"],
        state, spent, jm.stream(key, "uncertainty"),
    )  # fmt: skip


def softmax(logits: np.ndarray) -> np.ndarray:
    """Samples of probabilities."""
    return bayes.softmax_samples(logits)


def with_map(base: Trained, train: Any, val: Any) -> tuple:
    """The trained network."""
    return bayes.point(base.network, base.params, base.state), softmax


def with_temperature(base: Trained, train: Any, val: Any) -> tuple:
    """The same, its logits divided by a temperature fitted to the validation set."""
    point = bayes.point(base.network, base.params, base.state)
    logits = bayes.predict_samples(point, base.key, val[0], size=256)[0]
    fitted = bayes.fit_calibrator(val[1], logits, logits=True)
    return point, lambda z: np.stack([bayes.calibrate(fitted, one) for one in z])


def with_dropout(base: Trained, train: Any, val: Any) -> tuple:
    """Dropout before the last layer, left on."""
    return bayes.mc_dropout(base.network, base.params, base.state, train[0][:1]), softmax


def with_ensemble(base: Trained, train: Any, val: Any) -> tuple:
    """Members trained from scratch, as one program."""
    five = jm.ensemble(base.learner(), base.config.members)
    key = jm.stream(base.key, "ensemble")
    result = jm.fit(five, base.batches, key=key, epochs=base.config.epochs, progress=False)
    return bayes.ensemble_posterior(base.network, result.state), softmax


def with_batch_ensemble(base: Trained, train: Any, val: Any) -> tuple:
    """Members that share kernels up to rank one; as many passes over the data each."""
    members = 4
    network = bayes.batch_ensemble(base.network, members)
    steps = members * base.steps
    learner = make_learner(base.config, network, steps)
    key = jm.stream(base.key, "batch ensemble")
    result = jm.fit(
        learner, base.batches, key=key, epochs=members * base.config.epochs, progress=False
    )
    params, state = result.state.params["net"], result.state.state["net"]
    return bayes.batch_ensemble_posterior(base.network, params, state), softmax


def trained_on(base: Trained, optimizer: Any, every: int, steps: int) -> tuple:
    """Snapshots of a run that goes on from the trained network."""
    learner = base.learner(optimizer)
    start = learner.init(jm.stream(base.key, "on"), base.batches[0])
    params = {"net": base.params, "obj": start.params["obj"]}
    state = {"net": base.state, "obj": start.state["obj"]}
    start = start._replace(params=params, state=state)
    batches = lambda step: base.batches[base.steps + step]  # noqa: E731
    return bayes.trajectory(learner, start, batches, steps=steps, every=every)[1:]


def with_snapshot(base: Trained, train: Any, val: Any) -> tuple:
    """The ends of cosine cycles."""
    cycle = max(base.steps // base.config.members, 1)
    rate = bayes.cyclical_rate(base.config.learning_rate, cycle)
    optimizer = optax.sgd(rate, momentum=0.9)
    found = trained_on(base, optimizer, cycle, cycle * base.config.members)
    return bayes.members(base.network, *found), softmax


def with_swag(base: Trained, train: Any, val: Any) -> tuple:
    """Moments of a run at a constant rate, one snapshot an epoch, BatchNorm made anew."""
    epoch = len(base.batches)
    optimizer = optax.sgd(base.config.learning_rate / 5, momentum=0.9)
    found = trained_on(base, optimizer, epoch, max(base.config.epochs // 2, 2) * epoch)
    rows = np.random.default_rng(0).permutation(len(train[0]))[: 32 * (len(train[0]) // 32)]
    refresh = train[0][rows].reshape(-1, 32, *train[0].shape[1:])[:40]
    return bayes.swag(base.network, *found, rank=20, refresh=refresh), softmax


def with_laplace(base: Trained, train: Any, val: Any) -> tuple:
    """Kronecker factors over the whole network, linearised."""
    batch = {"image": train[0], "label": train[1]}
    return bayes.laplace(base.network, base.params, base.state, batch, base.likelihood), softmax


def with_laplace_last(base: Trained, train: Any, val: Any) -> tuple:
    """The full matrix of the last layer."""
    batch = {"image": train[0], "label": train[1]}
    fit = bayes.laplace(
        base.network, base.params, base.state, batch, base.likelihood, structure="full",
        subset="last_layer",
    )  # fmt: skip
    return fit, softmax


def variational(base: Trained, estimator: str) -> tuple:
    """Mean field from the trained parameters."""
    fit = bayes.variational(
        jm.stream(base.key, estimator), base.network, base.params, base.state, base.batches,
        base.likelihood, total=base.total, steps=base.steps, prior=prior(base), scale=0.01,
        learning_rate=optax.cosine_decay_schedule(1e-3, base.steps), estimator=estimator,
    )  # fmt: skip
    return fit, softmax


def with_svi(base: Trained, train: Any, val: Any) -> tuple:
    """Mean field by NumPyro's guide."""
    return variational(base, "shared")


def with_svi_flipout(base: Trained, train: Any, val: Any) -> tuple:
    """Mean field, an own sign for each example's draw."""
    return variational(base, "flipout")


def with_sgld(base: Trained, train: Any, val: Any) -> tuple:
    """SGHMC with cyclical steps from the trained network."""
    fit = bayes.sgmcmc(
        jm.stream(base.key, "sghmc"), base.network, base.params, base.state, base.batches,
        base.likelihood, total=base.total, step_size=0.02 / base.total, steps=2 * base.steps,
        method="sghmc", prior=prior(base), cycles=4, explore=0.6,
        every=max(base.steps // 40, 1),
    )  # fmt: skip
    return fit, softmax


def prior(base: Trained) -> float:
    """The precision that the weight decay stands for."""
    return base.config.weight_decay * base.total


METHOD = {
    "map": with_map,
    "temperature": with_temperature,
    "dropout": with_dropout,
    "ensemble": with_ensemble,
    "snapshot": with_snapshot,
    "batch_ensemble": with_batch_ensemble,
    "swag": with_swag,
    "laplace": with_laplace,
    "laplace_last": with_laplace_last,
    "svi": with_svi,
    "svi_flipout": with_svi_flipout,
    "sgld": with_sgld,
}
SAMPLED = ("dropout", "swag", "laplace", "laplace_last", "svi", "svi_flipout", "sgld")


def read(dataset: str, part: str) -> Any:
    """A part of a set, scaled to [-1, 1]."""
    scale = lambda batch: {**batch, "image": (batch["image"] - 0.5) / 0.5}  # noqa: E731
    return in_memory(map_source(medmnist(dataset, part), scale, batched=True))


def whole(source: Any) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels."""
    images = np.stack([source[i]["image"] for i in range(len(source))]).astype(np.float32)
    return images, np.asarray(jm.data.column(source, "label")).astype(int)


def inputs(config: Config, x: np.ndarray) -> dict[str, np.ndarray]:
    """The test images, strangers, and the test images under corruptions."""
    channels = x.shape[-1]
    other = "retinamnist" if channels == 1 else "breastmnist"
    strange = whole(read(other, "test"))[0]
    strange = strange.mean(-1, keepdims=True) if channels == 1 else np.repeat(strange, 3, -1)
    views = {"test": x, "strange": strange.astype(np.float32)}
    if not config.corrupted:
        return views
    rng = np.random.default_rng(config.seed)
    unit = 0.5 * x + 0.5
    for i in range(5):
        centre = unit.mean(axis=(1, 2), keepdims=True)
        for name, changed in (
            ("noise", unit + NOISE[i] * rng.normal(size=x.shape)),
            ("blur", ndimage.gaussian_filter(unit, (0, BLUR[i], BLUR[i], 0))),
            ("contrast", centre + CONTRAST[i] * (unit - centre)),
        ):
            views[f"{name}{i + 1}"] = (2 * np.clip(changed, 0, 1) - 1).astype(np.float32)
    return views


def measure(samples: dict[str, np.ndarray], y: np.ndarray) -> dict[str, Any]:
    """Numbers of one method."""
    row: dict[str, Any] = scores(samples["test"], y)
    known, strange = (bayes.decompose(samples[name]) for name in ("test", "strange"))
    stranger = np.r_[np.zeros(len(known.total)), np.ones(len(strange.total))]
    for name in ("total", "epistemic"):
        s = np.r_[getattr(known, name), getattr(strange, name)]
        found = bayes.ood_scores(stranger, s)
        row[f"ood_{name}"] = round(found.auroc, 4)
    for kind in ("noise", "blur", "contrast"):
        rows = [scores(samples[f"{kind}{i}"], y) for i in range(1, 6) if f"{kind}{i}" in samples]
        if rows:
            row[kind] = {k: [r[k] for r in rows] for k in ("accuracy", "nll", "brier", "ece")}
    return row


def scores(samples: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Of the mean prediction."""
    p = samples.mean(axis=0)
    wrong = (p.argmax(1) != y).astype(float)
    selective = bayes.selective_scores(wrong, p.max(1))
    binary = p[:, 1] if p.shape[1] == 2 else p
    found = {
        "accuracy": 1 - wrong.mean(),
        "auc": jm.stats.multiclass_auc(y, p).value,
        "nll": jm.stats.log_loss(y, binary).value,
        "brier": ((p - np.eye(p.shape[1])[y]) ** 2).sum(1).mean(),
        "ece": jm.stats.ece(y, p, of="top", n_bins=15, n_resamples=0).value,
        "aurc": selective.aurc,
        "error_auroc": selective.error_auroc,
    }
    return {k: round(float(v), 4) for k, v in found.items()}


def table(path: Path) -> str:
    """Means over seeds with t intervals, a Markdown table a data set."""
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    names = (
        "accuracy", "auc", "nll", "brier", "ece", "aurc", "error_auroc", "ood_total",
        "ood_epistemic", "train_cost", "predict_cost",
    )  # fmt: skip
    lines = []
    for dataset in sorted({r["dataset"] for r in rows}):
        lines += [f"\n{dataset}\n", "| method | n | " + " | ".join(names) + " | corrupted nll |"]
        lines.append("|---" * (len(names) + 3) + "|")
        for method in METHODS:
            own = [r for r in rows if r["dataset"] == dataset and r["method"] == method]
            if not own:
                continue
            cells = [cell([r[name] for r in own]) for name in names]
            if all("noise" in r for r in own):
                kinds = ("noise", "blur", "contrast")
                cells.append(cell([np.mean([r[k]["nll"] for k in kinds]) for r in own]))
            lines.append(f"| {method} | {len(own)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(values: list[float]) -> str:
    """A mean with half the width of its 95% t interval."""
    from scipy import stats as law

    v = np.array(values, float)
    if not np.isfinite(v).all():
        return "-"
    if v.size < 2:
        return f"{v.mean():.3f}"
    half = law.t.ppf(0.975, v.size - 1) * v.std(ddof=1) / np.sqrt(v.size)
    return f"{v.mean():.3f} ± {half:.3f}"


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].endswith(".jsonl"):
        print(table(Path(sys.argv[1])))
    else:
        from jaxmed.cli import train_file

        train_file(__file__)
