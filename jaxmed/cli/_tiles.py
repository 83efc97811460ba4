"""`jaxmed tiles SLIDES`: whole slides cut into pictures of one size, and a table of them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxmed._csv import csv_text
from jaxmed._files import owning, replacing, write_whole
from jaxmed.cli._cut import add_cut
from jaxmed.cli._executors import Executor, add_executor, executor_of

if TYPE_CHECKING:
    from jaxmed.cli._slides import Named

_TABLE = "tiles.csv"


def run(arguments: Sequence[str]) -> int:
    """Cut each slide, write its tiles, its tissue and the table.

    Returns:
        0.
    """
    options = _parser().parse_args([*arguments])
    executor = executor_of(options)
    with owning(options.out):
        return _cut(options, executor)


def _cut(options: argparse.Namespace, executor: Executor | None) -> int:
    from jaxmed import data
    from jaxmed.cli._slides import named_slides
    from jaxmed.data.tables._columns import parse_columns

    path = options.out / _TABLE
    if path.exists():
        raise ValueError(f"{options.out} holds tiles already: name another folder, or delete it")
    named = named_slides(options.slides, parse_columns(options.columns))
    slides, faults = [], []
    for one in named:
        try:
            slides.append(data.slide(one.path, mpp=options.pixel_size))
        except data.DataError as error:
            faults += error.faults
    if faults:
        raise data.DataError.of(faults)
    for slide in slides:
        if slide.dtype != np.uint8 or slide.channels not in (1, 3):
            raise ValueError(
                f"{slide.path}: tiles are pictures of 8 bits and 1 or 3 channels; this slide has "
                f"{slide.channels} of {slide.dtype}: take jaxmed.data.tiles in Python"
            )
    if len({one.mask is None for one in named}) > 1:
        raise ValueError("some slides have a mask and others none: leave those out")
    how = {
        name: getattr(options, name)
        for name in ("out", "size", "mpp", "overlap", "least", "all", "pixel_size")
    }
    tasks = {one.name: (one, how) for one in named}
    rows: dict[str, list[dict[str, Any]]] = {}
    if executor is None:
        made = ((name, tiled(task)) for name, task in tasks.items())
    else:
        made = executor.map(tiled, tasks, folder=options.out / "jobs")
    for name, (found, told) in made:
        rows[name] = found
        print(told, flush=True)
    table = [row for name in tasks for row in rows[name]]
    header = [*dict.fromkeys(name for row in table for name in row)]
    write_whole(path, csv_text(header, ([row.get(name, "") for name in header] for row in table)))
    print(f"{path}: {len(table)} tiles of {options.size} pixels at {options.mpp:g} um")
    return 0


def tiled(task: tuple[Named, Mapping[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """Cut one slide, write its tiles and its tissue; give its rows of the table, and a line."""
    from jaxmed import data

    one, how = task
    out = Path(how["out"])
    slide = data.slide(one.path, mpp=how["pixel_size"])
    tissue = None
    if not how["all"]:
        tissue = data.tissue(slide)
        _picture(out / "tissue" / f"{one.name}.png", 255 * tissue.mask.astype(np.uint8))
    source = data.tiles(
        slide, how["size"], how["mpp"], overlap=how["overlap"],
        tissue=False if tissue is None else tissue, least=how["least"],
    )  # fmt: skip
    classes = None if one.mask is None else _whole_mask(one.mask, slide)
    rows = []
    for i, (_, row, column) in enumerate(source.places.tolist()):
        name = f"{one.name}_{row}_{column}.png"
        pixels = np.rint(source[i]["image"] * 255).astype(np.uint8)
        _picture(out / "images" / name, pixels)
        top, left = source.column("position")[i].tolist()
        made: dict[str, Any] = {"image": f"images/{name}"}
        if classes is not None:
            _picture(out / "masks" / name, source_mask(classes, slide, source, i))
            made["mask"] = f"masks/{name}"
        rows.append({**made, **({"patient": one.name} | dict(one.row)), "slide": one.name,
                     "top_um": f"{top:g}", "left_um": f"{left:g}"})  # fmt: skip
    found = "" if tissue is None else f", {tissue.mask.mean():.0%} of it tissue"
    return rows, f"{one.path}: {len(source)} tiles{found}"


def source_mask(classes: np.ndarray, slide: Any, source: Any, index: int) -> np.ndarray:
    """The classes (size, size) of a tile: those of the mask's pixels that hold its pixels' centres.

    What lies beyond the slide is 0.
    """
    _, row, column = source.places[index].tolist()
    wanted = []
    for first, extent, length in zip((row, column), slide.extent, classes.shape, strict=True):
        place = (first + np.arange(source.size) + 0.5) * source.mpp / extent * length
        wanted.append(np.floor(place).astype(int))
    inside = [(at >= 0) & (at < n) for at, n in zip(wanted, classes.shape, strict=True)]
    found = classes[np.ix_(*(np.clip(at, 0, n - 1) for at, n in zip(wanted, classes.shape)))]
    return np.where(np.outer(*inside), found, 0)


def _whole_mask(path: Path, slide: Any) -> np.ndarray:
    """Classes (rows, columns) over a whole slide, at whatever resolution.

    Raises:
        ValueError: a mask of another shape than the slide, or of more classes than 8 bits hold.
    """
    from jaxmed.data import read_mask

    mask = read_mask(path).array
    rows, columns = slide.levels[0].shape
    if mask.ndim != 2 or abs(mask.shape[0] * columns - mask.shape[1] * rows) > max(rows, columns):
        raise ValueError(
            f"{path}: a mask covers the whole slide at any resolution, so its sides are to each "
            f"other as {rows} to {columns}; they are {' to '.join(map(str, mask.shape))}"
        )
    if mask.min() < 0 or mask.max() > 255:
        raise ValueError(f"{path}: a slide's classes are 0 to 255, this mask has {mask.max()}")
    return mask.astype(np.uint8)


def _picture(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    with replacing(path) as partial:
        Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
                        ).save(partial)  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxmed tiles",
        description="Cut whole slides into pictures of one size and resolution, where there is "
        "tissue, and list them in a table that `jaxmed train` takes. The tiles of a slide have "
        "what a table says of the slide (label, patient, split); without a patient each slide is "
        "one.",
    )
    parser.add_argument(
        "slides", type=Path, nargs="+",
        help="slides (OME-TIFF, SVS, TIFF), folders of them, or tables that list them as `image`, "
        "perhaps with a `mask` of classes over the whole slide",
    )  # fmt: skip
    parser.add_argument("-o", "--out", type=Path, required=True, help="a folder")
    parser.add_argument(
        "--size", type=int, default=256, help="edge of a tile in pixels; 256 by default"
    )
    add_cut(parser)
    parser.add_argument(
        "--columns", nargs="+", default=(), metavar="ROLE=COLUMN",
        help="columns of tables that have other names, such as image=file",
    )  # fmt: skip
    add_executor(parser)
    return parser
