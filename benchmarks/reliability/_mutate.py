"""Changes of files at random: of bytes, texts, what is inside archives, where links lead."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Draw = np.random.Generator

_BOMB = 2**28  # Bytes that a small archive unfolds to.
_HEADER = 512  # Bytes in which most formats say what follows.
_EXTREMES = (b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\x7f\xff\xff\xff",
             b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff", b"\0\0", b"\xff\x7f")  # fmt: skip
_WORDS = ("", "-1", "0", "1e999", "-1e999", "nan", "inf", "1e-320", "9" * 30, str(2**31),
          str(2**63),
          "0x10", "true", "null", "\0", "a" * 100_000, "../../outside/secret", "/outside/secret",
          "=1+1", "é\u202e\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
          "1,5", "--help", "%s%n", "{0}", "\u0661", "1_000")  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, "", "a", "x" * 100_000,
    "../../outside/secret", [], {}, [[]], [None], {"": None}, {"call": "os.system", "options": {}},
    {"name": "jax.nn.gelu"}, {"dtype": "float128"}, {"float": "nan"},
)  # fmt: skip


def mutate(path: Path, root: Path, draw: Draw, *, links: bool) -> str:
    """Change a file.

    Args:
        path: the file, below `root`.
        root: a folder beside which `outside` stands, that nothing may reach.
        draw: of all that is random.
        links: whether it may become a link.

    Returns:
        What was done, in words.
    """
    kinds: list[tuple[float, Callable[[Path, Draw], str]]] = [(3, _bytes)]
    name = path.name.lower()
    if name.endswith((".csv", ".json", ".jsonl", ".toml", ".nrrd", ".mha")):
        kinds.append((4, _text))
    if name.endswith(".json"):
        kinds.append((6, _json))
    if name.endswith(".gz"):
        kinds.append((5, _inside_gzip))
    if zipfile.is_zipfile(path):
        kinds.append((5, _inside_zip))
    if name.endswith(".safetensors"):
        kinds.append((4, _inside_safetensors))
    kinds.append((0.5, _special))
    if links:
        kinds.append((2, lambda p, d: _link(p, root, d)))
    weights = np.array([weight for weight, _ in kinds])
    chosen = kinds[int(draw.choice(len(kinds), p=weights / weights.sum()))][1]
    return chosen(path, draw)


def _bytes(path: Path, draw: Draw) -> str:
    content, told = changed_bytes(path.read_bytes(), draw)
    path.write_bytes(content)
    return told


def changed_bytes(content: bytes, draw: Draw) -> tuple[bytes, str]:
    """Some bytes, changed, and how."""
    size = len(content)
    reach = min(size, _HEADER) if draw.random() < 0.7 else size
    at = int(draw.integers(reach + 1)) if reach else 0
    kind = int(draw.integers(7))
    if kind == 0:
        return content[: int(draw.integers(size + 1))], "cut short"
    if kind == 1:
        found = bytearray(content)
        for _ in range(int(draw.integers(1, 9)) if size else 0):
            found[int(draw.integers(reach))] ^= 1 << int(draw.integers(8))
        return bytes(found), "bits flipped"
    if kind in (2, 3):
        new = _EXTREMES[int(draw.integers(len(_EXTREMES)))]
        return content[:at] + new + content[at + len(new) :], "a number made extreme"
    if kind == 4:
        new = draw.bytes(int(draw.integers(1, 64)))
        return content[:at] + new + content[at:], "bytes put in"
    if kind == 5:
        end = at + int(draw.integers(1, 64))
        return content[:at] + content[end:], "bytes taken out"
    return (b"", "emptied") if draw.random() < 0.3 else (draw.bytes(size), "all bytes random")


def _text(path: Path, draw: Draw) -> str:
    text = path.read_bytes().decode("latin-1")
    head, between, rest = text.partition("\n\n") if path.suffix == ".nrrd" else (text, "", "")
    lines = head.split("\n")
    row = int(draw.integers(len(lines)))
    kind = int(draw.integers(7))
    if kind == 0:
        words = [*re.finditer(r"[^\s,:;=\"\[\]{}]+", lines[row])]
        if words:
            found = words[int(draw.integers(len(words)))]
            new = _WORDS[int(draw.integers(len(_WORDS)))]
            lines[row] = lines[row][: found.start()] + new + lines[row][found.end() :]
        told = "a word replaced"
    elif kind == 1:
        told, lines = "a line left out", lines[:row] + lines[row + 1 :]
    elif kind == 2:
        told, lines = "a line twice", [*lines[: row + 1], *lines[row:]]
    elif kind == 3:
        told, lines = "lines mixed", [lines[int(i)] for i in draw.permutation(len(lines))]
    elif kind == 4:
        told = "another separator"
        lines = [line.replace(",", ";").replace(":", "=") for line in lines]
    elif kind == 5:
        told, lines[row] = "quotes left open", lines[row].replace(",", ',"', 1) + '"'
    else:
        told, lines[0] = "other cells at the end", lines[0] + ",,\t,a"
    content = between.join(["\n".join(lines), rest]).encode("utf-8", "surrogatepass")
    if path.suffix in (".csv", ".json", ".jsonl", ".toml") and draw.random() < 0.1:
        content, told = content.decode("utf-8", "replace").encode("utf-16"), f"{told}, as UTF-16"
    path.write_bytes(content)
    return told


def _json(path: Path, draw: Draw) -> str:
    try:
        tree = json.loads(path.read_text())
    except ValueError:  # lines of it
        return _text(path, draw)
    if draw.random() < 0.05:
        deep = int(draw.choice((500, 100_000)))
        path.write_text('{"recipe": ' + "[" * deep + "]" * deep + "}")
        return f"{deep} lists in each other"
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in items:
            places.append((node, key))
            if isinstance(child, dict | list):
                walk(child)

    if isinstance(tree, dict | list):
        walk(tree)
    if not places:
        return _text(path, draw)
    parent, key = places[int(draw.integers(len(places)))]
    if draw.random() < 0.2:
        del parent[key]
        told = f"{key} left out"
    else:
        value = _VALUES[int(draw.integers(len(_VALUES)))]
        parent[key], told = value, f"{key} made {str(value)[:30]!r}"
    path.write_text(json.dumps(tree))
    return told


def _inside_gzip(path: Path, draw: Draw) -> str:
    content, told = changed_bytes(gzip.decompress(path.read_bytes()), draw)
    path.write_bytes(gzip.compress(content))
    return f"within gzip: {told}"


def _inside_zip(path: Path, draw: Draw) -> str:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = [*members][int(draw.integers(len(members)))]
    kind = int(draw.integers(8))
    if kind == 0:
        del members[name]
        told = f"{name} left out"
    elif kind == 1:
        members["../../outside/written"] = b"out"
        told = "a member with a path that leads out"
    elif kind == 2:
        members[name] = b"\0" * _BOMB
        told = f"{name} made {_BOMB >> 20} MiB of zeros"
    else:
        members[name], told = changed_bytes(members[name], draw)
        told = f"{name}: {told}"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    path.write_bytes(buffer.getvalue())
    return f"within zip: {told}"


def _inside_safetensors(path: Path, draw: Draw) -> str:
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    head = path.with_suffix(".json")
    head.write_bytes(content[8 : 8 + size])
    told = _json(head, draw)
    new = head.read_bytes()
    head.unlink()
    path.write_bytes(struct.pack("<Q", len(new)) + new + content[8 + size :])
    return f"its header: {told}"


def _special(path: Path, draw: Draw) -> str:
    path.unlink()
    kind = int(draw.integers(4))
    if kind == 0:
        path.mkdir()
        return "a folder in its place"
    if kind == 1:
        os.mkfifo(path)
        return "a pipe in its place"
    if kind == 2:
        path.symlink_to(path.name)
        return "a link to itself in its place"
    path.symlink_to("/dev/zero")
    return "endless zeros in its place"


def _link(path: Path, root: Path, draw: Draw) -> str:
    """Move the file, or a folder that it is in, out of the root, and leave a link to it."""
    above = [path, *(p for p in path.parents if root in p.parents and p.name != "run")]
    chosen = above[int(draw.integers(len(above)))]
    outside = root.parent / "outside" / chosen.name
    shutil.move(chosen, outside)
    absolute = draw.random() < 0.5
    chosen.symlink_to(outside if absolute else os.path.relpath(outside, chosen.parent))
    return f"{chosen.name} made a link that leads out"
