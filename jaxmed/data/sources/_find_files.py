"""Finding the files that a table names, where it does not name them whole."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from jaxmed.data._error import Fault
from jaxmed.data.formats._registry import ENDINGS, exists, stem, suffix

_MASKS = re.compile(r"mask|label|seg|annot|manual|truth|\bgt\b|_gt$|lesion", re.IGNORECASE)


def holds_masks(folder: str) -> bool:
    """Whether a folder's name says that masks lie there.

    >>> [holds_masks(name) for name in ("labelsTr", "1st_manual", "images")]
    [True, True, False]
    """
    return bool(_MASKS.search(folder))


class Finder:
    """Finds a table's files: by path from its folder, or by name in the folders there."""

    def __init__(self, root: Path):
        """Look from ``root``."""
        self._root = root

    def find(self, text: str, faults: list[Fault], *, listed: str, mask: bool = False) -> Path:
        """Return the file of a cell; add a fault if there is none, or several."""
        path = self._root / text
        if exists(path):
            return path
        named = self._masks if mask else self._images
        wanted = Path(text)
        key = stem(wanted) if suffix(wanted) in ENDINGS else wanted.name
        found = named.get(key, [])
        if suffix(wanted) in ENDINGS:
            found = [p for p in found if p.name == wanted.name]
        if len(wanted.parts) > 1:
            found = []  # a path that leads nowhere is no name to look for
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(str(p.relative_to(self._root)) for p in found[:3])
            detail = f"listed in {listed}; {len(found)} files have that name ({shown})"
        else:
            detail = f"listed in {listed}"
        faults.append(Fault(str(path), "exists", detail))
        return path

    def mask_of(self, text: str) -> Path | None:
        """Return the one file of an image's name in a folder of masks, from the root; or None."""
        wanted = Path(text)
        found = self._masks.get(stem(wanted), [])
        found = [p for p in found if p.parent != self._root]
        return found[0].relative_to(self._root) if len(found) == 1 else None

    @cached_property
    def _files(self) -> list[Path]:
        inside = [p for p in sorted(self._root.iterdir()) if not p.name.startswith(".")]
        below = [p for d in inside if d.is_dir() for p in sorted(d.iterdir())]
        return [p for p in (*inside, *below) if suffix(p) in ENDINGS and p.is_file()]

    @cached_property
    def _images(self) -> dict[str, list[Path]]:
        return self._by_stem(masks=False)

    @cached_property
    def _masks(self) -> dict[str, list[Path]]:
        return self._by_stem(masks=True)

    def _by_stem(self, *, masks: bool) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in self._files:
            inner = path.parent != self._root
            if inner and holds_masks(path.parent.name) != masks:
                continue
            found.setdefault(stem(path), []).append(path)
        return found
