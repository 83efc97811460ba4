"""A table of what a classifier or regressor says of new images."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed._csv import csv_text
from jaxmed._files import write_whole
from jaxmed.cli._given import measured
from jaxmed.cli.predict._inputs import Given, read
from jaxmed.cli.predict._made_by import MadeBy
from jaxmed.cli.predict._masks import exit_code, tried
from jaxmed.data._error import reading
from jaxmed.data._npz import array_of
from jaxmed.inference import ImageModel, prepare_image
from jaxmed.inference._foreign import check_links
from jaxmed.inference._intensities import finite

_HELD_OUT = "held_out.npz"
_PAUSE = 20.0  # seconds between two writings of the table


class Asked(NamedTuple):
    """How scores are told.

    Attributes:
        run: the run's folder, where scores of held-out images are kept.
        calibrated: whether they are calibrated.
        sets: the level of conformal sets, or None.
        resume: whether rows of an earlier table are kept.
    """

    run: Path
    calibrated: bool
    sets: float | None
    resume: bool


def write(model: ImageModel, given: Sequence[Given], out: Path | None, asked: Asked) -> int:
    """Write a row for every image: its scores and its class, or its numbers."""
    recipe = model.recipe
    target = _target(out)
    if len({one.paths for one in given}) < len(given):
        paths = [one.paths for one in given]
        twice = next(p for p in paths if paths.count(p) > 1)
        raise ValueError(f"{twice[0]} is named twice")
    names = [*recipe.outputs]
    header = names if recipe.task == "regression" else [f"score_{name}" for name in names]
    decided = recipe.task not in ("regression", "multi-label")
    tell = _teller(asked, names, decided=decided)
    columns = ["case", *header, *["predicted"] * decided, *["set"] * (asked.sets is not None)]
    kept = MadeBy(
        target.parent, model, asked.calibrated, asked.sets, target.name, resume=asked.resume
    )
    rows, failed = _earlier(target, columns) if kept.has(target) else {}, 0
    table = _Kept(target, columns, rows)
    spacing = (1.0,) * len(recipe.shape)
    with table:
        for one in given:
            if one.name in rows:
                continue
            for found in read(one, spacing, len(recipe.channels)):
                said = tried(found, lambda scan: _said(model, scan))
                if said is None:
                    failed += 1
                    continue
                if found.name in rows:
                    raise ValueError(f"two images are called {found.name!r}: name one otherwise")
                rows[found.name] = [found.name, *tell(said)]
                table.keep()
    if rows:
        print(f"{target}: {len(rows)} image(s)")
    return exit_code(len(rows), failed)


def _said(model: Any, scan: Any) -> np.ndarray:
    return finite(np.asarray(model.predict(prepare_image(model.recipe, scan)[None])))


class _Kept:
    """A table that is written now and then, and at the end, however that comes."""

    def __init__(self, path: Path, columns: Sequence[str], rows: dict[str, list[str]]):
        self._path, self._columns, self._rows = path, columns, rows
        self._saved = time.monotonic()

    def keep(self) -> None:
        """Write the rows so far, if that was not done lately."""
        if time.monotonic() - self._saved > _PAUSE:
            self._write()

    def _write(self) -> None:
        write_whole(self._path, csv_text(self._columns, self._rows.values()))
        self._saved = time.monotonic()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        if self._rows:
            self._write()


def _teller(asked: Asked, names: Sequence[str], *, decided: bool) -> Any:
    """A function from scores (1, outputs) to a row's cells."""
    calibrator = rule = None
    if asked.calibrated or asked.sets is not None:
        if not decided:
            raise ValueError("--calibrated and --sets are of one class of several")
        from jaxmed.bayes import calibrate, fit_calibrator, fit_sets, predict_sets

        labels, scores = _held_out(asked.run, names)
        if asked.calibrated:
            calibrator = measured(asked.run / _HELD_OUT, fit_calibrator, labels, scores)
            scores = calibrate(calibrator, scores)
        if asked.sets is not None:
            if not 0 < asked.sets < 1:
                raise ValueError(f"--sets is a probability between 0 and 1, got {asked.sets}")
            path = asked.run / _HELD_OUT
            rule = measured(path, fit_sets, labels, scores, level=asked.sets)
            for note in rule.notes:
                print(f"note: {note}")

    def tell(said: np.ndarray) -> list[str]:
        if calibrator is not None:
            said = calibrate(calibrator, said)
        cells = [f"{v:.9g}" for v in said[0]]
        if decided:
            cells.append(names[int(said[0].argmax())])
        if rule is not None:
            inside = predict_sets(rule, said)[0]
            cells.append("|".join(name for name, there in zip(names, inside) if there))
        return cells

    return tell


def _held_out(run: Path, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    path = run / _HELD_OUT
    if not path.is_file():
        raise ValueError(
            f"{run} keeps no scores of held-out images ({_HELD_OUT}), which --calibrated and "
            "--sets are fitted to; `jaxmed train classification` keeps them"
        )
    check_links(run, _HELD_OUT)
    with reading(path, "the scores of held-out images"), np.load(path) as file:
        classes = [str(name) for name in array_of(file, "classes")]
        labels, scores = array_of(file, "labels"), array_of(file, "scores").astype(np.float64)
    if classes != [*names]:
        raise ValueError(f"{path} is of the classes {classes}, the model of {[*names]}")
    return labels, scores


def _target(out: Path | None) -> Path:
    if out is None:
        return Path("predictions.csv")
    if out.is_dir() or not out.suffix:
        return out / "predictions.csv"
    if out.suffix != ".csv":
        raise ValueError(f"the table is written as .csv, not as {out.name!r}")
    return out


def _earlier(path: Path, columns: Sequence[str]) -> dict[str, list[str]]:
    """Rows of a table that an earlier call wrote."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = [*csv.reader(file)]
    if header != [*columns]:
        raise ValueError(f"{path} has other columns ({', '.join(header)}): name another table")
    return {row[0]: row for row in rows}
