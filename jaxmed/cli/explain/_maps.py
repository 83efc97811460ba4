"""Maps of many images, a few at once, the tests of them, and the files they are written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed import explain as ex
from jaxmed._csv import csv_text
from jaxmed._files import write_whole
from jaxmed.cli.explain._methods import METHODS, over_members
from jaxmed.cli.explain._models import Seen, image_channels, shape_of
from jaxmed.core import stream
from jaxmed.data import Scan, read_mask

LEGENDS = {
    "random network": "Rank correlation of the map with that of the network with its parameters in "
    "random order, signs left out. Near 0 the map depends on what was learned; near 1 it is a "
    "filter of the image and explains nothing.",
    "deletion": "Area under the score as voxels are replaced by what their neighbours say, the "
    "largest values first, less that of a random order: below 0 the map finds what matters.",
    "moved by a voxel": "Rank correlation with the map of the image moved by a voxel, moved back.",
    "pointing": "Share of images whose largest value lies in the mask.",
    "precision in mask": "Area under the precision-recall curve of the map as a score of the "
    "mask's voxels; chance is the share of the image that it covers.",
    "chance": "Share of the image that the mask covers.",
    "mask before": "Share of the map's absolute values that lies on the masks which the network "
    "before found, and not on the image.",
}
BEFORE = "of the mask before"
BOUNDS = {
    "random network": (-1.0, 1.0),
    "moved by a voxel": (-1.0, 1.0),
    "pointing": (0.0, 1.0),
    "precision in mask": (0.0, 1.0),
    "chance": (0.0, 1.0),
    "mask before": (0.0, 1.0),
}
_FILTER, _AT_ONCE = 0.5, 4


class Case(NamedTuple):
    """A named image, as the network sees it, and the mask of what should be seen."""

    name: str
    seen: Seen
    mask: np.ndarray | None


class Found(NamedTuple):
    """Maps, and what tests say of them.

    Attributes:
        maps: of each method (cases, *shape); of a cascade's last network, by methods that tell
            channels apart, two: of the image, and ``NAME of the mask before``.
        tests: of each method and test (cases,).
        notes: what has to be said.
    """

    maps: dict[str, np.ndarray]
    tests: dict[str, dict[str, np.ndarray]]
    notes: list[str]


def explain(
    model: Any, cases: Sequence[Case], methods: Sequence[str], seed: int, tests: bool
) -> Found:
    """Make the maps of all cases, and test them.

    Raises:
        ValueError: if a method does not fit the network; names it.
    """
    network, key = model.recipe.network(), jax.random.key(seed)
    images = np.stack([case.seen.image for case in cases])
    targets = np.array([case.seen.target for case in cases], np.int32)
    outlines = [case.mask for case in cases if case.mask is not None]
    masks = np.stack(outlines) if outlines else None
    channels = image_channels(model)
    maps, told, notes = {}, {}, []
    for name in methods:
        print(f"{name} ...", flush=True)
        method = METHODS[name].of(shape_of(model))
        method = ex.compiled(method)
        several = model.recipe.members > 1
        whole = ex.compiled(over_members(method, model.recipe.members)) if several else method
        try:
            found = _in_parts(whole, key, (network, model.params, model.state), images, targets)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        maps[name] = found.sum(-1)
        if channels < found.shape[-1] and METHODS[name].by_channel:
            maps[name] = found[..., :channels].sum(-1)
            maps[f"{name} {BEFORE}"] = found[..., channels:].sum(-1)
            told[name] = {"mask before": _share(found, channels)}
        if not tests:
            continue
        tested = _tests(key, method, (network, *_first(model)), images, targets, found)
        told[name] = {**told.get(name, {}), **tested}
        if masks is not None:
            told[name] |= {
                "pointing": ex.pointing_game(found, masks),
                "precision in mask": ex.mask_average_precision(found, masks),
                "chance": ex.mask_share(masks),
            }
        if np.nanmean(told[name]["random network"]) > _FILTER:
            notes.append(
                f"{name} hardly changes when the network's parameters are put in a random order: "
                f"here it is no evidence of what the network has learned."
            )
    if channels < images.shape[-1]:
        notes.append(
            "The last network of a cascade sees the masks that the network before it found beside "
            "the image: maps are of this network, with those masks as they are. Methods that cover "
            "places cover both at once."
        )
    if model.recipe.members > 1:
        notes.append("Maps are means over the networks of the model; tests are of the first one.")
    return Found(maps, told, notes)


def _share(found: np.ndarray, channels: int) -> np.ndarray:
    """How much of each map lies behind the first channels, of the absolute values."""
    sizes = np.abs(found).reshape(len(found), -1, found.shape[-1]).sum(1)
    return sizes[:, channels:].sum(-1) / np.maximum(sizes.sum(-1), np.finfo(float).tiny)


def _first(model: Any) -> tuple[Any, Any]:
    if model.recipe.members == 1:
        return model.params, model.state
    return jax.tree.map(lambda leaf: leaf[0], (model.params, model.state))


def _rows(count: int) -> list[np.ndarray]:
    """Numbers of a few images at a time, all as many: the last one is repeated."""
    size = min(_AT_ONCE, count)
    return [np.minimum(np.arange(i, i + size), count - 1) for i in range(0, count, size)]


def _in_parts(method, key, given, images, targets) -> np.ndarray:
    key = stream(key, "map")
    parts = [
        np.asarray(method(key, *given, jnp.asarray(images[rows]), jnp.asarray(targets[rows])))
        for rows in _rows(len(images))
    ]
    return np.concatenate(parts)[: len(images)]


def _tests(key, method, given, images, targets, maps) -> dict[str, np.ndarray]:
    network, params, state = given
    told: dict[str, list[np.ndarray]] = {}
    for rows in _rows(len(images)):
        x, t, shown = (jnp.asarray(a[rows]) for a in (images, targets, maps))
        random = ex.parameter_randomisation(key, method, network, params, state, x, t, layers="all")
        by_chance = jax.random.normal(stream(key, "order"), shown.shape)
        falls, falls_by_chance = (
            ex.deletion(key, network, params, state, x, t, order, fill="linear", points=10)
            for order in (shown, by_chance)
        )
        moved = ex.shift_repeatability(stream(key, "map"), method, network, params, state, x, t)
        for name, values in (
            ("random network", random.likeness[-1]),
            ("deletion", falls.area - falls_by_chance.area),
            ("moved by a voxel", moved),
        ):
            told.setdefault(name, []).append(np.asarray(values, float))
    return {name: np.concatenate(parts)[: len(images)] for name, parts in told.items()}


def in_words(tests: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, str]]:
    """Means over the cases, with intervals where there are several."""
    return {
        method: {name: _mean(v, BOUNDS.get(name)) for name, v in row.items()}
        for method, row in tests.items()
    }


def _mean(values: np.ndarray, bounds: tuple[float, float] | None) -> str:
    kept = values[np.isfinite(values)]
    if not len(kept):
        return "undefined"
    if len(kept) < 2:
        return f"{kept[0]:.3f}"
    found = ex.over_cases(kept, bounds=bounds)
    return f"{found.value:.3f} ({found.lower:.3f} to {found.upper:.3f})"


def mask_for(path: Path, scan: Scan, shape: tuple[int, ...]) -> np.ndarray:
    """A mask on the grid that the network sees.

    Raises:
        ValueError: if it is not of its image's shape.
    """
    mask = np.asarray(read_mask(path, canonical=True).array) > 0
    if mask.shape != scan.array.shape[:-1]:
        raise ValueError(
            f"{path}: the mask has the shape {mask.shape}, its image {scan.array.shape[:-1]}"
        )
    at = np.ix_(
        *(
            np.minimum(((np.arange(n) + 0.5) * m / n).astype(int), m - 1)
            for n, m in zip(shape, mask.shape, strict=True)
        )
    )
    return mask[at]


def write(found: Found, cases: Sequence[Case], folder: Path) -> None:
    """Write an archive of each image, and the table of all tests."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(cases):
        arrays = {
            name.replace("-", "_").replace(" ", "_"): maps[number]
            for name, maps in found.maps.items()
        }
        np.savez_compressed(folder / f"{case.name}.npz", image=case.seen.image, **arrays)
    columns = [*dict.fromkeys(name for row in found.tests.values() for name in row)]

    def cells(method: str, number: int) -> list[str]:
        told = found.tests.get(method, {})
        return [f"{told[name][number]:.6g}" if name in told else "" for name in columns]

    rows = [
        [case.name, method, case.seen.answer, *cells(method, number)]
        for number, case in enumerate(cases)
        for method in found.maps
        if BEFORE not in method
    ]
    write_whole(folder / "explanations.csv", csv_text(["case", "method", "answer", *columns], rows))
