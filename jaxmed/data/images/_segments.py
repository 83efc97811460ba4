"""The structures that a mask marks, by number and name."""

from __future__ import annotations

from typing import NamedTuple


class Code(NamedTuple):
    """A coded meaning, as DICOM has it.

    Attributes:
        value: the code, such as ``"10200004"``.
        scheme: whose code it is: ``"SCT"`` of SNOMED CT, ``"DCM"`` of DICOM.
        meaning: in words, ``"Liver"``.
    """

    value: str
    scheme: str
    meaning: str


ANATOMY = Code("123037004", "SCT", "Anatomical Structure")
"""The category of what is not said more exactly."""


class Segment(NamedTuple):
    """One structure of a segmentation.

    Attributes:
        number: the label of its voxels.
        name: as its maker called it.
        category: what sort of thing it is; an anatomical structure if nothing else is said.
        kind: what it is; as ``category`` if nothing else is said.
    """

    number: int
    name: str
    category: Code = ANATOMY
    kind: Code = ANATOMY
