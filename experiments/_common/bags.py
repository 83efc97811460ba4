"""Networks on bags of instances, one for each fold, trained as one program."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import jaxmed as jm
from jaxmed.cli import one_of
from jaxmed.core import LearnerState, Network
from jaxmed.data import (
    NUCLEI,
    ArraySource,
    Fold,
    ListSource,
    bag_batches,
    bag_table,
    colon_nuclei,
    folds,
)
from jaxmed.paradigms import BAG
from jaxmed.paradigms.bags._multiple_instance import POOLINGS

from .draws import draws


@dataclasses.dataclass(frozen=True)
class BagTraining:
    """Settings of networks on bags.

    Args:
        pooling: as `jaxmed.multiple_instance` takes it.
        folds: of a cross-validation.
        repeats: cross-validations, each of other folds.
        seed: of folds, parameters and order.
        epochs: passes over the training bags.
        batch: bags of a step.
        learning_rate: at the start; it falls to 0 along a cosine.
        weight_decay: of all parameters.
        dropout: after each hidden layer.
        hidden: width of the attention.
        most: instances of a bag that a training step sees, others at each step; all by default.
        strategy: how the folds' networks become one program; see `jaxmed.ensemble`.
        checkpoints: whether to leave checkpoints, so that a cut run goes on.
    """

    pooling: str = one_of("attention", POOLINGS)
    folds: int = 10
    repeats: int = 5
    seed: int = 0
    epochs: int = 100
    batch: int = 4
    learning_rate: float = 5e-4
    weight_decay: float = 5e-3
    dropout: float = 0.5
    hidden: int = 64
    most: int | None = None
    strategy: Literal["auto", "unroll", "vmap", "scan"] = "vmap"
    checkpoints: bool = True


class Bags(NamedTuple):
    """All bags padded to one size, and whose they are."""

    arrays: dict[str, np.ndarray]
    source: Any
    table: bool


def read_bags(path: Path, *, table: bool) -> Bags:
    """Read a set, padded to its largest bag: a table, or a folder or file of patches."""
    source: Any
    if path.suffix == ".npz":
        source = packed(path)
    else:
        source = (bag_table if table else colon_nuclei)(path)
    fields = ("image",) if table else ("image", "kind", "centre")
    largest = max(len(source[i]["image"]) for i in range(len(source)))
    every = bag_batches(source, len(source), buckets=largest, bag=fields, shuffle=False)
    arrays = {k: v for k, v in every[0].items() if k in (*fields, "bag_mask", "label")}
    return Bags(arrays, source, table)


def packed(path: Path) -> ListSource:
    """Bags of nuclei out of one file: `image`, `kind`, `centre` in a row, and `sizes` of bags.

    The patches of the 100 images are two thirds of their size, for where that counts.
    """
    with np.load(path) as file:
        arrays = {name: file[name] for name in file}
    ends = np.cumsum(arrays.pop("sizes"))
    bags = [
        dict(zip(arrays, parts))
        for parts in zip(*(np.split(array, ends[:-1]) for array in arrays.values()))
    ]
    for bag in bags:
        bag["label"] = np.int32((bag["kind"] == NUCLEI.index("epithelial")).any())
    names = tuple(f"img{i + 1}" for i in range(len(bags)))
    return ListSource(tuple(bags), names, None, ("no epithelial nucleus", "epithelial nuclei"), ())


def network(config: BagTraining, table: bool) -> Network:
    """The trunk of the paper under the pooling."""
    if table:
        trunk = jm.networks.mlp(hidden=(256, 128, 64), dropout=config.dropout)
    else:
        trunk = _Patches(dropout=config.dropout)
    return jm.multiple_instance(jm.from_linen(trunk), config.pooling, classes=2, **_options(config))


def dealt(config: BagTraining, labels: np.ndarray) -> list[Fold]:
    """The folds of all repeats, one repeat after the other."""
    return [
        fold
        for repeat in range(config.repeats)
        for fold in folds(labels, config.folds, seed=config.seed + repeat)
    ]


def train(config: BagTraining, bags: Bags, kept: list[np.ndarray], out: Path) -> Any:
    """Train a network on the bags of each fold, as one program.

    Returns:
        ``(member, bag, images=None) -> {"logits": (2,), "attention": (instances,)}``, of a bag's
        own instances or of others in their place, by a member or, if it is None, by a network that
        has learned nothing; and the result of `fit`.
    """
    members, n = len(kept), len(bags.arrays["label"])
    arrays = {name: bags.arrays[name] for name in ("image", "bag_mask", "label")}
    places = kept
    if bags.table:
        # A fold's features are scaled by its own training bags: a copy of the table for each.
        scaled = [standardised(arrays["image"], arrays["bag_mask"], rows) for rows in kept]
        arrays = {
            name: np.concatenate(scaled if name == "image" else [value] * members)
            for name, value in arrays.items()
        }
        places = [i * n + rows for i, rows in enumerate(kept)]
    steps = -(-len(kept[0]) // config.batch)
    batches = draws(ArraySource(arrays), tuple(places), (config.batch, 0), steps, config.seed)
    objective = jm.supervised(jm.losses.cross_entropy, inputs=BAG)
    if not bags.table:
        objective = jm.augmented(
            objective, lambda key, batch: turned(key, some(key, batch, config.most))
        )
    optimizer = jm.train.optimizer(
        "adamw", config.learning_rate, schedule="cosine", steps=config.epochs * steps,
        weight_decay=config.weight_decay,
    )  # fmt: skip
    single = jm.learner(network(config, bags.table), objective, optimizer, inputs=BAG)
    learner = jm.ensemble(single, members, strategy=config.strategy, own_batches=True)
    result = jm.fit(
        learner, batches, seed=config.seed, epochs=config.epochs, monitor="train/loss", mode="min",
        out=out if config.checkpoints else None,
        devices=jm.train.Placement(compile_epochs=True),
    )  # fmt: skip
    members_of = [jm.paradigms.member(result.state, i) for i in range(members)]

    @jax.jit
    def one(member: LearnerState, inputs: Any) -> dict[str, jax.Array]:
        found = single.predict(member, inputs)
        return {name: found[name][0] for name in ("logits", "attention") if name in found}

    def predict(i: int | None, bag: int, images: np.ndarray | None = None) -> dict[str, np.ndarray]:
        row = (i or 0) * n + bag if bags.table else bag  # each member has its own copy of a table
        # Few lengths, so that few programs are compiled.
        most = arrays["bag_mask"].shape[1]
        length = min(-(-int(arrays["bag_mask"][row].sum()) // 64) * 64, most)
        cut = {name: arrays[name][row : row + 1, :length] for name in BAG}
        if images is not None:
            cut["image"] = images[None, :length]
        member = members_of[i] if i is not None else single.init(jax.random.key(config.seed), cut)
        return jax.tree.map(np.asarray, one(member, cut))

    return predict, result


def standardised(images: np.ndarray, mask: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Features of mean 0 and deviation 1 over the real instances of some bags."""
    real = images[rows][mask[rows] > 0]
    mean, deviation = real.mean(0), real.std(0)
    return ((images - mean) / np.where(deviation > 0, deviation, 1)).astype(np.float32)


def some(key: Any, batch: dict[str, Any], most: int | None) -> dict[str, Any]:
    """At most so many instances of each bag, drawn at random."""
    mask = batch["bag_mask"]
    if most is None or most >= mask.shape[1]:
        return batch
    # The real instances first, in random order; what is left of padding stays masked.
    lots = jax.random.uniform(jm.stream(key, "some"), mask.shape) + mask
    chosen = jnp.argsort(-lots, axis=1)[:, :most]
    image = jax.vmap(lambda one, rows: one[rows])(batch["image"], chosen)
    kept = jnp.take_along_axis(mask, chosen, axis=1)
    return {**batch, "image": image, "bag_mask": kept}


def turned(key: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Each patch mirrored and turned by quarters."""
    image = batch["image"]
    flat = {"image": image.reshape(-1, *image.shape[2:]).astype(jnp.float32)}
    turn = jm.augment.chain(jm.augment.flip(), jm.augment.rot90())
    return {**batch, "image": turn(key, flat)["image"].reshape(image.shape)}


class _Patches(nn.Module):
    """The network of Ilse et al. on patches: two convolutions, two dense layers."""

    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> dict[str, jax.Array]:
        """Map patches `(n, 27, 27, 3)` of 0 to 255 to `features` `(n, 512)`."""
        x = x.astype(jnp.float32) / 127.5 - 1
        for i, (width, window) in enumerate(((36, 4), (48, 3)), 1):
            x = nn.Conv(
                width, (window, window), padding="VALID", name=f"conv{i}",
                conv_general_dilated=jm.ops.conv_general_dilated,
            )(x)  # fmt: skip
            x = jm.ops.max_pool(nn.relu(x), (2, 2))
        x = x.reshape(len(x), -1)
        for i in (1, 2):
            x = nn.relu(nn.Dense(512, name=f"dense{i}")(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return {"features": x}


def _options(config: BagTraining) -> dict[str, Any]:
    simple = config.pooling in ("max", "mean", "lse", "transformer")
    return {} if simple else {"hidden": config.hidden}
