"""Maps of whole slides: what a classifier or regressor says of each of their tiles."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmed._csv import csv_text
from jaxmed._files import replacing, write_whole
from jaxmed.cli._slides import Named
from jaxmed.cli.predict._masks import exit_code
from jaxmed.data import DataError, Scan, Slide, Space, slide, tiles, tissue, write_pyramid
from jaxmed.inference import ImageModel, instance_map, prepare_image
from jaxmed.inference._intensities import finite

_BATCH = 16
_SHOWN = 600  # pixels of the longer side of the picture


class Cut(NamedTuple):
    """How slides are cut.

    Attributes:
        size: edge of a tile in pixels.
        mpp: micrometres a pixel.
        overlap: share of an edge that neighbours have in common.
        least: least share of a tile's area that is tissue.
        whole: whether tiles without tissue are read too.
        pixel_size: micrometres a pixel of the files, where they do not say.
    """

    size: int
    mpp: float
    overlap: float
    least: float
    whole: bool
    pixel_size: float | None


def write(model: ImageModel, given: Sequence[Named], out: Path, cut: Cut) -> int:
    """Write each slide's tiles, maps and picture, and a table of the slides' means."""
    names = [*model.recipe.outputs]
    columns = names if model.recipe.task == "regression" else [f"score_{name}" for name in names]
    rows, failed = [], 0
    for one in given:
        try:
            found = slide(one.path, mpp=cut.pixel_size)
            mask = False if cut.whole or found.channels != 3 else tissue(found)
            source = tiles(
                found, cut.size, cut.mpp, overlap=cut.overlap, tissue=mask, least=cut.least
            )
            said = _said(model, source)
        except (DataError, ValueError) as error:
            text = str(error)
            prefix = "" if str(one.path) in text else f"{one.path}: "
            print(f"jaxmed: error: {prefix}{text}", file=sys.stderr)
            failed += 1
            continue
        position = source.column("position")
        cells = [
            [f"{place[0]:g}", f"{place[1]:g}", *(f"{v:.9g}" for v in scores)]
            for place, scores in zip(position, said, strict=True)
        ]
        table = out / f"{one.name}_tiles.csv"
        write_whole(table, csv_text(["top_um", "left_um", *columns], cells))
        _draw(out, one.name, found, position, said, names, cut)
        mean = said.mean(axis=0)
        rows.append([one.name, len(said), *(f"{v:.9g}" for v in mean)])
        told = ", ".join(f"{name} {v:.3g}" for name, v in zip(names, mean, strict=True))
        print(f"{one.path}: {len(said)} tiles, on average {told}", flush=True)
    if rows:
        target = out / "predictions.csv"
        write_whole(target, csv_text(["case", "tiles", *columns], rows))
        print(target)
    return exit_code(len(rows), failed)


def _said(model: ImageModel, source: Any) -> np.ndarray:
    """What the model says of each tile, (tiles, outputs)."""
    affine = np.eye(3)
    found = []
    for first in range(0, len(source), _BATCH):
        at = np.minimum(np.arange(first, first + _BATCH), len(source) - 1)  # one program
        images = [source[int(i)]["image"] for i in at]
        scans = [Scan(image, affine, Space(image.shape[:-1], affine)) for image in images]
        ready = np.stack([prepare_image(model.recipe, scan) for scan in scans])
        said = finite(np.asarray(model.predict(jnp.asarray(ready))))
        found.append(said[: len(source) - first])
    return np.concatenate(found)


def _draw(
    out: Path,
    name: str,
    found: Slide,
    position: np.ndarray,
    said: np.ndarray,
    names: Sequence[str],
    cut: Cut,
) -> None:
    """Write the maps, a channel an output, and a picture of them over the slide."""
    from jaxmed.report import heat_map_figure

    edge = cut.size * cut.mpp
    # As fine as the tiles' steps, and fine enough to look at.
    step = min(edge * (1 - cut.overlap), max(found.extent) / _SHOWN)
    wide = max(round(edge / step), 1)
    step = edge / wide
    shape = [max(int(np.ceil(length / step - 1e-6)), 1) for length in found.extent]
    first = np.rint(position / step)
    centres = first + (wide - 1) // 2
    maps = [instance_map(scores, centres, shape, wide) for scores in said.T]
    whole = np.stack(maps, axis=-1).astype(np.float32)
    with replacing(out / f"{name}_map.ome.tif") as partial:
        write_pyramid(partial, whole, step)
    shown = found.read((0, 0, *(n * step for n in shape)), step)
    # Of two classes the second is shown, of others each.
    for k, label in [*enumerate(names)][1:] if len(names) == 2 else enumerate(names):
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in label)
        figure = heat_map_figure(shown, maps[k], label=label, titles=(name, label))
        with replacing(out / f"{name}_{safe}.png") as partial:
            figure.savefig(partial, dpi=200)
