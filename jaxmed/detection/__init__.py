"""Detection: boxes around objects, in images and volumes by one code path.

A box is its corners, lows then highs along the array's axes, ``(2 * rank,)`` in voxels, where voxel
i covers i to i + 1: :func:`from_voc` and :func:`from_coco` read other conventions. An image's boxes
are padded to ``(objects, 2 * rank)``, with labels of -1, or a mask, where there is none.

``with_heads(networks.pyramid(trunk), {"boxes": retina_head(classes, strides=...)})`` is a network
that predicts boxes, for any trunk with a pyramid; :func:`box_objective` trains it, and
:func:`detector` makes of it a network that answers with :class:`Detections`. The boxes of several
looks or networks are fused by :func:`mirrored_detector` and :func:`detector_ensemble`, or by
:func:`weighted_fusion`; those of a large image are found by :func:`detect_windows`.
"""

from jaxmed.data.images._box_corners import from_coco, from_voc, to_coco, to_voc
from jaxmed.detection.boxes._boxes import area, clip, decode, encode, giou, iou
from jaxmed.detection.finding._detections import Detections
from jaxmed.detection.finding._fusion import weighted_fusion
from jaxmed.detection.finding._nms import nms
from jaxmed.detection.finding._windows import detect_windows, merge_windows
from jaxmed.detection.instances._flows import follow_flows, label_flows
from jaxmed.detection.instances._forms import InstanceForm, typical_radius
from jaxmed.detection.instances._star_shapes import Instances, find_stars, paint_star
from jaxmed.detection.instances._stars import star_distances, star_rays
from jaxmed.detection.instances._watershed import part_touching
from jaxmed.detection.learning._assign import assign
from jaxmed.detection.learning._detector import detector, retina_head
from jaxmed.detection.learning._fused import detector_ensemble, mirrored_detector
from jaxmed.detection.learning._loss import box_objective, retina_loss
from jaxmed.ops._anchors import anchors

__all__ = [
    "Detections",
    "InstanceForm",
    "Instances",
    "anchors",
    "area",
    "assign",
    "box_objective",
    "clip",
    "decode",
    "detect_windows",
    "detector",
    "detector_ensemble",
    "encode",
    "find_stars",
    "follow_flows",
    "from_coco",
    "from_voc",
    "giou",
    "iou",
    "label_flows",
    "merge_windows",
    "mirrored_detector",
    "nms",
    "paint_star",
    "part_touching",
    "retina_head",
    "retina_loss",
    "star_distances",
    "star_rays",
    "to_coco",
    "to_voc",
    "typical_radius",
    "weighted_fusion",
]
