"""Augmentations: pure functions ``(key, batch) -> batch`` for 2D and 3D images.

`chain` composes them; neighbouring spatial ones share one resample, linear for images and nearest
for masks, so labels stay aligned. Each example draws independently, from named streams. All run
under ``jit``. Spatial: `flip`, `rot90`, `random_affine`, `elastic`, `random_crop`. Intensity:
`brightness`, `contrast`, `gamma`, `noise`, `blur`, `bias_field`, `low_resolution`, `motion`,
`cutout`, in units of the image's own range. Between images of a batch: `fourier_mix`,
`paste_lesions`. Presets: `weak`, `strong`, `segmentation`. To measure robustness by: `corruption`,
in five strengths. `with_structures`: for the second network of a cascade.
"""

from jaxmed.augment._chain import Augmentation, Draw, Intensity, Spatial, chain
from jaxmed.augment._corruptions import CORRUPTIONS, corruption
from jaxmed.augment._fourier import fourier_mix
from jaxmed.augment._intensity import (
    bias_field,
    blur,
    brightness,
    contrast,
    cutout,
    gamma,
    low_resolution,
    noise,
)
from jaxmed.augment._lesions import paste_lesions
from jaxmed.augment._motion import motion
from jaxmed.augment._presets import segmentation, strong, weak
from jaxmed.augment._spatial import elastic, flip, random_affine, random_crop, rot90
from jaxmed.augment._structures import with_structures

__all__ = [
    "CORRUPTIONS",
    "Augmentation",
    "Draw",
    "Intensity",
    "Spatial",
    "bias_field",
    "blur",
    "brightness",
    "chain",
    "contrast",
    "corruption",
    "cutout",
    "elastic",
    "flip",
    "fourier_mix",
    "gamma",
    "low_resolution",
    "motion",
    "noise",
    "paste_lesions",
    "random_affine",
    "random_crop",
    "rot90",
    "segmentation",
    "strong",
    "weak",
    "with_structures",
]
