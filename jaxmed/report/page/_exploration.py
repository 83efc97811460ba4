"""The page of a first look at a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxmed._csv import csv_text
from jaxmed._files import write_whole
from jaxmed.report.figures._projection import Projection, plane, projection_figure
from jaxmed.report.page._exhibit import exhibit
from jaxmed.report.page._page import write_page
from jaxmed.report.page._pictures import thumbnail
from jaxmed.stats import checks

_EACH = 6  # Images of a cluster that are shown.
_PAIRS = 30
_OUTLIERS = 24


class ExploredImages(NamedTuple):
    """The images that were explored, as the page shows them.

    Attributes:
        name: of the data set.
        images: ``images[i]`` is the image of row i: (height, width), (height, width, channels) or a
            volume, whose middle plane is shown.
        cases: (n,) names.
        labels: (n,) classes by name, if there are labels.
        classes: names of the classes, in the order of their numbers.
        splits: (n,) split of each, if there are several.
        groups: (n,) patient of each, if they are known.
        features: what distances are of, in words.
        notes: what must be known to read the page.
        command: that makes the page again.
    """

    name: str
    images: Any
    cases: Sequence[str]
    labels: Sequence[str] | None = None
    classes: Sequence[str] = ()
    splits: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    features: str = ""
    notes: tuple[str, ...] = ()
    command: str = ""


def write_exploration(
    found: Any,
    shown: ExploredImages,
    maps: Sequence[Projection],
    out: str | os.PathLike,
    *,
    mapped: ArrayLike | None = None,
    k: int = 10,
    suspects: Any = None,
) -> Path:
    """Write what a first look at a data set has found: ``report.html`` and ``exploration.csv``.

    Args:
        found: result of :func:`jaxmed.unsupervised.explore`.
        shown: the images it is of.
        maps: of the rows, as :func:`jaxmed.report.projections` makes them.
        out: the folder, created if missing.
        mapped: positions of the rows that are in the maps, if not all are.
        k: the neighbour by which outliers were told.
        suspects: result of :func:`jaxmed.protocols.suspect_labels` of the rows, to be shown too.

    Returns:
        The page's path. Files are replaced atomically.

    Raises:
        ValueError: for lengths that differ.
    """
    n = len(found.clusters)
    checks.same_length(
        clusters=found.clusters, images=shown.images, cases=shown.cases, labels=shown.labels,
        splits=shown.splits, groups=shown.groups,
    )  # fmt: skip
    rows = np.arange(n) if mapped is None else np.asarray(mapped)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "exploration.csv", _table(found, shown))
    pairs = [_pair(shown, pair) for pair in found.pairs[:_PAIRS]]
    columns, contents = _contents(found, shown)
    sections = [
        ("maps", "Maps"), ("clusters", "Clusters"), ("duplicates", "Near duplicates"),
        ("outliers", "Outliers"),
    ]  # fmt: skip
    if suspects is not None:
        sections.insert(2, ("labels", "Suspect labels"))
    return write_page(
        folder,
        "exploration.html",
        title=f"A first look at {shown.name}",
        description="",
        facts=_facts(shown, n),
        sections=[*sections, ("made", "How it was made")] if shown.command else sections,
        notes=shown.notes,
        maps=_maps(found, shown, maps, rows),
        chosen=f"{found.chosen.k} clusters, by k-means of the features.",
        scores=[
            {
                "k": k_,
                "value": f"{e.value:.3f}",
                "interval": f"{e.lower:.3f} to {e.upper:.3f}",
                "best": k_ == found.chosen.k,
            }
            for k_, e in found.chosen.scores.items()
        ],
        columns=columns,
        contents=contents,
        agreement=[str(estimate) for estimate in found.agreement.values()],
        galleries=_galleries(found, shown),
        suspects=None if suspects is None else _suspects(suspects, shown),
        share_wrong="" if suspects is None else str(suspects.wrong),
        pairs=pairs,
        pairs_found=_pairs_found(found, shown),
        outliers=[
            _picture(shown, int(i), f"{found.isolation[i]:.2f}")
            for i in found.outliers[: min(_OUTLIERS, n)]
        ],
        neighbour=k,
        command=shown.command,
    )


def _facts(shown: ExploredImages, n: int) -> list[tuple[str, str]]:
    facts = [("Images", str(n))]
    if shown.groups is not None:
        facts.append(("Patients", str(len(set(shown.groups)))))
    if shown.splits is not None:
        facts.append(("Splits", ", ".join(dict.fromkeys(map(str, shown.splits)))))
    if shown.features:
        facts.append(("Features", shown.features))
    return facts


def _maps(
    found: Any, shown: ExploredImages, maps: Sequence[Projection], rows: np.ndarray
) -> list[dict[str, Any]]:
    """The maps by class, by split and by cluster, the first with images."""
    colours: dict[str, Sequence[Any] | None] = {
        "class": shown.labels, "split": shown.splits,
        "cluster": [f"cluster {c + 1}" for c in found.clusters],
    }  # fmt: skip
    drawn = []
    part = "" if len(rows) == len(found.clusters) else f" {len(rows)} of the images, at random."
    for name, values in colours.items():
        if values is None or (name != "cluster" and len(set(values)) < 2):
            continue
        labels = [str(values[int(i)]) for i in rows]
        images = None if drawn else [plane(shown.images[int(i)]) for i in rows]
        figure = projection_figure(None, labels, maps=maps, images=images)
        told = ", ".join(m.name for m in maps)
        drawn.append(
            exhibit(
                figure,
                f"maps-{name}",
                f"Colour and marker: the {name}.{part}",
                f"{told} of the images, coloured by {name}.",
                wide=True,
            )
        )
    return drawn


def _contents(found: Any, shown: ExploredImages) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns of classes and splits, and each cluster's counts of them."""
    values = [v for v in (shown.labels, shown.splits) if v is not None]
    columns = [str(name) for v in values for name in sorted(set(v), key=str)]
    rows = []
    for c in range(found.chosen.k):
        inside = np.flatnonzero(found.clusters == c)
        counts = []
        for v in values:
            here = [str(v[int(i)]) for i in inside]
            counts += [here.count(str(name)) for name in sorted(set(v), key=str)]
        rows.append({"cluster": c + 1, "size": len(inside), "counts": counts})
    return columns, rows


def _galleries(found: Any, shown: ExploredImages) -> list[dict[str, Any]]:
    """Some images of each cluster: the least isolated ones, which are the most usual."""
    shown_of = []
    for c in range(found.chosen.k):
        inside = np.flatnonzero(found.clusters == c)
        usual = inside[np.argsort(found.isolation[inside], kind="stable")][:_EACH]
        pictures = [_picture(shown, int(i), "") for i in usual]
        shown_of.append({"name": f"Cluster {c + 1}", "pictures": pictures})
    return shown_of


def _pairs_found(found: Any, shown: ExploredImages) -> str:
    across = sum(pair.across for pair in found.pairs)
    if not found.pairs:
        return (
            "None were found: no two images are much nearer to each other than images usually are."
        )
    told = f"{len(found.pairs)} pairs"
    if (labels := shown.labels) is not None:
        differ = sum(labels[pair.first] != labels[pair.second] for pair in found.pairs)
        told += f", {differ} of them with two labels" if differ else ""
    if shown.splits is not None:
        told += f", {across} of them across splits"
        if across:
            told += ": what is measured on the one part was seen in the other"
    more = len(found.pairs) - _PAIRS
    return f"{told}." + (f" The first {_PAIRS} are shown." if more > 0 else "")


def _pair(shown: ExploredImages, pair: Any) -> dict[str, Any]:
    labels = shown.labels
    named = [] if labels is None else [str(labels[i]) for i in (pair.first, pair.second)]
    where = [] if shown.splits is None else [shown.splits[pair.first], shown.splits[pair.second]]
    return {
        "first": shown.cases[pair.first],
        "second": shown.cases[pair.second],
        "splits": " and ".join(dict.fromkeys(map(str, where))),
        "across": pair.across,
        "ratio": f"{pair.ratio:.3f}",
        "labels": " and ".join(dict.fromkeys(named)),
        "differ": len(set(named)) > 1,
        "pictures": [_picture(shown, pair.first, ""), _picture(shown, pair.second, "")],
    }


def _suspects(suspects: Any, shown: ExploredImages) -> list[dict[str, Any]]:
    """The labels that contradict confident predictions, the least probable first."""
    assert shown.labels is not None  # or none could be suspect
    names = shown.classes or sorted(set(shown.labels))
    found = []
    for i, other, p in zip(suspects.rows, suspects.suggested, suspects.confidence, strict=True):
        case = str(shown.cases[int(i)])
        found.append(
            {
                "case": case,
                "label": shown.labels[int(i)],
                "suggested": names[int(other)],
                "confidence": f"{p:.3f}",
                "picture": _picture(shown, int(i), ""),
            }
        )
    return found


def _picture(shown: ExploredImages, i: int, caption: str) -> dict[str, Any]:
    source, width, height = thumbnail(plane(shown.images[i]), 96)
    case = str(shown.cases[i])
    return {
        "source": source, "width": width, "height": height, "case": case, "caption": caption,
        "alt": f"Image {case}",
    }  # fmt: skip


def _table(found: Any, shown: ExploredImages) -> str:
    """A row an image: its cluster, its isolation, its nearest duplicate."""
    twin: dict[int, Any] = {}
    for pair in sorted(found.pairs, key=lambda p: p.distance):
        twin.setdefault(pair.first, (pair.second, pair))
        twin.setdefault(pair.second, (pair.first, pair))
    rows = []
    for i, case in enumerate(shown.cases):
        other, pair = twin.get(i, (None, None))
        rows.append(
            [
                str(case),
                int(found.clusters[i]) + 1,
                f"{found.isolation[i]:.4f}",
                "" if other is None else str(shown.cases[other]),
                "" if pair is None else f"{pair.ratio:.4f}",
            ]
        )
    return csv_text(["case", "cluster", "isolation", "duplicate_of", "ratio"], rows)
