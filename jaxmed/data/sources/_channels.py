"""Files that are the channels of one case, told by their names: `CASE_t1`, `CASE_flair`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxmed.data._error import DataError, Fault, fault
from jaxmed.data.formats._registry import stem, suffix

# Sequences of magnetic resonance, as BraTS, BIDS and their like end the names of files; in this
# order they become channels.
_WORDS = (
    "t1", "t1w", "t1n", "t1pre", "t1ce", "t1c", "t1gd", "t1post", "t2", "t2w", "t2f", "flair",
    "t2star", "t2starw", "pd", "pdw", "dwi", "adc", "swi",
)  # fmt: skip
_ENDING = re.compile(r"(.+)[_\-. ]([A-Za-z0-9]+)")
_SUBJECT = re.compile(r"sub-[A-Za-z0-9]+")
_HINT = "columns={'image': 't1,flair'} (--columns image=t1,flair) names the endings to take"


class Joined(NamedTuple):
    """The images of a folder, those of several files as one.

    Attributes:
        files: all files, a case of channels under the name that its files share.
        channels: the files of such a name, in the order of the channels.
        names: of the channels.
        notes: what was assumed.
    """

    files: list[Path]
    channels: Mapping[Path, tuple[Path, ...]]
    names: tuple[str, ...]
    notes: tuple[str, ...]


def joined(
    root: Path, files: Sequence[Path], masks: set[Path], which: Sequence[str] = ()
) -> Joined:
    """Join files that are channels of one case.

    Without ``which`` that is done where nothing else can be meant: every file that is no mask ends
    in the name of a sequence (``_t1``, ``-t1c``, ``_FLAIR``, ``_T1w``), and every case has the same
    ones, of which there are several.

    Args:
        root: the folder.
        files: all images in it, masks among them.
        masks: those that are named as masks are.
        which: the endings that are channels, in order; files with others are left out.

    Raises:
        DataError: a case that lacks a channel, or endings that no case has.
    """
    as_they_are = Joined([*files], {}, (), ())
    cases: dict[Path, dict[str, Path]] = defaultdict(dict)
    bare = []
    wanted = [word.casefold() for word in which] or _WORDS
    for path in files:
        found = _ENDING.fullmatch(stem(path))
        if path in masks:
            continue
        if found is None or found[2].casefold() not in wanted:
            bare.append(path)
            continue
        cases[path.parent / (found[1] + suffix(path))][found[2].casefold()] = path
    several = {word for channels in cases.values() for word in channels}
    if not which:
        if bare or max(map(len, cases.values()), default=0) < 2 or {*cases} & {*files}:
            return as_they_are
        which = tuple(word for word in _WORDS if word in several)
        wanted = [*which]
    if not cases:
        there = sorted({m[2] for path in files if (m := _ENDING.fullmatch(stem(path)))})
        shown = f"names end in {', '.join(there[:8])}" if there else "no name has an ending"
        raise fault(root, "exists", f"no image ends in {', '.join(which)}; {shown}")
    if taken := sorted({*cases} & {*files}):
        raise fault(taken[0], "unique", f"an image, and the name that channels share; {_HINT}")
    faults = [
        Fault(str(case), "exists", f"it has {', '.join(channels)}, and not {', '.join(lacking)}; "
              f"{_HINT}")
        for case, channels in sorted(cases.items())
        if (lacking := [word for word in wanted if word not in channels])
    ]  # fmt: skip
    if faults:
        raise DataError.of(faults)
    first = next(iter(cases.values()))
    # As they are written: T1w, FLAIR.
    names = tuple(stem(first[word])[-len(word) :] for word in wanted)
    notes = [f"The channels of a case are its files {', '.join(f'CASE_{n}' for n in names)}."]
    if bare:
        notes.append(f"{len(bare)} files of other endings are left out, such as {bare[0].name}.")
    return Joined(
        sorted([*cases, *(path for path in files if path in masks)]),
        {case: tuple(channels[word] for word in wanted) for case, channels in cases.items()},
        names,
        tuple(notes),
    )


def subject(path: Path) -> str | None:
    """The subject that a name of BIDS begins with, ``sub-01``.

    >>> subject(Path("sub-01/anat/sub-01_ses-2_T1w.nii.gz")), subject(Path("a/sub-01.png"))
    ('sub-01', 'sub-01')
    >>> subject(Path("subject_T1w.nii.gz")) is None
    True
    """
    found = _SUBJECT.match(path.name)
    whole = found is not None and path.name[found.end() : found.end() + 1] in ("_", ".", "")
    return found[0] if found is not None and whole else None
