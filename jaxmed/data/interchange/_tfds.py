"""Data sets of TensorFlow Datasets, written and read without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed.data._error import fault
from jaxmed.data._optional import optional
from jaxmed.data._source import Example, Source, case_ids

_CASE, _PATIENT = "case", "patient"


class TFDSSource:
    """One split of a data set that `write_tfds` wrote; made by `read_tfds`.

    Attributes:
        name: the folder.
        case_ids: a name per example.
        groups: a patient per example, if the data set names patients.
        classes: names of the classes.
        notes: lines for a report.
    """

    def __init__(self, name: str, records: Any, classes: tuple[str, ...], notes: tuple[str, ...]):
        """Keep the records; names and patients are read at once, arrays when they are asked for."""
        self.name, self._records, self.classes, self.notes = name, records, classes, notes
        names, patients = [], []
        for i in range(len(records)):  # one by one: all arrays at once may not fit into memory
            record = records[i]
            names.append(_text(record[_CASE]))
            if _PATIENT in record:
                patients.append(_text(record[_PATIENT]))
        self.case_ids = tuple(names)
        self.groups = tuple(patients) if patients else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}: {len(self)} examples)"

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Example:
        record = self._records[int(index)]
        return {k: np.asarray(v) for k, v in record.items() if k not in (_CASE, _PATIENT)}

    def __getitems__(self, indices: list[int]) -> list[Example]:
        """Read several examples at once."""
        return [self[i] for i in indices]


def write_tfds(
    folder: str | os.PathLike,
    parts: Mapping[str, Source],
    *,
    name: str,
    version: str = "1.0.0",
    description: str = "",
) -> Path:
    """Write sources as a data set of TensorFlow Datasets, without TensorFlow.

    Any source serves: one's own images (`dataset`), a set of MedMNIST (`medmnist`), arrays. The
    files are ArrayRecord; ``tfds.builder_from_directory(path).as_data_source()`` reads them, and
    so does `read_tfds`, with names of cases, patients and classes.

    Args:
        folder: under which ``name/version`` is made, tfds's ``data_dir``.
        parts: a source by the name of its split.
        name: of the data set: lower-case letters, digits and underscores.
        version: as tfds wants it.
        description: a sentence on the data.

    Returns:
        The folder of the version, whole or not there.

    Raises:
        ImportError: without ``pip install 'jaxmed[data]'``.
        ValueError: no parts, or parts with other fields, types or ranks.

    References:
        TensorFlow Datasets, https://www.tensorflow.org/datasets/tfless_tfds.
    """
    tfds = optional("tensorflow_datasets", "a data set of TensorFlow Datasets", extra="data")
    if not parts:
        raise ValueError("a data set has at least one split")
    first = next(iter(parts.values()))
    fields = _fields(parts)
    classes = tuple(getattr(first, "classes", ()) or ())
    patients = all(getattr(source, "groups", None) is not None for source in parts.values())

    named = name
    features: dict[str, Any] = {
        # tfds stores the shape of an array only beside packed bytes.
        field: tfds.features.Tensor(
            shape=shape, dtype=dtype, encoding="zlib" if None in shape else "none"
        )
        for field, (shape, dtype) in fields.items()
    }
    features[_CASE] = tfds.features.Text()
    if patients:
        features[_PATIENT] = tfds.features.Text()

    # tfds keeps a register of classes by the name of their module: this one is of one call.
    with tfds.core.registered.skip_registration():

        class Builder(tfds.core.GeneratorBasedBuilder):
            """A data set out of sources."""

            name = named
            VERSION = tfds.core.Version(version)
            pkg_dir_path = Path(folder)

            def _info(self) -> Any:
                return tfds.core.DatasetInfo(
                    builder=self,
                    description=description or f"The data set {name}, written by jaxmed.",
                    features=tfds.features.FeaturesDict(features),
                    metadata=tfds.core.MetadataDict(classes=list(classes)),
                )

            def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
                return {part: self._generate_examples(source) for part, source in parts.items()}

            def _generate_examples(self, source: Source) -> Iterator[tuple[int, dict[str, Any]]]:
                names = case_ids(source)
                groups: Any = getattr(source, "groups", None)
                for i in range(len(source)):
                    example = source[i]
                    record: dict[str, Any] = {
                        field: np.asarray(example[field], dtype)
                        for field, (_, dtype) in fields.items()
                    }
                    record[_CASE] = str(names[i])
                    if patients:
                        record[_PATIENT] = str(groups[i])
                    yield i, record

    builder = Builder(data_dir=str(folder), file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_dir)


def read_tfds(path: str | os.PathLike, split: str = "train") -> TFDSSource:
    """Open a split of a data set that `write_tfds` wrote.

    Args:
        path: the folder of the version, as `write_tfds` returned it.
        split: its name.

    Raises:
        DataError: the folder is not such a data set, or has no such split.
        ImportError: without ``pip install 'jaxmed[data]'``.
    """
    tfds = optional("tensorflow_datasets", "a data set of TensorFlow Datasets", extra="data")
    path = Path(path)
    if not (path / "dataset_info.json").is_file():
        raise fault(path, "table", "no data set of TensorFlow Datasets (dataset_info.json)")
    builder = tfds.builder_from_directory(str(path))
    if split not in builder.info.splits:
        there = ", ".join(builder.info.splits)
        raise fault(path, "table", f"there is no split {split!r}; there are {there}")
    if _CASE not in builder.info.features:
        raise fault(path, "table", "its examples have no names; as_source reads such data sets")
    classes = tuple((builder.info.metadata or {}).get("classes", ()))
    return TFDSSource(str(path), builder.as_data_source(split=split), classes, ())


def _fields(parts: Mapping[str, Source]) -> dict[str, tuple[tuple[int | None, ...], Any]]:
    """Shape and type of every field; axes whose length differs are None."""
    found: dict[str, tuple[tuple[int | None, ...], Any]] = {}
    for part, source in parts.items():
        for i in range(len(source)):
            example = {k: np.asarray(v) for k, v in source[i].items()}
            if not found:
                found = {k: (v.shape, v.dtype) for k, v in example.items()}
            if example.keys() != found.keys():
                raise ValueError(
                    f"example {i} of {part} has the fields {sorted(example)}, the first "
                    f"{sorted(found)}"
                )
            for field, value in example.items():
                shape, dtype = found[field]
                if value.ndim != len(shape) or value.dtype != dtype:
                    raise ValueError(
                        f"{field} of example {i} of {part} is {value.dtype} of {value.ndim} axes, "
                        f"that of the first {dtype} of {len(shape)}"
                    )
                same = tuple(a if a == b else None for a, b in zip(shape, value.shape, strict=True))
                found[field] = (same, dtype)
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
