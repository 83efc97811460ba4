"""Maps of a network's answers, as a reader sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxmed.stats import checks


class ExplainedCase(NamedTuple):
    """An image and its maps.

    Attributes:
        name: of the case.
        caption: what was answered, and what the maps are about.
        image: (*spatial, channels), as the network sees it.
        maps: (*spatial,) signed values of each method.
        mask: (*spatial,) of what should be seen, or None.
    """

    name: str
    caption: str
    image: np.ndarray
    maps: Mapping[str, np.ndarray]
    mask: np.ndarray | None = None


class Explanations(NamedTuple):
    """Why some images were answered so: a section of a report.

    Attributes:
        cases: the images and their maps.
        meanings: of each method what its map is, and what it is not.
        tests: of each method the text of each test's result.
    """

    cases: Sequence[ExplainedCase]
    meanings: Mapping[str, str]
    tests: Mapping[str, Mapping[str, str]] = {}


def check_cases(cases: Sequence[ExplainedCase]) -> None:
    """Check that there are cases, and that maps fit their images.

    Raises:
        ValueError: without a case, or for a map that has not its image's shape or is not finite.
    """
    if not cases:
        raise ValueError("there is no case to show")
    for case in cases:
        for name, values in case.maps.items():
            if np.shape(values) != np.shape(case.image)[:-1]:
                raise ValueError(
                    f"{case.name}: the map of {name} has the shape {np.shape(values)}, the image "
                    f"{np.shape(case.image)[:-1]}"
                )
            checks.finite(values, f"{case.name}, {name}", ndim=None)
