"""Figures of images that were drawn or made: beside real ones, beside training images."""

from __future__ import annotations

from typing import Any

from jaxmed.report.figures._drawings import drawings_figure
from jaxmed.report.figures._generation import beside_figure, copies_figure
from jaxmed.report.figures._translation import translation_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.page._tables import pretty
from jaxmed.report.results._results import GenerationResults, Results, TranslationResults


def gallery_exhibits(results: GenerationResults) -> Exhibits:
    """Draw images side by side."""
    if not results.drawings:
        return []
    names = "; ".join(results.drawings)
    caption = (
        "What was drawn, and what it may have been copied from: neighbours are nearest by the "
        "features that the distances are taken of."
    )
    figure = drawings_figure(results.drawings)
    return [exhibit(figure, "drawings", caption, f"Images in rows: {names}.", wide=True)]


def floor_exhibits(results: GenerationResults) -> Exhibits:
    """Draw each measure of drawn images beside that of real ones."""
    return _beside(
        results,
        "Each number of the drawn images beside that of real images in their place, which is what "
        "a generator of the very distribution would have: no number means anything alone.",
    )


def compared_exhibits(results: TranslationResults) -> Exhibits:
    """Draw each measure of made images beside that of others."""
    return _beside(
        results,
        "Each number beside those of images that are made without learning, and of masks found "
        "with the true image and without any.",
    )


def _beside(results: Results, caption: str) -> Exhibits:
    """Measures that are named `NAME/WHOSE`, a panel each."""
    measures: dict[str, dict[str, Any]] = {}
    for name, estimate in results.metrics.items():
        head, _, whose = name.partition("/")
        if whose:
            measures.setdefault(pretty(head), {})[whose] = estimate
    measures = {name: found for name, found in measures.items() if len(found) > 1}
    if not measures:
        return []
    told = "; ".join(
        f"{name}: " + ", ".join(f"{whose} {e.value:.3g}" for whose, e in found.items())
        for name, found in measures.items()
    )
    return [exhibit(beside_figure(measures), "floors", caption, f"{told}.", wide=True)]


def translation_exhibits(results: TranslationResults) -> Exhibits:
    """Draw what was given, what is true, what was made."""
    if not results.cases:
        return []
    told = "; ".join(f"{case.rank}: {case.case}, {case.caption}" for case in results.cases)
    caption = (
        f"Patients of the least, the middle and the largest error ({told}). Red is too bright, "
        "blue too dark. What is made is plausible, not measured: a lesion may be missing, or "
        "there where none is."
    )
    figure = translation_figure(results.cases)
    return [exhibit(figure, "translations", caption, f"Images in rows. {told}.", wide=True)]


def copy_exhibits(results: GenerationResults) -> Exhibits:
    """Draw how near drawn images come to training images."""
    found = results.memorised
    if found is None:
        return []
    told = (
        f"{found.copies.value:.1%} of drawn images are nearer to a training image than "
        f"{1 - found.quantile:.0%} of held-out images are."
    )
    caption = (
        f"Copies would crowd at the left, where no held-out image is. {told} Without copies it "
        f"would be {found.quantile:.0%}."
    )
    return [exhibit(copies_figure(found), "copies", caption, told)]
