"""Planning: what a training decides from the data, with the reason for each choice.

`fingerprint`, `image_print` and `box_print` read a data set once; `plan_segmentation`,
`plan_images`, `plan_boxes`, `plan_instances` and `plan_survival` turn what they found into a plan:
voxel size, patch, network, batch, normalisation, augmentation, length. A plan is a frozen dataclass
that `write_plan` writes as JSON for people to read and edit, and `read_plan` reads.
"""

from jaxmed.planning._boxes import BoxPlan, BoxPrint, box_print, plan_boxes
from jaxmed.planning._cost import feature_map_size, multiplications
from jaxmed.planning._fingerprint import Fingerprint, Intensity, fingerprint
from jaxmed.planning._images import ImagePlan, ImagePrint, image_print, plan_images
from jaxmed.planning._instances import InstancePlan, plan_instances
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
from jaxmed.planning._survival import SurvivalPlan, event_times, plan_survival

__all__ = [
    "BoxPlan",
    "BoxPrint",
    "Budget",
    "Configuration",
    "Fingerprint",
    "ImagePlan",
    "ImagePrint",
    "InstancePlan",
    "Intensity",
    "SegmentationPlan",
    "Stage",
    "SurvivalPlan",
    "box_print",
    "device_budget",
    "event_times",
    "feature_map_size",
    "fingerprint",
    "image_print",
    "multiplications",
    "plan_boxes",
    "plan_images",
    "plan_instances",
    "plan_of",
    "plan_segmentation",
    "plan_slices",
    "plan_stage",
    "plan_stages",
    "plan_survival",
    "read_plan",
    "target_spacing",
    "write_plan",
]
