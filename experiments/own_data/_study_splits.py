"""How the cases of a study are dealt: into folds by patient, or a site at a time."""

from __future__ import annotations

from typing import Any

from jaxmed import protocols
from jaxmed.data import DataError, Fault, ManifestSource
from jaxmed.protocols import Split

from ._own import unsaid


def study_splits(config: Any, source: ManifestSource, data: Any, stratify: Any) -> list[Split]:
    """The splits that the settings ask for.

    Args:
        config: with `folds`, `repeats` and `sites`.
        source: the images as they were opened.
        data: what is split: as many cases, in the same order.
        stratify: as in `protocols.k_fold`.

    Raises:
        ValueError: no such column, or folds beside sites.
        DataError: an image without a site, a patient at two, one site alone.
    """
    if config.sites is None:
        return protocols.repeated(data, config.folds, repeats=config.repeats, stratify=stratify)
    if said := unsaid(config, ("folds", "repeats")):
        raise ValueError(f"--sites leaves out one site at a time: there are no --{said[0]} beside")
    if config.sites not in source.rows[0]:
        raise ValueError(
            f"--sites {config.sites}: {source.name} has the columns {', '.join(source.rows[0])}"
        )
    sites = [str(row[config.sites]).strip() for row in source.rows]
    faults = [
        Fault(name, "non-empty", f"no {config.sites}, which --sites asks for")
        for name, site in zip(source.case_ids, sites, strict=True)
        if not site
    ]
    if faults:
        raise DataError.of(faults)
    return protocols.leave_one_site_out(data, sites)


def dealt_into(config: Any, splits: list[Split]) -> str:
    """How they were dealt, a few words."""
    if config.sites is None:
        return f"{config.folds} folds"
    return f"{len(splits)} {config.sites}s, each left out once"
