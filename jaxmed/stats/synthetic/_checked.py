"""Sets of features, checked."""

from __future__ import annotations

from numpy.typing import ArrayLike

from jaxmed.stats.checks import Floats, finite


def feature_sets(least: int, why: str, **sets: ArrayLike) -> list[Floats]:
    """Return sets of features as float64 (n, f) of one f.

    Args:
        least: number of rows that each must have.
        why: what needs them.
        **sets: by the argument's name.

    Raises:
        ValueError: too few rows, NaN, another rank, or features of another number.
    """
    arrays = {name: finite(x, name, ndim=2) for name, x in sets.items()}
    for name, x in arrays.items():
        if len(x) < least:
            raise ValueError(
                f"{name} has {len(x)} image(s); {why} needs {least} or more of each set"
            )
    widths = {name: x.shape[1] for name, x in arrays.items()}
    if len(set(widths.values())) > 1 or 0 in widths.values():
        raise ValueError(
            "the sets need features of one network, (images, features), but have "
            + ", ".join(f"{name} {width}" for name, width in widths.items())
        )
    return [*arrays.values()]


def named(quantity: str, extractor: str) -> str:
    """The quantity's name, which carries the network whose features were taken.

    Raises:
        ValueError: an extractor without a name.
    """
    if not isinstance(extractor, str) or not extractor.strip():
        raise ValueError(
            "extractor is the name of the network whose features these are, such as "
            f"'EfficientNet-Lite0, 96 px', but is {extractor!r}: distances of other networks' "
            "features are other numbers"
        )
    return f"{quantity} ({extractor.strip()})"
