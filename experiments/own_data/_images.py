"""Training of a network on whole images: what classification and regression share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxmed as jm
from jaxmed.augment import Augmentation
from jaxmed.data import ArraySource, ManifestSource
from jaxmed.inference import ImageModel, ImageRecipe
from jaxmed.networks import BatchNorm
from jaxmed.planning import ImagePlan

from .._common.lite0 import imagenet
from .._common.pieces import in_pieces
from .._common.rounds import Round, in_rounds, rate, rounds
from ._own import begun_from, repeated
from ._parts import Parts

_AT_ONCE = 64  # images

# With the published momentum, .99, running statistics follow a new set of images too slowly.
_NORM = partial(BatchNorm, momentum=0.9, epsilon=1e-3)
_SMALL = 32


def recipe_of(plan: ImagePlan) -> ImageRecipe:
    """What is done to an image, and by which network."""
    outputs = len(plan.outputs)
    small = max(plan.shape) <= _SMALL
    if plan.network == "efficientnet_lite0":
        net = jm.networks.efficientnet_lite0(outputs, norm=_NORM)
    else:
        make = getattr(jm.networks, plan.network)
        net = make(outputs, stem="small" if small else "standard")
    gain, offset = 1.0, 0.0
    if len(plan.target) == 1:
        offset, gain = plan.target[0]
    return ImageRecipe(
        task=plan.task,
        outputs=plan.outputs,
        channels=plan.channels,
        shape=plan.shape,
        net=net,
        normalisation=plan.normalisation,
        linear=plan.linear,
        target=(gain, offset),
        offsets=tuple(float(np.log(w)) for w in plan.weights),
        repeat=3 if plan.network == "efficientnet_lite0" and len(plan.channels) == 1 else 1,
    )


def prepared(source: ManifestSource, which: np.ndarray, recipe: ImageRecipe) -> ArraySource:
    """Images in memory as the network takes them, with their labels."""
    images = [
        jm.inference.prepare_image(recipe, source.image(int(i), canonical=True)) for i in which
    ]
    arrays = {"image": np.stack(images), "label": np.asarray(source.labels)[which]}
    if source.known is not None:
        arrays["label_known"] = source.known[which]
    return ArraySource(
        arrays,
        case_ids=tuple(source.case_ids[int(i)] for i in which),
        groups=None if source.groups is None else tuple(source.groups[int(i)] for i in which),
        classes=source.classes,
        name=source.name,
    )


def fit(
    config: Any,
    plan: ImagePlan,
    recipe: ImageRecipe,
    train: ArraySource,
    held: ArraySource,
    out: Path,
    *,
    choose: bool,
) -> tuple[ImageModel, Any]:
    """Train one network.

    Args:
        config: with `seed` and `start`.
        plan: what it follows.
        recipe: of the network.
        train: what it learns from.
        held: what the learning curve is of.
        out: folder of checkpoints and of the model.
        choose: whether the epoch with the best score on what is held out is kept, not the last.
    """
    known = "label_known" if "label_known" in train.arrays else None
    blank = jm.inference.image_model(recipe, None, None)
    examples = repeated(train, plan.batch, least=1)

    def train_round(one: Round, first: int, state: Any) -> Any:
        batches = jm.data.batches(examples, plan.batch, seed=one.seed(config.seed))
        learner = learner_of(
            plan, recipe, one.length * len(batches), first=first, start=config.start, known=known
        )

        def model_of(state: Any) -> ImageModel:
            return blank._replace(**learner.predicting.get(state)._asdict())

        def look(state: Any) -> dict[str, float]:
            return score(predicted(model_of(state), held), held, plan)

        trained = jm.fit(
            learner, batches, seed=config.seed, epochs=one.length, state=state, out=one.folder(out),
            evaluate=jm.train.Evaluation(
                look, every=max(1, one.length // 20),
                **({"monitor": f"held out/{main_score(plan)}", "mode": mode(plan)}
                   if choose else {}),
            ),
        )  # fmt: skip
        models.append(model_of)
        return trained

    models: list[Any] = []
    result = in_rounds(train_round, rounds(plan.epochs, plan.ended), mode(plan))
    model = models[-1](result.best_state if choose else result.state)
    jm.inference.save_model(out, model)
    return model, result


def learner_of(
    plan: ImagePlan,
    recipe: ImageRecipe,
    steps: int,
    *,
    first: int = 0,
    start: Path | None = None,
    known: str | None = None,
) -> jm.Learner:
    """What is trained: the network, its loss and augmentation, its optimizer, its average.

    ``steps`` are those of a round, ``first`` those that were made before it.
    """
    optimizer = jm.train.optimizer(
        "adamw", **rate("cosine", plan.learning_rate, steps, first),
        weight_decay=plan.weight_decay, clip=5.0,
    )  # fmt: skip
    network = recipe.network()
    if plan.start == "imagenet" and start is None:
        network = imagenet(network)
    network = begun_from(network, start)
    objective = jm.paradigms.augmented(
        jm.supervised(loss_of(plan), known=known), augmentation(plan)
    )
    learner = jm.learner(network, objective, optimizer)
    if not plan.average:
        return learner
    # The average reaches back a tenth of the training at most, however short it is.
    return jm.train.parameter_average(learner, min(plan.average, 1 - 10 / max(steps, 20)))


def loss_of(plan: ImagePlan) -> Any:
    """The loss of the task, on the scale that the network learns on."""
    if plan.task == "regression":
        mean, sd = (np.array([t[k] for t in plan.target], np.float32) for k in (0, 1))
        if len(plan.target) == 1:
            return lambda x, y, **o: jm.losses.huber(x[..., 0], (y - mean[0]) / sd[0], **o)
        return lambda x, y, **o: jm.losses.huber(x, (y - mean) / sd, **o)
    if plan.task == "multi-label":
        return jm.losses.binary_cross_entropy
    if plan.weights:
        return partial(jm.losses.cross_entropy, class_weights=plan.weights)
    return jm.losses.cross_entropy


def augmentation(plan: ImagePlan) -> Augmentation:
    """Turn, scale, mirror and shade, as the plan allows."""
    from jaxmed.augment import brightness, chain, contrast, flip, random_affine

    steps: list[Any] = [random_affine(rotation=plan.rotation, scale=plan.scale)]
    if plan.mirror:
        steps.append(flip(plan.mirror))
    # Pictures have no value that means nothing: they go on as they end.
    outside = "nearest" if plan.normalisation == "linear" else "constant"
    return chain(*steps, brightness(0.1, p=0.5), contrast((0.8, 1.25), p=0.5), outside=outside)


def predicted(model: ImageModel, source: ArraySource) -> np.ndarray:
    """Probabilities, or numbers, (cases, outputs)."""
    return in_pieces(model.predict, source.arrays["image"], _AT_ONCE)


def features(model: ImageModel, images: np.ndarray) -> np.ndarray:
    """What the last layer of a single network sees of prepared images, (cases, units)."""
    network = model.recipe.network()

    @jax.jit
    def apply(part: Any) -> Any:
        return network.apply(model.params, model.state, part)[0]["features"]

    return in_pieces(apply, images, _AT_ONCE)


def main_score(plan: ImagePlan) -> str:
    """The number by which an epoch is judged."""
    return {"regression": "mae"}.get(plan.task, "auc")


def mode(plan: ImagePlan) -> str:
    """Whether more of it is better."""
    return "min" if plan.task == "regression" else "max"


def score(said: np.ndarray, source: ArraySource, plan: ImagePlan) -> dict[str, float]:
    """The main score of predictions, for the learning curve; NaN where it has no value."""
    labels = source.arrays["label"]
    if plan.task == "regression":
        return {"held out/mae": float(np.abs(said - labels.reshape(said.shape)).mean())}
    from jaxmed.quantities import auc

    if plan.task == "multi-label":
        known = source.arrays.get("label_known", np.ones(labels.shape, bool))
        columns = [(labels[known[:, k], k], said[known[:, k], k]) for k in range(labels.shape[1])]
    elif plan.task == "binary":
        columns = [(labels, said[:, 1])]
    else:
        columns = [(labels == k, said[:, k]) for k in range(said.shape[1])]
    found = [auc(y == 1, s) for y, s in columns if 0 < np.sum(y == 1) < len(y)]
    return {"held out/auc": float(np.mean(found)) if found else float("nan")}


def described(plan: ImagePlan, parts: Parts, *, chosen: bool, start: Path | None) -> str:
    """How it was done, in the report's words."""
    shape = " x ".join(map(str, plan.shape))
    begin = "ImageNet weights" if plan.start == "imagenet" else "fresh weights"
    begin = f"the weights of {start.name}" if start is not None else begin
    networks = "the network" if len(parts.folds) == 1 else f"all {len(parts.folds)} networks"
    when = "of the epoch that was best on what was held out" if chosen else "after the last step"
    text = (
        f"{plan.network} from {begin}, {plan.epochs} epochs in batches of {plan.batch} at {shape}; "
        "plan.json holds all choices and their reasons. "
    )
    if len(parts.test):
        return text + f"The {len(parts.test)} test images are read once, by {networks} {when}."
    return text + (
        "What is held out is read with the averaged parameters after the last step; nothing was "
        "chosen by it."
    )
