"""Data sets of TensorFlow Datasets, written and read without TensorFlow."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed.data._error import fault
from jaxmed.data._optional import optional
from jaxmed.data._source import Example, Source, case_ids

_CASE, _PATIENT = "case", "patient"
_TEXT = np.dtype(object)  # of any length


class TFDSSource:
    """One split of a data set that `write_tfds` wrote; made by `read_tfds`.

    Attributes:
        name: the folder.
        case_ids: a name per example.
        groups: a patient per example, if the data set names patients.
        classes: names of the classes.
        notes: lines for a report.
    """

    def __init__(
        self,
        name: str,
        records: Any,
        types: Mapping[str, np.dtype],
        classes: tuple[str, ...],
        notes: tuple[str, ...],
    ):
        """Keep the records; names and patients are read at once, arrays when they are asked for."""
        self.name, self._records, self.classes, self.notes = name, records, classes, notes
        self._types = types
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
        return {
            field: _array(value, self._types[field])
            for field, value in record.items()
            if field not in (_CASE, _PATIENT)
        }

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

    Numbers come back to the bit, in the type and the shape that they had (in the machine's own byte
    order); text comes back as text.

    Any source serves: one's own images (`dataset`), a set of MedMNIST (`medmnist`), arrays. The
    files are ArrayRecord; ``tfds.builder_from_directory(path).as_data_source()`` reads them, and
    so does `read_tfds`, with names of cases, patients and classes.

    Args:
        folder: under which ``name/version`` is made, tfds's ``data_dir``.
        parts: a source by the name of its split.
        name: of the data set: a lower-case letter, and more of them, digits and underscores.
        version: as tfds wants it.
        description: a sentence on the data.

    Returns:
        The folder of the version, whole or not there.

    Raises:
        ImportError: without ``pip install 'jaxmed[data]'``.
        ValueError: no parts, parts with other fields, types or ranks, a field of a type that the
            files do not hold, another name, or a version that is there already.

    References:
        TensorFlow Datasets, https://www.tensorflow.org/datasets/tfless_tfds.
    """
    tfds = optional("tensorflow_datasets", "a data set of TensorFlow Datasets", extra="data")
    if not parts:
        raise ValueError("a data set has at least one split")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(
            f"the name of a data set is a lower-case letter, then such letters, digits and "
            f"underscores, got {name!r}"
        )
    there = Path(folder) / name / version
    if there.exists():  # which tfds would take for this one
        raise ValueError(f"{there} exists: give another version, or delete it")
    first = next(iter(parts.values()))
    fields = _fields(parts)
    classes = tuple(getattr(first, "classes", ()) or ())
    patients = all(getattr(source, "groups", None) is not None for source in parts.values())

    named = name
    features: dict[str, Any] = {
        field: _feature(tfds, shape, dtype) for field, (shape, dtype) in fields.items()
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
                        field: _stored(example[field], dtype)
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
    types = {field: np.dtype(f.np_dtype) for field, f in builder.info.features.items()}
    return TFDSSource(str(path), builder.as_data_source(split=split), types, classes, ())


def _fields(parts: Mapping[str, Source]) -> dict[str, tuple[tuple[int | None, ...], np.dtype]]:
    """Shape and type of every field; axes whose length differs are None.

    Raises:
        ValueError: names the example and the field that the files do not hold, or that differs.
    """
    found: dict[str, tuple[tuple[int | None, ...], np.dtype]] = {}
    for part, source in parts.items():
        for i in range(len(source)):
            example = {k: np.asarray(v) for k, v in source[i].items()}
            where = f"of example {i} of {part}"
            types = {k: _type_of(f"{k} {where}", v.dtype) for k, v in example.items()}
            if reserved := [k for k in (_CASE, _PATIENT) if k in example]:
                raise ValueError(
                    f"the field {reserved[0]!r} {where} has the name of what a source knows beside "
                    "its arrays: call it otherwise"
                )
            if not found:
                found = {k: (v.shape, types[k]) for k, v in example.items()}
            if example.keys() != found.keys():
                raise ValueError(
                    f"example {i} of {part} has the fields {sorted(example)}, the first "
                    f"{sorted(found)}"
                )
            for field, value in example.items():
                shape, dtype = found[field]
                if value.ndim != len(shape) or types[field] != dtype:
                    raise ValueError(
                        f"{field} {where} is {_said(types[field])} of {value.ndim} axes, "
                        f"that of the first {_said(dtype)} of {len(shape)}"
                    )
                same = tuple(a if a == b else None for a, b in zip(shape, value.shape, strict=True))
                found[field] = (same, dtype)
    if ragged := [k for k, (shape, dtype) in found.items() if dtype == _TEXT and None in shape]:
        raise ValueError(
            f"{ragged[0]} holds several texts, a different number in each example, which the files "
            "do not hold: join them to one, or fill up with empty ones"
        )
    return found


def _said(dtype: np.dtype) -> str:
    return "text" if dtype == _TEXT else str(dtype)


def _type_of(what: str, dtype: np.dtype) -> np.dtype:
    """The type in which a field is kept: text of any length is one, byte orders are the machine's.

    Raises:
        ValueError: a type that the files do not hold.
    """
    if dtype.kind == "U":
        return _TEXT
    if dtype.kind not in "biuf":
        instead = {"S": "text", "c": "its parts", "V": "float32", "M": "text", "O": "arrays"}
        raise ValueError(
            f"{what} is {dtype}, which a data set of TensorFlow Datasets does not hold; it holds "
            f"whole and real numbers, booleans and text: give {instead.get(dtype.kind, 'those')}"
        )
    return dtype.newbyteorder("=")


def _feature(tfds: Any, shape: tuple[int | None, ...], dtype: np.dtype) -> Any:
    """The feature that keeps a field to the bit."""
    if dtype == _TEXT:
        return tfds.features.Tensor(shape=shape, dtype=np.str_) if shape else tfds.features.Text()
    # Lists of numbers are of int64 or float32; and only packed bytes have a shape beside them.
    listed = None not in shape and dtype.itemsize <= 4
    listed |= None not in shape and dtype == np.int64
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="none" if listed else "zlib")


def _stored(value: Any, dtype: np.dtype) -> Any:
    """A field as tfds encodes it."""
    array = np.asarray(value)
    if dtype != _TEXT:
        return array.astype(dtype)
    return str(array) if array.ndim == 0 else array.astype(object)


def _array(value: Any, dtype: np.dtype) -> np.ndarray:
    """A field as it was written: tfds gives back scalars as Python's, text as bytes."""
    if dtype.kind in "biuf":
        return np.asarray(value, dtype)
    array = np.asarray(value)
    texts = [_text(text) for text in array.ravel().tolist()]
    return np.array(texts, dtype=np.str_).reshape(array.shape)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
