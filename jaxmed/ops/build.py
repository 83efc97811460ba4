"""Compile the native convolution: ``python -m jaxmed.ops.build``.

Prints where the library is, or why there is none; both exit with success, since the pure form
runs without it.
"""

from __future__ import annotations

from jaxmed.ops._build import build
from jaxmed.ops._cache import BuildError
from jaxmed.ops.convolution._native import library


def available() -> bool:
    """Return whether the native convolution can run here. The first call may compile it."""
    return not isinstance(library(), str)


def main() -> None:
    """Build the library and print the outcome."""
    try:
        extension = build(verbose=True)
    except BuildError as error:
        print(f"native convolution not built, the pure form will run: {error}")
    else:
        print(f"native convolution: {extension.library}")


if __name__ == "__main__":
    main()
