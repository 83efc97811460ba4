"""Compile the native convolution: ``python -m jaxmed.ops.build``.

Prints where the library is, or why there is none; both exit with success, since the pure form
runs without it.
"""

from __future__ import annotations

from jaxmed.ops._build import build
from jaxmed.ops._cache import BuildError
from jaxmed.ops.convolution._native import library, offers


def available(dtype: str | None = None) -> bool:
    """Return whether the native convolution can run here. The first call may compile it.

    Args:
      dtype: ``"float32"`` or ``"bfloat16"``: whether it is also fast in this type on this
        processor, so that ``ops.config(conv="onednn")`` will take it.
    """
    return not isinstance(library(), str) and (dtype is None or offers(dtype))


def main() -> None:
    """Build the library and print the outcome."""
    try:
        extension = build(verbose=True)
    except BuildError as error:
        print(f"native convolution not built, the pure form will run: {error}")
    else:
        types = [dtype for dtype in ("float32", "bfloat16") if available(dtype)]
        print(
            f"native convolution ({', '.join(types) or 'no fast type here'}): {extension.library}"
        )


if __name__ == "__main__":
    main()
