"""Losses: one value per example, a mask for missing labels, and no reduction over the batch.

Every loss is `loss(outputs, targets, *, where=None, ...) -> (batch,)`. The rank of the inputs
selects classification, 2D or 3D. `where` (True or a weight above 0: the label is known) is aligned
at the batch axis: shape `(batch,)` masks whole examples, the targets' shape single labels. Masked
values affect neither value nor gradient, even if NaN, and an example without any known label gives
0. All arithmetic is in at least float32. An unmasked label outside the classes gives NaN, so that
training stops instead of learning from it.

- classes: `cross_entropy`, `focal`
- wrong labels: `generalised_cross_entropy`, `symmetric_cross_entropy`, `forward_corrected`
- rare classes: `logit_adjusted`, `ldam`, and `class_balanced_weights` for the others
- binary and multi-label: `binary_cross_entropy`, `focal(activation="sigmoid")`
- ordinal grades: `ordinal`, and `ordinal_probabilities` for its predictions
- times to an event: `discrete_hazard` with `discrete_survival` for its predictions, and `cox`,
  which alone with `dice(over="batch")` is a property of the batch
- boxes: `generalised_iou`; `jaxmed.detection.retina_loss` for a detector's head
- regression: `mse`, `mae`, `huber`
- images against images: `ncc`, `lncc` within windows, `mutual_information`, `mind` (and
  `mind_descriptor`, what it compares), `ssim`
- segmentation: `dice`, `generalized_dice`, `tversky`, `focal_tversky`, `dice_ce` and, over outputs
  at several scales, `deep_supervision(loss)`; `region_dice_ce` for regions that overlap; all of
  the above also work voxelwise
"""

from jaxmed.losses._binary import binary_cross_entropy
from jaxmed.losses._boxes import generalised_iou
from jaxmed.losses._compound import deep_supervision, dice_ce
from jaxmed.losses._cross_entropy import cross_entropy, focal
from jaxmed.losses._descriptor import mind, mind_descriptor
from jaxmed.losses._imbalanced import class_balanced_weights, ldam, logit_adjusted
from jaxmed.losses._noisy_labels import (
    forward_corrected,
    generalised_cross_entropy,
    symmetric_cross_entropy,
)
from jaxmed.losses._ordinal import ordinal, ordinal_probabilities
from jaxmed.losses._overlap import dice, focal_tversky, generalized_dice, tversky
from jaxmed.losses._regions import region_dice_ce
from jaxmed.losses._regression import huber, mae, mse
from jaxmed.losses._similarity import lncc, mutual_information, ncc
from jaxmed.losses._structure import ssim
from jaxmed.losses._survival import cox, discrete_hazard, discrete_survival

__all__ = [
    "binary_cross_entropy",
    "class_balanced_weights",
    "cox",
    "cross_entropy",
    "deep_supervision",
    "dice",
    "dice_ce",
    "discrete_hazard",
    "discrete_survival",
    "focal",
    "focal_tversky",
    "forward_corrected",
    "generalised_cross_entropy",
    "generalised_iou",
    "generalized_dice",
    "huber",
    "ldam",
    "lncc",
    "logit_adjusted",
    "mae",
    "mind",
    "mind_descriptor",
    "mse",
    "mutual_information",
    "ncc",
    "ordinal",
    "ordinal_probabilities",
    "region_dice_ce",
    "ssim",
    "symmetric_cross_entropy",
    "tversky",
]
