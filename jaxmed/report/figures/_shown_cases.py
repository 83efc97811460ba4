"""Which cases of measured masks are shown, and their pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxmed.report.figures._gallery import best_median_worst, mask_picture
from jaxmed.report.results._parts import Overlap, Picture
from jaxmed.report.results._segmentation import MaskPair, row_means

Read = Callable[[Collection[str]], Iterable[MaskPair]]
"""Names of cases to their masks."""
ImageOf = Callable[[str], NDArray[Any]]

_APART = ("largest difference", "second largest", "third largest")


def mask_pictures(
    overlap: Overlap, read: Read, image: ImageOf | None = None
) -> tuple[Picture, ...]:
    """Draw the cases with the best, median and worst mean Dice over structures.

    Args:
        overlap: the measured cases.
        read: names of cases to their pairs of masks.
        image: name of a case to its image; without it the masks stand on a plain ground.
    """
    dice = _dice(overlap)
    chosen = {overlap.cases[i]: rank for rank, i in best_median_worst(dice).items()}
    pairs = {pair.case: pair for pair in read(chosen)}
    return tuple(
        _picture(pairs[case], pairs[case].prediction, rank, _said(overlap, case), image)
        for case, rank in chosen.items()
    )


def contrast_pictures(
    overlaps: Mapping[str, Overlap], reads: Mapping[str, Read], image: ImageOf | None = None
) -> tuple[Picture, ...]:
    """Draw the up to three cases whose mean Dice differs most between models.

    Args:
        overlaps: model to its measured cases, the same for all.
        reads: model to its masks, as in `mask_pictures`.
        image: as in `mask_pictures`.
    """
    names = next(iter(overlaps.values())).cases
    dice = np.array([_dice(overlap) for overlap in overlaps.values()])
    span = np.array([np.ptp(c[np.isfinite(c)]) if np.isfinite(c).any() else 0 for c in dice.T])
    order = [int(i) for i in np.argsort(-span, kind="stable") if span[i] > 0][: len(_APART)]
    chosen = [names[i] for i in order]
    if not chosen:
        return ()
    pairs = {m: {pair.case: pair for pair in read(chosen)} for m, read in reads.items()}
    shown = []
    for rank, case in zip(_APART, chosen):
        masks = {model: found[case].prediction for model, found in pairs.items()}
        said = "; ".join(f"{model}: {_said(overlaps[model], case)}" for model in masks)
        first = next(iter(pairs.values()))[case]
        shown.append(_picture(first, masks, rank, said, image))
    return tuple(shown)


def _dice(overlap: Overlap) -> NDArray[Any]:
    return row_means(np.asarray(overlap.values["dice"], float))


def _said(overlap: Overlap, case: str) -> str:
    """The mean measures of a case."""
    i = list(overlap.cases).index(case)
    parts = [f"Dice {_dice(overlap)[i]:.3f}"]
    for name, text in (("hd95", "HD95 {:.3g} " + overlap.unit), ("nsd", "NSD {:.3f}")):
        if name in overlap.values:
            value = row_means(np.asarray(overlap.values[name], float)[i : i + 1])[0]
            parts.append(text.format(value) if np.isfinite(value) else f"{name.upper()} undefined")
    return ", ".join(parts)


def _picture(
    pair: MaskPair, prediction: Any, rank: str, caption: str, image: ImageOf | None
) -> Picture:
    ground = np.zeros(pair.truth.shape, np.float32) if image is None else image(pair.case)
    return mask_picture(
        pair.case, ground, pair.truth, prediction, rank=rank, caption=caption, spacing=pair.spacing
    )
