"""Reading tensors from other libraries' checkpoint files without executing their content."""

from __future__ import annotations

import math
import os
import pickletools
import zipfile
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import ml_dtypes
import numpy as np

_REPEATED = 2**24  # Numbers of a tensor that repeats a few of a storage (`expand`) at most.
_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "BFloat16Storage": ml_dtypes.bfloat16,
    "BoolStorage": np.bool_,
    "ByteStorage": np.uint8,
    "CharStorage": np.int8,
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "IntStorage": np.int32,
    "LongStorage": np.int64,
    "ShortStorage": np.int16,
}


def read_tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the tensors of a checkpoint file, by name.

    Supports PyTorch files (``torch.save`` of a state dict, both formats), safetensors and NumPy's
    ``.npz``. A PyTorch file is a pickle, which can normally execute arbitrary code; here it is
    interpreted as data. Nothing in it is imported or called: tensors, numbers, strings and
    containers are built, and all other objects are skipped.

    Args:
        path: the file. safetensors files are recognised by their suffix, others by their content.

    Returns:
        Arrays by name; the names of nested dicts are joined by ``.``. Entries that are not tensors
        are omitted.

    Raises:
        FileNotFoundError: if the file does not exist.
        ImportError: for a safetensors file, if the package ``safetensors`` is not installed.
        ValueError: if the format is unknown, or the file is damaged or holds no tensor.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/some.npz", **{"conv.weight": np.ones((2, 3))})
    ...     tensors = read_tensors(f"{folder}/some.npz")
    >>> {name: array.shape for name, array in tensors.items()}
    {'conv.weight': (2, 3)}
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        try:
            from safetensors.numpy import (  # pyright: ignore[reportMissingImports]
                load_file,
            )
        except ImportError as error:
            raise ImportError(
                f"{path} needs the package safetensors: pip install 'jaxmed[transfer]'"
            ) from error
        try:
            return dict(load_file(path))
        except FileNotFoundError:
            raise
        except Exception as error:  # its own kind, which is no ValueError
            raise ValueError(f"{path} is not a readable file of tensors: {error}") from error
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inside = archive.namelist()
                if all(name.endswith(".npy") for name in inside):
                    with np.load(path, allow_pickle=False) as arrays:
                        tensors = {name: _whole_array(name, arrays[name]) for name in arrays}
                else:
                    tensors = _flatten(_read_zip(archive, inside))
        else:
            with path.open("rb") as file:
                tensors = _flatten(_read_legacy(file))
    except FileNotFoundError:
        raise
    except Exception as error:  # bytes of others may raise anything
        told = error or type(error).__name__
        raise ValueError(f"{path} is not a readable file of tensors: {told}") from error
    if not tensors:
        raise ValueError(
            f"{path} holds no tensor: a state dict is asked for, as torch.save(model.state_dict(), "
            "...) writes it, for a whole module is a program and not read"
        )
    return tensors


def _whole_array(name: str, array: Any) -> np.ndarray:
    if not isinstance(array, np.ndarray):  # NumPy gives the bytes of what is no array
        raise ValueError(f"{name!r} is no array of NumPy")
    return array


class _Name(NamedTuple):
    """A global named in a pickle; it is never looked up."""

    module: str
    name: str


class _Storage(NamedTuple):
    dtype: np.dtype
    key: str
    count: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unknown:
    """Placeholder for an object of unknown type."""


def _read_zip(archive: zipfile.ZipFile, inside: list[str]) -> Any:
    (pickled,) = [name for name in inside if name.endswith("/data.pkl")]
    folder = pickled.removesuffix("data.pkl")
    order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in inside else b"little"

    def read(storage: _Storage) -> np.ndarray:
        data = archive.read(f"{folder}data/{storage.key}")
        return _array(data, storage, big=order == b"big")

    with archive.open(pickled) as file:
        return _resolve(interpret(file), read)


def _read_legacy(file: BufferedReader) -> Any:
    if not file.peek(1).startswith(b"\x80") or interpret(file) != _MAGIC:
        raise ValueError(
            "neither a zip archive nor PyTorch's older format, or it has been cut short"
        )
    interpret(file)  # the format's version
    system = interpret(file)
    found = interpret(file)
    keys = interpret(file)
    big = not system.get("little_endian", True)
    after = file.tell()
    places: dict[str, int] = {}

    def read(storage: _Storage) -> np.ndarray:
        if not places:  # every storage: its length in elements (8 bytes), its data
            sizes = {t.storage.key: t.storage for t in _tensors(found)}
            at = after
            for key in keys:
                places[key] = at + 8
                if key not in sizes:
                    raise ValueError(f"storage {key} belongs to no tensor")
                at += 8 + sizes[key].count * sizes[key].dtype.itemsize
        if storage.count * storage.dtype.itemsize > os.fstat(file.fileno()).st_size:
            raise ValueError(f"storage {storage.key} is cut short")
        file.seek(places[storage.key])
        return _array(file.read(storage.count * storage.dtype.itemsize), storage, big=big)

    return _resolve(found, read)


def _array(data: bytes, storage: _Storage, *, big: bool) -> np.ndarray:
    if len(data) != storage.count * storage.dtype.itemsize:
        raise ValueError(f"storage {storage.key} is cut short")
    swapped = storage.dtype.newbyteorder(">") if big else storage.dtype
    return np.frombuffer(data, swapped).astype(storage.dtype, copy=False)


def _tensors(tree: Any) -> list[_Tensor]:
    if isinstance(tree, _Tensor):
        return [tree]
    children = tree.values() if isinstance(tree, dict) else tree
    nested = isinstance(tree, dict | list | tuple)
    return [found for child in children for found in _tensors(child)] if nested else []


def _resolve(tree: Any, read: Callable[[_Storage], np.ndarray]) -> Any:
    """Replace tensors by arrays, checking their extent against the storage."""
    if isinstance(tree, _Tensor):
        last = tree.offset + sum((n - 1) * s for n, s in zip(tree.shape, tree.strides, strict=True))
        if 0 in tree.shape:
            return np.zeros(tree.shape, tree.storage.dtype)
        if min((tree.offset, last, *tree.shape, *tree.strides)) < 0 or last >= tree.storage.count:
            raise ValueError(f"a tensor of shape {tree.shape} reaches outside its storage")
        if math.prod(tree.shape) > max(tree.storage.count, _REPEATED):
            raise ValueError(
                f"a tensor of shape {tree.shape} repeats {tree.storage.count} numbers too often"
            )
        data = read(tree.storage)[tree.offset :]
        steps = [stride * data.itemsize for stride in tree.strides]
        return np.lib.stride_tricks.as_strided(data, tree.shape, steps).copy()
    if isinstance(tree, dict):
        return {key: _resolve(child, read) for key, child in tree.items()}
    return [_resolve(child, read) for child in tree] if isinstance(tree, list | tuple) else tree


def _flatten(tree: Any, prefix: str = "") -> dict[str, np.ndarray]:
    if isinstance(tree, np.ndarray):
        return {prefix: tree}
    if isinstance(tree, list):
        tree = dict(enumerate(tree))
    found = {}
    for key, child in tree.items() if isinstance(tree, dict) else ():
        found |= _flatten(child, f"{prefix}.{key}" if prefix else str(key))
    return found


def interpret(file: IO[bytes]) -> Any:
    """Build the data that a pickle describes, without importing or calling anything.

    Raises:
        ValueError: for an instruction that does not occur in tensor files.

    >>> import io, pickle
    >>> interpret(io.BytesIO(pickle.dumps({"a": [1, (2.0, None)]})))
    {'a': [1, (2.0, None)]}
    >>> interpret(io.BytesIO(pickle.dumps({"run": print})))["run"]
    _Name(module='builtins', name='print')
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    mark = object()

    def to_mark() -> list[Any]:
        at = len(stack) - 1 - stack[::-1].index(mark)
        items = stack[at + 1 :]
        del stack[at:]
        return items

    for code, value, _ in pickletools.genops(file):
        name = code.name
        if name in ("PROTO", "FRAME"):
            continue
        if name == "STOP":
            return stack.pop()
        if name == "MARK":
            stack.append(mark)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _VALUES:
            stack.append(value)
        elif name == "TUPLE":
            stack.append(tuple(to_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            n = int(name[-1])
            stack[-n:] = [tuple(stack[-n:])]
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[cast("int", value)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[cast("int", value)])
        elif name == "GLOBAL":
            stack.append(_Name(*str(value).split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack[-2:] = [_Name(*map(str, stack[-2:]))]
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments = stack.pop()
            stack.append(_built(stack.pop(), arguments))
        elif name == "BUILD":  # an object's attributes; for a dict, its metadata
            stack.pop()
        elif name in ("SETITEM", "SETITEMS"):
            items = to_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            if isinstance(stack[-1], dict):
                keys = items[::2]
                plain = [(k, v) for k, v in zip(keys, items[1::2]) if isinstance(k, str | int)]
                stack[-1].update(plain)
        elif name in ("APPEND", "APPENDS"):
            items = to_mark() if name == "APPENDS" else [stack.pop()]
            if isinstance(stack[-1], list):
                stack[-1].extend(items)
        else:
            raise ValueError(f"the pickle has the instruction {name}, which tensors need not")
    raise ValueError("the pickle has no end")


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "NEWFALSE": lambda: False,
    "NEWTRUE": lambda: True,
    "NONE": lambda: None,
}
_VALUES = frozenset(
    (
        *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
        *("BINBYTES", "SHORT_BINBYTES", "BINSTRING", "SHORT_BINSTRING"),
    )
)


def _storage(reference: Any) -> _Storage:
    kind, name, key, _, count = reference[:5]
    if kind != "storage" or not isinstance(name, _Name) or name.name not in _DTYPES:
        raise ValueError(f"tensors of the kind {name} are not known here")
    return _Storage(np.dtype(_DTYPES[name.name]), str(key), int(count))


def _built(what: Any, arguments: Any) -> Any:
    """Return the result of a call in a pickle if it is a tensor or an ordered dict."""
    if what == ("torch._utils", "_rebuild_tensor_v2") or what == (
        "torch._utils",
        "_rebuild_tensor",
    ):
        storage, offset, shape, strides = arguments[:4]
        return _Tensor(storage, int(offset), tuple(shape), tuple(strides))
    if what == ("torch._utils", "_rebuild_parameter"):
        return arguments[0]
    if what == ("collections", "OrderedDict"):
        return dict(arguments[0]) if arguments else {}
    return _Unknown()
