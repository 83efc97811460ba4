"""One image made of others, to be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray


class TranslatedCase(NamedTuple):
    """A case whose image was made.

    Attributes:
        case: its name.
        rank: why it is shown: `best`, `median`, `worst`.
        given: (height, width) images in [0, 1], by name.
        truth: (height, width), the true image.
        made: (height, width), what was made.
        target: name of that.
        caption: what is said of the case.
    """

    case: str
    rank: str
    given: Mapping[str, NDArray[Any]]
    truth: NDArray[Any]
    made: NDArray[Any]
    target: str
    caption: str = ""
