"""The page of a registration of two images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmed.report.figures._registration import (
    comparison_figure,
    difference_figure,
    grid_figure,
    growth_figure,
)
from jaxmed.report.page._exhibit import exhibit
from jaxmed.report.page._page import write_page
from jaxmed.stats import checks


class RegisteredImages(NamedTuple):
    """A pair of images, before and after one was moved onto the other.

    Attributes:
        name: of the pair.
        fixed: (*spatial,) brightness of the fixed image, two axes or three.
        moving: (*spatial,) the moving image on the same grid, as it lay.
        moved: (*spatial,) the moving image, moved.
        field: (*spatial, rank) displacements in voxels of the fixed image.
        determinant: (*spatial,) of the warp's Jacobian.
        spacing: voxel edge lengths in millimetres.
        numbers: rows of (name, before, after), as text.
        facts: rows of (name, value), as text.
        notes: what must be known to read the page.
        command: that makes the page again.
    """

    name: str
    fixed: np.ndarray
    moving: np.ndarray
    moved: np.ndarray
    field: np.ndarray
    determinant: np.ndarray
    spacing: Sequence[float]
    numbers: Sequence[tuple[str, str, str]] = ()
    facts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    command: str = ""


def write_registration(shown: RegisteredImages, out: str | os.PathLike) -> Path:
    """Write what a registration has done: ``report.html`` with pictures before and after.

    Args:
        shown: the pair.
        out: the folder, created if missing.

    Returns:
        The page's path. It is replaced atomically.

    Raises:
        ValueError: for images that are not on one grid.
    """
    shape = np.shape(shown.fixed)
    if len(shape) not in (2, 3) or min(shape) < 2:
        raise ValueError(f"fixed has shape {shape}; a picture or a volume, (*spatial,)")
    for name in ("moving", "moved", "determinant"):
        if np.shape(getattr(shown, name)) != shape:
            given = np.shape(getattr(shown, name))
            raise ValueError(f"{name} has shape {given}, fixed {shape}: they are on one grid")
    if np.shape(shown.field) != (*shape, len(shape)):
        raise ValueError(f"field has shape {np.shape(shown.field)}, not {(*shape, len(shape))}")
    checks.finite(shown.field, "field", ndim=None)
    fixed = _brightness(shown.fixed, shown.fixed)
    moving, moved = (_brightness(image, shown.moving) for image in (shown.moving, shown.moved))
    spacing = tuple(shown.spacing)
    figures = [
        exhibit(
            comparison_figure(fixed, moving, moved, spacing),
            "comparison",
            "Squares of the fixed and the moving image in turn, before and after. Edges that go on "
            "from square to square agree.",
            "The fixed image, checkerboards of both images before and after, the moved image.",
            wide=True,
        ),
        exhibit(
            difference_figure(fixed, moving, moved, spacing),
            "difference",
            "The moving minus the fixed image, each scaled to its own range: of use where both are "
            "of one kind.",
            "Differences of the images before and after.",
            wide=True,
        ),
    ]
    warp = [
        exhibit(
            grid_figure(fixed, np.asarray(shown.field), spacing),
            "grid",
            "Lines of the fixed image's grid, drawn where the warp sends them, within the plane.",
            "The grid of the fixed image as the warp bends it.",
            wide=True,
        ),
        exhibit(
            growth_figure(np.asarray(shown.determinant), spacing),
            "growth",
            "By how much each place grows on its way to the moving image: 1 keeps its volume, and "
            "at 0 or below the warp folds (marked).",
            "Map of the Jacobian determinant.",
            wide=True,
        ),
    ]
    sections = [("pictures", "Before and after"), ("warp", "The warp")]
    if shown.numbers:
        sections.insert(0, ("numbers", "Numbers"))
    if shown.command:
        sections.append(("made", "How it was made"))
    return write_page(
        out,
        "registration.html",
        title=shown.name,
        description="",
        facts=list(shown.facts),
        sections=sections,
        notes=list(shown.notes),
        numbers=list(shown.numbers),
        figures=figures,
        warp=warp,
        command=shown.command,
    )


def _brightness(image: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Scale to [0, 1] by the range of most voxels of an image."""
    low, high = np.quantile(of, [0.01, 0.99])
    low, high = (low, high) if high > low else (float(np.min(of)), float(np.max(of)))
    return np.clip((np.asarray(image, float) - low) / max(high - low, 1e-12), 0, 1)
