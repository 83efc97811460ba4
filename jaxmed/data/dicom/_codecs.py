"""A decoder for pydicom over imagecodecs: what pydicom's own do not decode without GPL code.

JPEG of 12 bits and lossless JPEG have no free decoder in pydicom; imagecodecs (libjpeg-turbo, BSD)
has one. pydicom asks `is_available` and `DECODER_DEPENDENCIES` of a transfer syntax, and calls
`decode` for a frame.
"""

from __future__ import annotations

import importlib.util
import threading
from typing import Any

import numpy as np

from jaxmed.data._optional import optional

LABEL = "jaxmed-imagecodecs"
_registering = threading.Lock()
_ROOT = "1.2.840.10008.1.2.4."
_JPEG = tuple(_ROOT + end for end in ("50", "51", "57", "70"))  # 8 and 12 bits, lossless twice
_JPEG_LS = (_ROOT + "80", _ROOT + "81")
_JPEG_2000 = (_ROOT + "90", _ROOT + "91")
DECODER_DEPENDENCIES = dict.fromkeys((*_JPEG, *_JPEG_LS, *_JPEG_2000), ("numpy", "imagecodecs"))


def is_available(uid: str) -> bool:
    """Whether the decoder can decode a transfer syntax."""
    return uid in DECODER_DEPENDENCIES and importlib.util.find_spec("imagecodecs") is not None


def decode(src: bytes, runner: Any) -> bytearray:
    """Decode one frame, and tell pydicom's runner how the samples lie."""
    imagecodecs = optional("imagecodecs", "this compression of DICOM")
    syntax = str(runner.transfer_syntax)
    if syntax in _JPEG_LS:
        array = imagecodecs.jpegls_decode(src)
    elif syntax in _JPEG_2000:
        array = imagecodecs.jpeg2k_decode(src)
        if runner.photometric_interpretation in ("YBR_ICT", "YBR_RCT"):
            runner.set_option("photometric_interpretation", "RGB")
    else:
        # In and out alike: pydicom converts colours afterwards, by what the header says.
        space = None
        if runner.samples_per_pixel == 3:
            space = "RGB" if runner.photometric_interpretation == "RGB" else "YCBCR"
        array = imagecodecs.jpeg8_decode(src, colorspace=space, outcolorspace=space)
    runner.set_option("bits_allocated", 8 * array.dtype.itemsize)
    runner.set_option("planar_configuration", 0)
    return bytearray(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))))


def register() -> None:
    """Offer the decoder to pydicom, behind its own ones; once."""
    pixels = optional("pydicom.pixels", "DICOM")
    with _registering:
        for uid in DECODER_DEPENDENCIES:
            decoder = pixels.get_decoder(uid)
            if is_available(uid) and LABEL not in decoder.available_plugins:
                decoder.add_plugin(LABEL, (__name__, "decode"))
