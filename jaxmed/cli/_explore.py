"""`jaxmed explore DATA`: a first look at a data set."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxmed.cli._place import refuse_run, writing

_TOLD_APART = 0.8  # AUC of a probe below which no label is called suspect.
_EACH = 10  # Images of a class, below which no label is called suspect.
_FOLDS, _COMPONENTS, _PENALTY = 5, 50, 0.1  # Of the linear probe.


def run(arguments: Sequence[str]) -> int:
    """Open the images, take features, look, write the page.

    Returns:
        0.
    """
    options = _parser().parse_args([*arguments])
    if options.most < 40 or options.size < 2:
        raise ValueError("--most must be at least 40, and --size at least 2")
    refuse_run(options.out)

    import jax
    import numpy as np

    from jaxmed import data, report
    from jaxmed import unsupervised as un
    from jaxmed.cli._features import features_of, grey, middle
    from jaxmed.data.tables._columns import parse_columns

    given: dict[str, Any] = {
        "labels": options.labels, "patient": options.patient, "canonical": True,
        "columns": parse_columns(options.columns) or None,
    }  # fmt: skip
    source = data.dataset(options.data, **given)
    n = len(source)
    if n < 24:
        raise ValueError(f"{options.data} has {n} images: a first look needs 24 or more")
    features, what = features_of(options.features, source, size=options.size)
    pixels = features if options.features == "pixels" else grey(source, options.size)
    labels, notes = _labels(source)
    split = source.column("split") if "split" in source.rows[0] else None
    splits = None if split is None or len(set(split)) < 2 else [str(name) for name in split]
    key = jax.random.key(options.seed)
    print(f"{n} images, {features.shape[1]} features: {what}")
    found = un.explore(
        key, features, labels, splits=splits, groups=source.groups, ks=options.clusters,
        pixels=pixels,
    )  # fmt: skip
    mapped = np.sort(np.random.default_rng(options.seed).permutation(n)[: options.most])
    groups = None if source.groups is None else [source.groups[int(i)] for i in mapped]
    maps = report.projections(features[mapped], groups=groups, seed=options.seed)
    shown = report.ExploredImages(
        name=source.name,
        images=_Images(source, middle),
        cases=source.case_ids,
        labels=labels,
        classes=source.classes,
        splits=splits,
        groups=source.groups,
        features=what,
        notes=(*source.notes, *notes),
        command=shlex.join(["jaxmed", "explore", *arguments]),
    )
    suspects, doubt = _suspects(source, features, options.seed)
    shown = shown._replace(notes=(*shown.notes, *doubt))
    with writing(options.out):
        page = report.write_exploration(
            found, shown, maps, options.out, mapped=mapped, suspects=suspects
        )
    print(f"{found.chosen.k} clusters: {', '.join(map(str, np.bincount(found.clusters)))} images")
    for estimate in found.agreement.values():
        print(f"{estimate}, clusters against labels")
    if suspects is not None:
        print(f"{len(suspects.rows)} suspect labels; {suspects.wrong}")
    across = sum(pair.across for pair in found.pairs)
    told = "" if splits is None else f", {across} across splits"
    print(f"{len(found.pairs)} near duplicates{told}")
    for drawn in maps:
        print(f"{drawn.name}: {drawn.trust}")
    print(f"report: {page}")
    return 0


class _Images:
    """Pictures of a source, read when they are shown."""

    def __init__(self, source: Any, middle: Any):
        self._source, self._middle = source, middle

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, i: int) -> Any:
        return self._middle(self._source.image(i))


def _suspects(source: Any, features: Any, seed: int) -> tuple[Any, tuple[str, ...]]:
    """Labels that contradict what a linear probe says of images it has not seen, and notes.

    A probe that can hardly tell the classes apart contradicts labels for no reason: then there are
    none.
    """
    import numpy as np

    from jaxmed import data, protocols, quantities
    from jaxmed import unsupervised as un

    if source.labels is None or not source.classes or source.labels.ndim > 1:
        return None, ()
    labels = np.asarray(source.labels)
    counts = np.bincount(labels, minlength=len(source.classes))
    if len(counts) < 2 or counts.min() < _EACH:
        return None, ()
    most = min(_COMPONENTS, len(labels) // 5, features.shape[1])
    try:
        places = un.pca(features, most).project(features, whiten=True)
        parts = data.folds(
            len(labels), _FOLDS, stratify=labels.tolist(), groups=source.groups, seed=seed
        )
    except ValueError:  # fewer patients than folds, or images that are copies
        return None, ()
    p = np.full((len(labels), len(counts)), 1 / len(counts))
    for part in parts:
        if len(set(labels[part.train].tolist())) < len(counts):
            return None, ()
        probe = protocols.linear_probe(
            places[part.train], labels[part.train], classes=len(counts), l2=_PENALTY
        )
        p[part.test] = probe.predict(places[part.test])
    area = (
        quantities.auc(labels == 1, p[:, 1])
        if len(counts) == 2
        else quantities.macro_auc(labels, p)
    )
    if area < _TOLD_APART:
        return None, (
            f"No label is called suspect: a linear probe of these features tells the classes apart "
            f"with an AUC of {area:.2f} alone, and {_TOLD_APART} is asked for. Other features "
            "(--features) may do better.",
        )
    return protocols.suspect_labels(p, labels, groups=source.groups, seed=seed), ()


def _labels(source: Any) -> tuple[list[str] | None, tuple[str, ...]]:
    """The class of each image by name, and what is left out."""
    if source.labels is None:
        return None, ()
    if not source.classes or source.labels.ndim > 1:
        return None, ("Labels are several or measurements: the maps are not coloured by them.",)
    return [source.classes[int(y)] for y in source.labels], ()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxmed explore",
        description="A first look at images, before anything is trained: clusters, near duplicates "
        "(across splits first), outliers, and maps of all images side by side, on one page.",
    )
    parser.add_argument(
        "data", type=Path,
        help="a table of images, a folder of the Decathlon or of nnU-Net, a folder a class, images "
        "with masks: whatever `jaxmed data check` reads",
    )  # fmt: skip
    parser.add_argument(
        "--features", default="pixels", metavar="WHAT",
        help="what distances are of: pixels (the default); imagenet, a network trained on "
        "photographs (pip install 'jaxmed[transfer]'); or the folder of a trained run",
    )  # fmt: skip
    parser.add_argument("-o", "--out", type=Path, default=Path("exploration"), help="a folder")
    parser.add_argument(
        "--size", type=int, default=32, help="side to which images are brought for pixels"
    )
    parser.add_argument(
        "--most", type=int, default=2000,
        help="images that are mapped, at random if there are more",
    )  # fmt: skip
    parser.add_argument(
        "--clusters", type=int, nargs="+", default=range(2, 9), metavar="K",
        help="numbers of clusters that are tried; by default 2 to 8",
    )  # fmt: skip
    parser.add_argument("--labels", metavar="COLUMN", help="the column of the labels")
    parser.add_argument(
        "--patient", help="column of the patient; of a folder `folder`, or a pattern with one group"
    )
    parser.add_argument(
        "--columns", nargs="+", default=(), metavar="ROLE=COLUMN",
        help="columns of other names, such as image=file patient=who",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of starts and maps")
    return parser
