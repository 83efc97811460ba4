"""Which file of a folder is the mask of which image: by its name, by its folder's name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from jaxmed.data._error import fault
from jaxmed.data.formats._registry import stem
from jaxmed.data.sources._find_files import holds_masks

# Words by which a mask's name differs from its image's: `a_mask`, `a-label`, `label_a`.
_MASK = "mask|msk|gt|seg|segmentation|label|labels|annotation|lesion|manual\\d*"
_MASK_END = re.compile(rf"[_\-. ]+({_MASK})$", re.IGNORECASE)
_MASK_START = re.compile(r"^(mask|msk|gt|seg|segmentation|label|labels)[_\-. ]+", re.IGNORECASE)
_IMAGE_END = re.compile(r"([_\-. ]+(image|img)|_0000)$", re.IGNORECASE)
_IMAGES = re.compile(r"(im(g|age)s?|scans?|pictures?|photos?)(Tr|Ts|_.*)?", re.IGNORECASE)
# What BIDS says of a mask before the word: sub-01_space-T1w_label-lesion_mask.
_ENTITIES = re.compile(r"(_(space|res|den|label|desc|roi|hemi)-[A-Za-z0-9+]+)+$")
_OBSERVER = re.compile(
    r"\d(st|nd|rd|th)(?![a-z])|(manual|observer|reader|rater|expert|annotator)[ _-]?\d",
    re.IGNORECASE,
)
_Key = Callable[[Path], str]
_HINT = "columns={'mask': NAME} (--columns mask=NAME) names the folder or the ending that is meant"


def paired(
    root: Path, files: list[Path], which: str | None = None
) -> tuple[list[Path], dict[Path, Path], list[str]]:
    """Tell masks from images.

    A mask stands beside its image and has its name and a word more (``a_mask``, ``a-label``,
    ``label_a``; ``a_label`` also of ``a_image``), or lies in a folder whose name says so
    (``masks``, ``labelsTr``, ``1st_manual``). There its name is the image's, with such a word or
    without, or, where no name of the folder is, begins with the same number or word
    (``21_manual1`` of ``21_training``). Of folders by several observers (``1st_manual``,
    ``2nd_manual``) the first counts.

    Args:
        root: the folder.
        files: all images in it, masks among them.
        which: the folder of the masks, or the beginning or ending of their names, where several
            could be meant.

    Returns:
        The images, all of them if there are no masks, else those that have one; the mask of each;
        what was assumed.

    Raises:
        DataError: several masks could belong to an image, or ``which`` names none.
    """
    beside = _beside(root, files, which)
    if beside:
        taken = {mask for masks in beside.values() for mask in masks}
        images = [path for path in files if path not in taken]
        return _kept(images, _single(root, beside), [])
    inside = [p for p in files if any(holds_masks(d) for d in p.relative_to(root).parts[:-1])]
    images = [path for path in files if path not in set(inside)]
    if not inside or not images:
        if which is not None:
            raise fault(root, "exists", f"there is no folder and no ending {which!r} of masks")
        alone = [path for path in files if _MASK_END.search(stem(path))]
        if not alone or len(alone) == len(files):
            return files, {}, []
        note = (
            f"{len(alone)} of {len(files)} files are named as masks are, such as {alone[0].name}, "
            "but no image has their name: all are read as images."
        )
        return files, {}, [note]
    found, notes = _across(root, images, inside, which)
    return _kept(images, found, notes) if found else (files, {}, notes)


def holds_images(folder: str) -> bool:
    """Whether a folder's name says only that images lie there.

    >>> [holds_images(name) for name in ("images", "imagesTr", "benign")]
    [True, True, False]
    """
    return bool(_IMAGES.fullmatch(folder))


def is_named_mask(root: Path, file: Path) -> bool:
    """Whether a file's name, or that of a folder it lies in, is that of masks."""
    return bool(_MASK_END.search(stem(file)) or _MASK_START.search(stem(file))) or any(
        holds_masks(folder) for folder in file.relative_to(root).parts[:-1]
    )


def masks_among(root: Path, files: list[Path]) -> set[Path]:
    """The files that are masks of others: those beside their images, and those in their folders."""
    beside = {mask for masks in _beside(root, files, None).values() for mask in masks}
    inside = [p for p in files if any(holds_masks(d) for d in p.relative_to(root).parts[:-1])]
    images = [path for path in files if path not in {*inside, *beside}]
    names = {_folder(root, mask) for mask in inside}
    found = any(
        _matched(root, images, [mask for mask in inside if _folder(root, mask) == name])
        for name in names
    )
    return beside | ({*inside} if found else set())


def left_out(images: Sequence[Path], found: Iterable[Path]) -> list[str]:
    """A line on the images that have no mask, if there are any."""
    having = set(found)
    bare = [path for path in images if path not in having]
    if not bare:
        return []
    what = "image" if len(bare) == 1 else "images"
    is_ = "is" if len(bare) == 1 else "are"
    return [f"{len(bare)} {what} without a mask {is_} left out, such as {bare[0].name}."]


def _kept(
    images: list[Path], found: dict[Path, Path], notes: list[str]
) -> tuple[list[Path], dict[Path, Path], list[str]]:
    return [p for p in images if p in found], found, [*notes, *left_out(images, found)]


def _beside(root: Path, files: list[Path], which: str | None) -> dict[Path, list[Path]]:
    """The masks beside each image that has any."""
    named: dict[tuple[Path, str], Path] = {}
    for path in files:
        named.setdefault((path.parent, _IMAGE_END.sub("", stem(path))), path)
    named |= {(path.parent, stem(path)): path for path in files}
    found: dict[Path, list[Path]] = defaultdict(list)
    for path in files:
        bare = _bare(stem(path))
        if which is not None and bare == stem(path) and bare.endswith(which):
            bare = bare.removesuffix(which).rstrip("_-. ")  # an ending that is none of the usual
        image = named.get((path.parent, bare))
        if image is None:
            image = named.get((path.parent, _ENTITIES.sub("", bare)))
        if bare == stem(path) or image is None or image == path:
            continue
        if which is None or said(root, path, which):
            found[image].append(path)
    return found


def _single(root: Path, found: dict[Path, list[Path]]) -> dict[Path, Path]:
    for image, masks in found.items():
        if len(masks) > 1:
            shown = ", ".join(str(mask.relative_to(root)) for mask in masks[:3])
            detail = f"{len(masks)} masks could belong to it: {shown}; {_HINT}"
            raise fault(image, "unique", detail)
    return {image: masks[0] for image, masks in found.items()}


def _across(
    root: Path, images: list[Path], masks: list[Path], which: str | None
) -> tuple[dict[Path, Path], list[str]]:
    """The masks in folders of their own."""
    folders: dict[str, dict[Path, list[Path]]] = {}
    for name in dict.fromkeys(_folder(root, mask) for mask in masks):
        inside = [mask for mask in masks if _folder(root, mask) == name]
        if which is not None:
            inside = [mask for mask in inside if said(root, mask, which)]
        if matched := _matched(root, images, inside):
            folders[name] = matched
    if which is not None and not folders:
        there = ", ".join(sorted({_folder(root, mask) for mask in masks}))
        raise fault(root, "exists", f"there is no mask {which!r} of an image; masks lie in {there}")
    if not folders:  # a class may be called `lesion`, so it is only told
        shown = masks[0].relative_to(root)
        return {}, [f"No image has the name of {shown}, so it is no mask, nor are those beside it."]
    if len(folders) == 1:
        return _single(root, next(iter(folders.values()))), []
    observers = [name for name in folders if _OBSERVER.search(name)]
    first = min(observers, key=_number, default=None)
    if first is None:
        if not set.intersection(*(set(found) for found in folders.values())):
            joined: dict[Path, list[Path]] = defaultdict(list)
            for found in folders.values():
                for image, several in found.items():
                    joined[image] += several
            return _single(root, joined), []
        shown = ", ".join(folders)
        detail = f"masks of an image lie in several folders ({shown}); {_HINT}"
        raise fault(root, "unique", detail)
    others = ", ".join(name for name in folders if name != first)
    note = f"Masks are those of {first!r}, not of {others} (--columns mask=NAME names others)."
    return _single(root, folders[first]), [note]


def _matched(root: Path, images: list[Path], masks: list[Path]) -> dict[Path, list[Path]]:
    """The masks of one folder's name by their images: by equal names, else by how they begin."""
    found = _joined(root, images, masks, stem, stem)
    loose = _joined(root, images, masks, lambda p: _IMAGE_END.sub("", stem(p)), _bare_of)
    found = {**loose, **found}
    if found:
        return found
    begun = _joined(root, images, masks, _beginning, _beginning)
    # A beginning that two share tells nothing.
    taken = _joined(root, masks, images, _beginning, _beginning)
    return {
        image: several
        for image, several in begun.items()
        if len(several) == 1 and len(taken[several[0]]) == 1
    }


def _joined(
    root: Path, one: list[Path], other: list[Path], key: _Key, other_key: _Key
) -> dict[Path, list[Path]]:
    """Join two lists of files by a key of their names and by the folders that hold both."""
    index: dict[tuple[tuple[str, ...], str], list[Path]] = defaultdict(list)
    for path in other:
        index[_place(root, path), other_key(path)].append(path)
    found = {path: index.get((_place(root, path), key(path)), []) for path in one}
    return {path: several for path, several in found.items() if several}


def _place(root: Path, path: Path) -> tuple[str, ...]:
    """The folders of a file without those that say that images or masks lie there."""
    parts = path.relative_to(root).parts[:-1]
    return tuple(part for part in parts if not holds_images(part) and not holds_masks(part))


def _number(observer: str) -> int:
    return int(re.findall(r"\d+", observer)[0])


def _folder(root: Path, mask: Path) -> str:
    return next(p for p in reversed(mask.relative_to(root).parts[:-1]) if holds_masks(p))


def said(root: Path, mask: Path, which: str) -> bool:
    name = stem(mask)
    inner = mask.relative_to(root).parts[:-1]
    return which in inner or name.endswith(which) or name.startswith(which)


def _bare(name: str) -> str:
    """A mask's name without the word that makes it one."""
    short = _MASK_END.sub("", name)
    return short if short != name else _MASK_START.sub("", name)


def _bare_of(path: Path) -> str:
    return _IMAGE_END.sub("", _bare(stem(path)))


def _beginning(path: Path) -> str:
    return re.split(r"[_\-. ]", stem(path))[0]
