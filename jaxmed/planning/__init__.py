"""Planning: what a training decides from the data, with the reason for each choice.

`fingerprint` reads a data set once; `plan_segmentation` and `plan_images` turn what it found into
a plan: voxel size, patch, network, batch, normalisation, augmentation, length. A plan is a frozen
dataclass that `write_plan` writes as JSON for people to read and edit, and `read_plan` reads.
"""

from jaxmed.planning._cost import feature_map_size, multiplications
from jaxmed.planning._fingerprint import Fingerprint, Intensity, fingerprint
from jaxmed.planning._images import ImagePlan, ImagePrint, image_print, plan_images
from jaxmed.planning._plan_file import plan_of, read_plan, write_plan
from jaxmed.planning._segmentation import (
    Configuration,
    SegmentationPlan,
    device_budget,
    plan_segmentation,
)
from jaxmed.planning._stage import (
    Budget,
    Stage,
    plan_slices,
    plan_stage,
    plan_stages,
    target_spacing,
)

__all__ = [
    "Budget",
    "Configuration",
    "Fingerprint",
    "ImagePlan",
    "ImagePrint",
    "Intensity",
    "SegmentationPlan",
    "Stage",
    "device_budget",
    "feature_map_size",
    "fingerprint",
    "image_print",
    "multiplications",
    "plan_images",
    "plan_of",
    "plan_segmentation",
    "plan_slices",
    "plan_stage",
    "plan_stages",
    "read_plan",
    "target_spacing",
    "write_plan",
]
