r"""Ask a trained network what its decisions owe to the border of the image.

    jaxmed train border --data cxr_covid3 --patient '^(\d{8})_'

A small ResNet learns the classes of a folder of pictures; a third of the patients is left out. On
these, borders are exchanged between patients (`explain.shortcut`): how well each class is still
told with the border of another patient, and how well from the border alone. Maps are asked too: of
their positive values, what share lies in the border. In the set of chest X-rays no disease lies
there. What borders alone would tell a network that sees nothing else: `shortcut`; what helps:
`remedies`.

Expected over three seeds, of the class that comes from another source: AUC .968, .659 with the
border of another patient, .858 by the border alone. A run takes a minute.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import jaxmed as jm
from jaxmed import explain, stats
from jaxmed.data import ArraySource, batches, folds
from jaxmed.report import Results, Split, classification, stage

from .._common.borders import inside
from .._common.compared import named
from .._common.pictures import pictures

GRID = {"seed": (0, 1, 2)}
METHODS = {
    "gradient": explain.gradient,
    "integrated_gradients": explain.integrated_gradients,
    "lrp": explain.lrp,
    "occlusion": explain.occlusion,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """One training, and what is asked of it.

    Args:
        data: a folder a class, or the name of one in the data folder.
        patient: a pattern with one group, the patient in a file's name; "" for none.
        border: its width, a share of the image's side.
        size: side of the images.
        epochs: passes over the training images.
        batch: images of a step.
        learning_rate: of Adam; it falls to 0 as a cosine.
        repeats: how many others each image exchanges its border with.
        seed: of the split, the parameters, the order and who exchanges with whom.
    """

    data: Path = Path("cxr_covid3")
    patient: str = r"^(\d{8})_"
    border: float = 0.125
    size: int = 48
    epochs: int = 30
    batch: int = 48
    learning_rate: float = 3e-3
    repeats: int = 5
    seed: int = 0


def run(config: Config, out: Path) -> Results:
    """Train, exchange borders, ask maps."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        found = pictures(config.data, config.size, config.patient)
        part = folds(
            len(found.images), 3, groups=found.units.tolist(), stratify=found.labels.tolist(),
            seed=config.seed,
        )[0]  # fmt: skip
    train, test = (
        ArraySource(
            {"image": found.images[at].astype(np.float32), "label": found.labels[at]},
            case_ids=[found.cases[i] for i in at],
            classes=found.classes,
        )
        for at in part
    )
    steps = config.epochs * -(-len(train) // config.batch)
    network = jm.from_linen(jm.networks.resnet8(len(found.classes), width=8))
    rate = optax.cosine_decay_schedule(config.learning_rate, steps)
    learner = jm.learner(network, jm.supervised(jm.losses.cross_entropy), optax.adam(rate))
    trained = jm.fit(
        learner, batches(train, config.batch, seed=config.seed), steps=steps, seed=config.seed,
        out=out,
    )  # fmt: skip
    seconds["training"] = trained.seconds
    params, state = learner.predicting.get(trained.state)
    images, labels = test.arrays["image"], test.arrays["label"]
    with stage(seconds, "evaluation"):
        logits = jax.jit(network.apply)(params, state, images)[0]["logits"]
        results = classification(
            labels, np.asarray(jax.nn.softmax(logits)), classes=found.classes,
            cases=test.case_ids, groups=found.units[part.test].tolist(),
            title=f"{config.data.name}: what decisions owe to the border",
        )  # fmt: skip
    region = ~inside(config.size, config.border)[0, ..., 0]
    key, given = jax.random.key(config.seed), (network, params, state)
    metrics: dict[str, stats.Estimate] = {}
    with stage(seconds, "exchange"):
        for number, name in enumerate(found.classes):
            told = explain.shortcut(
                key, *given, images, labels == number, region,
                target=explain.class_score(number, of="log_odds"), repeats=config.repeats,
            )  # fmt: skip
            metrics |= {
                f"{name}/whole": told.whole,
                f"{name}/without": told.without,
                f"{name}/alone": told.alone,
            }
    with stage(seconds, "maps"):
        metrics |= _shares(config, given, images, np.asarray(logits).argmax(-1), region)
    return results.replace(
        metrics={**results.metrics, **named(metrics)},
        description=(
            f"A ResNet of 8 layers, {steps} steps on {len(train)} images of {config.size} x "
            f"{config.size}; {len(test)} images of other patients are asked about. The border is "
            f"{100 * config.border:g} % of a side wide. `whole`: AUC of the class against the "
            "others; `without`: with the border of another patient; `alone`: all but the border is "
            "another patient's. `border/METHOD`: share of a map's positive values in the border."
        ),
        splits=(Split("train", len(train)), Split("held out", len(test))),
        partition="by patient and near duplicate, a third held out",
        history=trained.history,
        seconds=seconds,
    )


def _shares(
    config: Config, given: Any, images: np.ndarray, targets: np.ndarray, region: np.ndarray
) -> dict[str, stats.Estimate]:
    """Of each method, how much of its maps lies in the border, beside the share of its area."""
    masks = np.broadcast_to(region, images.shape[:-1])
    rows = {"area": explain.mask_share(masks)}
    grey = {"baseline": float(images.mean())}
    for name, method in METHODS.items():
        options = grey if name in ("integrated_gradients", "occlusion") else {}
        if name == "occlusion":
            options = {**options, "window": config.size // 8}
        ask = explain.compiled(partial(method, **options))
        maps = ask(jax.random.key(config.seed), *given, images, targets)
        rows[name] = explain.mass_in_mask(maps, masks)
    return {f"border/{name}": explain.over_cases(v, bounds=(0, 1)) for name, v in rows.items()}


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
