"""Files of images: one reader a format, one registry of their endings.

A format is one file here and one line of the registry, `FORMATS`, by which `read_image`,
`read_mask`, `read_space`, `write_mask`, `data check` and the command line know its endings.
"""

from jaxmed.data.formats._folder import images_in
from jaxmed.data.formats._registry import (
    ENDINGS,
    FORMATS,
    MASKS,
    SLIDES,
    exists,
    is_image,
    is_picture,
    mask_ending,
    stem,
    suffix,
)

__all__ = [
    "ENDINGS",
    "FORMATS",
    "MASKS",
    "SLIDES",
    "exists",
    "images_in",
    "is_image",
    "is_picture",
    "mask_ending",
    "stem",
    "suffix",
]
