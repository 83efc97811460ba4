"""nnU-Net's raw layout, both versions, and the Decathlon's, which the first one is.

Version 1 lists cases in ``dataset.json`` as the Decathlon does; its channels may be files of their
own, ``CASE_0000.nii.gz``. Version 2 lists none: cases are the files of ``imagesTr``, channels are
named in ``channel_names``, labels may be regions (lists) and one may be ``ignore``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from jaxmed.data._error import Fault, fault
from jaxmed.data.formats._registry import stem
from jaxmed.data.images._mask_labels import MaskLabels
from jaxmed.data.sources._decathlon import _read_json

_CHANNEL = re.compile(r"(.+)_(\d{4})$")


class RawFolder(NamedTuple):
    """What a folder with ``dataset.json`` holds.

    ``rows`` have ``image`` (a list of files, one per channel), ``mask``, ``case`` and ``split``
    (``train`` or ``test``; test cases without masks are left out); ``faults`` are of files that
    are listed and missing.
    """

    rows: list[dict[str, Any]]
    labels: MaskLabels
    channels: tuple[str, ...]
    faults: list[Fault]


def read_raw_folder(path: Path) -> RawFolder:
    """Read ``dataset.json`` and find the files of every case.

    Raises:
        DataError: the file is missing, not JSON, or lacks labels or channels.
    """
    file = path / "dataset.json"
    table = _read_json(file)
    channels = _channels(file, table.get("channel_names", table.get("modality")))
    labels = _labels(file, table)
    faults: list[Fault] = []
    rows = []
    for split, end in (("train", "Tr"), ("test", "Ts")):
        listed = table.get("training" if split == "train" else "test")
        if isinstance(table.get("dataset"), dict) and split == "train":
            found = _named(path, table["dataset"])
        elif isinstance(listed, list) and listed:
            found = _listed(path, listed, split)
        else:
            found = _scanned(path / f"images{end}", path / f"labels{end}")
        for case, files, mask in found:
            if mask is None or (split == "test" and not mask.is_file()):
                continue
            if len(files) > 1 and len(files) != len(channels):
                faults.append(
                    Fault(
                        str(files[0]),
                        "shape",
                        f"{len(files)} channels, but dataset.json names {channels}",
                    )
                )
            row = {"image": [str(f.relative_to(path)) for f in files], "case": case, "split": split}
            rows.append({**row, "mask": str(mask.relative_to(path))})
    if not rows:
        raise fault(file, "non-empty", "no case with a mask: none is listed, imagesTr holds none")
    if {row["split"] for row in rows} == {"train"}:
        rows = [{k: v for k, v in row.items() if k != "split"} for row in rows]
    return RawFolder(rows, labels, channels, faults)


Case = tuple[str, list[Path], Path | None]


def _listed(path: Path, entries: list[Any], split: str) -> list[Case]:
    cases: list[Case] = []
    for entry in entries:
        entry = {"image": entry} if isinstance(entry, str) else entry
        if not isinstance(entry, dict) or "image" not in entry:
            raise fault(path / "dataset.json", "table", f"an entry of {split} lacks image: {entry}")
        image = Path(path / str(entry["image"]))
        if image.name.startswith("._"):  # left by macOS beside every file of an archive
            continue
        mask = path / str(entry["label"]) if "label" in entry else None
        if mask is None and split == "test":
            mask = path / "labelsTs" / image.name
        cases.append((stem(image), _channel_files(image), mask))
    return cases


def _named(path: Path, entries: dict[str, Any]) -> list[Case]:
    return [
        (case, [path / str(file) for file in entry["images"]], path / str(entry["label"]))
        for case, entry in entries.items()
    ]


def _channel_files(image: Path) -> list[Path]:
    """The file itself, or its channels where version 1 lists the case alone."""
    if image.exists():
        return [image]
    name, ending = stem(image), image.name[len(stem(image)) :]
    several = sorted(image.parent.glob(f"{glob_safe(name)}_[0-9][0-9][0-9][0-9]{ending}"))
    return several or [image]


def glob_safe(name: str) -> str:
    """Escape what a pattern of files would read as a wildcard."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _scanned(images: Path, masks: Path) -> list[Case]:
    """Cases of version 2: all files ``CASE_0000`` with what follows."""
    cases: dict[str, list[Path]] = {}
    endings: dict[str, str] = {}
    for file in sorted(images.iterdir()) if images.is_dir() else ():
        match = _CHANNEL.match(stem(file))
        if match and not file.name.startswith("."):
            cases.setdefault(match[1], []).append(file)
            endings[match[1]] = file.name[len(stem(file)) :]
    return [(case, files, masks / f"{case}{endings[case]}") for case, files in cases.items()]


def _channels(file: Path, named: Any) -> tuple[str, ...]:
    numbers = [str(i) for i in range(len(named or ()))]
    if not isinstance(named, dict) or not named or sorted(named) != sorted(numbers):
        raise fault(
            file, "table", f"channel_names (or modality) must name channels 0, 1, ..., got {named}"
        )
    return tuple(str(named[i]) for i in numbers)


def _labels(file: Path, table: dict[str, Any]) -> MaskLabels:
    labels = table.get("labels")
    if not isinstance(labels, dict) or len(labels) < 2:
        raise fault(file, "table", f"labels must name the background and a class, got {labels}")
    if all(re.fullmatch(r"\d+", str(key)) for key in labels):  # version 1: {"0": name}
        labels = {str(name): int(number) for number, name in labels.items()}
    ignore = labels.get("ignore")
    regions = {
        name: tuple(int(v) for v in value) if isinstance(value, list) else (int(value),)
        for name, value in labels.items()
        if name != "ignore" and value != 0
    }
    numbers = sorted({v for values in regions.values() for v in values})
    wanted = list(range(1, len(numbers) + 1))
    if numbers != wanted or labels.get("background", 0) != 0:
        raise fault(
            file, "table", f"labels must be 0, the background, and 1, 2, ..., got {table['labels']}"
        )
    if all(len(values) == 1 for values in regions.values()):
        names = {values[0]: name for name, values in regions.items()}
        first = next((name for name, value in labels.items() if value == 0), "background")
        return MaskLabels((first, *(names[i] for i in wanted)), ignore=ignore)
    order = table.get("regions_class_order")
    if not isinstance(order, list) or len(order) != len(regions):
        raise fault(
            file,
            "table",
            f"labels are regions, so regions_class_order must name the class that each of the "
            f"{len(regions)} writes, got {order}",
        )
    return MaskLabels(
        ("background", *(f"class {i}" for i in wanted)),
        ignore=ignore,
        regions=regions,
        region_order=tuple(int(v) for v in order),
    )
